"""What a cut keeps of a signal, and how well a score separates: efficiency, AUC, significance improvement.

Axes: n crossings of signal, m of background.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Num
from scipy.stats import beta

from foundation.errors import DataError
from foundation.metrics import ONE_SIGMA, binary, check_weights, effective_count, roc
from foundation.trigger.rates import RELATIVE_ERROR


@dataclass(frozen=True)
class Efficiency:
    """A share with its central 68% interval.

    Attributes:
        value: the share.
        low: of the interval.
        high: of the interval.
    """

    value: float
    low: float
    high: float


def efficiency(
    passed: Bool[np.ndarray, " n"], weights: Num[np.ndarray, " n"] | None = None, confidence: float = ONE_SIGMA
) -> Efficiency:
    """Share that passes, with the interval of Clopper and Pearson (Biometrika 26 (1934) 404).

    With weights it is that of the effective number of crossings.

    Raises:
        DataError: there is no crossing with a weight.
    """
    w = check_weights(weights, len(passed))
    if not w.any():
        raise DataError("an efficiency needs signal crossings; there is none with a weight above 0")
    n, share = effective_count(w), float(w[passed].sum() / w.sum())
    k, tail = share * n, (1 - confidence) / 2
    low = float(beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(beta.isf(tail, k + 1, n - k)) if k < n else 1.0
    return Efficiency(share, low, high)


def efficiency_at(
    scores_signal: Num[np.ndarray, " n"], threshold: float, weights: Num[np.ndarray, " n"] | None = None
) -> Efficiency:
    """Share of the signal with `score >= threshold`, which is infinite where nothing may pass."""
    return efficiency(scores_signal >= threshold, weights)


def separation(
    signal: Num[np.ndarray, " n"],
    background: Num[np.ndarray, " m"],
    signal_weights: Num[np.ndarray, " n"] | None = None,
    background_weights: Num[np.ndarray, " m"] | None = None,
) -> dict[str, Any]:
    """AUC with its error, and the largest significance improvement eps_S / sqrt(eps_B).

    The improvement is looked for where enough background is left to know eps_B to 30%; `background_efficiency` and
    `signal_efficiency` say where it is found.

    Raises:
        DataError: a sample is empty, or a score is not finite.
    """
    scores = np.concatenate([np.asarray(signal, np.float64), np.asarray(background, np.float64)])
    which = np.arange(len(scores)) < len(signal)
    w = np.concatenate([check_weights(signal_weights, len(signal)), check_weights(background_weights, len(background))])
    found, curve = binary(which, scores, w, ()), roc(which, scores, w)
    known = curve.background_efficiency * curve.background_events * RELATIVE_ERROR**2 >= 1
    improvement = np.where(known, curve.signal_efficiency / np.sqrt(np.maximum(curve.background_efficiency, 1e-300)), 0)
    best = int(np.argmax(improvement))
    return {
        "auc": found["auc"],
        "auc_error": found["auc_error"],
        "sic": float(improvement[best]) if math.isfinite(improvement[best]) else None,
        "signal_efficiency": float(curve.signal_efficiency[best]),
        "background_efficiency": float(curve.background_efficiency[best]),
    }
