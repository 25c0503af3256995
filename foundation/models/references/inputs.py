"""What the reference models share: one list of tokens out of all modalities, their directions, the example's features.

The papers know one kind of particle. With one modality its standardised features go in as they are; with several each
gets a linear embedding of its own first. Features of the whole example, which the papers do not have, are added through
a linear layer where the tokens have been pooled. Axes: B batch, N tokens of all modalities, F features, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from foundation.batch import TokenBatch
from foundation.errors import ConfigError, SchemaError
from foundation.models.encoder import FeatureInput, StatisticsOf
from foundation.schema import DetectorSchema, Modality


class TokenInput(nnx.Module):
    """Standardised features of the tokens of all modalities, concatenated in schema order.

    Attributes:
        width: F of what it gives.
    """

    def __init__(self, schema: DetectorSchema, statistics: StatisticsOf, embed: int, *, rngs: nnx.Rngs):
        sizes = {name: len(modality.features) for name, modality in schema.modalities.items()}
        self.names, several = tuple(sizes), len(sizes) > 1
        self.width = embed if several else next(iter(sizes.values()))
        self.inputs = nnx.Dict({n: FeatureInput(m.features, *statistics[n]) for n, m in schema.modalities.items()})
        self.embed = nnx.Dict({n: nnx.Linear(s, embed, rngs=rngs) for n, s in sizes.items()}) if several else None

    def __call__(self, batch: TokenBatch) -> tuple[Float[Array, "B N F"], Bool[Array, "B N"]]:
        """The tokens, zero where the mask is false, and the mask.

        Raises:
            SchemaError: the batch lacks a modality.
        """
        for name in self.names:
            if name not in batch.modalities:
                raise SchemaError(f"the model needs modality '{name}'; the batch has {list(batch.modalities)}")
        parts = [self.inputs[name](jnp.asarray(batch.modalities[name].values)) for name in self.names]
        if self.embed is not None:
            parts = [self.embed[name](part) for name, part in zip(self.names, parts)]
        mask_BN = mask_of(batch, self.names)
        return jnp.where(mask_BN[..., None], jnp.concatenate(parts, axis=1), 0.0), mask_BN


def mask_of(batch: TokenBatch, names: tuple[str, ...]) -> Bool[Array, "B N"]:
    """The masks of modalities, one after another."""
    return jnp.concatenate([jnp.asarray(batch.modalities[name].mask) for name in names], axis=1)


class ExampleInput(nnx.Module):
    """The features of the whole example, to be added to a pooled vector; zero where the schema has none."""

    def __init__(self, schema: DetectorSchema, statistics: StatisticsOf, width: int, *, rngs: nnx.Rngs):
        size = len(schema.globals)
        self.width = width
        self.input = FeatureInput(schema.globals, *statistics["globals"]) if size else None
        self.linear = nnx.Linear(size, width, use_bias=False, rngs=rngs) if size else None

    def __call__(self, batch: TokenBatch) -> Float[Array, "B D"]:
        if self.input is None or self.linear is None:
            return jnp.zeros((batch.size, self.width))
        return self.linear(self.input(jnp.asarray(batch.globals)))


@dataclass(frozen=True)
class Directions:
    """Where the modalities of a schema hold coordinates, and in which frame.

    Attributes:
        names: the modalities.
        places: of each the position of the coordinates asked for; empty where it lacks one of them.
        frames: of each 0 without coordinates, 1 where eta and phi are relative to a jet axis, 2 where they are not.
            Directions of different frames are not compared.
    """

    names: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]
    frames: tuple[int, ...]

    @staticmethod
    def of(schema: DetectorSchema, coordinates: tuple[str, ...], model: str) -> Directions:
        """Raises ConfigError: no modality has them all."""
        places = tuple(_places(modality, coordinates) for modality in schema.modalities.values())
        if not any(places):
            needed = ", ".join(coordinates)
            raise ConfigError(
                f"model '{model}' needs the coordinates {needed}; no modality of '{schema.name}' has them"
            )
        frames = tuple((1 if m.relative else 2) if at else 0 for m, at in zip(schema.modalities.values(), places))
        return Directions(tuple(schema.modalities), places, frames)

    def __call__(self, batch: TokenBatch) -> tuple[Float[Array, "C B N"], Int[Array, " N"]]:
        """Raw values of the C coordinates of every token (0 where it has none), and its frame."""
        values, frames = [], []
        for name, at, frame in zip(self.names, self.places, self.frames):
            raw_BNF = jnp.asarray(batch.modalities[name].values)
            size, length, _ = raw_BNF.shape
            count = max(map(len, self.places))
            found = jnp.stack([raw_BNF[..., i] for i in at]) if at else jnp.zeros((count, size, length))
            values.append(found)
            frames.append(jnp.full((length,), frame))
        return jnp.concatenate(values, axis=2), jnp.concatenate(frames)


def _places(modality: Modality, coordinates: tuple[str, ...]) -> tuple[int, ...]:
    found = [modality.coordinate_index(name) for name in coordinates]
    return tuple(place for place in found if place is not None) if None not in found else ()


def comparable(frame_N: Int[Array, " N"], mask_BN: Bool[Array, "B N"]) -> Bool[Array, "B N N"]:
    """Pairs of real tokens whose directions are of one frame."""
    same_NN = (frame_N[:, None] == frame_N[None, :]) & (frame_N > 0)
    return mask_BN[:, :, None] & mask_BN[:, None, :] & same_NN


def masked_mean(x_BND: Float[Array, "B N D"], mask_BN: Bool[Array, "B N"]) -> Float[Array, "B D"]:
    """Mean over the real tokens; 0 where there is none."""
    total_BD = jnp.where(mask_BN[..., None], x_BND, 0.0).sum(axis=1)
    return total_BD / jnp.maximum(mask_BN.sum(axis=1, keepdims=True), 1)
