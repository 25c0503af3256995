"""Numbers of the studies: peaks, widths, areas under curves, distances of shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from foundation.metrics import roc

CORE = 1.5  # the core of a peak, in standard deviations
CORE_WIDTH = 0.7428  # standard deviation of a unit Gaussian cut at +-1.5


def peak(values: Any, low: float, high: float) -> tuple[float, float]:
    """Position and width of the Gaussian core of a peak: mean and deviation within +-1.5 deviations, iterated."""
    values = np.asarray(values, np.float64)
    values = values[(values > low) & (values < high)]
    centre, width = float(np.median(values)), float(np.std(values))
    for _ in range(50):
        core = values[np.abs(values - centre) < CORE * width]
        centre, width = float(core.mean()), float(core.std()) / CORE_WIDTH
    return centre, width


def auc(signal: Any, background: Any) -> float:
    """Area under the ROC curve of a quantity that is larger for signal."""
    labels = np.concatenate([np.ones(len(signal), bool), np.zeros(len(background), bool)])
    return roc(labels, np.concatenate([np.asarray(signal), np.asarray(background)]).astype(np.float64)).auc


def ks(a: Any, b: Any, a_weights: Any = None, b_weights: Any = None) -> float:
    """Kolmogorov-Smirnov distance: the largest difference of the two cumulative distributions, in [0, 1]."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    points = np.sort(np.concatenate([a, b]))
    return float(np.max(np.abs(_cumulative(a, a_weights, points) - _cumulative(b, b_weights, points))))


def ks_noise(a: int | float, b: int | float) -> float:
    """The distance that two samples of these effective sizes from one distribution exceed in 5% of cases."""
    return 1.358 * float(np.sqrt((a + b) / (a * b)))


def _cumulative(values: np.ndarray, weights: Any, points: np.ndarray) -> np.ndarray:
    weights = np.ones(len(values)) if weights is None else np.asarray(weights)
    order = np.argsort(values)
    total = np.concatenate([[0.0], np.cumsum(weights[order])])
    return total[np.searchsorted(values[order], points, side="right")] / total[-1]


def robust_width(values: Any) -> tuple[float, float]:
    """Standard deviation, from the 16% and 84% quantiles, and its statistical error."""
    low, high = np.quantile(values, [0.15865, 0.84135])
    width = float(high - low) / 2
    return width, 1.3 * width / np.sqrt(2 * len(values))


def effective(weights: np.ndarray) -> float:
    """Effective number of weighted examples."""
    return float(weights.sum() ** 2 / (weights**2).sum())
