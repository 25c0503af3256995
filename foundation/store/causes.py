"""Why a value may be outside its range: guesses for the message, from the values themselves."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from foundation.schema import Feature
from foundation.units import dimension

DEGREES = 180 / np.pi
FILLS = (-1.0, -9.0, -10.0, -99.0, -100.0, -999.0, -1000.0, -9999.0, -99999.0, 99.0, 999.0, 9999.0, 99999.0)
SMALLER = {"energy": "MeV instead of GeV", "time": "ps instead of ns", "length": "um instead of mm"}  # by 1000


def likely_cause(
    feature: Feature, coordinate: str, outside: Float[np.ndarray, " V"], allowed: tuple[float, float]
) -> str:
    """A sentence: what probably happened to a feature whose values `outside` are not within `allowed`."""
    low, high = allowed
    values = outside.astype(np.float64)
    size = float(np.abs(values).max())
    if len(np.unique(values)) == 1 and (values[0] in FILLS or len(values) > 10):
        return (
            f"every one of them is {values[0]:g}, which looks like a fill value: remove those tokens with `select`, or "
            "write `where(...)`"
        )
    hardware = feature.hardware
    if hardware is not None and hardware.lsb != 1 and _whole(values) and size * hardware.lsb <= max(-low, high):
        return f"these look like hardware counts that were not multiplied by the lsb of {hardware.lsb:g}"
    if coordinate in ("eta", "phi") or feature.unit == "rad":
        if _whole(values) and size > 3:
            return "these are whole numbers, so perhaps hardware counts that were not multiplied by their lsb"
        if size <= 2 * 180 or coordinate == "phi":
            return "perhaps degrees instead of radians: multiply by pi / 180" + (
                "; or a pseudorapidity of tokens along the beam" if coordinate == "eta" else ""
            )
        return "perhaps tokens along the beam, whose pseudorapidity diverges: remove them with `select`"
    kind = dimension(feature.unit) or ("energy" if coordinate in ("pt", "energy", "mass", "px", "py", "pz") else "")
    if kind in SMALLER and size / 1000 <= max(-low, high) and size > max(-low, high):
        return f"perhaps {SMALLER[kind]}: divide by 1000"
    if kind == "length" and size / 10 <= max(-low, high) and size > max(-low, high):
        return "perhaps mm instead of cm: divide by 10"
    if kind == "energy" and low >= 0 and values.max() < low + 1e-9:
        return (
            "negative energies are noise after a subtraction of pedestals: give a `range` that allows them, or `select`"
        )
    return "correct the expression's unit, or give the feature a `range` that is right"


def _whole(values: np.ndarray) -> bool:
    return bool((values == np.rint(values)).all())
