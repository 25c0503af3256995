"""The encoder (contract 3): `encoder(batch) -> Encoded(tokens, pooled)`.

A pre-norm transformer over the tokens of all modalities and one summary token, which carries the example-level
features. Raw physical values come in; transforms and standardisation are part of the network, their statistics part of
its checkpoint. Axes: B batch, N tokens (all modalities, concatenated), D width, F features, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError, SchemaError
from foundation.models.layers import Block, PairBias
from foundation.physics import pair_features
from foundation.schema import DetectorSchema, Feature, Modality
from foundation.transforms import transform

PAIR_FEATURES = 4


@dataclass(frozen=True)
class EncoderConfig:
    """The backbone.

    Attributes:
        width: of a token's embedding.
        flat: widths of the layers of a network without attention (`flat`), of all places of an example side by side,
            as they are on the wire; the last is `width`. It has vectors of examples only. Of the other settings
            `precision` alone counts. Empty: the transformer.
        layers: transformer blocks.
        heads: attention heads; divides width.
        hidden: width of the feed-forward layers, as a multiple of `width`.
        pair_features: bias the attention with ln deltaR, ln kT, ln z, ln m^2 of each pair of tokens.
        pair_width: hidden width of the network behind that bias.
        counts: tell the summary token how many tokens of each modality there are: attention and a mean over tokens are
            blind to it but for the summary token's own share.
        dropout: rate, in training only.
        precision: of the arithmetic; parameters stay float32.
        remat: work each block's intermediate values out again for the gradient instead of keeping them: less memory,
            about a third more time.
    """

    width: int = 64
    flat: tuple[int, ...] = ()
    layers: int = 3
    heads: int = 4
    hidden: int = 3
    pair_features: bool = False
    pair_width: int = 16
    counts: bool = False
    dropout: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False


StatisticsOf = dict[str, tuple[np.ndarray, np.ndarray]]  # modality (and `globals`) -> (mean[F], std[F])


class Statistics(nnx.Variable):
    """Means and deviations of the transformed features: saved with the parameters, never trained."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Encoded:
    """What the encoder makes of a batch.

    Attributes:
        tokens: one vector per token, modalities concatenated in schema order.
        pooled: one vector per example: the embedding.
        mask: true for real tokens.
        summary: the summary token's own vector, which `causal` attention lets see nothing but the globals.
    """

    tokens: Float[Array, "B N D"]
    pooled: Float[Array, "B D"]
    mask: Bool[Array, "B N"]
    summary: Float[Array, "B D"]


class FeatureInput(nnx.Module):
    """Raw values -> transformed and standardised values, by the schema."""

    def __init__(self, features: dict[str, Feature], mean: np.ndarray, std: np.ndarray):
        self.transforms = tuple(f.transform for f in features.values())
        self.mean = Statistics(jnp.asarray(mean, jnp.float32))
        self.std = Statistics(jnp.asarray(std, jnp.float32))

    def __call__(self, values: Float[Array, "... F"]) -> Float[Array, "... F"]:
        columns = [transform(kind, values[..., i], jnp) for i, kind in enumerate(self.transforms)]
        standard = (jnp.stack(columns, -1) - self.mean[...]) / self.std[...]
        return jnp.clip(standard, -10.0, 10.0)  # one broken reading must not drown the rest


