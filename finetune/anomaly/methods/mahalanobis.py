"""Mahalanobis distance to the mean of the training set. Axes: n crossings, B, D their numbers."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.method import Method, width_of
from finetune.anomaly.methods.whitening import Whitening


@dataclass(frozen=True)
class MahalanobisConfig:
    """Distance in units of the covariance.

    Attributes:
        shrinkage: share of the mean variance times identity in the covariance; above 0.
    """

    shrinkage: float = 1e-3


class Mahalanobis(Method):
    """Score: (x - mean)^T covariance^-1 (x - mean), twice minus the log-likelihood of a Gaussian, up to a constant."""

    trains = False

    def __init__(self, shape: tuple[int, ...], config: MahalanobisConfig, *, rngs: nnx.Rngs):
        self.whitening = Whitening(width_of(shape, "mahalanobis"), config.shrinkage)

    def prepare(self, x: Float[np.ndarray, "n D"], weights: Float[np.ndarray, " n"], seed: int) -> None:
        self.whitening.fit(x, weights)

    def scores(self, x: Float[Array, "B D"]) -> dict[str, Float[Array, " B"]]:
        return {"score": jnp.square(self.whitening(x)).sum(axis=-1)}
