"""The integers that a trigger board receives, and how a network scales them: one rule for teachers and students.

Axes: B examples, N tokens, F features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num, Shaped

from foundation.schema import Hardware


def to_counts(values: Shaped[Any, "... F"], types: list[Hardware], xp: Any = np) -> Shaped[Any, "... F"]:
    """value / lsb rounded half up and saturated at the ends of the integer type, as whole numbers in the float type
    of `values`.

    Args:
        types: of each feature on the last axis.
        xp: numpy, or jax.numpy inside a compiled function.
    """
    lsb, low, high = (np.array([getattr(t, n) for t in types], values.dtype) for n in ("lsb", "low", "high"))
    return xp.clip(xp.floor(values / lsb + 0.5), low, high)


def input_scaling(integers: Num[np.ndarray, "B N F"]) -> tuple[Int[np.ndarray, " F"], Int[np.ndarray, " F"]]:
    """Integer offset and power-of-two shift per feature, so that (x - offset) 2^-shift is of order one.

    The statistics are over every slot, empty ones included, because that is what the board receives. A feature keeps
    its zero (offset 0) unless its mean is more than two deviations away from it.
    """
    values = np.asarray(integers, np.float64).reshape(-1, integers.shape[-1])
    mean, deviation = values.mean(0), values.std(0)
    offset = np.where(np.abs(mean) > 2 * deviation, np.round(mean), 0)
    shift = np.round(np.log2(np.where(deviation > 0, deviation, 1)))
    return offset.astype(np.int64), shift.astype(np.int64)


def edges(types: list[Hardware | None], units: list[str]) -> tuple[Float[np.ndarray, " F"], Float[np.ndarray, " F"]]:
    """Lowest and highest physical value of each feature that is not saturated; infinite without a hardware type.

    An energy is saturated at the largest integer, for there the board writes all that is larger. Anything else (an
    angle, a quality) may well have the largest integer, and is saturated beyond it.
    """
    low, high = np.full(len(types), -np.inf), np.full(len(types), np.inf)
    for i, (kind, unit) in enumerate(zip(types, units)):
        if kind is not None:
            inside = 0.5 if unit.endswith("eV") else -0.5
            high[i] = (kind.high - inside) * kind.lsb
            low[i] = (kind.low + (inside if kind.signed else -0.5)) * kind.lsb
    return low.astype(np.float32), high.astype(np.float32)
