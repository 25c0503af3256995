"""Standardised features and back to physical values.

Axes: B examples, N tokens, F features, G globals, L levels, T tokens of a sample.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from foundation.expression import Expression
from foundation.models.encoder import FeatureInput, Statistics
from foundation.schema import DetectorSchema
from foundation.transforms import inverse

LEVELS = 8  # a feature of at most so many different values is taken as discrete: charges, flags, counts of layers


class Features(nnx.Module):
    """The features of one modality.

    Args:
        schema: says how to recompute those that depend on others.
        name: of the modality.
        mean, std: of the transformed features.
    """

    def __init__(self, schema: DetectorSchema, name: str, mean: np.ndarray, std: np.ndarray):
        modality = schema.modalities[name]
        self.input = FeatureInput(modality.features, mean, std)
        self.names, self.globals = tuple(modality.features), tuple(schema.globals)
        self.recompute = tuple(feature.recompute for feature in modality.features.values())
        coordinate_of = {feature: coordinate for coordinate, feature in modality.coordinates.items()}
        self.limits = tuple(f.limits(coordinate_of.get(n, "")) for n, f in modality.features.items())
        self.levels = Statistics(jnp.full((len(self.names), LEVELS), jnp.inf))

    def learn(self, values: Float[np.ndarray, "T F"]) -> None:
        """Notes which features are discrete in a sample of raw values, and their levels."""
        levels = np.full((len(self.names), LEVELS), np.inf, np.float32)
        for i in range(len(self.names)):
            found = np.unique(values[:, i])
            if len(found) <= LEVELS:
                levels[i, : len(found)] = found
        self.levels[...] = jnp.asarray(levels)

    def physical(
        self, standard: Float[Array, "B N F"], mask_BN: Bool[Array, "B N"], globals_BG: Float[Array, "B G"]
    ) -> Float[Array, "B N F"]:
        """Raw values within their physical range: discrete ones at the nearest level, dependent ones recomputed."""
        columns: dict[str, Any] = {g: globals_BG[:, i, None] for i, g in enumerate(self.globals)}
        for i, name in enumerate(self.names):
            transformed_BN = standard[..., i] * self.input.std[...][i] + self.input.mean[...][i]
            value_BN = jnp.clip(inverse(self.input.transforms[i], transformed_BN, jnp), *self.limits[i])
            levels_L = self.levels[...][i]
            nearest_BN = levels_L[jnp.argmin(jnp.abs(value_BN[..., None] - levels_L), axis=-1)]
            value_BN = jnp.where(jnp.isfinite(levels_L[0]), nearest_BN, value_BN)
            columns[name] = jnp.where(mask_BN, value_BN, 0.0)
        for name, text in zip(self.names, self.recompute):
            if text:
                value_BN = jnp.broadcast_to(Expression(text).evaluate(columns, jnp), mask_BN.shape)
                columns[name] = jnp.where(mask_BN, value_BN, 0.0)
        return jnp.stack([columns[name] for name in self.names], axis=-1).astype(jnp.float32)
