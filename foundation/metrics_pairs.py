"""One class against another: the multi-class AUC of Hand and Till, and stated pairs of signal and background.

Axes: N objects, C classes, E signal efficiencies.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from foundation.errors import ConfigError, close_names
from foundation.metrics import background_rejection, discriminant, roc
from foundation.metrics_bootstrap import Bootstrap


def one_vs_one(
    labels: Int[np.ndarray, " N"],
    scores: Float[np.ndarray, "N C"],
    classes: Sequence[str],
    rows: Int[np.ndarray, " N"],
    bootstrap: Bootstrap,
) -> tuple[dict[str, Any], list[float] | None]:
    """AUC of every pair of classes, and their mean (Hand and Till, Machine Learning 45 (2001) 171, equation 7).

    Of classes i and j, on the examples of these two alone: the mean of the AUC of score i with i as signal and of
    score j with j as signal. The mean over the pairs does not depend on how frequent the classes are.

    Returns:
        `auc_ovo` (None where no pair has examples) and `auc_ovo_pairs`, a record of each pair; the interval of auc_ovo.
    """
    pairs, replicas, none = [], [], np.zeros(0)
    for i, j in itertools.combinations(range(len(classes)), 2):
        chosen = (labels == i) | (labels == j)
        if not np.any(labels == i) or not np.any(labels == j):
            continue
        areas, repeated = [], []
        for own in (i, j):
            signal, score = labels[chosen] == own, scores[chosen, own]
            areas.append(roc(signal, score).auc)
            repeated.append(bootstrap.areas(signal, score, rows[chosen], none)[0])
        replicas.append(np.mean(repeated, axis=0))
        found = {"first": classes[i], "second": classes[j], "auc": float(np.mean(areas))}
        pairs.append(found | _ends(bootstrap.interval(replicas[-1])))
    value = float(np.mean([pair["auc"] for pair in pairs])) if pairs else None
    interval = bootstrap.interval(np.mean(replicas, axis=0)) if pairs else None
    return {"auc_ovo": value, "auc_ovo_pairs": pairs}, interval


def stated_pairs(signal: Sequence[str], background: Sequence[str], classes: Sequence[str]) -> list[tuple[str, str]]:
    """Every signal with every background; without a background, with every other class.

    Raises:
        ConfigError: a name is not a class, or a background without a signal.
    """
    for name in [*signal, *background]:
        if name not in classes:
            raise ConfigError(
                f"cfg.signal, cfg.background: the model has no class '{name}'; {close_names(name, classes)}"
            )
    if background and not signal:
        raise ConfigError(f"cfg.background is {list(background)}, and cfg.signal names no class to tell it from")
    return [(s, b) for s in signal for b in background or classes if s != b]


def pair_figures(
    labels: Int[np.ndarray, " N"],
    scores: Float[np.ndarray, "N C"],
    classes: Sequence[str],
    pair: tuple[str, str],
    efficiencies: Sequence[float],
    rows: Int[np.ndarray, " N"],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """AUC and rejections of P(signal) / (P(signal) + P(background)) on the examples of these two classes."""
    s, b = (list(classes).index(name) for name in pair)
    chosen = (labels == s) | (labels == b)
    found: dict[str, Any] = {"signal": pair[0], "background": pair[1], "examples": int(chosen.sum())}
    if not np.any(labels == s) or not np.any(labels == b):
        return found | {"auc": None, "reason": "a class without an example"}
    truth, score = labels[chosen] == s, discriminant(scores[chosen], classes, [pair[0]], [pair[1]])
    curve = roc(truth, score)
    areas, at = bootstrap.areas(truth, score, rows[chosen], np.asarray(efficiencies))
    rejections = [background_rejection(curve, e) for e in efficiencies]
    for i, rejection in enumerate(rejections):
        rejection |= bootstrap.rejection_interval(at[:, i])
    return found | {"auc": curve.auc} | _ends(bootstrap.interval(areas)) | {"rejection": rejections}


def _ends(interval: list[float] | None) -> dict[str, float]:
    return {} if interval is None else {"low": interval[0], "high": interval[1]}
