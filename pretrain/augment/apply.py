"""Augmentations over a whole batch: on the device, jitted, keyed.

They act on the coordinates that the schema names, so no modality is a special case; one that lacks the coordinates an
augmentation needs is left unchanged by it. Each acts on an example with its own probability. The order is that of
nature: radiation (splitting, soft, pile-up, vertex), detector (smearing, scale, lost tokens), choice of frame
(rotations, translation, mirror image). Rotation, translation and smearing follow JetCLR (arXiv:2108.04253, section
3.1).

An augmentation changes coordinates, and what shares their unit of energy or their direction. Whatever else depends on
them (log pt, pt fractions; the energy, where eta is measured from the beam line and has moved) says so in the schema by
its `recompute` expression, evaluated in schema order for the examples that were augmented. Globals: see `follow`.
Tokens that came in descending pt leave in descending pt.

Axes: B examples, N tokens, F features, G globals.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from foundation.batch import TokenBatch, Tokens
from foundation.expression import parsed
from foundation.schema import DetectorSchema, Modality
from pretrain.augment.anomalous_settings import AnomalousConfig
from pretrain.augment.check import anomalies_of, steps_of
from pretrain.augment.columns import Examples, set_column
from pretrain.augment.config import AugmentConfig
from pretrain.augment.follow import follow, recompute_globals
from pretrain.augment.steps import ANOMALIES, CONTENT, FRAMES, STEPS


def augment(batch: TokenBatch, schema: DetectorSchema, config: AugmentConfig, key: PRNGKeyArray) -> TokenBatch:
    """The batch with each augmentation applied to its share of the examples; of the same shapes.

    Jittable over `batch` and `key`. Examples on which nothing acted are returned bit for bit; equal keys give equal
    results. Real tokens come first and masked slots are zero, as TokenBatch has it.

    Raises:
        ConfigError: a setting is out of range, names a modality that the schema lacks, or asks for what the schema
            cannot carry.
    """
    chosen = steps_of(config, schema)
    if not chosen:
        return batch
    before = examples = _examples(batch, schema)
    acted = jnp.zeros(batch.size, bool)
    for position, (name, step) in enumerate(STEPS.items()):
        if name == next(iter(FRAMES)) and CONTENT.keys() & chosen.keys():
            examples = follow(before, examples, schema, config.met_from, acted)
        if name not in chosen:
            continue
        coin_key, step_key = jax.random.split(jax.random.fold_in(key, position))
        acts = (jax.random.uniform(coin_key, (batch.size,)) < chosen[name].probability) & (batch.index >= 0)
        examples = step.act(examples, schema, chosen[name], acts, step_key)
        acted |= acts
    return _finished(batch, examples, schema, acted)


def anomalous(batch: TokenBatch, schema: DetectorSchema, config: AnomalousConfig, key: PRNGKeyArray) -> TokenBatch:
    """The batch with exactly one anomaly in each example, drawn by `share`; of the same shapes. Negatives.

    Jittable over `batch` and `key`; equal keys give equal results. Rows that only fill up stay as they are, and so do
    examples without any token that the anomaly could act on.

    Raises:
        ConfigError: a setting is out of range, or asks for what the schema cannot carry.
    """
    chosen = anomalies_of(config, schema)
    draw_key, key = jax.random.split(key)
    shares = jnp.array([settings.share for settings in chosen.values()])
    kind = jax.random.categorical(draw_key, jnp.log(shares), shape=(batch.size,))
    before = examples = _examples(batch, schema)
    for position, (name, settings) in enumerate(chosen.items()):
        acts = (kind == position) & (batch.index >= 0)
        examples = ANOMALIES[name].act(examples, schema, settings, acts, jax.random.fold_in(key, position))
    acted = batch.index >= 0
    return _finished(batch, follow(before, examples, schema, config.met_from, acted), schema, acted)


def _examples(batch: TokenBatch, schema: DetectorSchema) -> Examples:
    tokens = {n: Tokens(jnp.asarray(t.values), jnp.asarray(t.mask)) for n, t in batch.modalities.items()}
    return Examples(tokens, jnp.asarray(batch.globals), jnp.asarray(batch.index)).ordered(schema)


def _finished(batch: TokenBatch, examples: Examples, schema: DetectorSchema, acted: Bool[Any, " B"]) -> TokenBatch:
    """The batch with the examples in order and with everything recomputed."""
    found, modalities = recompute_globals(examples.globals, schema, acted), {}
    for name, tokens in examples.modalities.items():
        tokens = _restore_order(batch.modalities[name], tokens, schema.modalities[name], acted)
        modalities[name] = _recompute(tokens, schema, name, found, acted)
    return TokenBatch(modalities, found, batch.labels, batch.weights, batch.index)


def _restore_order(before: Tokens, after: Tokens, modality: Modality, acted: Bool[Any, " B"]) -> Tokens:
    """Sorts the examples that were in descending pt before: daughters and smeared tokens take their rank in the list.

    Detectors and simulations list by pt, and masked modelling tells tokens by their rank. A grid's cells stay.
    """
    column = modality.coordinate_index("pt")
    if column is None or modality.grid is not None:
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
            new = parsed(spec.recompute).evaluate(columns, jnp)
            values = set_column(values, i, new, tokens.mask & acted[:, None])
            columns[feature] = values[..., i]
    return Tokens(values, tokens.mask)
