"""What a detector does to an example: resolution, energy scale, lost tokens, dead channels and regions.

Axes: B examples, N tokens, F features.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from foundation.batch import Tokens
from foundation.physics import wrap_phi
from foundation.schema import DetectorSchema, Modality
from pretrain.augment.columns import (
    Columns,
    Examples,
    has,
    is_image,
    keys_of,
    place,
    present,
    scaled,
    set_column,
    without,
)
from pretrain.augment.columns import hardest as hardest_of
from pretrain.augment.settings import DeadCells, DeadRegion, Dropout, ModalityDropout, Scale, Smearing

STEEPEST = 0.1  # largest deviation of a direction
CELLS = 2**14  # in phi, at most: numbers a cell by one integer


def can_smear(modality: Modality) -> bool:
    return has(modality, "pt")


def smear(examples: Examples, schema: DetectorSchema, settings: Smearing, acts: Array, key: Array) -> Examples:
    changed = {}
    for name, (momentum, eta, phi) in keys_of(examples, key, 3).items():
        modality, tokens = schema.modalities[name], examples.modalities[name]
        columns = Columns.of(modality)
        if columns.pt is None:
            continue
        where = tokens.mask & acts[:, None] & (tokens.values[..., columns.pt] > 0)
        pt = jnp.where(where, tokens.values[..., columns.pt], 1.0)
        variance = settings.stochastic**2 / pt + settings.constant**2 + (settings.noise / pt) ** 2
        log_variance = jnp.log1p(variance)
        factor = jnp.exp(jnp.sqrt(log_variance) * jax.random.normal(momentum, pt.shape) - log_variance / 2)
        values = scaled(tokens.values, columns, factor, where)
        sigma = jnp.minimum(settings.direction / pt, STEEPEST)
        if columns.eta is not None:
            moved = values[..., columns.eta] + sigma * jax.random.normal(eta, pt.shape)
            values = set_column(values, columns.eta, moved, where)
        if columns.phi is not None:
            moved = values[..., columns.phi] + sigma * jax.random.normal(phi, pt.shape)
            values = place(values, modality, None, moved, where)
        changed[name] = Tokens(values, tokens.mask)
    return examples.with_tokens(changed)


def can_scale(modality: Modality) -> bool:
    return bool(Columns.of(modality).momenta)


def shift_scale(examples: Examples, schema: DetectorSchema, settings: Scale, acts: Array, key: Array) -> Examples:
    changed = {}
    for name, (draw,) in keys_of(examples, key, 1).items():
        tokens, sigma = examples.modalities[name], settings.sigmas.get(name, settings.sigma)
        log_variance = jnp.log1p(jnp.asarray(sigma, jnp.float32) ** 2)
        factor = jnp.exp(jnp.sqrt(log_variance) * jax.random.normal(draw, acts.shape) - log_variance / 2)[:, None]
        values = scaled(tokens.values, Columns.of(schema.modalities[name]), factor, present(tokens) & acts[:, None])
        changed[name] = Tokens(values, tokens.mask)
    return examples.with_tokens(changed)


def drop(examples: Examples, schema: DetectorSchema, settings: Dropout, acts: Array, key: Array) -> Examples:
    changed = {}
    for name, (draw, soft_draw) in keys_of(examples, key, 2).items():
        modality, tokens = schema.modalities[name], examples.modalities[name]
        columns = Columns.of(modality)
        lost = jax.random.uniform(draw, tokens.mask.shape) < settings.fraction
        if columns.pt is not None:
            extra = jax.random.uniform(soft_draw, tokens.mask.shape) < settings.soft_fraction
            lost |= extra & (tokens.values[..., columns.pt] < settings.soft_pt)
        changed[name] = without(tokens, lost & acts[:, None] & ~hardest_of(tokens, columns), modality)
    return examples.with_tokens(changed)


def can_be_dead(modality: Modality) -> bool:
    return has(modality, "eta", "phi") or is_image(modality)


def kill_cells(examples: Examples, schema: DetectorSchema, settings: DeadCells, acts: Array, key: Array) -> Examples:
    lost = {}
    for name, (draw,) in keys_of(examples, key, 1).items():
        modality, tokens = schema.modalities[name], examples.modalities[name]
        if not can_be_dead(modality) or (settings.modalities and name not in settings.modalities):
            continue
        draws = jax.random.split(draw, acts.shape[0])
        dead = _uniform_of(_cells(tokens, modality, settings), draws) < settings.fraction
        lost[name] = dead & present(tokens) & acts[:, None]
    return lose(examples, schema, lost)


def _cells(tokens: Tokens, modality: Modality, settings: DeadCells) -> Int[Array, "B N"]:
    """The number of the cell that each token is in."""
    columns = Columns.of(modality)
    if columns.eta is None or columns.phi is None:
        return jnp.broadcast_to(jnp.arange(tokens.mask.shape[1]), tokens.mask.shape)
    row = jnp.floor(tokens.values[..., columns.eta] / settings.eta).astype(jnp.int32)
    column = jnp.floor(jnp.mod(tokens.values[..., columns.phi], 2 * jnp.pi) / settings.phi).astype(jnp.int32)
    return row * CELLS + column


def _uniform_of(cells: Int[Array, "B N"], keys: Array) -> Array:
    """A number in [0, 1) for each cell of each example; tokens in one cell get the same."""
    return jax.vmap(jax.vmap(lambda key, cell: jax.random.uniform(jax.random.fold_in(key, cell)), (None, 0)))(
        keys, cells
    )


def has_direction(modality: Modality) -> bool:
    return has(modality, "eta", "phi")


def kill_region(examples: Examples, schema: DetectorSchema, settings: DeadRegion, acts: Array, key: Array) -> Examples:
    chosen_key, place_key = jax.random.split(key)
    names = [n for n, m in schema.modalities.items() if has_direction(m)]
    names = [n for n in names if not settings.modalities or n in settings.modalities]
    where, real = {}, {n: present(examples.modalities[n]) for n in names}
    for name in names:
        columns, values = Columns.of(schema.modalities[name]), examples.modalities[name].values
        where[name] = jnp.stack([values[..., columns.eta], values[..., columns.phi]], axis=-1)
    every, there = (jnp.concatenate([part[n] for n in names], axis=1) for part in (where, real))
    token = jnp.argmax(jax.random.uniform(chosen_key, there.shape) * there, axis=1)
    width = jnp.array([settings.eta, settings.phi])
    offset = (jax.random.uniform(place_key, (acts.shape[0], 2)) - 0.5) * width
    centre = jnp.take_along_axis(every, token[:, None, None], axis=1) + offset[:, None]
    lost = {}
    for name in names:
        away = where[name] - centre
        inside = (jnp.abs(away[..., 0]) <= width[0] / 2) & (jnp.abs(wrap_phi(away[..., 1])) <= width[1] / 2)
        lost[name] = inside & real[name] & acts[:, None]
    return lose(examples, schema, lost)


def lose(examples: Examples, schema: DetectorSchema, lost: dict[str, Bool[Array, "B N"]]) -> Examples:
    """Without the lost tokens; an example that would be left without any keeps them."""
    left = jnp.zeros(examples.row.shape, bool)
    for name, tokens in examples.modalities.items():
        left |= jnp.any(present(tokens) & ~lost[name] if name in lost else present(tokens), axis=1)
    changed = {
        name: without(examples.modalities[name], gone & left[:, None], schema.modalities[name])
        for name, gone in lost.items()
    }
    return examples.with_tokens(changed)


def drop_modalities(
    examples: Examples, schema: DetectorSchema, settings: ModalityDropout, acts: Array, key: Array
) -> Examples:
    names = [n for n in examples.modalities if not settings.modalities or n in settings.modalities]
    filled = jnp.stack([jnp.any(present(t), axis=1) for t in examples.modalities.values()], axis=1)
    u = jax.random.uniform(key, filled.shape)
    may = jnp.array([n in names for n in examples.modalities])
    stays = jnp.argmax(jnp.where(filled, jnp.where(may, u, 1.0), -1.0), axis=1)
    gone = may & (u < settings.fraction) & acts[:, None] & (jnp.arange(len(may)) != stays[:, None])
    changed = {}
    for i, (name, tokens) in enumerate(examples.modalities.items()):
        keep = tokens.mask & ~gone[:, i : i + 1]
        changed[name] = Tokens(jnp.where(keep[..., None], tokens.values, 0), keep)
    return examples.with_tokens(changed)
