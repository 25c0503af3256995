"""Mahalanobis distance to the mean of the training set."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.method import Learnt, Method
from foundation.errors import ConfigError


@dataclass(frozen=True)
class MahalanobisConfig:
    """Distance in units of the covariance.

    Attributes:
        shrinkage: share of the mean variance times identity in the covariance (Ledoit and Wolf's form).
    """

    shrinkage: float = 1e-3


class Mahalanobis(Method):
    """Score: (x - mean)^T covariance^-1 (x - mean)."""

    trains = False

    def __init__(self, shape: tuple[int, ...], config: MahalanobisConfig, *, rngs: nnx.Rngs):
        if len(shape) != 1:
            raise ConfigError(f"the Mahalanobis distance takes vectors; got crossings of shape {shape}")
        self.shrinkage = config.shrinkage
        self.mean, self.whiten = Learnt(jnp.zeros(shape)), Learnt(jnp.eye(*shape))

    def prepare(self, x: Float[np.ndarray, "n D"], weights: Float[np.ndarray, " n"], seed: int) -> None:
        values = np.asarray(x, np.float64)
        mean = np.average(values, axis=0, weights=weights)
        covariance = np.cov(values.T, aweights=weights).reshape(len(mean), len(mean))
        scale = np.trace(covariance) / len(mean)
        covariance = (1 - self.shrinkage) * covariance + self.shrinkage * scale * np.eye(len(mean))
        variances, axes = np.linalg.eigh(covariance)
        self.mean[...] = jnp.asarray(mean, jnp.float32)
        self.whiten[...] = jnp.asarray(axes / np.sqrt(variances), jnp.float32)

    def scores(self, x: Float[Array, "B D"]) -> dict[str, Float[Array, " B"]]:
        return {"score": jnp.square((x - self.mean[...]) @ self.whiten[...]).sum(axis=-1)}
