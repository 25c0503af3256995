"""ParticleNet (arXiv:1902.08570): edge convolutions over the nearest neighbours, in (eta, phi) first and then in the
space of the features. 370 k parameters with 17 features and 10 classes, as in arXiv:2202.03772.

Two deviations. The paper's batch normalisation is a layer normalisation over the channels: it keeps the number of
parameters and needs no statistics of other examples. A token with fewer than k others has fewer neighbours, where the
paper takes padding for neighbours. Axes: B batch, N tokens, D channels, K neighbours.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from foundation.batch import TokenBatch
from foundation.errors import ConfigError
from foundation.models.encoder import Encoded, StatisticsOf
from foundation.models.references.inputs import Directions, ExampleInput, TokenInput, comparable, masked_mean
from foundation.physics import delta_phi
from foundation.schema import DetectorSchema


@dataclass(frozen=True)
class ParticleNetConfig:
    """ParticleNet.

    Attributes:
        neighbours: k of the nearest neighbours.
        channels: of the layers of each edge convolution. The layer between the pooling and the last linear layer (the
            head) is as wide as the last one.
    """

    neighbours: int = 16
    channels: tuple[tuple[int, ...], ...] = ((64, 64, 64), (128, 128, 128), (256, 256, 256))


def nearest(
    distance_BNN: Float[Array, "B N N"], valid_BNN: Bool[Array, "B N N"], most: int
) -> tuple[Int[Array, "B N K"], Bool[Array, "B N K"]]:
    """The nearest other tokens of each token, nearest first, of those that are valid; and whether each is there."""
    other_BNN = valid_BNN & ~jnp.eye(distance_BNN.shape[1], dtype=bool)
    near_BNN = jnp.where(other_BNN, -distance_BNN, -jnp.inf)
    padded = jnp.pad(near_BNN, ((0, 0), (0, 0), (0, most)), constant_values=-jnp.inf)  # there may be fewer tokens
    near_BNK, index_BNK = jax.lax.top_k(padded, most)
    there_BNK = near_BNK > -jnp.inf
    return jnp.where(there_BNK, index_BNK, 0), there_BNK


def squared_distance(x_BND: Float[Array, "B N D"]) -> Float[Array, "B N N"]:
    """Between all pairs, without an array of pairs and channels."""
    square_BN = jnp.sum(x_BND**2, axis=-1)
    return square_BN[:, :, None] + square_BN[:, None, :] - 2 * jnp.einsum("bnd,bmd->bnm", x_BND, x_BND)


class EdgeConv(nnx.Module):
    """A network of (x_i, x_j - x_i), averaged over the neighbours j, beside a shortcut.

    Its first layer is linear, so it acts on tokens and not on edges. Neighbours are taken one after another and worked
    out again for the gradient: memory is that of the tokens, not of the k times as many edges.
    """

    def __init__(self, inputs: int, channels: tuple[int, ...], *, rngs: nnx.Rngs):
        self.centre = nnx.Linear(inputs, channels[0], use_bias=False, rngs=rngs)
        self.difference = nnx.Linear(inputs, channels[0], use_bias=False, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(a, b, use_bias=False, rngs=rngs) for a, b in itertools.pairwise(channels)])
        self.norms = nnx.List([nnx.LayerNorm(size, rngs=rngs) for size in channels])
        alike = inputs == channels[-1]
        self.shortcut = None if alike else nnx.Linear(inputs, channels[-1], use_bias=False, rngs=rngs)
        self.norm_shortcut = None if alike else nnx.LayerNorm(channels[-1], rngs=rngs)

    def __call__(
        self, x_BND: Float[Array, "B N D"], index_BNK: Int[Array, "B N K"], there_BNK: Bool[Array, "B N K"]
    ) -> Float[Array, "B N E"]:
        other_BND = self.difference(x_BND)
        own_BND = self.centre(x_BND) - other_BND

        @jax.checkpoint
        def edge(own: Array, other: Array, index_BN: Array, there_BN: Array) -> Array:
            y = self.norms[0](own + jnp.take_along_axis(other, index_BN[..., None], axis=1))
            for layer, norm in zip(self.layers, list(self.norms)[1:]):
                y = norm(layer(jax.nn.relu(y)))
            return jnp.where(there_BN[..., None], jax.nn.relu(y), 0.0)

        def add(total: Array, neighbour: tuple[Array, Array]) -> tuple[Array, None]:
            return total + edge(own_BND, other_BND, *neighbour), None

        size = self.norms[-1].num_features
        neighbours = (jnp.moveaxis(index_BNK, 2, 0), jnp.moveaxis(there_BNK, 2, 0))
        total_BNE, _ = jax.lax.scan(add, jnp.zeros((*x_BND.shape[:2], size)), neighbours)
        mean_BNE = total_BNE / jnp.maximum(there_BNK.sum(axis=2), 1)[..., None]
        if self.shortcut is None or self.norm_shortcut is None:
            return jax.nn.relu(x_BND + mean_BNE)
        return jax.nn.relu(self.norm_shortcut(self.shortcut(x_BND)) + mean_BNE)


class ParticleNet(nnx.Module):
    """Tokens without eta and phi have no neighbours in the first block and are full members of the later ones.

    Raises:
        ConfigError: no modality has eta and phi, or a size is impossible.
    """

    def __init__(
        self, schema: DetectorSchema, statistics: StatisticsOf, config: ParticleNetConfig, embed: int, *, rngs: nnx.Rngs
    ):
        if config.neighbours < 1 or not config.channels or not all(config.channels):
            raise ConfigError(f"references.particlenet: no network has {config}")
        self.schema, self.config, self.width = schema, config, config.channels[-1][-1]
        self.directions = Directions.of(schema, ("eta", "phi"), "particlenet")
        self.tokens = TokenInput(schema, statistics, embed, rngs=rngs)
        self.example = ExampleInput(schema, statistics, self.width, rngs=rngs)
        inputs = [self.tokens.width, *(block[-1] for block in config.channels)]
        self.blocks = nnx.List([EdgeConv(size, block, rngs=rngs) for size, block in zip(inputs, config.channels)])
        self.hidden = nnx.Linear(self.width, self.width, rngs=rngs)

    def __call__(self, batch: TokenBatch, key: Array | None = None) -> Encoded:
        """Embeds a batch; the paper's drop-out before the last layer is the head's."""
        x_BND, mask_BN = self.tokens(batch)
        (eta_BN, phi_BN), frame_N = self.directions(batch)
        deta_BNN = eta_BN[:, :, None] - eta_BN[:, None, :]
        distance_BNN = deta_BNN**2 + delta_phi(phi_BN[:, :, None], phi_BN[:, None, :]) ** 2
        valid_BNN = comparable(frame_N, mask_BN)
        for block in self.blocks:
            index_BNK, there_BNK = nearest(jax.lax.stop_gradient(distance_BNN), valid_BNN, self.config.neighbours)
            x_BND = jnp.where(mask_BN[..., None], block(x_BND, index_BNK, there_BNK), 0.0)
            distance_BNN = squared_distance(x_BND)
            valid_BNN = mask_BN[:, :, None] & mask_BN[:, None, :]
        pooled_BD = jax.nn.relu(self.hidden(masked_mean(x_BND, mask_BN) + self.example(batch)))
        return Encoded(x_BND, pooled_BD, mask_BN, pooled_BD)
