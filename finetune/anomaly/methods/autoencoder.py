"""Autoencoder: what it cannot restore is unusual. Axes: B crossings, D their numbers, Z of the bottleneck."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.method import Method, weighted_mean, width_of
from finetune.anomaly.methods.layers import Dense
from finetune.anomaly.vectors import Vectors


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
    """Score: squared distance of a crossing to what is restored of it, summed over its numbers.

    The second half of AXOL1TL v5 and v6 is one of widths 10-9-6-4-6-9-10 on an embedding (configs/anomaly/axol1tl_v5).
    """

    def __init__(self, shape: tuple[int, ...], config: AutoencoderConfig, *, rngs: nnx.Rngs):
        width = width_of(shape, "autoencoder", *config.hidden, config.latent)
        self.encoder = Dense((width, *config.hidden, config.latent), rngs=rngs)
        self.decoder = Dense((config.latent, *config.hidden[::-1], width), rngs=rngs)

    def restored(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        return self.decoder(self.encoder(x))

    def loss(self, batch: Vectors, key: jax.Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Per number, so that a learning rate suits crossings of any width."""
        return weighted_mean(self.scores(batch.x)["score"], batch.weights) / batch.x.shape[1], {}

    def scores(self, x: Float[Array, "B D"]) -> dict[str, Float[Array, " B"]]:
        return {"score": jnp.square(self.restored(x) - x).sum(axis=-1)}
