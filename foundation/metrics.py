"""Figures of merit of taggers and regressors: weighted, with errors, and never a silent NaN.

Numbers that the data cannot give (a class without an example, a rejection with no background left) are None with a
reason. Rows whose label is unknown (-1 for classes, NaN for targets) are left out and counted. Results are plain dicts
that go to JSON as they are.

Axes: N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from sklearn.metrics import roc_curve

from foundation.errors import DataError, close_names

SIGNAL_EFFICIENCIES = (0.3, 0.5, 0.8, 0.99)
ONE_SIGMA = 0.682689492


@dataclass(frozen=True)
class Roc:
    """Background efficiency against signal efficiency, from the tightest cut to the loosest.

    Attributes:
        signal_efficiency: rises from 0 to 1.
        background_efficiency: rises from 0 to 1.
        thresholds: score >= threshold is selected; the first is infinite.
        signal_events: effective number of signal examples, (sum w)^2 / sum w^2.
        background_events: of background examples.
    """

    signal_efficiency: Float[np.ndarray, " P"]
    background_efficiency: Float[np.ndarray, " P"]
    thresholds: Float[np.ndarray, " P"]
    signal_events: float
    background_events: float

    @property
    def auc(self) -> float:
        """Area under signal efficiency against background efficiency."""
        return float(np.trapezoid(self.signal_efficiency, self.background_efficiency))

    def at(self, signal_efficiency: float) -> float:
        """Background efficiency at a signal efficiency, linear between cuts: ties in the score are shared out."""
        upper = min(int(np.searchsorted(self.signal_efficiency, signal_efficiency)), len(self.signal_efficiency) - 1)
        if self.signal_efficiency[upper] <= signal_efficiency:  # met exactly: the tightest cut that does
            return float(self.background_efficiency[upper])
        cuts = slice(upper - 1, upper + 1)
        return float(np.interp(signal_efficiency, self.signal_efficiency[cuts], self.background_efficiency[cuts]))


def roc(
    signal: Bool[np.ndarray, " N"], score: Num[np.ndarray, " N"], weights: Num[np.ndarray, " N"] | None = None
) -> Roc:
    """The ROC curve of a score that is larger for signal.

    Raises:
        DataError: no signal, no background, a score that is not finite, or a negative weight.
    """
    check_finite(score, "scores")
    w = check_weights(weights, len(score))
    if not np.any(w[signal]) or not np.any(w[~signal]):
        missing = "signal" if not np.any(w[signal]) else "background"
        raise DataError(f"a ROC curve needs signal and background; no {missing} example among {len(score)}")
    false_rate, true_rate, thresholds = roc_curve(signal, score, sample_weight=w, drop_intermediate=True)
    true_rate, false_rate, thresholds = (x.astype(np.float64) for x in (true_rate, false_rate, thresholds))
    return Roc(true_rate, false_rate, thresholds, effective_count(w[signal]), effective_count(w[~signal]))


def background_rejection(curve: Roc, signal_efficiency: float) -> dict[str, Any]:
    """1/eps_B at a signal efficiency, with the binomial error of eps_B over the effective number of background events.

    Returns:
        signal_efficiency, background_efficiency, value and error; `value` and `error` are None, with a `reason` that
        gives the 68% lower limit, where no background is left.
    """
    eps_b, n = curve.at(signal_efficiency), curve.background_events
    result: dict[str, Any] = {"signal_efficiency": signal_efficiency, "background_efficiency": eps_b}
    if eps_b <= 0:
        limit = 1 / -np.expm1(np.log1p(-ONE_SIGMA) / n)
        reason = f"no background passes; above {limit:.3g} at 68% confidence"
        return result | {"value": None, "error": None, "reason": reason}
    error = np.sqrt(eps_b * (1 - eps_b) / n)
    return result | {"value": 1 / eps_b, "error": float(error / eps_b**2)}


def discriminant(
    probabilities: Float[np.ndarray, "N C"], classes: Sequence[str], signal: Sequence[str], background: Sequence[str]
) -> Float[np.ndarray, " N"]:
    """P(signal) / (P(signal) + P(background)), summed over the classes of each.

    Raises:
        DataError: a name is not a class.
    """
    for name in [*signal, *background]:
        if name not in classes:
            raise DataError(f"no class '{name}' to discriminate; {close_names(name, classes)}")
    s = probabilities[:, [list(classes).index(name) for name in signal]].sum(axis=1)
    b = probabilities[:, [list(classes).index(name) for name in background]].sum(axis=1)
    return s / np.maximum(s + b, np.finfo(probabilities.dtype).tiny)


def classification(
    labels: Int[np.ndarray, " N"],
    scores: Float[np.ndarray, "N C"],
    classes: Sequence[str],
    weights: Num[np.ndarray, " N"] | None = None,
    signal_efficiencies: Sequence[float] = SIGNAL_EFFICIENCIES,
) -> dict[str, Any]:
    """Accuracy, one-vs-rest AUC of each class and their mean, rejections, confusion matrix.

    Args:
        labels: class integers; -1 where unknown.
        scores: probabilities, or anything monotonic in them for the class alone.
        classes: names, in the order of the scores.

    Returns:
        examples, excluded (unknown label), accuracy, auc (macro, over the classes that have one), `auc/CLASS`,
        `rejection/CLASS` at each of `signal_efficiencies`, confusion (true class x predicted class, summed
        weights), and `reasons` for each figure that is None.

    Raises:
        DataError: no labelled example, a score that is not finite, a label out of range, or a negative weight.
    """
    check_finite(scores, "scores")
    w, known = check_weights(weights, len(labels)), labels >= 0
    if labels.max(initial=-1) >= len(classes):
        raise DataError(f"a label is {labels.max()}, but the classes are {len(classes)}: {', '.join(classes)}")
    if not np.any(w[known]):
        raise DataError(f"none of the {len(labels)} examples has a known label and a weight; nothing can be evaluated")
    labels, scores, w, excluded = labels[known], scores[known], w[known], int(np.sum(~known))
    matrix = confusion_matrix(labels, scores.argmax(axis=1), len(classes), w)
    per_class: dict[str, Any] = {}
    rejections: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for i, name in enumerate(classes):
        if matrix[i].sum() == 0 or matrix[i].sum() == matrix.sum():
            what = "no example" if matrix[i].sum() == 0 else "no example of any other class"
            per_class[f"auc/{name}"], reasons[f"auc/{name}"] = None, f"{what} in the test set"
            continue
        curve = roc(labels == i, scores[:, i], w)
        per_class[f"auc/{name}"] = curve.auc
        rejections[f"rejection/{name}"] = [background_rejection(curve, e) for e in signal_efficiencies]
    areas = [value for value in per_class.values() if value is not None]
    if not areas:
        reasons["auc"] = "only one class has examples"
    return {
        "examples": len(labels),
        "excluded": excluded,
        "accuracy": float(np.trace(matrix) / matrix.sum()),
        "auc": float(np.mean(areas)) if areas else None,
        **per_class,
        **rejections,
        "confusion": matrix.tolist(),
        "reasons": reasons,
    }


def binary(
    signal: Bool[np.ndarray, " N"],
    score: Num[np.ndarray, " N"],
    weights: Num[np.ndarray, " N"] | None = None,
    signal_efficiencies: Sequence[float] = SIGNAL_EFFICIENCIES,
) -> dict[str, Any]:
    """AUC with its error (Hanley and McNeil 1982, equation 1) and background rejections of one score.

    Raises:
        DataError: as `roc`.
    """
    curve = roc(signal, score, weights)
    a, n_s, n_b = curve.auc, curve.signal_events, curve.background_events
    variance = a * (1 - a) + (n_s - 1) * (a / (2 - a) - a * a) + (n_b - 1) * (2 * a * a / (1 + a) - a * a)
    return {
        "signal": int(np.sum(signal)),
        "background": int(np.sum(~signal)),
        "auc": a,
        "auc_error": float(np.sqrt(max(variance, 0) / (n_s * n_b))),
        "rejection": [background_rejection(curve, e) for e in signal_efficiencies],
    }


def accuracy(
    labels: Int[np.ndarray, " N"], predicted: Int[np.ndarray, " N"], weights: Num[np.ndarray, " N"] | None = None
) -> float:
    """Weighted share of examples of known label that are predicted right.

    Raises:
        DataError: no example has a known label.
    """
    known, w = labels >= 0, check_weights(weights, len(labels))
    if not np.any(w[known]):
        raise DataError(f"none of the {len(labels)} examples has a known label; an accuracy needs one")
    return float(np.average(predicted[known] == labels[known], weights=w[known]))


def confusion_matrix(
    labels: Int[np.ndarray, " N"], predicted: Int[np.ndarray, " N"], classes: int, weights: Num[np.ndarray, " N"]
) -> Float[np.ndarray, "C C"]:
    """Summed weights by true class (rows) and predicted class (columns)."""
    cells = np.bincount(labels * classes + predicted, weights=weights, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.float64)


def regression(
    true: Num[np.ndarray, " N"], predicted: Num[np.ndarray, " N"], weights: Num[np.ndarray, " N"] | None = None
) -> dict[str, Any]:
    """Response predicted/true: its median and resolution, half the width of the central 68%.

    Returns:
        examples, excluded (target NaN, or 0 where no ratio exists), response, resolution, relative_resolution
        (resolution / response), mean_absolute_error.

    Raises:
        DataError: a prediction is not finite, a weight is negative, or no target is known.
    """
    check_finite(predicted, "predictions")
    w = check_weights(weights, len(true))
    usable = np.isfinite(true) & (true != 0) & (w > 0)
    if not np.any(usable):
        raise DataError(f"none of the {len(true)} examples has a known target other than 0; nothing can be evaluated")
    t, p, w = true[usable].astype(np.float64), predicted[usable].astype(np.float64), w[usable]
    low, median, high = weighted_quantiles(p / t, [(1 - ONE_SIGMA) / 2, 0.5, (1 + ONE_SIGMA) / 2], w)
    return {
        "examples": int(np.sum(usable)),
        "excluded": int(np.sum(~usable)),
        "response": median,
        "resolution": (high - low) / 2,
        "relative_resolution": (high - low) / 2 / median if median else None,
        "mean_absolute_error": float(np.average(np.abs(p - t), weights=w)),
    }


def weighted_quantiles(
    values: Float[np.ndarray, " N"], quantiles: Sequence[float], weights: Num[np.ndarray, " N"]
) -> list[float]:
    """Quantiles of a weighted sample, linear between the midpoints of the cumulative weight."""
    order = np.argsort(values)
    w = weights[order].astype(np.float64)
    position = (np.cumsum(w) - w / 2) / np.sum(w)
    return [float(x) for x in np.interp(quantiles, position, values[order])]


def effective_count(weights: Num[np.ndarray, " N"]) -> float:
    """(sum w)^2 / sum w^2: the number of unweighted events of equal statistical power."""
    return float(np.sum(weights) ** 2 / np.sum(weights**2))


def check_finite(values: Num[np.ndarray, "*s"], what: str) -> None:
    """Raises DataError naming how many values are not finite, and the first."""
    bad = ~np.isfinite(values)
    if np.any(bad):
        rows = np.flatnonzero(bad.reshape(len(values), -1).any(axis=1))
        raise DataError(
            f"{len(rows)} of {len(values)} {what} are NaN or infinite, the first in row {rows[0]}; "
            "the training has diverged or the inputs hold values that are not finite"
        )


def check_weights(weights: Num[np.ndarray, " N"] | None, length: int) -> Float[np.ndarray, " N"]:
    """The weights as float64, 1 where there are none.

    Raises:
        DataError: a weight is negative or not finite, or their number is not `length`.
    """
    if weights is None:
        return np.ones(length)
    if len(weights) != length:
        raise DataError(f"{len(weights)} weights for {length} examples")
    check_finite(weights, "weights")
    if np.any(weights < 0):
        raise DataError(
            f"{int(np.sum(weights < 0))} of {length} weights are negative; efficiencies are not defined with them. "
            "Evaluate with weight 1, or with the absolute value"
        )
    return weights.astype(np.float64)
