"""Particle Transformer (arXiv:2202.03772): attention biased by features of the pairs, then attention of a class token.

2.14 M parameters with 17 features and 10 classes. Deviations: the pair features take particles as massless (as our
encoder does; eta and phi may be relative to a jet axis, where an energy has no meaning); the pair network's batch
normalisations are left out (336 parameters), its inputs standardised by fixed numbers instead; attention weights see no
drop-out. Axes: B batch, N tokens, D width, H heads, K width of a head.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from foundation.batch import TokenBatch
from foundation.errors import ConfigError
from foundation.models.encoder import PAIR_FEATURES, Encoded, StatisticsOf
from foundation.models.layers import HIDDEN, attend, drop, pair_network
from foundation.models.references.inputs import Directions, ExampleInput, TokenInput, comparable
from foundation.physics import pair_features
from foundation.schema import DetectorSchema

# ln deltaR, ln kT, ln z, ln m^2 (GeV) of pairs in the jets of samples/jets.root: mean and deviation, rounded
PAIR_MEAN, PAIR_STD = (-1.8, -0.1, -1.6, 1.0), (1.2, 1.3, 0.9, 2.4)


@dataclass(frozen=True)
class ParTConfig:
    """Particle Transformer.

    Attributes:
        width: of a token.
        heads: of the attention; divides the width.
        layers: particle attention blocks.
        class_layers: class attention blocks.
        hidden: width of the feed-forward layers, as a multiple of `width`.
        embed: widths of the layers that embed a particle, before one of `width`.
        pairs: widths of the layers that embed a pair, before one of `heads`.
        dropout: in the particle attention blocks, in training only.
    """

    width: int = 128
    heads: int = 8
    layers: int = 8
    class_layers: int = 2
    hidden: int = 4
    embed: tuple[int, ...] = (128, 512)
    pairs: tuple[int, ...] = (64, 64, 64)
    dropout: float = 0.1


class Block(nnx.Module):
    """NormFormer block (arXiv:2110.09456): norms after the attention and in the feed-forward part, gains per head and
    on the second residual."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, *, rngs: nnx.Rngs):
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_attended = (nnx.LayerNorm(width, rngs=rngs) for _ in range(2))
        self.query = nnx.Linear(width, width, rngs=rngs)
        self.key_value = nnx.Linear(width, 2 * width, rngs=rngs)
        self.out = nnx.Linear(width, width, rngs=rngs)
        self.head_gain = nnx.Param(jnp.ones(heads))
        self.norm_feed, self.norm_hidden = nnx.LayerNorm(width, rngs=rngs), nnx.LayerNorm(hidden * width, rngs=rngs)
        self.up = nnx.Linear(width, hidden * width, rngs=rngs)
        self.down = nnx.Linear(hidden * width, width, rngs=rngs)
        self.residual_gain = nnx.Param(jnp.ones(width))

    def particles(
        self,
        x_BND: Float[Array, "B N D"],
        mask_BN: Bool[Array, "B N"],
        bias_BHNN: Float[Array, "B H N N"] | None,
        key: Array | None,
    ) -> Float[Array, "B N D"]:
        """Attention among the tokens."""
        seen_BND = self.norm_attention(x_BND)
        q, k, v = (jnp.swapaxes(part, 1, 2) for part in (self._heads(self.query(seen_BND)), *self._keys(seen_BND)))
        unseen_B1NN = jnp.where(mask_BN[:, None, None, :], 0.0, HIDDEN).astype(jnp.float32)
        attended_BHNK = attend(q * q.shape[-1] ** -0.5, k, v, bias_BHNN, unseen_B1NN)
        return self._rest(x_BND, jnp.swapaxes(attended_BHNK, 1, 2), key)

    def pool(
        self, class_B1D: Float[Array, "B 1 D"], x_BND: Float[Array, "B N D"], mask_BN: Bool[Array, "B N"]
    ) -> Float[Array, "B 1 D"]:
        """Attention of the class token to itself and the tokens (CaiT, arXiv:2103.17239)."""
        keys, values = self._keys(self.norm_attention(jnp.concatenate([class_B1D, x_BND], axis=1)))
        seen_BN = jnp.concatenate([jnp.ones_like(mask_BN[:, :1]), mask_BN], axis=1)
        query = self._heads(self.query(class_B1D))
        attended = jax.nn.dot_product_attention(query, keys, values, mask=seen_BN[:, None, None, :])
        return self._rest(class_B1D, attended, None)

    def _heads(self, x: Float[Array, "B N D"]) -> Float[Array, "B N H K"]:
        return x.reshape(*x.shape[:2], self.heads, -1)

    def _keys(self, x: Float[Array, "B N D"]) -> tuple[Float[Array, "B N H K"], Float[Array, "B N H K"]]:
        key, value = jnp.split(self.key_value(x), 2, axis=-1)
        return self._heads(key), self._heads(value)

    def _rest(
        self, residual: Float[Array, "B N D"], attended: Float[Array, "B N H K"], key: Array | None
    ) -> Float[Array, "B N D"]:
        keys = (None, None, None) if key is None else tuple(jax.random.split(key, 3))
        attended = self._heads(self.out(attended.reshape(residual.shape))) * self.head_gain[...][:, None]
        x = residual + drop(self.norm_attended(attended.reshape(residual.shape)), self.dropout, keys[0])
        y = drop(jax.nn.gelu(self.up(self.norm_feed(x))), self.dropout, keys[1])
        return self.residual_gain[...] * x + drop(self.down(self.norm_hidden(y)), self.dropout, keys[2])


