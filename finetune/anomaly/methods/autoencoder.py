"""Autoencoder: what it cannot restore is unusual."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.method import Method, weighted_mean
from finetune.anomaly.vectors import Vectors
from foundation.errors import ConfigError


@dataclass(frozen=True)
class AutoencoderConfig:
    """An autoencoder of dense layers.

    Attributes:
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent: width of the bottleneck.
    """

    hidden: tuple[int, ...] = (64, 32)
    latent: int = 8


class Autoencoder(Method):
    """Score: mean squared error of the restored input."""

    def __init__(self, shape: tuple[int, ...], config: AutoencoderConfig, *, rngs: nnx.Rngs):
        if len(shape) != 1 or min(config.latent, *config.hidden, 1) < 1:
            raise ConfigError(f"an autoencoder takes vectors and widths of at least 1; got shape {shape}, {config}")
        widths = (*shape, *config.hidden, config.latent, *config.hidden[::-1], *shape)
        self.layers = nnx.List([nnx.Linear(i, o, rngs=rngs) for i, o in zip(widths[:-1], widths[1:])])

    def restored(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)

    def loss(self, batch: Vectors, key: jax.Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        return weighted_mean(self.scores(batch.x)["score"], batch.weights), {}

    def scores(self, x: Float[Array, "B D"]) -> dict[str, Float[Array, " B"]]:
        return {"score": jnp.square(self.restored(x) - x).mean(axis=-1)}
