"""A teacher's score as something that a small network can regress, and how much each example counts.

Axes: n examples, k knots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from distill_to_fpga.config import ScoreConfig
from foundation.errors import DataError

ZERO = 4.0  # the mean of the transformed scores: four deviations above the zero of an unsigned score
KNOTS = np.linspace(-4.0, 5.0, 181)  # of a rank transform, in standard deviations
BINS = 60  # of the histogram that the weights follow


@dataclass(frozen=True)
class ScoreTransform:
    """A strictly rising map of the teacher's score to mean `ZERO` and deviation 1 over the training set.

    Attributes:
        kind: see `ScoreConfig.transform`.
        scores, values: knots, rising; linear between them, logarithmic beyond the ends, so that a score beyond all of
            the training set stays finite and in order. For `log`, `scores` are logarithms.
    """

    kind: Literal["normal", "log", "none"] = "none"
    scores: tuple[float, ...] = (0.0, 1.0)
    values: tuple[float, ...] = (0.0, 1.0)

    @staticmethod
    def of(scores: Float[np.ndarray, " n"], kind: Literal["normal", "log", "none"]) -> ScoreTransform:
        """The transform of a training set's scores.

        Raises:
            DataError: a score is no number, all are equal, or `log` of a score that is not positive.
        """
        values = np.asarray(scores, np.float64)
        bad = int((~np.isfinite(values)).sum())
        if bad or not len(values) or values.min() == values.max():
            raise DataError(f"the teacher's scores: {bad} of {len(values)} are no numbers, or all are equal")
        if kind == "log":
            if values.min() <= 0:
                raise DataError(
                    f"score.transform log: the teacher's scores go down to {values.min():g}; use normal instead"
                )
            values = np.log(values)
        if kind != "normal":
            mean, std = float(values.mean()), float(values.std())
            return ScoreTransform(kind, (mean - 50 * std, mean + 50 * std), (ZERO - 50, ZERO + 50))
        inside = KNOTS[(ndtr(KNOTS) * len(values) >= 1) & (ndtr(-KNOTS) * len(values) >= 1)]
        knots = np.quantile(values, ndtr(inside))
        rising = np.flatnonzero(np.diff(knots, prepend=-np.inf) > 0)
        if len(rising) < 2:
            raise DataError(f"the teacher gives {len(values)} examples only {len(np.unique(values))} different scores")
        return ScoreTransform(kind, tuple(knots[rising].tolist()), tuple((inside[rising] + ZERO).tolist()))

    def apply(self, scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Transformed scores, float64."""
        with np.errstate(divide="ignore", invalid="ignore"):
            s = np.log(np.asarray(scores, np.float64)) if self.kind == "log" else np.asarray(scores, np.float64)
        x, y = np.asarray(self.scores), np.asarray(self.values)
        (first, last), inside = self._slopes(), np.interp(s, x, y)
        above = y[-1] + np.log1p(np.maximum(s - x[-1], 0) * last)
        below = y[0] - np.log1p(np.maximum(x[0] - s, 0) * first)
        return np.where(s > x[-1], above, np.where(s < x[0], below, inside))

    def undo(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The teacher's scores that transformed ones stand for."""
        v = np.asarray(values, np.float64)
        x, y = np.asarray(self.scores), np.asarray(self.values)
        (first, last), inside = self._slopes(), np.interp(v, y, x)
        above = x[-1] + np.expm1(np.maximum(v - y[-1], 0)) / last
        below = x[0] - np.expm1(np.maximum(y[0] - v, 0)) / first
        s = np.where(v > y[-1], above, np.where(v < y[0], below, inside))
        return np.exp(s) if self.kind == "log" else s

    def _slopes(self) -> tuple[float, float]:
        """Of the outermost pieces."""
        x, y = np.asarray(self.scores), np.asarray(self.values)
        slopes = np.diff(y) / np.diff(x)
        return float(slopes[0]), float(slopes[-1])


def tail_weights(values: Float[np.ndarray, " n"], config: ScoreConfig) -> Float[np.ndarray, " n"]:
    """Weights of examples with transformed scores: more where examples are rare and anomalous; mean 1.

    Efficiency at a fixed rate is decided above the threshold, where one crossing in a thousand lies or fewer, at which
    unweighted regression would hardly look.
    """
    counts, edges = np.histogram(values, BINS)
    density = np.maximum(np.interp(values, (edges[1:] + edges[:-1]) / 2, counts), 1.0)
    mode = edges[int(counts.argmax())]
    wanted = np.where(values > mode, (counts.max() / density) ** config.tail_power, 1.0)
    weights = np.clip(wanted, 1.0, config.tail_cap)
    return (weights / weights.mean()).astype(np.float32)
