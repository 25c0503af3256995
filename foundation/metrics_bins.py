"""Figures in bins of a quantity: does a tagger, or a regression, work the same at every pt, eta and pile-up?

Axes: N examples, K bins.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from foundation.metrics import ONE_SIGMA, binary, weighted_quantiles

BINS = 6
FEWEST = 20  # examples of a bin whose response is given


def bin_edges(values: Num[np.ndarray, " N"], edges: Sequence[float] = ()) -> Float[np.ndarray, " K"]:
    """The edges given, or those of `BINS` bins with as many examples in each; empty where all values are one."""
    if edges:
        return np.asarray(edges, np.float64)
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        return np.zeros(0)
    found = np.unique(np.quantile(finite, np.linspace(0, 1, BINS + 1)))
    return found if len(found) > 1 else np.zeros(0)


def place_in(values: Num[np.ndarray, " N"], edges: Float[np.ndarray, " K"]) -> Int[np.ndarray, " N"]:
    """Bin of each value, the last edge included; -1 outside, or not finite."""
    place = np.searchsorted(edges, values, side="right") - 1
    place = np.where(values == edges[-1], len(edges) - 2, place)
    return np.where(np.isfinite(values) & (place < len(edges) - 1), place, -1)


def tagging_in_bins(
    values: Num[np.ndarray, " N"],
    signal: Bool[np.ndarray, " N"],
    score: Num[np.ndarray, " N"],
    edges: Float[np.ndarray, " K"],
    background_efficiency: float,
) -> list[dict[str, Any]]:
    """Efficiencies at one cut, which passes a share `background_efficiency` of all background, and AUC, in bins.

    Returns:
        per bin: low, high, signal, background (counts), signal_efficiency and background_efficiency with binomial
        errors, auc with that of Hanley and McNeil; None where the bin has none of one kind.
    """
    cut = np.quantile(score[~signal], 1 - background_efficiency, method="higher") if np.any(~signal) else np.inf
    place, records = place_in(values, edges), []
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = place == i
        record: dict[str, Any] = {"low": float(low), "high": float(high)}
        for name, kind in (("signal", signal), ("background", ~signal)):
            chosen = inside & kind
            record[name] = int(chosen.sum())
            record |= _efficiency(f"{name}_efficiency", score[chosen] >= cut)
        both = record["signal"] and record["background"]
        found = binary(signal[inside], score[inside]) if both else {"auc": None, "auc_error": None}
        records.append(record | {"auc": found["auc"], "auc_error": found["auc_error"]})
    return records


def _efficiency(name: str, passed: Bool[np.ndarray, " n"]) -> dict[str, float | None]:
    """Share and binomial error, taken at a share that is at least half an event away from 0 and 1."""
    if not len(passed):
        return {name: None, f"{name}_error": None}
    n = len(passed)
    share = float(np.mean(passed))
    safe = np.clip(share, 0.5 / n, 1 - 0.5 / n)
    return {name: share, f"{name}_error": float(np.sqrt(safe * (1 - safe) / n))}


def response_in_bins(
    values: Num[np.ndarray, " N"],
    true: Num[np.ndarray, " N"],
    predicted: Num[np.ndarray, " N"],
    edges: Float[np.ndarray, " K"],
) -> list[dict[str, Any]]:
    """Median response predicted/true and resolution (half the central 68 %) in bins of a quantity, with errors.

    The errors are those of the quantiles of a Gaussian response: sqrt(pi/2) sigma / sqrt(n) of the median, and
    0.96 sigma / sqrt(n) of the resolution.
    """
    place, usable, records = place_in(values, edges), np.isfinite(true) & (true != 0), []
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (place == i) & usable
        n = int(inside.sum())
        record: dict[str, Any] = {"low": float(low), "high": float(high), "examples": n}
        if n < FEWEST:
            names = ("response", "response_error", "resolution", "resolution_error")
            records.append(record | dict.fromkeys(names))
            continue
        ratio = (predicted[inside] / true[inside]).astype(np.float64)
        levels = [(1 - ONE_SIGMA) / 2, 0.5, (1 + ONE_SIGMA) / 2]
        left, median, right = weighted_quantiles(ratio, levels, np.ones(n))
        width = (right - left) / 2
        errors = (float(np.sqrt(np.pi / 2 / n) * width), float(0.96 * width / np.sqrt(n)))
        values_of = {
            "response": median,
            "response_error": errors[0],
            "resolution": width,
            "resolution_error": errors[1],
        }
        records.append(record | values_of)
    return records


def quantile_coverage(
    true: Num[np.ndarray, " N"], quantiles: dict[float, Float[np.ndarray, " N"]]
) -> list[dict[str, float]]:
    """How often the target lies below each predicted quantile, which should be its level, with binomial errors."""
    known, records = np.isfinite(true), []
    for level, values in sorted(quantiles.items()):
        below, n = float(np.mean(true[known] <= values[known])), int(known.sum())
        records.append({"level": level, "covered": below, "error": float(np.sqrt(level * (1 - level) / n))})
    return records
