"""Normalising flow: minus the log-likelihood of a crossing. Axes: n crossings, B, D their numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.method import Learnt, Method, weighted_mean, width_of
from finetune.anomaly.methods.layers import Dense
from finetune.anomaly.methods.spline import spline
from finetune.anomaly.methods.whitening import Whitening
from finetune.anomaly.vectors import Vectors
from foundation.errors import ConfigError


@dataclass(frozen=True)
class FlowConfig:
    """Coupling layers of rational-quadratic splines (arXiv:1906.04032) after a whitening.

    Attributes:
        layers: coupling layers; two of them move every number once.
        hidden: widths of the hidden layers of the networks that set the splines.
        bins: of a spline.
        bound: the splines act on whitened numbers in [-bound, bound] and leave others as they are.
        noise: deviation of the noise added in training, in standard deviations of the inputs. Numbers that come in
            steps, and absent objects above all, have no density: without noise the likelihood has no upper limit.
        shrinkage: of the whitening, see `mahalanobis`.
    """

    layers: int = 4
    hidden: tuple[int, ...] = (64, 64)
    bins: int = 8
    bound: float = 5.0
    noise: float = 0.05
    shrinkage: float = 1e-3


class Coupling(nnx.Module):
    """Half of the numbers stay, and a network of them sets the splines that map the others.

    Args:
        order: of the numbers [D]: the first half of them stays; of a single one, none.
    """

    def __init__(self, order: np.ndarray, config: FlowConfig, *, rngs: nnx.Rngs):
        self.stays, self.bound = len(order) // 2, config.bound
        self.order = Learnt(jnp.asarray(order, jnp.int32))
        outputs = (len(order) - self.stays) * (3 * config.bins - 1)
        self.network = Dense((max(self.stays, 1), *config.hidden, outputs), rngs=rngs)
        self.network.layers[-1].kernel[...] = jnp.zeros((config.hidden[-1], outputs))  # the identity

    def __call__(self, z: Float[Array, "B D"], inverse: bool = False) -> tuple[Float[Array, "B D"], Float[Array, " B"]]:
        order = self.order[...]
        stay, move = z[:, order[: self.stays]], z[:, order[self.stays :]]
        known = jnp.clip(stay, -2 * self.bound, 2 * self.bound)  # far out, nothing was learnt
        known = known if self.stays else jnp.zeros((len(z), 1))
        moved, log_slope = spline(move, self.network(known).reshape(*move.shape, -1), self.bound, inverse)
        return jnp.concatenate([stay, moved], axis=1)[:, jnp.argsort(order)], log_slope.sum(axis=-1)


class Flow(Method):
    """Score: -log p(x), exact, in nats; p is the density of the crossing's standardised numbers with the noise.

    Before training this is the Gaussian of `mahalanobis`.
    """

    def __init__(self, shape: tuple[int, ...], config: FlowConfig, *, rngs: nnx.Rngs):
        width = width_of(shape, "flow", *config.hidden, config.layers)
        if not (config.hidden and 2 <= config.bins <= 100 and config.bound > 0 and config.noise >= 0):
            raise ConfigError(f"flow: needs a hidden layer, 2 to 100 bins, bound above 0, noise of 0 or more; {config}")
        self.noise = config.noise
        self.whitening = Whitening(width, config.shrinkage)
        self.couplings = nnx.List([Coupling(order(width, i), config, rngs=rngs) for i in range(config.layers)])

    def prepare(self, x: Float[np.ndarray, "n D"], weights: Float[np.ndarray, " n"], seed: int) -> None:
        self.whitening.fit(x, weights)

    def log_density(self, x: Float[Array, "B D"]) -> Float[Array, " B"]:
        """Exact: log of the unit Gaussian's density at the mapped point, and of the map's Jacobian."""
        z, log_jacobian = self.mapped(x)
        return log_jacobian - (jnp.square(z) + math.log(2 * math.pi)).sum(axis=-1) / 2

    def mapped(self, x: Float[Array, "B D"]) -> tuple[Float[Array, "B D"], Float[Array, " B"]]:
        """The point in the space of the unit Gaussian, and log |det dz/dx|."""
        z = self.whitening(x)
        total = jnp.full(len(x), self.whitening.log_determinant[...])
        for coupling in self.couplings:
            z, log_jacobian = coupling(z)
            total += log_jacobian
        return z, total

    def unmapped(self, z: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """The crossing of a point in the space of the unit Gaussian: of random ones, a sample of what was learnt."""
        for coupling in reversed(list(self.couplings)):
            z, _ = coupling(z, inverse=True)
        return z @ jnp.linalg.inv(self.whitening.matrix[...]) + self.whitening.mean[...]

    def loss(self, batch: Vectors, key: jax.Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Per number, so that a learning rate suits crossings of any width."""
        x = batch.x + self.noise * jax.random.normal(key, batch.x.shape)
        return weighted_mean(-self.log_density(x), batch.weights) / x.shape[1], {}

    def scores(self, x: Float[Array, "B D"]) -> dict[str, Float[Array, " B"]]:
        return {"score": -self.log_density(x)}


def order(width: int, layer: int) -> np.ndarray:
    """A random order [D] of the numbers, and in each second layer that order backwards."""
    drawn = np.random.default_rng(layer // 2).permutation(width)
    return drawn[::-1] if layer % 2 else drawn
