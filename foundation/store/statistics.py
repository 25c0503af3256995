"""Streamed statistics: what normalisation needs, in one pass over the data and in float64.

Axes: T values of a chunk, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from foundation.schema import Feature
from foundation.transforms import transform


@dataclass(frozen=True)
class FeatureStatistics:
    """Of transformed values over the training split, in feature order.

    Features that the schema does not standardise, and constants, have mean 0 and deviation 1, so that
    `(value - mean) / std` applies to all.
    """

    mean: Float[np.ndarray, " F"]
    std: Float[np.ndarray, " F"]


class Moments:
    """Mean and variance of the transformed values and range of the raw ones, merged chunk by chunk.

    Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    """

    def __init__(self, features: dict[str, Feature]):
        self.features = features
        self.count = 0
        self.mean = np.zeros(len(features))
        self.squares = np.zeros(len(features))
        self.low = np.full(len(features), np.inf)
        self.high = np.full(len(features), -np.inf)

    def add(self, values: Float[np.ndarray, "T F"]) -> None:
        count = len(values)
        if count == 0 or not self.features:
            return
        self.low = np.minimum(self.low, values.min(axis=0))
        self.high = np.maximum(self.high, values.max(axis=0))
        total = self.count + count
        for i, feature in enumerate(self.features.values()):
            column = transform(feature.transform, values[:, i].astype(np.float64))
            mean = column.mean()
            shift = mean - self.mean[i]
            self.squares[i] += np.square(column - mean).sum() + shift**2 * self.count * count / total
            self.mean[i] += shift * count / total
        self.count = total

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
    varies = [f.standardize and recorded[n]["min"] != recorded[n]["max"] for n, f in features.items()]
    mean = [recorded[n]["mean"] if v else 0.0 for n, v in zip(features, varies)]
    std = [recorded[n]["std"] if v else 1.0 for n, v in zip(features, varies)]
    return FeatureStatistics(np.array(mean, np.float32), np.array(std, np.float32))
