"""Bootstrap: a figure again under random weights of the examples, all replicas at once.

Replica r counts row i k_ri times, k_ri drawn from a Poisson distribution of mean 1 (ATL-PHYS-PUB-2021-011; for ratios
the same as drawing N of N rows with replacement, up to 1/N). The counts depend on seed and row alone: two models
evaluated on the same rows see the same replicas, so that their difference can be taken replica by replica.

Axes: R replicas, N objects (examples, tokens or pairs of tokens), P cuts, E efficiencies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped, UInt8

from foundation.metrics import ONE_SIGMA

AT_ONCE = 4_000_000  # weights held as numbers of eight bytes at a time


@dataclass(frozen=True)
class Bootstrap:
    """The replicas of a data set.

    Attributes:
        rows: of the data set.
        replicas: how many; 0 gives no intervals.
        seed: of the weights.
        confidence: share of the replicas inside an interval.
    """

    rows: int
    replicas: int = 200
    seed: int = 0
    confidence: float = ONE_SIGMA

    @cached_property
    def counts(self) -> UInt8[np.ndarray, "R rows"]:
        """How often each replica counts each row."""
        rng = np.random.default_rng(self.seed)
        parts = [rng.poisson(1.0, self.rows).astype(np.uint8) for _ in range(self.replicas)]
        return np.stack(parts) if parts else np.zeros((0, self.rows), np.uint8)

    def areas(
        self,
        signal: Bool[np.ndarray, " N"],
        score: Num[np.ndarray, " N"],
        rows: Int[np.ndarray, " N"],
        efficiencies: Float[np.ndarray, " E"],
    ) -> tuple[Float[np.ndarray, " R"], Float[np.ndarray, "R E"]]:
        """AUC and background efficiency at signal efficiencies, of each replica; NaN where one kind is missing.

        Args:
            rows: of the data set that each object belongs to: tokens of one example are drawn together.
        """
        found = [replica_curves(signal, score, w).summary(efficiencies) for w in self._weights(rows)]
        if not found:
            return np.zeros(0), np.zeros((0, len(efficiencies)))
        return np.concatenate([area for area, _ in found]), np.concatenate([at for _, at in found])

    def means(self, values: Shaped[np.ndarray, " N"], rows: Int[np.ndarray, " N"]) -> Float[np.ndarray, " R"]:
        """Mean of a value in each replica: an accuracy, where the values are hits."""
        found = [(w @ values) / np.maximum(w.sum(axis=1), 1) for w in self._weights(rows)]
        return np.concatenate(found) if found else np.zeros(0)

    def quantiles(
        self, values: Num[np.ndarray, " N"], rows: Int[np.ndarray, " N"], levels: Float[np.ndarray, " E"]
    ) -> Float[np.ndarray, "R E"]:
        """Weighted quantiles of a value in each replica: the smallest value at or below which that share of it is."""
        order, found = np.argsort(values, kind="stable"), []
        for w in self._weights(rows[order]):
            share = np.cumsum(w, axis=1)
            share /= np.maximum(share[:, -1:], 1)
            place = np.stack([np.sum(share < level, axis=1) for level in levels], axis=1)
            found.append(values[order][np.minimum(place, len(values) - 1)].astype(np.float64))
        return np.concatenate(found) if found else np.zeros((0, len(levels)))

    def interval(self, values: Float[np.ndarray, " R"]) -> list[float] | None:
        """Central interval of the replicas; None where there are none."""
        values = values[np.isfinite(values)]
        if not len(values):
            return None
        return [float(x) for x in np.quantile(values, [(1 - self.confidence) / 2, (1 + self.confidence) / 2])]

    def band(
        self, name: str, efficiencies: Float[np.ndarray, " E"], at: Float[np.ndarray, "R E"]
    ) -> dict[str, tuple[Float[np.ndarray, " E"], Float[np.ndarray, " E"], Float[np.ndarray, " E"]]]:
        """The band of a ROC curve, as `foundation.plots.roc_curves` takes it; empty without a usable replica."""
        at = at[np.isfinite(at).all(axis=1)]
        if not len(at):
            return {}
        low, high = np.quantile(at, [(1 - self.confidence) / 2, (1 + self.confidence) / 2], axis=0)
        return {name: (efficiencies, low, high)}

    def rejection_interval(self, background_efficiency: Float[np.ndarray, " R"]) -> dict[str, float | None]:
        """`low` and `high` of 1/eps_B; `high` is None where that many replicas have no background left."""
        found = self.interval(background_efficiency)
        if found is None:
            return {}
        low, high = (1 / x if x > 0 else None for x in reversed(found))
        return {"low": low, "high": high}

    def _weights(self, rows: Int[np.ndarray, " N"]) -> Iterator[Float[np.ndarray, "_ N"]]:
        step = max(1, AT_ONCE // max(len(rows), 1))
        for first in range(0, self.replicas, step):
            yield self.counts[first : first + step][:, rows].astype(np.float64)


@dataclass(frozen=True)
class ReplicaCurves:
    """ROC curves of many replicas at the same cuts, from the tightest to the loosest.

    Attributes:
        signal: summed weight of the signal that passes.
        background: of the background.
    """

    signal: Float[np.ndarray, "R P"]
    background: Float[np.ndarray, "R P"]

    def summary(
        self, efficiencies: Float[np.ndarray, " E"]
    ) -> tuple[Float[np.ndarray, " R"], Float[np.ndarray, "R E"]]:
        """AUC and background efficiency at signal efficiencies, as `foundation.metrics.Roc` defines them."""
        s, b = self.signal[:, -1:], self.background[:, -1:]
        known = (s > 0) & (b > 0)
        middle = (self.signal[:, 1:] + self.signal[:, :-1]) / 2
        area = np.sum(middle * np.diff(self.background, axis=1), axis=1) / np.where(known, s * b, 1)[:, 0]
        at = self._at(efficiencies * s) / np.where(known, b, 1)
        return np.where(known[:, 0], area, np.nan), np.where(known, at, np.nan)

    def _at(self, wanted: Float[np.ndarray, "R E"]) -> Float[np.ndarray, "R E"]:
        """Background that passes where the signal that passes is `wanted`, linear between cuts."""
        replicas, cuts = self.signal.shape
        apart = self.signal.max(initial=0.0) + 1
        offset = np.arange(replicas)[:, None] * apart  # one sorted sequence, so that one search serves every replica
        place = np.searchsorted((self.signal + offset).ravel(), (wanted + offset).ravel()).reshape(wanted.shape)
        upper = np.clip(place - np.arange(replicas)[:, None] * cuts, 1, cuts - 1)
        row = np.arange(replicas)[:, None]
        s_low, s_high = self.signal[row, upper - 1], self.signal[row, upper]
        b_low, b_high = self.background[row, upper - 1], self.background[row, upper]
        share = np.clip((wanted - s_low) / np.where(s_high > s_low, s_high - s_low, 1), 0, 1)
        return b_low + share * (b_high - b_low)


def replica_curves(
    signal: Bool[np.ndarray, " N"], score: Num[np.ndarray, " N"], weights: Float[np.ndarray, "R N"]
) -> ReplicaCurves:
    """The curves of a score that is larger for signal; objects of equal score are passed together."""
    order = np.argsort(-score, kind="stable")
    w = weights[:, order]
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    sums: list[Any] = []
    for chosen in (signal[order], ~signal[order]):
        total = np.cumsum(w * chosen, axis=1)[:, ends]
        sums.append(np.concatenate([np.zeros((len(w), 1)), total], axis=1))
    return ReplicaCurves(*sums)
