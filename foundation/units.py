"""The units that a schema may give, by what they measure. detfm itself works in GeV, rad, mm, ns and kHz."""

from __future__ import annotations

UNITS: dict[str, tuple[str, ...]] = {
    "energy": ("GeV", "TeV", "MeV", "keV", "eV"),
    "angle": ("rad", "mrad", "deg"),
    "length": ("mm", "cm", "m", "um"),
    "time": ("ns", "ps", "us", "ms", "s"),
    "rate": ("kHz", "Hz", "MHz", "GHz"),
    "voltage": ("V", "mV"),
    "charge": ("C", "pC", "fC", "e"),
    "inverse energy": ("1/GeV",),
    "inverse length": ("1/mm", "1/cm", "1/m"),
    "mass squared": ("GeV2",),
    "density": ("1/cm2", "g/cm2", "MeV/cm"),
    "electronics": ("ADC", "TDC", "MIP", "pe"),
}
_DIMENSIONS = {unit: name for name, units in UNITS.items() for unit in units}

# coordinate -> what its unit may measure; every one may also be given without a unit
COORDINATE_UNITS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("pt", "mass", "px", "py", "pz"), ("energy",)),
    "energy": ("energy", "electronics"),
    "eta": (),
    "phi": ("rad",),
    **dict.fromkeys(("x", "y", "z"), ("length",)),
    "time": ("time",),
}


def known_units() -> list[str]:
    return list(_DIMENSIONS)


def dimension(unit: str) -> str:
    """What a unit measures; empty for a pure number or a unit that is not known."""
    return _DIMENSIONS.get(unit, "")


def fits(coordinate: str, unit: str) -> bool:
    """Whether a coordinate may have this unit."""
    return not unit or unit in COORDINATE_UNITS[coordinate] or dimension(unit) in COORDINATE_UNITS[coordinate]
