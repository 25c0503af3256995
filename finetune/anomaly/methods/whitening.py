"""Mean and covariance of the training set, as a map to uncorrelated numbers. Axes: n crossings, B, D their numbers."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.method import Learnt
from foundation.errors import ConfigError

FLOOR = 1e-12  # of a variance: of a training set whose rows are all the same


class Whitening(nnx.Module):
    """x -> (x - mean) covariance^-1/2.

    Args:
        shrinkage: share of the mean variance times identity in the covariance (the form of Ledoit and Wolf 2004), which
            bounds what a direction without variance (absent objects, dead features of an embedding) can say.
    """

    def __init__(self, width: int, shrinkage: float):
        if not 0 < shrinkage <= 1:
            raise ConfigError(f"shrinkage must be above 0 and at most 1; it is {shrinkage}")
        self.shrinkage = shrinkage
        self.mean, self.matrix = Learnt(jnp.zeros(width)), Learnt(jnp.eye(width))
        self.log_determinant = Learnt(jnp.zeros(()))

    def fit(self, x: Float[np.ndarray, "n D"], weights: Float[np.ndarray, " n"]) -> None:
        """Takes the maximum-likelihood mean and covariance of weighted rows."""
        values = np.asarray(x, np.float64)
        mean = np.average(values, axis=0, weights=weights)
        covariance = np.cov(values.T, aweights=weights, ddof=0).reshape(len(mean), len(mean))
        scale = max(np.trace(covariance) / len(mean), FLOOR)
        covariance = (1 - self.shrinkage) * covariance + self.shrinkage * scale * np.eye(len(mean))
        variances, axes = np.linalg.eigh(covariance)
        self.mean[...] = jnp.asarray(mean, jnp.float32)
        self.matrix[...] = jnp.asarray(axes / np.sqrt(variances), jnp.float32)
        self.log_determinant[...] = jnp.asarray(-np.log(variances).sum() / 2, jnp.float32)

    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        return (x - self.mean[...]) @ self.matrix[...]
