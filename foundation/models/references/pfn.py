"""Particle Flow Network, a DeepSets model (arXiv:1810.05165): F(sum over particles of Phi(particle)).

Sizes are those of the Particle Transformer's comparison (arXiv:2202.03772): 86.1 k parameters with 17 features and 10
classes. Axes: B batch, N tokens, D width.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from foundation.batch import TokenBatch
from foundation.models.encoder import Encoded, StatisticsOf
from foundation.models.references.inputs import ExampleInput, TokenInput
from foundation.schema import DetectorSchema


@dataclass(frozen=True)
class PFNConfig:
    """Particle Flow Network.

    Attributes:
        width: of every layer.
        particle_layers: of Phi, which acts on each particle.
        jet_layers: of F, which acts on their sum, before the last linear layer (the head).
    """

    width: int = 128
    particle_layers: int = 3
    jet_layers: int = 3


class PFN(nnx.Module):
    """The sum, unlike a mean, knows the multiplicity. Initialised as in the paper (He), since nothing is normalised."""

    def __init__(
        self, schema: DetectorSchema, statistics: StatisticsOf, config: PFNConfig, embed: int, *, rngs: nnx.Rngs
    ):
        self.schema, self.config, self.width = schema, config, config.width
        self.tokens = TokenInput(schema, statistics, embed, rngs=rngs)
        self.example = ExampleInput(schema, statistics, config.width, rngs=rngs)
        he = nnx.initializers.he_uniform()
        sizes = [self.tokens.width] + [config.width] * config.particle_layers
        self.particle = nnx.List([nnx.Linear(a, b, kernel_init=he, rngs=rngs) for a, b in itertools.pairwise(sizes)])
        self.jet = nnx.List(
            [nnx.Linear(config.width, config.width, kernel_init=he, rngs=rngs) for _ in range(config.jet_layers)]
        )

    def __call__(self, batch: TokenBatch, key: Array | None = None) -> Encoded:
        """Embeds a batch; there is no drop-out that a key could turn on."""
        x_BND, mask_BN = self.tokens(batch)
        for layer in self.particle:
            x_BND = jax.nn.relu(layer(x_BND))
        x_BND = jnp.where(mask_BN[..., None], x_BND, 0.0)
        pooled_BD = x_BND.sum(axis=1) + self.example(batch)
        for layer in self.jet:
            pooled_BD = jax.nn.relu(layer(pooled_BD))
        return Encoded(x_BND, pooled_BD, mask_BN, pooled_BD)
