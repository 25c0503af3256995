"""What a method sees of a crossing: raw numbers in fixed places, or the embedding of an encoder; standardised.

Axes: B crossings, N places of a modality, F features, D = all places' features side by side; [H, W] of an image.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from foundation.batch import TokenBatch
from foundation.models import Backbone
from foundation.models.encoder import FeatureInput, Statistics
from foundation.schema import DetectorSchema


@dataclass(frozen=True)
class RawConfig:
    """Raw inputs.

    Attributes:
        places: modality -> number of its leading objects, in order; empty: all modalities with their max_tokens.
    """

    places: dict[str, int] = field(default_factory=dict)


class RawInputs(nnx.Module):
    """Objects in their places, features side by side; the places of absent objects are zeros after standardisation."""

    def __init__(self, schema: DetectorSchema, statistics: dict[str, tuple[np.ndarray, np.ndarray]], config: RawConfig):
        places = config.places or {name: modality.max_tokens for name, modality in schema.modalities.items()}
        self.places = tuple(places.items())
        features = {name: schema.modalities[name].features for name in places}
        self.features = nnx.Dict({name: FeatureInput(features[name], *statistics[name]) for name in places})
        self.shape = (sum(count * len(features[name]) for name, count in places.items()),)

    def __call__(self, batch: TokenBatch) -> Float[Array, "B D"]:
        parts = []
        for name, count in self.places:
            tokens = batch.modalities[name]
            x = jnp.where(tokens.mask[..., None], self.features[name](tokens.values), 0.0)[:, :count]
            x = jnp.pad(x, ((0, 0), (0, count - x.shape[1]), (0, 0)))
            parts.append(x.reshape(len(x), -1))
        return jnp.concatenate(parts, axis=1)


class EmbeddingInputs(nnx.Module):
    """The pooled embedding of a frozen encoder, standardised with the training set's mean and deviation."""

    def __init__(self, encoder: Backbone):
        self.encoder = encoder
        self.shape = (encoder.width,)
        self.mean, self.std = Statistics(jnp.zeros(self.shape)), Statistics(jnp.ones(self.shape))

    def __call__(self, batch: TokenBatch) -> Float[Array, "B D"]:
        return (self.encoder(batch).pooled - self.mean[...]) / self.std[...]

    def standardize(self, embeddings: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
        """Takes mean and deviation of the training set's embeddings; returns them standardised."""
        mean, std = embeddings.mean(axis=0), embeddings.std(axis=0) + 1e-6
        self.mean[...], self.std[...] = jnp.asarray(mean), jnp.asarray(std)
        return (embeddings - mean) / std