class Encoder(nnx.Module):
    """Transformer encoder over every modality of a schema.

    Args:
        schema: names the modalities, features and coordinates.
        statistics: modality name (and `globals`) -> (mean[F], std[F]) of the transformed features.
        config: sizes.
        rngs: for the initial parameters.

    Raises:
        ConfigError: impossible sizes, or pair features asked of a schema without pt, eta, phi.
    """

    def __init__(
        self,
        schema: DetectorSchema,
        statistics: StatisticsOf,
        config: EncoderConfig,
        *,
        rngs: nnx.Rngs,
    ):
        if config.width % config.heads:
            raise ConfigError(f"encoder width {config.width} is not a multiple of its {config.heads} heads")
        dtype = jnp.dtype(config.precision)
        self.config, self.schema, self.dtype, self.width = config, schema, dtype, config.width
        self.names = tuple(schema.modalities)
        self.coordinates = tuple(_coordinates(m) for m in schema.modalities.values())
        if config.pair_features and not any(self.coordinates):
            raise ConfigError(f"encoder.pair_features needs pt, eta and phi; no modality of '{schema.name}' has them")
        self.inputs = nnx.Dict({n: FeatureInput(m.features, *statistics[n]) for n, m in schema.modalities.items()})
        self.embed = nnx.Dict(
            {n: nnx.Linear(len(m.features), config.width, dtype=dtype, rngs=rngs) for n, m in schema.modalities.items()}
        )
        self.global_input = FeatureInput(schema.globals, *statistics["globals"]) if schema.globals else None
        around = max(len(schema.globals), 1) + config.counts * len(self.names)
        self.global_embed = nnx.Linear(around, config.width, dtype=dtype, rngs=rngs)
        hidden = config.hidden * config.width
        self.blocks = nnx.List(
            [
                Block(config.width, config.heads, hidden, dropout=config.dropout, dtype=dtype, rngs=rngs)
                for _ in range(config.layers)
            ]
        )
        self.pairs = (
            PairBias(PAIR_FEATURES, config.heads, config.pair_width, dtype=dtype, rngs=rngs)
            if (config.pair_features)
            else None
        )
        self.norm = nnx.LayerNorm(config.width, rngs=rngs)

    def standardize(self, batch: TokenBatch) -> dict[str, Float[Array, "B N F"]]:
        """The network's own view of the raw values, per modality (the targets of masked modelling)."""
        return {n: self.inputs[n](batch.modalities[n].values) for n in self.names}

    def __call__(self, batch: TokenBatch, key: Array | None = None, causal: bool = False) -> Encoded:
        """Embeds a batch.

        Args:
            key: turns drop-out on.
            causal: each token attends to itself and what comes before it, the summary token being the first of all.

        Raises:
            SchemaError: the batch lacks a modality of this encoder's schema.
        """
        for name in self.names:
            if name not in batch.modalities:
                raise SchemaError(f"the encoder needs modality '{name}'; the batch has {list(batch.modalities)}")
        standard = self.standardize(batch)
        embedded = [self.embed[name](standard[name].astype(self.dtype)) for name in self.names]
        summary_B1D = self.global_embed(self._globals(batch).astype(self.dtype))[:, None]
        mask_BN = jnp.concatenate([batch.modalities[name].mask for name in self.names], axis=1)
        x_BND = jnp.concatenate([summary_B1D, *embedded], axis=1)
        seen_BN = jnp.concatenate([jnp.ones_like(mask_BN[:, :1]), mask_BN], axis=1)
        bias_BHNN = self._pair_bias(batch)
        if self.config.remat:
            x_BND = self._again(x_BND, seen_BN, bias_BHNN, key, causal)
        else:
            for i, block in enumerate(self.blocks):
                x_BND = block(x_BND, seen_BN, bias_BHNN, _key_of(key, i), causal)
        x_BND = self.norm(x_BND.astype(jnp.float32))
        tokens_BND = jnp.where(mask_BN[..., None], x_BND[:, 1:], 0.0)
        count_B1 = jnp.maximum(mask_BN.sum(axis=1, keepdims=True), 1)
        return Encoded(tokens_BND, x_BND[:, 0] + tokens_BND.sum(axis=1) / count_B1, mask_BN, x_BND[:, 0])

    def _again(
        self,
        x_BND: Float[Array, "B N D"],
        seen_BN: Bool[Array, "B N"],
        bias_BHNN: Float[Array, "B H N N"] | None,
        key: Array | None,
        causal: bool,
    ) -> Float[Array, "B N D"]:
        """Through the blocks, of which only the inputs are kept for the gradient.

        A loop over the blocks' stacked parameters: without a loop, XLA's CPU compiler finds that a block is worked out
        twice and keeps the first result after all.
        """
        graph = nnx.graphdef(self.blocks[0])
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(nnx.state(block) for block in self.blocks))

        def step(x_BND: Array, layer: tuple[Any, Array]) -> tuple[Array, None]:
            block = nnx.merge(graph, layer[0])
            return block(x_BND, seen_BN, bias_BHNN, _key_of(key, layer[1]), causal), None

        step = jax.checkpoint(step, prevent_cse=False)  # a loop needs no barrier
        return jax.lax.scan(step, x_BND, (stacked, jnp.arange(len(self.blocks))))[0]

    def _globals(self, batch: TokenBatch) -> Float[Array, "B G"]:
        known = jnp.ones((batch.size, 1), jnp.float32)
        if self.global_input is not None:
            known = self.global_input(jnp.asarray(batch.globals))
        if not self.config.counts:
            return known
        counts = jnp.stack([jnp.sum(batch.modalities[n].mask, axis=1, dtype=jnp.float32) for n in self.names], axis=1)
        return jnp.concatenate([known, jnp.log1p(counts)], axis=1)

    def _pair_bias(self, batch: TokenBatch) -> Float[Array, "B H N N"] | None:
        """Pair features within each modality that has coordinates; zero between modalities and for the summary."""
        if self.pairs is None:
            return None
        lengths = [batch.modalities[name].mask.shape[1] for name in self.names]
        total = 1 + sum(lengths)
        bias_BHNN = jnp.zeros((batch.size, self.pairs.down.out_features, total, total), self.dtype)
        start = 1
        for name, where, length in zip(self.names, self.coordinates, lengths):
            if where is not None:
                block = self.pairs(_pairs(batch.modalities[name], where).astype(self.dtype))
                bias_BHNN = jax.lax.dynamic_update_slice(bias_BHNN, block, (0, 0, start, start))
            start += length
        return bias_BHNN


def _key_of(key: Array | None, block: int | Array) -> Array | None:
    return None if key is None else jax.random.fold_in(key, block)


def _coordinates(modality: Modality) -> tuple[int, int, int] | None:
    """Feature positions of pt, eta and phi, or None without all three."""
    at = [modality.coordinate_index(c) for c in ("pt", "eta", "phi")]
    return None if None in at else (at[0], at[1], at[2])  # type: ignore[return-value]


def _pairs(tokens: Tokens, where: tuple[int, int, int]) -> Float[Array, "P B N N"]:
    """Constituents taken as massless: eta and phi may be relative to a jet axis, where an energy has no meaning."""
    pt, eta, phi = (tokens.values[..., i] for i in where)
    return pair_features(pt, eta, phi, None, tokens.mask, axis=0)
