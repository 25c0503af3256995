"""Rates in kHz from zero-bias crossings, and thresholds at a rate.

A crossing's weight is the number of crossings it stands for, up to a common factor: rate = crossing rate x (weight that
passes) / (weight of all). Errors are Poisson errors of the number that passes, at 68%: exact (Garwood 1936) for equal
weights, else of the effective number (sum w)^2 / sum w^2. The error of the number of all crossings is left out.

Axes: n zero-bias crossings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.stats import gamma

from foundation.errors import ConfigError, DataError
from foundation.metrics import ONE_SIGMA, check_finite, check_weights, effective_count
from foundation.trigger.beam import Beam

RATES_KHZ = (0.1, 1.0, 5.0, 10.0, 100.0)
RELATIVE_ERROR = 0.3  # statistical error of a rate, above which it is no measurement: about 11 crossings that pass
ROUNDING = 1e-9  # relative; sums of weights in floating point
MANY = 1.5  # crossings of one score, which a threshold cannot part


@dataclass(frozen=True)
class Rate:
    """A rate with its 68% interval.

    Attributes:
        khz: the rate.
        low: of the interval, kHz.
        high: of the interval, kHz.
        crossings: effective number of crossings that pass.
    """

    khz: float
    low: float
    high: float
    crossings: float


@dataclass(frozen=True)
class Threshold:
    """A cut, `score >= value` passes, for a rate that was asked for.

    Attributes:
        rate_khz: asked for; the cut never gives more on the crossings it was set with.
        value: of the cut; infinite where even the highest score alone gives more.
        achieved_khz: the rate that it gives on these crossings.
        low_khz: of the 68% interval of that rate.
        high_khz: of that interval.
        crossings: effective number of crossings that pass.
        measured: whether they are enough for the relative error asked for.
        reason: in words, where it is not measured, or is off the rate asked for; else empty.
    """

    rate_khz: float
    value: float
    achieved_khz: float
    low_khz: float
    high_khz: float
    crossings: float
    measured: bool
    reason: str = ""

    def record(self) -> dict[str, Any]:
        """For JSON, which knows no infinity: `value` is then None."""
        return self.__dict__ | {"value": self.value if math.isfinite(self.value) else None}


def poisson_interval(count: float, confidence: float = ONE_SIGMA) -> tuple[float, float]:
    """Central interval of the mean of a Poisson variable of which `count` was seen (Garwood, Biometrika 28 (1936) 437).

    A count that is no integer, as effective ones are, is taken into the same formula.
    """
    tail = (1 - confidence) / 2
    return float(gamma.ppf(tail, count)) if count > 0 else 0.0, float(gamma.isf(tail, count + 1))


def rate_khz(passed: Bool[np.ndarray, " n"], weights: Num[np.ndarray, " n"] | None, beam: Beam) -> Rate:
    """The rate of a decision.

    Where no crossing passes, the upper end takes a crossing to weigh as the data's do, sum w^2 / sum w.

    Raises:
        DataError: there is no crossing, or a weight is negative or not finite.
    """
    w = _weights(weights, len(passed))
    count, kept = 0.0, w[passed]
    if kept.any():
        count = effective_count(kept)
    each = float(kept.sum()) / count if count else float((w**2).sum() / w.sum())
    scale = beam.crossing_rate_khz / float(w.sum())
    low, high = poisson_interval(count)
    return Rate(scale * float(kept.sum()), scale * each * low, scale * each * high, count)


def crossings_needed(rate_khz: float, beam: Beam, relative_error: float = RELATIVE_ERROR) -> int:
    """Unweighted zero-bias crossings on which a rate has that statistical error: (crossing rate / rate) / error^2."""
    return math.ceil(beam.crossing_rate_khz / rate_khz / relative_error**2 * (1 - ROUNDING))


def thresholds(
    scores: Num[np.ndarray, " n"],
    weights: Num[np.ndarray, " n"] | None,
    rates_khz: Sequence[float],
    beam: Beam,
    fired: Bool[np.ndarray, " n"] | None = None,
    pure: bool = False,
    relative_error: float = RELATIVE_ERROR,
) -> list[Threshold]:
    """The loosest cuts that give no more than each rate.

    Crossings of equal score, as integer scores have them, pass together or not at all.

    Args:
        fired: whether the menu takes each crossing.
        pure: count only what the menu does not take.
        relative_error: of the rate, above which a threshold is not measured.

    Raises:
        ConfigError: a rate is not above 0 and below the crossing rate, or `pure` without `fired`.
        DataError: there is no crossing, or a score is not finite.
    """
    check_finite(scores, "scores")
    w = _weights(weights, len(scores))
    if pure and fired is None:
        raise ConfigError("a pure rate is that beside a menu; there is none")
    counted = ~fired if pure and fired is not None else np.ones(len(scores), bool)
    steps = Steps.of(scores[counted], w[counted])
    scale = beam.crossing_rate_khz / float(w.sum())
    each = float((w**2).sum() / w.sum())
    return [_threshold(steps, rate, scale, each, beam, relative_error, len(scores)) for rate in rates_khz]


@dataclass(frozen=True)
class Steps:
    """What passes at each distinct score, from the highest down.

    Attributes:
        values: distinct scores, descending.
        weight: summed weight at or above each.
        square: summed squared weight.
    """

    values: Float[np.ndarray, " s"]
    weight: Float[np.ndarray, " s"]
    square: Float[np.ndarray, " s"]

    @staticmethod
    def of(scores: Num[np.ndarray, " m"], weights: Float[np.ndarray, " m"]) -> Steps:
        order = np.argsort(scores, kind="stable")[::-1]
        ordered, w = scores[order].astype(np.float64), weights[order]
        ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True)) if len(ordered) else np.zeros(0, np.int64)
        return Steps(ordered[ends], np.cumsum(w)[ends], np.cumsum(w**2)[ends])

    def within(self, weight: float) -> int:
        """Number of steps whose summed weight is at most so much."""
        return int(np.searchsorted(self.weight, weight * (1 + ROUNDING), side="right"))

    def shared(self, step: int) -> float:
        """Effective number of crossings that have the score of a step."""
        weight, square = (float(np.diff(x[: step + 1], prepend=0.0)[-1]) for x in (self.weight, self.square))
        return weight**2 / square if square > 0 else 0.0


def _threshold(
    steps: Steps, rate: float, scale: float, each: float, beam: Beam, relative_error: float, rows: int
) -> Threshold:
    if not 0 < rate < beam.crossing_rate_khz:
        raise ConfigError(f"a rate of {rate:g} kHz: expected one above 0 and below {beam.crossing_rate_khz:,.0f} kHz")
    taken = steps.within(rate / scale)
    weight = float(steps.weight[taken - 1]) if taken else 0.0
    count = weight**2 / float(steps.square[taken - 1]) if weight else 0.0
    low, high = (scale * end * (weight / count if count else each) for end in poisson_interval(count))
    value = float(steps.values[taken - 1]) if taken else math.inf
    measured = count * relative_error**2 >= 1 - ROUNDING
    beyond = steps.weight[taken] * scale if taken < len(steps.values) else None
    tied = "" if beyond is None or steps.shared(taken) < MANY else f"the next lower score is shared: {beyond:.3g} kHz"
    reason = _reason(rate, scale * weight, count, (low, high), tied, measured, beam, relative_error, rows)
    return Threshold(rate, value, scale * weight, low, high, count, measured, reason)


def _reason(
    rate: float,
    achieved: float,
    count: float,
    interval: tuple[float, float],
    tied: str,
    measured: bool,
    beam: Beam,
    relative_error: float,
    rows: int,
) -> str:
    """Why a threshold is refused, or how it misses the rate asked for."""
    if not measured:
        needed = crossings_needed(rate, beam, relative_error)
        text = f"not measured: {count:.3g} crossings of {rows:,} pass, so the rate is {interval[0]:.3g} to "
        text += f"{interval[1]:.3g} kHz at 68%; an error of {relative_error:.0%} takes {needed:,} zero-bias crossings"
        return text + (f"; {tied}" if tied else "")
    if achieved < rate * (1 - relative_error):
        return f"gives {achieved:.3g} kHz: " + (tied or "there is no more to count")
    return ""


def _weights(weights: Num[np.ndarray, " n"] | None, length: int) -> Float[np.ndarray, " n"]:
    w = check_weights(weights, length)
    if not w.any():
        raise DataError(f"a rate needs zero-bias crossings; there are {length} and none has a weight above 0")
    return w
