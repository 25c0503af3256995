"""What nature adds: collinear splitting, soft radiation, pile-up, and where along the beam it happens.

Each step takes all examples and changes those for which `acts` is true. Randomness is drawn per modality where tokens
are concerned.

Axes: B examples, N tokens, P rows of a pool, M tokens of a row of it, F features.
"""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from foundation.batch import Tokens
from foundation.errors import ConfigError
from foundation.schema import DetectorSchema, Modality
from foundation.store import Store
from pretrain.augment.columns import (
    Columns,
    Examples,
    axis,
    goes_with_momentum,
    has,
    has_slots,
    in_disc,
    is_image,
    keys_of,
    overlay,
    place,
    present,
    scaled,
    set_column,
    share,
    spawn,
)
from pretrain.augment.settings import Pileup, Soft, Splitting, Vertex


def can_split(modality: Modality) -> bool:
    return has(modality, "pt") and has_slots(modality)


def split(examples: Examples, schema: DetectorSchema, settings: Splitting, acts: Array, key: Array) -> Examples:
    changed = {}
    for name, (draw, part) in keys_of(examples, key, 2).items():
        modality, tokens = schema.modalities[name], examples.modalities[name]
        if not can_split(modality) or (settings.modalities and name not in settings.modalities):
            continue
        u = jax.random.uniform(draw, tokens.mask.shape)
        spawned = spawn(tokens, present(tokens) & acts[:, None] & (u < settings.fraction), u)
        z = jax.random.uniform(part, u.shape, minval=settings.z_min, maxval=1 - settings.z_min)
        changed[name] = Tokens(share(spawned, Columns.of(modality), z), spawned.tokens.mask)
    return examples.with_tokens(changed)


def can_radiate(modality: Modality) -> bool:
    return has(modality, "pt", "eta", "phi") and has_slots(modality)


def soften(examples: Examples, schema: DetectorSchema, settings: Soft, acts: Array, key: Array) -> Examples:
    changed = {}
    for name, keys in keys_of(examples, key, 4).items():
        modality, tokens = schema.modalities[name], examples.modalities[name]
        if not can_radiate(modality) or (settings.modalities and name not in settings.modalities):
            continue
        columns = Columns.of(modality)
        assert columns.pt is not None
        u, v, turn = (jax.random.uniform(k, tokens.mask.shape) for k in keys[:3])
        spawned = spawn(tokens, present(tokens) & acts[:, None] & (u < settings.fraction), u)
        pt = settings.pt * jax.random.exponential(keys[3], u.shape)
        mother_pt = spawned.tokens.values[..., columns.pt]
        factor = pt / jnp.where(mother_pt > 0, mother_pt, 1.0)
        values = scaled(spawned.tokens.values, columns, factor, spawned.is_daughter)
        values = set_column(values, columns.pt, pt, spawned.is_daughter)
        eta_axis, phi_axis = (centre[:, None] for centre in axis({name: tokens}, schema))
        x, y = in_disc(settings.radius, v, turn)
        values = place(values, modality, eta_axis + x, phi_axis + y, spawned.is_daughter)
        changed[name] = Tokens(values, spawned.tokens.mask)
    return examples.with_tokens(changed)


def can_pile_up(modality: Modality) -> bool:
    return can_radiate(modality) or (is_image(modality) and bool(Columns.of(modality).momenta))


def pile_up(examples: Examples, schema: DetectorSchema, settings: Pileup, acts: Array, key: Array) -> Examples:
    """One collision after another: a loop on the device, so that many compile as fast as one."""

    def add(found: Examples, one: Array) -> tuple[Examples, None]:
        return _pile_up_once(found.ordered(schema), schema, settings, acts, one), None

    return jax.lax.scan(add, examples, jax.random.split(key, settings.interactions))[0].ordered(schema)


def _pile_up_once(examples: Examples, schema: DetectorSchema, settings: Pileup, acts: Array, key: Array) -> Examples:
    donor_key, turn_key, key = jax.random.split(key, 3)
    others, fit = donors(examples, schema, settings, donor_key)
    turned = jax.random.uniform(turn_key, (*acts.shape, 1), maxval=2 * jnp.pi)
    changed = {}
    for name, keys in keys_of(examples, key, 3).items():
        modality, other = schema.modalities[name], others[name]
        if not can_pile_up(modality) or (settings.modalities and name not in settings.modalities):
            continue
        columns = Columns.of(modality)
        u, v, turn = (jax.random.uniform(k, other.mask.shape) for k in keys)
        size = other.values[..., columns.momenta[0] if columns.pt is None else columns.pt]
        taken = present(other) & (acts & fit)[:, None] & (u < settings.fraction)
        taken &= (size < settings.pt_max) if settings.pt_max > 0 else True
        values = scaled(other.values, columns, jnp.full(acts.shape, settings.scale)[:, None], taken)
        if is_image(modality):
            changed[name] = _added(examples.modalities[name], values, columns, taken)
            continue
        if modality.relative:
            x, y = in_disc(settings.radius, v, turn)
            values = place(values, modality, x, y, taken)
        else:
            values = place(values, modality, None, values[..., columns.phi] + turned, taken)
        changed[name] = overlay(examples.modalities[name], Tokens(values, taken), u)
    return examples.with_tokens(changed)


