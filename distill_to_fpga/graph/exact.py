"""Exact integer helpers of the operations: binary points brought together, rounding, lowest terms, shape checks.

Everything here is in unbounded Python integers (arrays of objects) or provably small ones, so nothing can overflow.
"""

from __future__ import annotations

import numpy as np

from distill_to_fpga.graph.types import GraphError, IntArray, Ints, Wire, ints, magnitude_bits, objects


def per_element(name: str, values: Ints, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.broadcast_to(ints(values), shape)
    except ValueError as error:
        raise GraphError(f"'{name}': constants of shape {np.shape(values)} do not fit a wire of {shape}") from error


def rounded(values: Ints, drop: Ints, round_up: bool) -> np.ndarray:
    """`values * 2**-drop` as Python integers, rounded down or to nearest with ties upwards."""
    places = objects(drop)
    down, up = np.maximum(places, 0), np.maximum(-places, 0)
    half = (int(round_up) << down) >> 1  # none where nothing is dropped
    return np.asarray(((objects(values) << up) + half) >> down, dtype=object)


def lowest_terms(values: IntArray, fraction: IntArray) -> tuple[np.ndarray, np.ndarray]:
    """The same numbers with odd integers: trailing zero bits move into the fraction."""
    lowest = values & -values
    zeros = np.where(values != 0, np.asarray(magnitude_bits(0, objects(lowest)), dtype=np.int64) - 1, 0)
    return values >> zeros, np.broadcast_to(fraction, values.shape) - zeros


def common_fraction(*wires: Wire) -> tuple:
    """`(low, high)` of each wire in units of the finest LSB among them, and that fraction; per element."""
    fraction = finest_of(*wires)
    pairs = []
    for wire in wires:
        align = objects(alignment(wire, fraction))
        pairs.append((objects(wire.low) << align, objects(wire.high) << align))
    return *pairs, fraction


def along_axis(name: str, axis: int, x: Wire) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`low` and `high` in units of the finest LSB along `axis`, and the fraction with that axis removed."""
    check_axis(name, axis, x)
    fraction = finest_along(axis, x)
    align = objects(alignment(x, np.expand_dims(fraction, axis)))
    return objects(x.low) << align, objects(x.high) << align, fraction


def finest(fraction: np.ndarray, live: np.ndarray, axis: int = 0) -> np.ndarray:
    """The largest fraction along an axis among live elements; 0 where there is none."""
    return np.where(live.any(axis), np.where(live, fraction, np.iinfo(np.int64).min).max(axis), 0)


def finest_of(*wires: Wire) -> np.ndarray:
    """Per element, the fraction of the finest LSB among the wires; a pruned element has none."""
    return finest(np.stack([wire.fraction for wire in wires]), np.stack([wire.bits > 0 for wire in wires]))


def finest_along(axis: int, x: Wire) -> np.ndarray:
    return finest(x.fraction, x.bits > 0, axis)


def alignment(x: Wire, fraction: Ints) -> np.ndarray:
    """How far left the integers of `x` move to be in units of `2**-fraction`; pruned elements stay."""
    return np.where(x.bits > 0, fraction - x.fraction, 0)


def check_axis(name: str, axis: int, x: Wire) -> None:
    if not -len(x.shape) <= axis < len(x.shape):
        raise GraphError(f"'{name}': '{x.name}' has shape {x.shape}, and so no axis {axis}")
