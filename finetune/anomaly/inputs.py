"""What a method sees of a crossing: raw numbers in fixed places, or the embedding of an encoder; standardised.

Axes: B crossings, N places of a modality, F features, D = all places' features side by side; [H, W] of an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from foundation.batch import TokenBatch
from foundation.errors import ConfigError, close_names
from foundation.hardware_inputs import input_scaling, to_counts
from foundation.models import Backbone
from foundation.models.encoder import FeatureInput, Statistics
from foundation.schema import DetectorSchema, Feature, Hardware

GLOBALS = "globals"  # the example-level features, as one token after all others


@dataclass(frozen=True)
class RawConfig:
    """Raw inputs.

    Attributes:
        places: modality -> number of its leading objects, in order; empty: all modalities with their max_tokens.
        scaling: `standard`: the schema's transforms, mean 0 and deviation 1. `hardware`: the integers that the trigger
            board receives, less an integer, shifted by a power of two: what a student sees that is trained on them.
        angles: `as_is`, or `sincos`: sine and cosine of every feature in rad.
        globals: the example-level features, too, after the objects.
    """

    places: dict[str, int] = field(default_factory=dict)
    scaling: Literal["standard", "hardware"] = "standard"
    angles: Literal["as_is", "sincos"] = "as_is"
    globals: bool = True


class StandardFeatures(nnx.Module):
    """Features after the schema's transforms, standardised; absent objects are zeros.

    Args:
        features: of one modality, in order.
        sincos: angles as sine and cosine, which are not standardised.
    """

    def __init__(self, features: dict[str, Feature], mean: np.ndarray, std: np.ndarray, sincos: bool):
        self.input = FeatureInput(features, mean, std)
        self.angles = tuple(i for i, f in enumerate(features.values()) if sincos and f.unit == "rad")
        plain = [name for i, name in enumerate(features) if i not in self.angles]
        names = list(features)
        self.names = (*plain, *(f"{kind}({names[i]})" for i in self.angles for kind in ("sin", "cos")))
        self.plain = tuple(i for i in range(len(names)) if i not in self.angles)

    def __call__(self, values: Float[Array, "B N F"], mask: Any) -> Float[Array, "B N G"]:
        found = self.input(values)
        if self.angles:
            columns = [found[..., i] for i in self.plain]
            there = (values != 0).any(axis=-1)  # a place of zeros is an empty one, and has no direction
            for i in self.angles:
                columns += [jnp.sin(values[..., i]) * there, jnp.cos(values[..., i]) * there]
            found = jnp.stack(columns, axis=-1)
        return jnp.where(mask[..., None], found, 0.0)


class HardwareFeatures(nnx.Module):
    """The board's integers less an offset, shifted by a power of two. Empty places are the integer 0.

    Args:
        features: of one modality, in order; those without a hardware type are left out.
    """

    def __init__(self, features: dict[str, Feature]):
        self.columns = tuple(i for i, f in enumerate(features.values()) if f.hardware is not None)
        self.names = tuple(name for name, f in features.items() if f.hardware is not None)
        self.types: tuple[Hardware, ...] = tuple(f.hardware for f in features.values() if f.hardware is not None)
        self.offset = Statistics(jnp.zeros(len(self.names)))
        self.shift = Statistics(jnp.zeros(len(self.names)))

    def counts(self, values: Float[Any, "B N F"], mask: Any, xp: Any = jnp) -> Float[Any, "B N G"]:
        """The integers."""
        chosen = xp.where(mask[..., None], values[..., np.array(self.columns, int)], 0.0)
        return to_counts(chosen, list(self.types), xp)

    def fit(self, counts: Float[np.ndarray, "B N G"]) -> None:
        """Offset and shift of these integers; see `foundation.hardware_inputs.input_scaling`."""
        offset, shift = input_scaling(counts)
        self.offset[...], self.shift[...] = (jnp.asarray(x, jnp.float32) for x in (offset, shift))

    def __call__(self, values: Float[Array, "B N F"], mask: Any) -> Float[Array, "B N G"]:
        return (self.counts(values, mask) - self.offset[...]) * jnp.exp2(-self.shift[...])


class RawInputs(nnx.Module):
    """Objects in their places, features side by side.

    The grid of a schema with one modality of one feature is an image [H, W], a cell per region. Any other grid has a
    place per cell, row by row.

    Attributes:
        shape: of one crossing, [D] or [H, W].
        places: (modality, number of places), in order.

    Raises:
        ConfigError: a modality is not there, or nothing has a hardware type though hardware integers are asked for.
    """

    def __init__(
        self, schema: DetectorSchema, statistics: Mapping[str, tuple[np.ndarray, np.ndarray]], config: RawConfig
    ):
        self.places = _places(schema, config)
        known = {name: modality.features for name, modality in schema.modalities.items()} | {GLOBALS: schema.globals}
        made: dict[str, StandardFeatures | HardwareFeatures] = {}
        for name, _ in self.places:
            if config.scaling == "hardware":
                made[name] = HardwareFeatures(known[name])
            else:
                made[name] = StandardFeatures(known[name], *statistics[name], config.angles == "sincos")
        self.places = tuple((name, count) for name, count in self.places if made[name].names)
        self.features = nnx.Dict({name: made[name] for name, _ in self.places})
        self.hardware = config.scaling == "hardware"
        if not self.places:
            raise ConfigError(f"schema '{schema.name}' gives no feature that raw inputs with {config} could take")
        if self.hardware and config.angles == "sincos":
            raise ConfigError("raw.angles: sincos is no integer of the board; with raw.scaling: hardware take as_is")
        self.left_out = tuple(
            f"{name}.{feature}" for name in made for feature in known[name]
            if feature not in made[name].names and f"sin({feature})" not in made[name].names
        )  # fmt: skip
        self.shape = _shape(schema, self.places, self.features)

    @property
    def names(self) -> list[str]:
        """Of every number of x, row by row: `jets[0].pt`."""
        return [
            f"{name}[{i}].{each}" for name, n in self.places for i in range(n) for each in self.features[name].names
        ]

    def __call__(self, batch: TokenBatch) -> Float[Array, "B ..."]:
        parts = [self.features[name](*pair) for name, pair in self._tokens(batch)]
        return jnp.concatenate([x.reshape(len(x), -1) for x in parts], axis=1).reshape(-1, *self.shape)

    def counts(self, batch: TokenBatch) -> Float[Array, "B D"]:
        """The board's integers of every place, side by side: what `fit` takes."""
        features: Mapping[str, Any] = self.features
        parts = [features[name].counts(*pair) for name, pair in self._tokens(batch)]
        return jnp.concatenate([x.reshape(len(x), -1) for x in parts], axis=1)

    def fit(self, counts: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n ..."]:
        """Takes offset and shift of the training set's integers; returns x of these crossings."""
        first, parts = 0, []
        for name, places in self.places:
            each: Any = self.features[name]
            width = places * len(each.names)
            integers = counts[:, first : first + width].reshape(len(counts), places, -1)
            each.fit(integers)
            offset, shift = np.asarray(each.offset[...]), np.asarray(each.shift[...])
            parts.append(((integers - offset) * np.exp2(-shift)).reshape(len(counts), -1))
            first += width
        return np.concatenate(parts, axis=1).astype(np.float32).reshape(-1, *self.shape)

    def _tokens(self, batch: TokenBatch) -> Iterator[tuple[str, tuple[Any, Any]]]:
        """Values and mask of each modality in just its places."""
        for name, count in self.places:
            if name == GLOBALS:
                yield name, (jnp.asarray(batch.globals)[:, None], jnp.ones((len(batch.globals), 1), bool))
                continue
            values, mask = batch.modalities[name].values[:, :count], batch.modalities[name].mask[:, :count]
            missing = count - mask.shape[1]
            yield name, (jnp.pad(values, ((0, 0), (0, missing), (0, 0))), jnp.pad(mask, ((0, 0), (0, missing))))


def _places(schema: DetectorSchema, config: RawConfig) -> tuple[tuple[str, int], ...]:
    """Raises ConfigError: there is no such modality, or more objects are asked for than it has."""
    for name, count in config.places.items():
        if name not in schema.modalities:
            raise ConfigError(
                f"raw.places: no modality '{name}' in '{schema.name}'; {close_names(name, schema.modalities)}"
            )
        if not 1 <= count <= schema.modalities[name].capacity:
            most = schema.modalities[name].capacity
            raise ConfigError(f"raw.places: {name} has 1 to {most} objects; {count} are asked for")
    places = config.places or {name: modality.capacity for name, modality in schema.modalities.items()}
    return (*places.items(), *([(GLOBALS, 1)] if schema.globals and config.globals else []))


def _shape(schema: DetectorSchema, places: tuple[tuple[str, int], ...], features: Mapping[str, Any]) -> tuple[int, ...]:
    name, count = places[0]
    grid = schema.modalities[name].grid if name != GLOBALS else None
    alone = len(places) == 1 and len(features[name].names) == 1
    if grid is not None and alone and min(grid.shape) > 1 and count == grid.shape[0] * grid.shape[1]:
        return (grid.shape[0], grid.shape[1])
    return (sum(count * len(features[name].names) for name, count in places),)


class EmbeddingInputs(nnx.Module):
    """The pooled embedding of a frozen encoder, standardised with the training set's mean and deviation."""

    def __init__(self, encoder: Backbone):
        self.encoder = encoder
        self.shape = (encoder.width,)
        self.mean, self.std = Statistics(jnp.zeros(self.shape)), Statistics(jnp.ones(self.shape))

    @property
    def names(self) -> list[str]:
        return [f"embedding[{i}]" for i in range(self.shape[0])]

    def __call__(self, batch: TokenBatch) -> Float[Array, "B D"]:
        return (self.encoder(batch).pooled - self.mean[...]) / self.std[...]

    def standardize(
        self, embeddings: Float[np.ndarray, "n D"], weights: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n D"]:
        """Takes mean and deviation of the training set's embeddings; returns them standardised."""
        mean = np.average(embeddings, axis=0, weights=weights)
        std = np.sqrt(np.average((embeddings - mean) ** 2, axis=0, weights=weights)) + 1e-6
        self.mean[...], self.std[...] = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
        return ((embeddings - mean) / std).astype(np.float32)