class ParT(nnx.Module):
    """The class token starts as a learnt vector, to which the features of the whole example are added.

    Args:
        with_pairs: bias the attention with ln deltaR, ln kT, ln z, ln m^2; without is the paper's `ParT (plain)`.

    Raises:
        ConfigError: a size is impossible, or pair features are asked of a schema without pt, eta and phi.
    """

    def __init__(
        self,
        schema: DetectorSchema,
        statistics: StatisticsOf,
        config: ParTConfig,
        embed: int,
        *,
        with_pairs: bool = True,
        rngs: nnx.Rngs,
    ):
        if config.width % config.heads:
            raise ConfigError(f"references.part.width {config.width} is not a multiple of its {config.heads} heads")
        self.schema, self.config, self.width = schema, config, config.width
        self.tokens = TokenInput(schema, statistics, embed, rngs=rngs)
        self.example = ExampleInput(schema, statistics, config.width, rngs=rngs)
        sizes = [self.tokens.width, *config.embed, config.width]
        self.norms = nnx.List([nnx.LayerNorm(size, rngs=rngs) for size in sizes[:-1]])
        self.embed = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in itertools.pairwise(sizes)])
        self.directions = Directions.of(schema, ("pt", "eta", "phi"), "part") if with_pairs else None
        he, sizes = nnx.initializers.he_normal(), [PAIR_FEATURES, *config.pairs, config.heads]
        pairs = [nnx.Linear(a, b, kernel_init=he, rngs=rngs) for a, b in itertools.pairwise(sizes)]
        self.pairs = nnx.List(pairs) if with_pairs else None

        def block(dropout: float) -> Block:
            return Block(config.width, config.heads, config.hidden, dropout, rngs=rngs)

        self.blocks = nnx.List([block(config.dropout) for _ in range(config.layers)])
        self.class_blocks = nnx.List([block(0.0) for _ in range(config.class_layers)])
        self.class_token = nnx.Param(0.02 * jax.random.truncated_normal(rngs.params(), -2.0, 2.0, (config.width,)))
        self.norm = nnx.LayerNorm(config.width, rngs=rngs)

    def __call__(self, batch: TokenBatch, key: Array | None = None) -> Encoded:
        """Embeds a batch; a key turns drop-out on."""
        x_BND, mask_BN = self.tokens(batch)
        for norm, layer in zip(self.norms, self.embed):
            x_BND = jax.nn.gelu(layer(norm(x_BND)))
        bias_BHNN = self._pair_bias(batch, mask_BN)
        for number, block in enumerate(self.blocks):
            x_BND = block.particles(x_BND, mask_BN, bias_BHNN, None if key is None else jax.random.fold_in(key, number))
        class_B1D = (self.class_token[...] + self.example(batch))[:, None]
        for block in self.class_blocks:
            class_B1D = block.pool(class_B1D, x_BND, mask_BN)
        pooled_BD = self.norm(class_B1D)[:, 0]
        return Encoded(jnp.where(mask_BN[..., None], x_BND, 0.0), pooled_BD, mask_BN, pooled_BD)

    def _pair_bias(self, batch: TokenBatch, mask_BN: Bool[Array, "B N"]) -> Float[Array, "B H N N"] | None:
        """Zero for pairs whose directions cannot be compared."""
        if self.pairs is None or self.directions is None:
            return None
        (pt_BN, eta_BN, phi_BN), frame_N = self.directions(batch)
        mean, std = (jnp.asarray(each).reshape(-1, 1, 1, 1) for each in (PAIR_MEAN, PAIR_STD))
        pairs_PBNN = (pair_features(pt_BN, eta_BN, phi_BN, None, mask_BN, axis=0) - mean) / std
        layers: list[Any] = list(self.pairs)  # flax types a bias as one that may be absent
        bias_BHNN = pair_network([(layer.kernel[...].T, layer.bias[...][:, None]) for layer in layers], pairs_PBNN)
        return jnp.where(comparable(frame_N, mask_BN)[:, None], bias_BHNN, 0.0)
