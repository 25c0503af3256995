"""What a schema could say of one quantity: transform, range, hardware type; guessed from its first values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.inspect.collections import Quantity
from foundation.inspect.profile import Numbers
from foundation.schema import Hardware

ENOUGH = 20  # values from which a distribution says something
HEAVY = 4.0  # 99th percentile over the median from which a tail is called heavy
SIGNED_HEAVY = 8.0
FEW = 8  # distinct integers up to which a number is a code, not a quantity
DISTINCT, GRID_VALUES = 4, 30  # distinct values, and values, that a grid must have to be believed
TOLERANCE = 0.005  # of an lsb
POWERS = [2.0**-k for k in range(13)]
DECIMALS = [0.1, 0.05, 0.01, 0.005, 0.001]
TRIGGER = [0.087, 0.0435, 0.010875, 2 * np.pi / 72, 2 * np.pi / 144, 2 * np.pi / 576, np.pi / 720]  # CMS Level-1
LSBS = sorted([*POWERS, *DECIMALS, *TRIGGER], reverse=True)
LARGEST = 3e38  # of float32
BEAM = 14_000.0  # GeV


@dataclass(frozen=True)
class Proposal:
    """A feature for a schema, and why.

    Attributes:
        why: comments for the reader.
    """

    expression: str
    unit: str = ""
    transform: str = "identity"
    standardize: bool = True
    range: tuple[float, float] | None = None
    hardware: Hardware | None = None
    why: tuple[str, ...] = ()


def propose(quantity: Quantity, values: np.ndarray, hardware: bool, coordinate: str = "") -> Proposal:
    """A feature made of a quantity.

    Args:
        values: its first ones, finite, without padding.
        hardware: whether its collection looks like what a trigger receives.
        coordinate: what it is for the modality; such values get a range where they exceed the default one.
    """
    numbers, meaning = quantity.numbers, quantity.meaning
    why: list[str] = [] if meaning.by == "name" or not meaning.coordinate else ["by its values"]
    expression = quantity.expression
    if numbers.nan or numbers.inf:
        expression = f"where(isfinite({expression}), {expression}, 0)"
        why.append(f"{numbers.nan} NaN and {numbers.inf} infinite values become 0")
    unit = meaning.unit
    if meaning.factor != 1:
        why.append(f"in {unit}, by its values")
        expression, unit = f"{meaning.factor!r} * {expression}", "rad" if coordinate == "phi" else "GeV"
        values = values * meaning.factor
    if unit == "length":
        unit = ""
        why.append("a length")
    grid = fit_hardware(values) if hardware and meaning.factor == 1 else None
    limits = None if grid else _range(numbers, coordinate, meaning.factor)
    if limits is not None:
        why.append("goes below 0: check the range")
    return Proposal(
        expression, unit, transform_of(values, numbers, coordinate), not numbers.flag, limits, grid, tuple(why)
    )


def transform_of(values: np.ndarray, numbers: Numbers, coordinate: str = "") -> str:
    """From the distribution: `log` for positive and heavy-tailed, `log1p` with zeros, `asinh` with both signs."""
    if coordinate in ("eta", "phi") or len(values) < ENOUGH or 0 < len(numbers.few) <= FEW:
        return "identity"
    low = float(values.min())
    middle, high = (float(q) for q in np.quantile(np.abs(values), [0.5, 0.99]))
    if coordinate in ("pt", "energy") and low >= 0:
        return "log" if low > 0 else "log1p"
    if low > 0:
        return "log" if high > HEAVY * middle else "identity"
    if low == 0:
        return "log1p" if high > HEAVY * max(middle, 1e-12) and high > 1 else "identity"
    return "asinh" if high > SIGNED_HEAVY * max(middle, 1e-12) and high > 1 else "identity"


def _range(numbers: Numbers, coordinate: str, factor: float) -> tuple[float, float] | None:
    """For a pt or energy that goes below zero, where its coordinate's default range would refuse it."""
    if coordinate not in ("pt", "energy") or numbers.empty or numbers.low * factor >= 0:
        return None
    return -float(10 ** np.ceil(np.log10(-10 * numbers.low * factor))), max(BEAM, 10 * numbers.high * factor)


def fit_hardware(values: np.ndarray) -> Hardware | None:
    """The integer type whose grid all values lie on, with the coarsest plausible lsb; None if there is none."""
    lsb = grid_of(values)
    if lsb is None:
        return None
    counts = np.rint(np.abs(values) / lsb)
    signed = bool((values < 0).any())
    bits = max(1, int(np.ceil(np.log2(counts.max(initial=1) + 1)))) + signed
    return Hardware(float(lsb), bits, signed) if bits <= 32 else None


def grid_of(values: np.ndarray) -> float | None:
    """The coarsest plausible lsb of which all values are whole multiples."""
    if not len(values):
        return None
    if (values == np.rint(values)).all():
        return 1.0
    distinct = np.unique(np.abs(values[values != 0]))
    if len(distinct) < DISTINCT or len(values) < GRID_VALUES:
        return None
    for lsb in LSBS:
        counts = distinct / lsb
        if np.abs(counts - np.rint(counts)).max() < TOLERANCE and _whole(distinct, lsb):
            return lsb
    return None


def _whole(distinct: np.ndarray, lsb: float) -> bool:
    """Not a float of few bits, whose large values lie on a coarser grid than its small ones."""
    upper = distinct[len(distinct) // 2 :] / lsb
    return bool((np.rint(upper) % 2 == 1).any())
