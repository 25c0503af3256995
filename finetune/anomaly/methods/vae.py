"""Variational autoencoder, with the scores that need its encoder only: AXOL1TL up to version 4 (CMS DP-2023/079).

Axes: B crossings, D their numbers, Z of the latent space.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.method import Method, weighted_mean, width_of
from finetune.anomaly.methods.layers import Dense
from finetune.anomaly.vectors import Vectors
from foundation.errors import ConfigError
from foundation.step import Carried

LOG_VARIANCE = 10.0  # at most, either way: its exponential must stay finite


@dataclass(frozen=True)
class VAEConfig:
    """A variational autoencoder of dense layers; the defaults are AXOL1TL's encoder of 57-28-15-8.

    Attributes:
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent: latent variables.
        beta: weight of the KL divergence beside the restored input (beta-VAE). Large: `mu2` tells more, but latent
            variables that pay too little go dead. Small: an autoencoder, whose `mu2` means nothing.
        warmup: steps over which beta grows from zero, in a line.
    """

    hidden: tuple[int, ...] = (28, 15)
    latent: int = 8
    beta: float = 0.5
    warmup: int = 500


class VAE(Method):
    """Scores, all taken at the mean of the latent variables, so that a crossing has one:

    - mu2: sum of mu^2, the score of AXOL1TL: needs the encoder's means only;
    - kl: divergence of the latent distribution from the unit Gaussian: needs the encoder only;
    - reconstruction: squared distance to the restored input;
    - elbo: reconstruction / 2 + kl, minus the log of the evidence's lower bound up to a constant.
    """

    names = ("mu2", "kl", "reconstruction", "elbo")

    def __init__(self, shape: tuple[int, ...], config: VAEConfig, *, rngs: nnx.Rngs):
        width = width_of(shape, "vae", *config.hidden, config.latent)
        if config.beta < 0 or config.warmup < 0 or not config.hidden:
            raise ConfigError(f"vae: beta and warmup must be 0 or more, and a hidden layer there; got {config}")
        self.beta, self.warmup = config.beta, config.warmup
        self.trunk = Dense((width, *config.hidden), rngs=rngs)
        self.mu = nnx.Linear(config.hidden[-1], config.latent, rngs=rngs)
        self.log_variance = nnx.Linear(config.hidden[-1], config.latent, rngs=rngs)
        self.decoder = Dense((config.latent, *config.hidden[::-1], width), rngs=rngs)
        self.steps = Carried(jnp.zeros((), jnp.int32))

    @property
    def mean_layers(self) -> list[nnx.Linear]:
        """The layers from x to mu, ReLU between them: all that the score `mu2` needs, and that goes to firmware."""
        return [*self.trunk.layers, self.mu]

    def latent(self, x: Float[Array, "B D"]) -> tuple[Float[Array, "B Z"], Float[Array, "B Z"]]:
        """Mean and log of the variance of the latent variables."""
        hidden = jax.nn.relu(self.trunk(x))
        return self.mu(hidden), jnp.clip(self.log_variance(hidden), -LOG_VARIANCE, LOG_VARIANCE)

    def loss(self, batch: Vectors, key: jax.Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Minus the evidence's lower bound with unit variance of the restored numbers (arXiv:1312.6114), KL times beta
        (Higgins et al., ICLR 2017); per number, so that a learning rate suits crossings of any width."""
        self.steps[...] = self.steps[...] + 1
        beta = self.beta * jnp.minimum(1.0, self.steps[...] / max(self.warmup, 1))
        mu, log_variance = self.latent(batch.x)
        z = mu + jnp.exp(log_variance / 2) * jax.random.normal(key, mu.shape)
        squares = jnp.square(self.decoder(z) - batch.x).sum(axis=-1)
        reconstruction = weighted_mean(squares / 2, batch.weights) / batch.x.shape[1]
        divergence = weighted_mean(kl_to_unit(mu, log_variance), batch.weights) / batch.x.shape[1]
        terms = {"loss/reconstruction": reconstruction, "loss/kl": divergence, "beta": beta}
        return reconstruction + beta * divergence, terms

    def scores(self, x: Float[Array, "B D"]) -> dict[str, Float[Array, " B"]]:
        mu, log_variance = self.latent(x)
        divergence = kl_to_unit(mu, log_variance)
        squares = jnp.square(self.decoder(mu) - x).sum(axis=-1)
        return {
            "mu2": jnp.square(mu).sum(axis=-1),
            "kl": divergence,
            "reconstruction": squares,
            "elbo": squares / 2 + divergence,
        }


def kl_to_unit(mu: Float[Array, "B Z"], log_variance: Float[Array, "B Z"]) -> Float[Array, " B"]:
    """KL divergence of N(mu, variance) from the unit Gaussian (arXiv:1312.6114, appendix B)."""
    return (jnp.square(mu) + jnp.exp(log_variance) - 1 - log_variance).sum(axis=-1) / 2
