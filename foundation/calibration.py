"""Whether a probability is one: reliability curve, expected calibration error, temperature scaling.

Guo et al., arXiv:1706.04599. Of several classes, the confidence is the largest probability and a hit is that its class
is the true one; of yes-or-no classes, the confidence is the probability of yes and a hit is a yes.

Axes: N objects, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, log_softmax, softmax

BINS = 15
WIDEST = 4.0  # |ln T| of a fitted temperature is at most this


def probabilities(logits: Float[np.ndarray, "N C"], *, exclusive: bool, temperature: float = 1.0) -> np.ndarray:
    """[N, C] from logits / temperature: softmax of classes of which one holds, logistic function of the others."""
    scaled = logits.astype(np.float64) / temperature
    return softmax(scaled, axis=1) if exclusive else expit(scaled)


def negative_log_likelihood(
    logits: Float[np.ndarray, "N C"], targets: Int[np.ndarray, "N *C"], temperature: float = 1.0
) -> float:
    """Mean over the objects (of yes-or-no classes: over the answers) that are known; NaN where none is.

    Args:
        targets: [N] class, or [N, C] of 0 and 1; -1 where unknown.
    """
    scaled = logits.astype(np.float64) / temperature
    if targets.ndim == 1:
        known = targets >= 0
        terms = log_softmax(scaled[known], axis=1)[np.arange(known.sum()), targets[known]]
    else:
        known = targets >= 0
        terms = np.where(targets == 1, log_expit(scaled), log_expit(-scaled))[known]
    return float(-np.mean(terms)) if known.any() else float("nan")


def fit_temperature(logits: Float[np.ndarray, "N C"], targets: Int[np.ndarray, "N *C"]) -> float:
    """The T that makes logits / T most likely (arXiv:1706.04599, section 4.2); the loss is convex in 1/T.

    Args:
        targets: as `negative_log_likelihood`; some are known.
    """
    found = minimize_scalar(
        lambda x: negative_log_likelihood(logits, targets, float(np.exp(x))), bounds=(-WIDEST, WIDEST), method="bounded"
    )
    return float(np.exp(found.x))


def confidence_and_hits(
    scores: Float[np.ndarray, "N C"], targets: Int[np.ndarray, "N *C"]
) -> tuple[Float[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
    """Of the known objects (or answers): how sure the model is, and whether it is right."""
    known = targets >= 0
    if targets.ndim == 2:
        return scores[known], targets[known] == 1
    return scores[known].max(axis=1), scores[known].argmax(axis=1) == targets[known]


def reliability(
    confidence: Float[np.ndarray, " m"], hits: Bool[np.ndarray, " m"], bins: int = BINS
) -> list[dict[str, float]]:
    """One record per bin of confidence (of equal width) that is not empty.

    Returns:
        low, high (edges), examples, confidence (mean), accuracy (share of hits) and its binomial error at that
        confidence.
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    mean = np.bincount(place, confidence, minlength=bins) / np.maximum(count, 1)
    share = np.bincount(place, hits.astype(np.float64), minlength=bins) / np.maximum(count, 1)
    error = np.sqrt(mean * (1 - mean) / np.maximum(count, 1))
    names = ("low", "high", "examples", "confidence", "accuracy", "error")
    values = zip(edges[:-1], edges[1:], count, mean, share, error)
    return [dict(zip(names, map(float, each))) for each in values if each[2]]


def calibration_error(records: Sequence[dict[str, float]]) -> tuple[float, float]:
    """Expected calibration error (arXiv:1706.04599, equation 3), and what statistics alone make of it.

    The second is its mean for a perfectly calibrated model with as many examples in each bin: |accuracy - confidence|
    of a bin is then half-normal with the binomial error.
    """
    total = sum(r["examples"] for r in records)
    error = sum(r["examples"] * abs(r["accuracy"] - r["confidence"]) for r in records) / total
    floor = sum(r["examples"] * np.sqrt(2 / np.pi) * r["error"] for r in records) / total
    return float(error), float(floor)


def calibration(
    logits: Float[np.ndarray, "N C"], targets: Int[np.ndarray, "N *C"], temperature: float | None
) -> dict[str, Any]:
    """Calibration of logits as they are (`raw`) and, where a temperature is given, divided by it (`calibrated`).

    Returns:
        of each: ece, ece_of_statistics, nll, brier (mean squared error, summed over the classes) and reliability (a
        list of records).
    """
    found: dict[str, Any] = {"temperature": temperature}
    stages = {"raw": 1.0} if temperature is None else {"raw": 1.0, "calibrated": temperature}
    exclusive = targets.ndim == 1
    known = np.asarray(np.any((targets >= 0).reshape(len(targets), -1), axis=1))
    truth = np.eye(logits.shape[1])[np.maximum(targets, 0)] if exclusive else np.maximum(targets, 0)
    counted = known[:, None] & np.ones_like(truth, bool) if exclusive else targets >= 0
    for name, value in stages.items():
        scores = probabilities(logits, exclusive=exclusive, temperature=value)
        records = reliability(*confidence_and_hits(scores, targets))
        ece, floor = calibration_error(records)
        brier = float(np.sum(((scores - truth) ** 2) * counted) / max(int(np.sum(known)), 1))
        found[name] = {
            "ece": ece,
            "ece_of_statistics": floor,
            "nll": negative_log_likelihood(logits, targets, value),
            "brier": brier,
            "reliability": records,
        }
    return found
