"""Whether a rate is the same in every year, at every pile-up, at every time. Dead time is ignored.

Axes: n zero-bias crossings, G groups of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.stats import chi2 as chi2_distribution

from foundation.errors import DataError
from foundation.metrics import check_weights, effective_count
from foundation.metrics_bins import bin_edges, place_in
from foundation.trigger.beam import Beam
from foundation.trigger.rates import Rate, rate_khz

FEWEST = 5.0  # crossings expected in each group, below which the chi2 distribution is no approximation
TOYS = 10_000
DISTINCT = 12  # so many values are groups of their own


@dataclass(frozen=True)
class Stability:
    """A rate in groups of crossings.

    Attributes:
        names: of the groups.
        rates: in each of them.
        crossings: in each of them, passing or not.
        chi2: sum over the groups of (passed - expected)^2 / expected, if the rate is the same everywhere.
        degrees: of freedom.
        p_value: how often a constant rate has a larger chi2; None where it cannot be said.
        reason: in words, where it cannot be said, or how it was found.
    """

    names: tuple[str, ...]
    rates: tuple[Rate, ...]
    crossings: tuple[int, ...]
    chi2: float
    degrees: int
    p_value: float | None
    reason: str = ""

    def records(self) -> list[dict[str, Any]]:
        """For JSON, a group each."""
        parts = zip(self.names, self.rates, self.crossings)
        return [
            {"group": name, "crossings": rows, "rate_khz": r.khz, "low": r.low, "high": r.high, "passed": r.crossings}
            for name, r, rows in parts
        ]


def stability(
    passed: Bool[np.ndarray, " n"],
    weights: Num[np.ndarray, " n"] | None,
    groups: Int[np.ndarray, " n"],
    names: Sequence[str],
    beam: Beam,
    seed: int = 0,
) -> Stability:
    """The rate in each group, and whether one rate explains them all.

    Given how many pass in all, a constant rate shares them out among the groups as the crossings are: Pearson's chi2,
    with the effective number of crossings where they have weights. Where fewer than 5 are expected in some group, its
    distribution is that of 10,000 toys.

    Args:
        groups: number of each crossing's group; -1: in none.
        names: of the groups; those without a crossing are left out.
        seed: of the toys.

    Raises:
        DataError: no crossing is in a group.
    """
    w = check_weights(weights, len(passed))
    real = [g for g in range(len(names)) if w[groups == g].any()]
    if not real:
        raise DataError(f"none of {len(passed):,} crossings is in one of the groups {', '.join(names)}")
    members = [groups == g for g in real]
    rates = tuple(rate_khz(passed[m], w[m], beam) for m in members)
    share = np.asarray([w[m].sum() for m in members])
    seen = np.asarray([w[m & passed].sum() for m in members])
    inside = np.isin(groups, real) & passed
    each = float(w[inside].sum()) / effective_count(w[inside]) if w[inside].any() else 1.0  # weight of a crossing
    seen, expected = seen / each, share / share.sum() * seen.sum() / each
    value, degrees = float(((seen - expected) ** 2 / np.maximum(expected, 1e-300)).sum()), len(real) - 1
    p_value, reason = _probability(value, degrees, expected, seed)
    kept = tuple(names[g] for g in real)
    return Stability(kept, rates, tuple(int(m.sum()) for m in members), value, degrees, p_value, reason)


def _probability(value: float, degrees: int, expected: Float[np.ndarray, " G"], seed: int) -> tuple[float | None, str]:
    if degrees < 1:
        return None, "there is one group only"
    if expected.sum() < 1:
        return None, "no crossing passes"
    if expected.min() >= FEWEST:
        return float(chi2_distribution.sf(value, degrees)), ""
    drawn = np.random.default_rng(seed).multinomial(round(expected.sum()), expected / expected.sum(), TOYS)
    toys = ((drawn - expected) ** 2 / expected).sum(axis=1)
    text = f"of {TOYS:,} toys, for {expected.min():.2g} crossings are expected in the smallest group"
    return float((toys >= value * (1 - 1e-9)).mean()), text


def in_bins(
    values: Num[np.ndarray, " n"], edges: Sequence[float] = ()
) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Groups of crossings by a quantity: the bins given, each of few distinct values, or six of equal content.

    Returns:
        Group of each crossing (-1: outside, or not finite), and the groups' names.
    """
    finite = np.isfinite(values)
    distinct = np.unique(values[finite])
    if not edges and len(distinct) <= DISTINCT:
        place = np.searchsorted(distinct, values)
        return np.where(finite, place, -1), tuple(f"{x:g}" for x in distinct)
    found = bin_edges(values, edges)
    if len(found) < 2:  # nearly all of them are one value
        return np.where(finite, 0, -1), ("all",)
    return place_in(values, found), tuple(f"{low:g} to {high:g}" for low, high in itertools.pairwise(found))
