"""Augmentations that leave the physics of an example as it was: on the device, jitted, keyed, over the whole batch.

They act on the coordinates (pt, eta, phi, energy) that the schema names, so no modality is a special case; one that
lacks the coordinates an augmentation needs is left unchanged by it. Each acts on an example with its own probability.
The order is that of nature: radiation (splitting, soft), detector (smearing, dropout), choice of frame (rotation,
translation). Rotation, translation and smearing follow JetCLR (arXiv:2108.04253, section 3.1).

An augmentation changes coordinates only. Whatever else depends on them (log pt, pt fractions; the energy, where eta
is measured from the beam line and has moved) says so in the schema by its `recompute` expression, evaluated in schema
order for the examples that were augmented. Tokens that came in descending pt leave in descending pt.

Axes: B examples, N tokens, F features, G globals.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from foundation.batch import TokenBatch, Tokens
from foundation.expression import Expression
from foundation.schema import DetectorSchema, Modality
from pretrain.augment_config import AugmentConfig, Dropout, Rotation, Smearing, Soft, Splitting, Translation
from pretrain.augment_steps import STEPS, set_column

__all__ = ["AugmentConfig", "Dropout", "Rotation", "Smearing", "Soft", "Splitting", "Translation", "augment"]


def augment(batch: TokenBatch, schema: DetectorSchema, config: AugmentConfig, key: PRNGKeyArray) -> TokenBatch:
    """The batch with each augmentation applied to its share of the examples; of the same shapes.

    Jittable over `batch` and `key`. Examples on which nothing acted are returned bit for bit; equal keys give equal
    results. Real tokens come first and masked slots are zero, as TokenBatch has it.

    Raises:
        ConfigError: a setting is out of range, or names a modality that the schema lacks.
    """
    config.check(schema)
    # in schema order, on which the keys depend: jit hands dicts back sorted by name
    modalities = {name: batch.modalities[name] for name in schema.modalities}
    acted = jnp.zeros(batch.size, bool)
    for position, (name, step) in enumerate(STEPS.items()):
        settings = getattr(config, name)
        if settings.probability == 0:
            continue
        coin_key, step_key = jax.random.split(jax.random.fold_in(key, position))
        acts = jax.random.uniform(coin_key, (batch.size,)) < settings.probability
        modalities = step(modalities, schema, settings, acts, step_key)
        acted |= acts
    for name, tokens in modalities.items():
        tokens = _restore_order(batch.modalities[name], tokens, schema.modalities[name], acted)
        modalities[name] = _recompute(tokens, schema, name, batch.globals, acted)
    return TokenBatch(modalities, batch.globals, batch.labels, batch.weights, batch.index)


def _restore_order(before: Tokens, after: Tokens, modality: Modality, acted: Bool[Any, " B"]) -> Tokens:
    """Sorts the examples that were in descending pt before: daughters and smeared tokens take their rank in the list.

    Detectors and simulations list by pt, and masked modelling tells tokens by their rank.
    """
    column = modality.coordinate_index("pt")
    if column is None:
        return after
    old, new = (jnp.where(t.mask, t.values[..., column], -jnp.inf) for t in (before, after))
    descending = jnp.all(old[:, :-1] >= old[:, 1:], axis=1) & acted
    rank = jnp.arange(new.shape[1])[None]
    order = jnp.where(descending[:, None], jnp.argsort(new, axis=1, descending=True, stable=True), rank)
    values = jnp.take_along_axis(after.values, order[..., None], axis=1)
    return Tokens(values, jnp.take_along_axis(after.mask, order, axis=1))


def _recompute(
    tokens: Tokens, schema: DetectorSchema, name: str, globals_: Float[Any, "B G"], acted: Bool[Any, " B"]
) -> Tokens:
    """Evaluates the `recompute` expressions, in schema order, where something acted; zeroes masked slots."""
    modality = schema.modalities[name]
    values = jnp.where(tokens.mask[..., None], tokens.values, 0)
    columns: dict[str, Any] = {g: globals_[:, i, None] for i, g in enumerate(schema.globals)}
    columns |= {feature: values[..., i] for i, feature in enumerate(modality.features)}
    for i, (feature, spec) in enumerate(modality.features.items()):
        if spec.recompute:
            new = Expression(spec.recompute).evaluate(columns, jnp)
            values = set_column(values, i, new, tokens.mask & acted[:, None])
            columns[feature] = values[..., i]
    return Tokens(values, tokens.mask)
