"""Mass sculpting: whether a cut on a score carves a peak into the mass of the background.

Axes: N examples, B background examples, M mass bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num

MOST_BINS, PER_BIN = 40, 50
RANGE = (0.005, 0.995)  # quantiles of the background mass that the histogram spans
SHUFFLES = 20


@dataclass(frozen=True)
class Sculpting:
    """Background mass before and after cuts.

    Attributes:
        edges: of the mass bins.
        inclusive: background per bin.
        passing: signal efficiency -> background per bin that passes.
        records: per signal efficiency: see `sculpting`.
    """

    edges: Float[np.ndarray, " edges"]
    inclusive: Float[np.ndarray, " M"]
    passing: dict[float, Float[np.ndarray, " M"]]
    records: list[dict[str, Any]]


def jensen_shannon(p: Num[np.ndarray, " M"], q: Num[np.ndarray, " M"]) -> float:
    """Jensen-Shannon divergence of two histograms, each normalised to 1, in bits: 0 (equal) to 1 (nothing in common).

    (KL(p | m) + KL(q | m)) / 2 with m = (p + q) / 2 (Lin, IEEE Trans. Inf. Theory 37 (1991) 145).
    """
    p, q = (x / max(float(np.sum(x)), np.finfo(float).tiny) for x in (p.astype(np.float64), q.astype(np.float64)))
    m = (p + q) / 2
    return float(sum(np.sum(x[x > 0] * np.log2(x[x > 0] / m[x > 0])) for x in (p, q)) / 2)


def sculpting(
    mass: Num[np.ndarray, " N"],
    signal: Bool[np.ndarray, " N"],
    score: Num[np.ndarray, " N"],
    efficiencies: Sequence[float],
    seed: int = 0,
) -> Sculpting | None:
    """Divergence of the mass of background that passes a cut from that of background that fails it.

    As ATL-PHYS-PUB-2018-014 and DisCo (arXiv:2001.05310) state it; large 1/JSD is good. A finite sample has a
    divergence above 0 without any sculpting: `jsd_of_statistics` is the mean over random cuts that pass as many.

    Returns:
        records of signal_efficiency, background (passing), jsd, jsd_of_statistics, inverse_jsd; the last three None
        where fewer than two bins' worth of background passes or fails. None where the mass of the background is one
        number, or there is no signal or background.
    """
    known = np.isfinite(mass)
    background = known & ~signal
    if not np.any(signal) or background.sum() < 2 * PER_BIN:
        return None
    m, found = mass[background].astype(np.float64), score[background]
    low, high = np.quantile(m, RANGE)
    if not low < high:
        return None
    edges = np.linspace(low, high, int(np.clip(len(m) // PER_BIN, 5, MOST_BINS)) + 1)
    m = np.clip(m, low, high)
    rng, records, passing = np.random.default_rng(seed), [], {}
    for efficiency in efficiencies:
        passed = found >= np.quantile(score[signal], 1 - efficiency)
        passing[efficiency] = np.histogram(m[passed], edges)[0].astype(np.float64)
        record: dict[str, Any] = {"signal_efficiency": efficiency, "background": int(passed.sum())}
        names = ("jsd", "jsd_of_statistics", "inverse_jsd")
        if min(passed.sum(), (~passed).sum()) < len(edges):
            records.append(record | dict.fromkeys(names))
            continue
        value = _divergence(m, passed, edges)
        floor = float(np.mean([_divergence(m, rng.permutation(passed), edges) for _ in range(SHUFFLES)]))
        records.append(record | dict(zip(names, (value, floor, 1 / value if value > 0 else None))))
    return Sculpting(edges, np.histogram(m, edges)[0].astype(np.float64), passing, records)


def _divergence(mass: np.ndarray, passed: np.ndarray, edges: np.ndarray) -> float:
    return jensen_shannon(*(np.histogram(mass[chosen], edges)[0] for chosen in (passed, ~passed)))
