"""What a cut keeps of a signal, and how well a score separates: efficiency, AUC, significance improvement.

Axes: n crossings of signal, m of background.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.stats import beta

from foundation.errors import DataError
from foundation.metrics import ONE_SIGMA, binary, check_weights, effective_count
from foundation.trigger.rates import RELATIVE_ERROR, Steps


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


def kept(
    signal: Num[np.ndarray, " n"], cuts: Num[np.ndarray, " c"], weights: Num[np.ndarray, " n"] | None = None
) -> Float[np.ndarray, " c"]:
    """Share of the signal with `score >= cut`, of many cuts at once."""
    w, order = check_weights(weights, len(signal)), np.argsort(signal, kind="stable")
    above = np.append(np.cumsum(w[order][::-1])[::-1], 0.0)
    return above[np.searchsorted(signal[order], cuts, side="left")] / w.sum()


def separation(
    signal: Num[np.ndarray, " n"],
    background: Num[np.ndarray, " m"],
    signal_weights: Num[np.ndarray, " n"] | None = None,
    background_weights: Num[np.ndarray, " m"] | None = None,
) -> dict[str, Any]:
    """AUC with its error, and the largest significance improvement eps_S / sqrt(eps_B) with where it is.

    The improvement is looked for among the cuts that enough background passes to know eps_B to 30%.

    Returns:
        auc, auc_error, sic, and the signal_efficiency and background_efficiency of that cut; the last three are None
        where no cut passes enough.

    Raises:
        DataError: a sample is empty, or a score is not finite.
    """
    scores = np.concatenate([np.asarray(signal, np.float64), np.asarray(background, np.float64)])
    weights = (check_weights(signal_weights, len(signal)), check_weights(background_weights, len(background)))
    found = binary(np.arange(len(scores)) < len(signal), scores, np.concatenate(weights), ())
    steps = Steps.of(background, weights[1])
    share = steps.weight / steps.weight[-1]
    enough = steps.weight**2 >= steps.square / RELATIVE_ERROR**2
    result: dict[str, Any] = {"auc": found["auc"], "auc_error": found["auc_error"]}
    if not enough.any():
        return result | dict.fromkeys(("sic", "signal_efficiency", "background_efficiency"))
    efficiencies = kept(signal, steps.values, weights[0])
    improvement = np.where(enough, efficiencies / np.sqrt(np.maximum(share, np.finfo(float).tiny)), 0)
    best = int(np.argmax(improvement))
    ends = {"signal_efficiency": float(efficiencies[best]), "background_efficiency": float(share[best])}
    return result | {"sic": float(improvement[best])} | ends