def _added(tokens: Tokens, other: Array, columns: Columns, taken: Array) -> Tokens:
    """Energies summed cell by cell."""
    which = goes_with_momentum(other, columns) & (taken & tokens.mask)[..., None]
    return Tokens(jnp.where(which, tokens.values + other, tokens.values), tokens.mask)


def donors(examples: Examples, schema: DetectorSchema, settings: Pileup, key: Array) -> tuple[dict[str, Tokens], Array]:
    """Another example for each, and for which of them it is one: a view of the same example is none."""
    if settings.pool == "batch":
        return neighbours(examples, key)
    pool = read_pool(settings.pool, settings.pool_rows, schema)
    rows = len(next(iter(pool.values())).mask)
    chosen = jax.random.randint(key, examples.row.shape, 0, rows)
    return {n: Tokens(jnp.asarray(t.values)[chosen], jnp.asarray(t.mask)[chosen]) for n, t in pool.items()}, (
        jnp.ones(chosen.shape, bool)
    )


def neighbours(examples: Examples, key: Array) -> tuple[dict[str, Tokens], Array]:
    """The example a random number of rows away, the same number for all; not of equal index."""
    size = examples.row.shape[0]
    away = jax.random.randint(key, (), 1, max(size, 2))
    found = {
        n: Tokens(*(jnp.roll(a, away, axis=0) for a in (t.values, t.mask))) for n, t in examples.modalities.items()
    }
    return found, jnp.roll(examples.row, away) != examples.row


@functools.lru_cache(maxsize=4)
def read_pool(folder: str, rows: int, schema: DetectorSchema) -> dict[str, Tokens]:
    """Rows of a store, as numpy: constants of the jitted function.

    Raises:
        DataError: no store there.
        ConfigError: its features are not those of the schema.
    """
    store = Store.open(Path(folder))
    for name, modality in schema.modalities.items():
        theirs = store.schema.modalities.get(name)
        if theirs is None or list(theirs.features) != list(modality.features):
            raise ConfigError(
                f"augment.pileup.pool: the store {folder} has not the features of modality '{name}' of schema "
                f"'{schema.name}'; ingest it with the same schema"
            )
    split = next(s for s in store.splits if store.length(s))
    chosen = np.unique(np.linspace(0, store.length(split) - 1, rows).astype(np.int64))
    batch = store.read(split, chosen)
    return {name: batch.modalities[name] for name in schema.modalities}


def moves_in_z(schema: DetectorSchema, settings: Vertex) -> list[str]:
    """Modalities that the place of the collision changes."""
    found = []
    for name, modality in schema.modalities.items():
        seen = name in settings.calorimeters and has(modality, "eta") and not modality.relative
        if seen or _columns_in_z(modality, settings):
            found.append(name)
    return found


def _columns_in_z(modality: Modality, settings: Vertex) -> list[int]:
    names = {f for f in settings.features if f in modality.features}
    if has(modality, "z") and not has(modality, "x") and not has(modality, "y"):
        names.add(modality.coordinates["z"])
    return sorted(modality.index(name) for name in names)


def shift_vertex(examples: Examples, schema: DetectorSchema, settings: Vertex, acts: Array, key: Array) -> Examples:
    dz = settings.sigma * jax.random.normal(key, acts.shape)[:, None]
    changed = {}
    for name in moves_in_z(schema, settings):
        modality, tokens = schema.modalities[name], examples.modalities[name]
        where, values = present(tokens) & acts[:, None], tokens.values
        for column in _columns_in_z(modality, settings):
            values = set_column(values, column, values[..., column] + dz, where)
        columns = Columns.of(modality)
        if name in settings.calorimeters and columns.eta is not None:
            eta = values[..., columns.eta]
            moved = _seen_from(eta, dz, settings)
            values = set_column(values, columns.eta, moved, where)
            if columns.pt is not None:
                pt = values[..., columns.pt] * jnp.cosh(eta) / jnp.cosh(moved)
                values = set_column(values, columns.pt, pt, where)
        changed[name] = Tokens(values, tokens.mask)
    return examples.with_tokens(changed)


def _seen_from(eta: Array, dz: Array, settings: Vertex) -> Array:
    """eta of the place where what flew along `eta` from dz meets the calorimeter."""
    slope = jnp.sinh(eta)
    barrel = slope + dz / settings.radius
    left = jnp.maximum(settings.half_length - jnp.sign(eta) * dz, 0.1 * settings.half_length)
    endcap = slope * settings.half_length / left
    return jnp.arcsinh(jnp.where(jnp.abs(slope) < settings.half_length / settings.radius, barrel, endcap))
