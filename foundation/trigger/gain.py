"""What a seed adds to a menu: efficiency of (menu OR seed) over that of the menu alone, at a pure rate of the seed.

The interval is of bootstrap replicas of both samples: signal crossings, and the zero-bias crossings that set the cut.

Axes: n zero-bias crossings, s signal crossings, R replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num

from foundation.errors import DataError
from foundation.metrics import ONE_SIGMA, check_weights
from foundation.trigger.beam import Beam
from foundation.trigger.rates import ROUNDING, Threshold

BEYOND = 3.0  # a replica's cut lies within the crossings that give so many times the rate,
SPARE = 30  # or so many more of them


@dataclass(frozen=True)
class Gain:
    """What a seed adds at a pure rate.

    Attributes:
        rate_khz: pure rate of the seed.
        value: efficiency of (menu OR seed) / efficiency of the menu - 1; None where the menu takes no signal.
        low: 68% interval of the replicas, or None.
        high: of that interval.
        menu: efficiency of the menu alone.
        together: of menu OR seed.
        reason: in words, where there is no value.
    """

    rate_khz: float
    value: float | None
    low: float | None
    high: float | None
    menu: float
    together: float
    reason: str = ""


def gains(
    cuts: Sequence[Threshold],
    background: tuple[Num[np.ndarray, " n"], Num[np.ndarray, " n"] | None, Bool[np.ndarray, " n"]],
    signal: tuple[Num[np.ndarray, " s"], Num[np.ndarray, " s"] | None, Bool[np.ndarray, " s"]],
    beam: Beam,
    replicas: int = 200,
    seed: int = 0,
) -> list[Gain]:
    """The gain at each of the cuts, which `thresholds(..., pure=True)` gave for the same background.

    Args:
        background: scores, weights, and whether the menu fires.
        signal: likewise.
        replicas: of the bootstrap; 0: no intervals.
        seed: of their weights.

    Raises:
        DataError: there is no signal crossing.
    """
    scores, weights, taken = signal
    w = check_weights(weights, len(scores))
    if not w.any():
        raise DataError("a gain needs signal crossings; there is none with a weight above 0")
    rng = np.random.default_rng(seed)
    counts = [rng.poisson(1.0, len(w)).astype(np.uint8) for _ in range(replicas)]
    found = []
    for cut in cuts:
        moved = _moved_cuts(cut, background, beam, replicas, rng)
        menu, together, value = _gain(scores, w, taken, cut.value)
        again = [_gain(scores, w * k, taken, at)[2] for k, at in zip(counts, moved)]
        known = np.asarray([each for each in again if each is not None], np.float64)
        ends = [float(x) for x in np.quantile(known, [(1 - ONE_SIGMA) / 2, (1 + ONE_SIGMA) / 2])] if len(known) else []
        low, high = ends if ends and value is not None else (None, None)
        reason = "" if value is not None else "the menu takes no signal crossing, so there is no ratio"
        found.append(Gain(cut.rate_khz, value, low, high, menu, together, reason))
    return found


def _gain(
    scores: Num[np.ndarray, " s"], w: Float[np.ndarray, " s"], taken: Bool[np.ndarray, " s"], cut: float
) -> tuple[float, float, float | None]:
    total = max(float(w.sum()), np.finfo(float).tiny)
    menu, together = float(w[taken].sum()) / total, float(w[taken | (scores >= cut)].sum()) / total
    return menu, together, together / menu - 1 if menu > 0 else None


def _moved_cuts(
    cut: Threshold,
    background: tuple[Num[np.ndarray, " n"], Num[np.ndarray, " n"] | None, Bool[np.ndarray, " n"]],
    beam: Beam,
    replicas: int,
    rng: np.random.Generator,
) -> list[float]:
    """The cut for the same rate in each replica. Only the highest scores matter; the sum of all weights is kept."""
    scores, weights, taken = background
    w = check_weights(weights, len(scores))
    allowed = cut.rate_khz / beam.crossing_rate_khz * float(w.sum())
    free, kept = scores[~taken], w[~taken]
    order = np.argsort(free, kind="stable")[::-1]
    summed = np.cumsum(kept[order])
    order = order[: int(np.searchsorted(summed, BEYOND * allowed)) + SPARE]
    ordered, kept = free[order].astype(np.float64), kept[order]
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True)) if len(ordered) else np.zeros(0, np.int64)
    moved = []
    for _ in range(replicas):
        at = np.cumsum(kept * rng.poisson(1.0, len(kept)))[ends]
        steps = int(np.searchsorted(at, allowed * (1 + ROUNDING), side="right"))
        moved.append(float(ordered[ends[steps - 1]]) if steps else float("inf"))
    return moved
