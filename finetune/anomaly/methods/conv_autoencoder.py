"""Convolutional autoencoder of an image, the teacher of CICADA. Axes: B crossings, H and W of the image, C channels."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.method import Method, weighted_mean
from finetune.anomaly.vectors import Vectors
from foundation.errors import ConfigError

POOL = (2, 2)


@dataclass(frozen=True)
class ConvAutoencoderConfig:
    """Two convolutions with a mean pooling between them, a dense bottleneck, and all of it backwards.

    The defaults are the about 300 k parameters of CICADA's teacher on 18 x 14 regions (CMS DP-2023/086).

    Attributes:
        channels: of the first and of the second convolution.
        kernel: side of the convolutions.
        latent: width of the bottleneck.
    """

    channels: tuple[int, int] = (20, 30)
    kernel: int = 3
    latent: int = 80


class ConvAutoencoder(Method):
    """Score: mean squared error per pixel of the restored image."""

    def __init__(self, shape: tuple[int, ...], config: ConvAutoencoderConfig, *, rngs: nnx.Rngs):
        if len(shape) != 2 or shape[0] % POOL[0] or shape[1] % POOL[1]:
            raise ConfigError(f"conv_autoencoder takes images [H, W] of even sides; the crossings are of shape {shape}")
        if min(*config.channels, config.kernel, config.latent) < 1:
            raise ConfigError(f"conv_autoencoder: channels, kernel and latent must be at least 1; got {config}")
        first, second = config.channels
        side = (config.kernel, config.kernel)
        self.pooled = (shape[0] // POOL[0], shape[1] // POOL[1], second)
        flat = self.pooled[0] * self.pooled[1] * second
        self.down = nnx.List([nnx.Conv(1, first, side, rngs=rngs), nnx.Conv(first, second, side, rngs=rngs)])
        self.narrow, self.widen = nnx.Linear(flat, config.latent, rngs=rngs), nnx.Linear(config.latent, flat, rngs=rngs)
        self.up = nnx.List([nnx.Conv(second, second, side, rngs=rngs), nnx.Conv(second, first, side, rngs=rngs)])
        self.last = nnx.Conv(first, 1, side, rngs=rngs)

    def restored(self, x: Float[Array, "B H W"]) -> Float[Array, "B H W"]:
        found = jax.nn.relu(self.down[0](x[..., None]))
        found = jax.nn.relu(self.down[1](nnx.avg_pool(found, POOL, POOL)))
        latent = jax.nn.relu(self.narrow(found.reshape(len(x), -1)))
        found = jax.nn.relu(self.widen(latent)).reshape(len(x), *self.pooled)
        found = jax.nn.relu(self.up[0](found))
        found = jnp.repeat(jnp.repeat(found, POOL[0], axis=1), POOL[1], axis=2)
        return self.last(jax.nn.relu(self.up[1](found)))[..., 0]

    def loss(self, batch: Vectors, key: jax.Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        return weighted_mean(self.scores(batch.x)["score"], batch.weights), {}

    def scores(self, x: Float[Array, "B H W"]) -> dict[str, Float[Array, " B"]]:
        return {"score": jnp.square(self.restored(x) - x).mean(axis=(1, 2))}
