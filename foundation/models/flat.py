"""A flat encoder: linear layers over all places of an example side by side, behind the transformer's contract.

What a trigger board evaluates in nanoseconds: the embedding of AXOL1TL v5 is 57-29-10, of 19 objects in fixed places. A
place keeps its own weights, so the order of the objects matters and an empty place is an input like any other. Axes: B
batch, N tokens (all modalities, concatenated), D width, I inputs.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from foundation.batch import TokenBatch
from foundation.errors import ConfigError, SchemaError
from foundation.models.encoder import Encoded, Encoder, EncoderConfig, FeatureInput, StatisticsOf
from foundation.schema import DetectorSchema


class FlatLayer(nnx.Module):
    """One linear layer, with a ReLU unless it is the last."""

    def __init__(self, inputs: int, outputs: int, last: bool, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.linear, self.last = nnx.Linear(inputs, outputs, dtype=dtype, rngs=rngs), last

    def __call__(self, x_BI: Float[Array, "B I"]) -> Float[Array, "B O"]:
        x_BO = self.linear(x_BI)
        return x_BO if self.last else jax.nn.relu(x_BO)


class FlatEncoder(Encoder):
    """Layers of `config.flat` widths over the standardised features of every place, then those of the example.

    Absent tokens are zeros. `Encoded.tokens` are zeros: there are no vectors of tokens.

    Raises:
        ConfigError: no or impossible widths, or a setting that only attention has.
    """

    def __init__(
        self,
        schema: DetectorSchema,
        statistics: StatisticsOf,
        config: EncoderConfig,
        *,
        rngs: nnx.Rngs,
    ):
        _check(config)
        dtype = jnp.dtype(config.precision)
        self.config, self.schema, self.dtype, self.width = config, schema, dtype, config.width
        self.names = tuple(schema.modalities)
        self.places = tuple(modality.capacity for modality in schema.modalities.values())
        self.inputs = nnx.Dict({n: FeatureInput(m.features, *statistics[n]) for n, m in schema.modalities.items()})
        self.global_input = FeatureInput(schema.globals, *statistics["globals"]) if schema.globals else None
        placed = sum(n * len(m.features) for n, m in zip(self.places, schema.modalities.values(), strict=True))
        widths = (placed + len(schema.globals), *config.flat)
        layers: Any = [  # for mypy, to which they are blocks of a transformer
            FlatLayer(i, o, k == len(config.flat), dtype=dtype, rngs=rngs)
            for k, (i, o) in enumerate(pairwise(widths), start=1)
        ]
        self.blocks = nnx.List(layers)

    def __call__(self, batch: TokenBatch, key: Array | None = None, causal: bool = False) -> Encoded:
        """Embeds a batch; there is no drop-out for `key` to turn on.

        Raises:
            SchemaError: the batch lacks a modality of this encoder's schema.
            ConfigError: `causal` is asked for, which only attention can be.
        """
        if causal:
            raise ConfigError("a flat encoder has no attention that could be causal; take encoder.flat: []")
        for name in self.names:
            if name not in batch.modalities:
                raise SchemaError(f"the encoder needs modality '{name}'; the batch has {list(batch.modalities)}")
        x_BD = self.placed(batch).astype(self.dtype)
        layers: Any = self.blocks
        for layer in layers:
            x_BD = layer(x_BD)
        x_BD = x_BD.astype(jnp.float32)
        mask_BN = jnp.concatenate([batch.modalities[name].mask for name in self.names], axis=1)
        return Encoded(jnp.zeros((*mask_BN.shape, self.width)), x_BD, mask_BN, x_BD)

    def placed(self, batch: TokenBatch) -> Float[Array, "B I"]:
        """All standardised features, place by place, modality by modality; a short batch is filled up with zeros."""
        standard, parts = self.standardize(batch), []
        for name, places in zip(self.names, self.places, strict=True):
            values_BNF = jnp.where(batch.modalities[name].mask[..., None], standard[name], 0.0)[:, :places]
            short = places - values_BNF.shape[1]
            parts.append(jnp.pad(values_BNF, ((0, 0), (0, short), (0, 0))).reshape(batch.size, -1))
        if self.global_input is not None:
            parts.append(self.global_input(jnp.asarray(batch.globals)))
        return jnp.concatenate(parts, axis=1)


def build_encoder(
    schema: DetectorSchema, statistics: StatisticsOf, config: EncoderConfig, *, rngs: nnx.Rngs
) -> Encoder:
    """The encoder that the settings describe, flat or not.

    Raises:
        ConfigError: see `Encoder` and `FlatEncoder`.
    """
    return (FlatEncoder if config.flat else Encoder)(schema, statistics, config, rngs=rngs)


def _check(config: EncoderConfig) -> None:
    if min(config.flat, default=0) < 1:
        raise ConfigError(f"encoder.flat = {list(config.flat)}: widths of at least 1 are needed")
    if config.flat[-1] != config.width:
        raise ConfigError(
            f"encoder.flat ends in {config.flat[-1]}, and encoder.width is {config.width}: the last layer is the"
            " embedding, so give both the same value"
        )
    if given := [name for name in ("pair_features", "counts", "dropout", "remat") if getattr(config, name)]:
        raise ConfigError(f"encoder.{given[0]} is of the transformer, and encoder.flat asks for none: leave one out")
