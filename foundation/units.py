"""The units that a schema may give, by what they measure. detfm itself works in GeV, rad, mm, ns and kHz."""

from __future__ import annotations

from math import pi

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

# what is measured -> unit -> how many of the first one it is, where one is a multiple of the other
_SIZES: dict[str, dict[str, float]] = {
    "energy": {"GeV": 1.0, "TeV": 1e3, "MeV": 1e-3, "keV": 1e-6, "eV": 1e-9},
    "angle": {"rad": 1.0, "mrad": 1e-3, "deg": pi / 180},
    "length": {"mm": 1.0, "cm": 10.0, "m": 1e3, "um": 1e-3},
    "time": {"ns": 1.0, "ps": 1e-3, "us": 1e3, "ms": 1e6, "s": 1e9},
    "rate": {"kHz": 1.0, "Hz": 1e-3, "MHz": 1e3, "GHz": 1e6},
    "voltage": {"V": 1.0, "mV": 1e-3},
    "charge": {"C": 1.0, "pC": 1e-12, "fC": 1e-15, "e": 1.602176634e-19},
    "inverse length": {"1/mm": 1.0, "1/cm": 0.1, "1/m": 1e-3},
}

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


def conversion(given: str, wanted: str) -> float | None:
    """What turns a number in the unit `given` into one in `wanted`; None where nothing does."""
    if given == wanted:
        return 1.0
    sizes = _SIZES.get(dimension(given), {})
    return sizes[given] / sizes[wanted] if wanted in sizes else None


def fits(coordinate: str, unit: str) -> bool:
    """Whether a coordinate may have this unit."""
    return not unit or unit in COORDINATE_UNITS[coordinate] or dimension(unit) in COORDINATE_UNITS[coordinate]
