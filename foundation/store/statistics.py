"""Streamed statistics: what normalisation needs, in one pass over the data and in float64.

Axes: T tokens, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from foundation.schema import Feature
from foundation.transforms import transform

BLOCK = 4096  # tokens whose values stay in the processor's cache


@dataclass(frozen=True)
class FeatureStatistics:
    """Of transformed values over the training split, in feature order.

    Features that the schema does not standardise, and constants, have mean 0 and deviation 1, so that
    `(value - mean) / std` applies to all.
    """

    mean: Float[np.ndarray, " F"]
    std: Float[np.ndarray, " F"]


class Moments:
    """Mean and variance of the transformed values and range of the raw ones, merged block by block in float64.

    Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    """

    def __init__(self, features: dict[str, Feature]):
        self.features = features
        self.changed = [(i, f.transform) for i, f in enumerate(features.values()) if f.transform != "identity"]
        self.count = 0
        self.mean = np.zeros(len(features))
        self.squares = np.zeros(len(features))
        self.low = np.full(len(features), np.inf)
        self.high = np.full(len(features), -np.inf)

    def add(self, values: Float[np.ndarray, "T F"]) -> None:
        if self.features:
            for start in range(0, len(values), BLOCK):
                self._add(values[start : start + BLOCK])

    def _add(self, values: Float[np.ndarray, "T F"]) -> None:
        block = values.T.astype(np.float64, order="C")
        low, high = block.min(axis=1), block.max(axis=1)
        for i, name in self.changed:
            block[i] = transform(name, block[i])
        mean = block.mean(axis=1)
        block -= mean[:, None]
        self._merge(len(values), mean, np.einsum("ft,ft->f", block, block), low, high)

    def merge(self, other: Moments) -> None:
        """The values of `other` as well; the last bits depend on the order of merging."""
        if other.count:
            self._merge(other.count, other.mean, other.squares, other.low, other.high)

    def _merge(self, count: int, mean: Any, squares: Any, low: Any, high: Any) -> None:
        total = self.count + count
        shift = mean - self.mean
        self.squares += squares + shift**2 * (self.count * count / total)
        self.mean += shift * (count / total)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.count = total

    def state(self) -> dict[str, Any]:
        """What `restored` needs; JSON keeps every bit of it."""
        arrays = {name: getattr(self, name).tolist() for name in ("mean", "squares", "low", "high")}
        return {"count": self.count, **arrays}

    @staticmethod
    def restored(features: dict[str, Feature], state: dict[str, Any]) -> Moments:
        made = Moments(features)
        made.count = state["count"]
        for name in ("mean", "squares", "low", "high"):
            setattr(made, name, np.array(state[name], np.float64))
        return made

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Feature -> count, mean and std of transformed values, min and max of raw ones (None if there are none)."""
        std = np.sqrt(self.squares / max(self.count, 1))
        rows = zip(self.features, self.mean, std, self.low, self.high)
        return {
            name: {
                "count": self.count,
                "mean": float(mean),
                "std": float(deviation),
                "min": float(low) if self.count else None,
                "max": float(high) if self.count else None,
            }
            for name, mean, deviation, low, high in rows
        }


def normalisation(features: dict[str, Feature], recorded: dict[str, dict[str, Any]]) -> FeatureStatistics:
    """What networks use, from `Moments.to_dict` as the manifest records it."""
    still = constants(recorded)
    varies = [f.standardize and n not in still for n, f in features.items()]
    mean = [recorded[n]["mean"] if v else 0.0 for n, v in zip(features, varies)]
    std = [recorded[n]["std"] if v else 1.0 for n, v in zip(features, varies)]
    return FeatureStatistics(np.array(mean, np.float32), np.array(std, np.float32))


def constants(recorded: dict[str, dict[str, Any]]) -> list[str]:
    """Features that are the same for every token as far as float32 and their transform can tell."""
    floor = float(np.finfo(np.float32).eps)
    return [
        name
        for name, each in recorded.items()
        if each["count"] and (each["min"] == each["max"] or each["std"] <= floor * abs(each["mean"]))
    ]
