"""Anomalous augmentations: what an example of known physics would not look like (AnomalyCLR, arXiv:2301.04660).

Axes: B examples, N tokens, F features.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array

from foundation.batch import Tokens
from foundation.schema import DetectorSchema, Modality
from pretrain.augment.anomalous_settings import AddedObjects, MetShift, Multiplicity, PtShift
from pretrain.augment.columns import (
    Columns,
    Examples,
    hardest,
    has,
    in_disc,
    keys_of,
    overlay,
    place,
    present,
    scaled,
    share,
    spawn,
    without,
)
from pretrain.augment.follow import add_missing, missing_modalities
from pretrain.augment.radiation import can_radiate, neighbours


def add_objects(
    examples: Examples, schema: DetectorSchema, settings: AddedObjects, acts: Array, key: Array
) -> Examples:
    neighbour_key, count_key, draw_key, key = jax.random.split(key, 4)
    names = [n for n, m in schema.modalities.items() if can_radiate(m)]
    columns = {n: Columns.of(schema.modalities[n]) for n in names}
    donors = _donors(examples, names, neighbour_key)
    pts = jnp.concatenate([_pt(examples.modalities[n], columns[n]) for n in names], axis=1)
    most = jnp.max(pts, axis=1, keepdims=True)
    count = jax.random.randint(count_key, (*acts.shape, 1), 1, settings.count + 1)
    real = jnp.concatenate([present(donors[n]) for n in names], axis=1)
    u = jax.random.uniform(draw_key, real.shape)
    chosen = (_rank(jnp.where(real, u, 2.0)) < count) & real & acts[:, None] & (most > 0)
    changed, start = {}, 0
    for name, keys in keys_of(examples._replace(modalities=donors), key, 4).items():
        modality, tokens = schema.modalities[name], donors[name]
        length = tokens.mask.shape[1]
        added = chosen[:, start : start + length]
        start += length
        u, v, turn, again = (jax.random.uniform(k, tokens.mask.shape) for k in keys)
        wanted = most * (settings.low + (settings.high - settings.low) * again)
        pt = _pt(tokens, columns[name])
        values = scaled(tokens.values, columns[name], wanted / jnp.where(pt > 0, pt, 1.0), added)
        if modality.relative:
            x, y = in_disc(settings.radius, v, turn)
        else:
            x, y = values[..., columns[name].eta], 2 * jnp.pi * turn
        values = place(values, modality, x, y, added)
        changed[name] = overlay(_room(examples.modalities[name], added, columns[name]), Tokens(values, added), u)
    return examples.with_tokens(changed)


def _donors(examples: Examples, names: list[str], key: Array) -> dict[str, Tokens]:
    """Another example of the batch with tokens; the example itself, where the other has none."""
    others, fit = neighbours(examples, key)
    filled = jnp.any(jnp.concatenate([present(others[n]) for n in names], axis=1), axis=1) & fit
    return {
        n: Tokens(
            jnp.where(filled[:, None, None], others[n].values, examples.modalities[n].values),
            jnp.where(filled[:, None], others[n].mask, examples.modalities[n].mask),
        )
        for n in names
    }


def _pt(tokens: Tokens, columns: Columns) -> Array:
    assert columns.pt is not None
    return jnp.where(tokens.mask, tokens.values[..., columns.pt], 0.0)


def _rank(x: Array) -> Array:
    return jnp.argsort(jnp.argsort(x, axis=1), axis=1)


def _room(tokens: Tokens, added: Array, columns: Columns) -> Tokens:
    """Without the softest tokens, as many as the slots for the added ones are short of."""
    most = tokens.mask.shape[1] - jnp.sum(added, axis=1, keepdims=True)
    softness = _rank(jnp.where(tokens.mask, -_pt(tokens, columns), jnp.inf))
    return Tokens(tokens.values, tokens.mask & (softness < most))


def change_multiplicity(
    examples: Examples, schema: DetectorSchema, settings: Multiplicity, acts: Array, key: Array
) -> Examples:
    coin, key = jax.random.split(key)
    up = jax.random.bernoulli(coin, 0.5, acts.shape)
    changed = {}
    for name, keys in keys_of(examples, key, 4).items():
        modality, tokens = schema.modalities[name], examples.modalities[name]
        if not has(modality, "pt"):
            continue
        more = up & ~jnp.all(tokens.mask, axis=1)
        result = _fewer(tokens, modality, settings, acts & ~more, keys[0])
        changed[name] = _more(result, modality, settings, acts & more, keys[1:])
    return examples.with_tokens(changed)


def _fewer(tokens: Tokens, modality: Modality, settings: Multiplicity, acts: Array, key: Array) -> Tokens:
    columns = Columns.of(modality)
    u = jax.random.uniform(key, tokens.mask.shape)
    may = present(tokens) & ~hardest(tokens, columns)
    first = jnp.argmin(jnp.where(may, u, 2.0), axis=1)[:, None] == jnp.arange(u.shape[1])
    lost = may & ((u < settings.fraction) | first) & acts[:, None]
    left = without(tokens, lost, modality)
    before, after = (jnp.sum(_pt(t, columns), axis=1, keepdims=True) for t in (tokens, left))
    factor = before / jnp.where(after > 0, after, 1.0)
    return Tokens(scaled(left.values, columns, factor, left.mask & acts[:, None]), left.mask)


def _more(tokens: Tokens, modality: Modality, settings: Multiplicity, acts: Array, keys: Array) -> Tokens:
    columns = Columns.of(modality)
    u, z, v, turn = (jax.random.uniform(k, tokens.mask.shape) for k in (*keys, jax.random.fold_in(keys[0], 1)))
    z = 0.2 + 0.6 * z
    may = present(tokens)
    first = jnp.argmin(jnp.where(may, u, 2.0), axis=1)[:, None] == jnp.arange(u.shape[1])
    spawned = spawn(tokens, may & ((u < settings.fraction) | first) & acts[:, None], u)
    values = share(spawned, columns, z)
    if not has(modality, "eta", "phi"):
        return Tokens(values, spawned.tokens.mask)
    # the pieces fly apart along (x, y), the lighter further: the pt-weighted place stays
    x, y = in_disc(settings.distance, v, turn)

    def moved(old: Array, apart: Array) -> Array:
        mother = old - (1 - z) * apart
        daughter = jnp.take_along_axis(old + z * apart, spawned.mother, axis=1)
        return jnp.where(spawned.is_daughter, daughter, mother)

    both = spawned.is_daughter | spawned.has_daughter
    eta, phi = (tokens.values[..., column] for column in (columns.eta, columns.phi))
    return Tokens(place(values, modality, moved(eta, x), moved(phi, y), both), spawned.tokens.mask)


def shift_pt(examples: Examples, schema: DetectorSchema, settings: PtShift, acts: Array, key: Array) -> Examples:
    size_key, sign_key = jax.random.split(key)
    low, high = jnp.log(settings.low), jnp.log(settings.high)
    sign = jnp.where(jax.random.bernoulli(sign_key, 0.5, acts.shape), 1.0, -1.0)
    factor = jnp.exp(sign * jax.random.uniform(size_key, acts.shape, minval=low, maxval=high))[:, None]
    changed = {}
    for name, tokens in examples.modalities.items():
        if name not in missing_modalities(schema):
            columns = Columns.of(schema.modalities[name])
            changed[name] = Tokens(scaled(tokens.values, columns, factor, present(tokens) & acts[:, None]), tokens.mask)
    return examples.with_tokens(changed)


def shift_met(examples: Examples, schema: DetectorSchema, settings: MetShift, acts: Array, key: Array) -> Examples:
    size_key, angle_key = jax.random.split(key)
    size = jax.random.uniform(size_key, acts.shape, minval=settings.low, maxval=settings.high)
    angle = jax.random.uniform(angle_key, acts.shape, maxval=2 * jnp.pi)
    return add_missing(examples, schema, size * jnp.cos(angle), size * jnp.sin(angle), acts)
