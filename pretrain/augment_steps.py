"""The augmentations themselves: each takes all modalities and changes the examples for which `acts` is true.

One angle, one shift, one axis serve all modalities of an example: charged and neutral constituents of one jet turn
together. Randomness is drawn per modality where tokens are concerned.

Axes: B examples, N tokens, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from foundation.batch import Tokens
from foundation.physics import jet_axis, wrap_phi
from foundation.schema import DetectorSchema, Modality
from pretrain.augment_config import Dropout, Rotation, Smearing, Soft, Splitting, Translation

Modalities = dict[str, Tokens]


class _Columns(NamedTuple):
    """Positions of the coordinates on the last axis; None where the modality has none."""

    pt: int | None
    eta: int | None
    phi: int | None
    energy: int | None

    @staticmethod
    def of(modality: Modality) -> _Columns:
        return _Columns(*(modality.coordinate_index(name) for name in ("pt", "eta", "phi", "energy")))

    @property
    def momentum(self) -> list[int]:
        """pt and, where there is one, the energy."""
        return [] if self.pt is None else [self.pt] + ([] if self.energy is None else [self.energy])


def set_column(
    values: Float[Array, "B N F"], column: int, new: Array, where: Bool[Array, "B N"]
) -> Float[Array, "B N F"]:
    return values.at[..., column].set(jnp.where(where, new, values[..., column]))


def _take(x: Array, index: Int[Array, "B N"]) -> Array:
    return jnp.take_along_axis(x, index.reshape(index.shape + (1,) * (x.ndim - 2)), axis=1)


def _keys(modalities: Modalities, key: PRNGKeyArray, count: int) -> dict[str, Array]:
    """`count` keys for each modality."""
    return {name: jax.random.split(jax.random.fold_in(key, i), count) for i, name in enumerate(modalities)}


class _Spawned(NamedTuple):
    """What adding copies of some tokens gave.

    Attributes:
        tokens: with the copies in what were padding slots.
        mother: for each slot that is a daughter, the index of the token it copies.
        is_daughter: true for the added slots.
        has_daughter: true for tokens that were copied.
    """

    tokens: Tokens
    mother: Int[Array, "B N"]
    is_daughter: Bool[Array, "B N"]
    has_daughter: Bool[Array, "B N"]


def _spawn(tokens: Tokens, wants: Bool[Array, "B N"], priority: Float[Array, "B N"]) -> _Spawned:
    """Copies the tokens that want a daughter into padding slots, those of low `priority` first while slots last."""
    length = tokens.mask.shape[1]
    count = jnp.sum(tokens.mask, axis=1, keepdims=True)
    order = jnp.argsort(jnp.where(wants, priority, jnp.inf), axis=1)
    has_daughter = wants & (jnp.argsort(order, axis=1) < length - count)
    nth = jnp.arange(length)[None] - count
    is_daughter = (nth >= 0) & (nth < jnp.sum(wants, axis=1, keepdims=True))
    mother = _take(order, jnp.clip(nth, 0, length - 1))
    values = jnp.where(is_daughter[..., None], _take(tokens.values, mother), tokens.values)
    return _Spawned(Tokens(values, tokens.mask | is_daughter), mother, is_daughter, has_daughter)


def _split(modalities: Modalities, schema: DetectorSchema, settings: Splitting, acts: Array, key: Array) -> Modalities:
    result = dict(modalities)
    for name, (draw, share) in _keys(modalities, key, 2).items():
        columns, tokens = _Columns.of(schema.modalities[name]), modalities[name]
        if columns.pt is None or (settings.modalities and name not in settings.modalities):
            continue
        u = jax.random.uniform(draw, tokens.mask.shape)
        spawned = _spawn(tokens, tokens.mask & acts[:, None] & (u < settings.fraction), u)
        z = jax.random.uniform(share, u.shape, minval=settings.z_min, maxval=1 - settings.z_min)
        values = spawned.tokens.values
        for column in columns.momentum:
            whole = tokens.values[..., column]
            kept = z * whole
            values = set_column(values, column, kept, spawned.has_daughter)
            values = set_column(values, column, _take(whole - kept, spawned.mother), spawned.is_daughter)
        result[name] = Tokens(values, spawned.tokens.mask)
    return result


def _soften(modalities: Modalities, schema: DetectorSchema, settings: Soft, acts: Array, key: Array) -> Modalities:
    result = dict(modalities)
    for name, keys in _keys(modalities, key, 4).items():
        columns, tokens = _Columns.of(schema.modalities[name]), modalities[name]
        if columns.pt is None or columns.eta is None or columns.phi is None:
            continue
        if settings.modalities and name not in settings.modalities:
            continue
        u, v, turn = (jax.random.uniform(k, tokens.mask.shape) for k in keys[:3])
        spawned = _spawn(tokens, tokens.mask & acts[:, None] & (u < settings.fraction), u)
        pt = settings.pt * jax.random.exponential(keys[3], u.shape)
        mother_pt = spawned.tokens.values[..., columns.pt]
        scale = pt / jnp.where(mother_pt > 0, mother_pt, 1.0)
        eta_axis, phi_axis = _axis({name: tokens}, schema)
        r, angle = settings.radius * jnp.sqrt(v), 2 * jnp.pi * turn
        values = spawned.tokens.values
        changed = {
            columns.pt: pt,
            columns.eta: eta_axis[:, None] + r * jnp.cos(angle),
            columns.phi: wrap_phi(phi_axis[:, None] + r * jnp.sin(angle)),
        }
        if columns.energy is not None:
            changed[columns.energy] = scale * values[..., columns.energy]
        for column, new in changed.items():
            values = set_column(values, column, new, spawned.is_daughter)
        result[name] = Tokens(values, spawned.tokens.mask)
    return result


def _smear(modalities: Modalities, schema: DetectorSchema, settings: Smearing, acts: Array, key: Array) -> Modalities:
    result = dict(modalities)
    for name, (momentum, eta, phi) in _keys(modalities, key, 3).items():
        columns, tokens = _Columns.of(schema.modalities[name]), modalities[name]
        if columns.pt is None:
            continue
        where = tokens.mask & acts[:, None] & (tokens.values[..., columns.pt] > 0)
        pt = jnp.where(where, tokens.values[..., columns.pt], 1.0)
        variance = settings.stochastic**2 / pt + settings.constant**2 + (settings.noise / pt) ** 2
        log_variance = jnp.log1p(variance)
        factor = jnp.exp(jnp.sqrt(log_variance) * jax.random.normal(momentum, pt.shape) - log_variance / 2)
        values = tokens.values
        for column in columns.momentum:
            values = set_column(values, column, factor * values[..., column], where)
        sigma = jnp.minimum(settings.direction / pt, 0.1)
        if columns.eta is not None:
            values = set_column(
                values, columns.eta, values[..., columns.eta] + sigma * jax.random.normal(eta, pt.shape), where
            )
        if columns.phi is not None:
            moved = wrap_phi(values[..., columns.phi] + sigma * jax.random.normal(phi, pt.shape))
            values = set_column(values, columns.phi, moved, where)
        result[name] = Tokens(values, tokens.mask)
    return result


def _drop(modalities: Modalities, schema: DetectorSchema, settings: Dropout, acts: Array, key: Array) -> Modalities:
    result = dict(modalities)
    for name, (draw, soft_draw) in _keys(modalities, key, 2).items():
        columns, tokens = _Columns.of(schema.modalities[name]), modalities[name]
        lost = jax.random.uniform(draw, tokens.mask.shape) < settings.fraction
        hardest = jnp.zeros(tokens.mask.shape[0], int)
        if columns.pt is not None:
            pt = tokens.values[..., columns.pt]
            extra = jax.random.uniform(soft_draw, tokens.mask.shape) < settings.soft_fraction
            lost |= extra & (pt < settings.soft_pt)
            hardest = jnp.argmax(jnp.where(tokens.mask, pt, -jnp.inf), axis=1)
        lost &= acts[:, None] & (jnp.arange(tokens.mask.shape[1])[None] != hardest[:, None])
        keep = tokens.mask & ~lost
        order = jnp.argsort(~keep, axis=1, stable=True)
        mask = _take(keep, order)
        result[name] = Tokens(jnp.where(mask[..., None], _take(tokens.values, order), 0), mask)
    return result


def _axis(modalities: Modalities, schema: DetectorSchema) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """The centroid (eta, phi) of all modalities together: pt-weighted, plain where none has a pt."""
    columns = {name: _Columns.of(schema.modalities[name]) for name in modalities}
    placed = {name: c for name, c in columns.items() if c.eta is not None and c.phi is not None}
    weighted = {name: c for name, c in placed.items() if c.pt is not None}
    parts = []
    for name, c in (weighted or placed).items():
        values, mask = modalities[name].values, modalities[name].mask
        weight = jnp.ones(mask.shape) if c.pt is None else values[..., c.pt]
        parts.append((weight, values[..., c.eta], values[..., c.phi], mask))
    return jet_axis(*(jnp.concatenate(part, axis=1) for part in zip(*parts)))


def _move(
    modalities: Modalities, schema: DetectorSchema, acts: Array, motion: Callable[[Array, Array], tuple[Array, Array]]
) -> Modalities:
    """Applies `motion` of (eta, phi) to every token that has both, wrapping phi."""
    result = dict(modalities)
    for name, tokens in modalities.items():
        columns = _Columns.of(schema.modalities[name])
        if columns.eta is None or columns.phi is None:
            continue
        where = tokens.mask & acts[:, None]
        eta, phi = motion(tokens.values[..., columns.eta], tokens.values[..., columns.phi])
        values = set_column(tokens.values, columns.eta, eta, where)
        result[name] = Tokens(set_column(values, columns.phi, wrap_phi(phi), where), tokens.mask)
    return result


def _rotate(modalities: Modalities, schema: DetectorSchema, settings: Rotation, acts: Array, key: Array) -> Modalities:
    if not any({"eta", "phi"} <= set(schema.modalities[name].coordinates) for name in modalities):
        return modalities
    angle = jax.random.uniform(key, acts.shape, minval=-settings.angle, maxval=settings.angle)[:, None]
    eta_axis, phi_axis = (axis[:, None] for axis in _axis(modalities, schema))

    def turn(eta: Array, phi: Array) -> tuple[Array, Array]:
        x, y = eta - eta_axis, wrap_phi(phi - phi_axis)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return eta_axis + cos * x - sin * y, phi_axis + sin * x + cos * y

    return _move(modalities, schema, acts, turn)


def _translate(
    modalities: Modalities, schema: DetectorSchema, settings: Translation, acts: Array, key: Array
) -> Modalities:
    shift = jax.random.uniform(key, (2, acts.shape[0], 1), minval=-1.0, maxval=1.0)
    return _move(
        modalities, schema, acts, lambda eta, phi: (eta + settings.eta * shift[0], phi + settings.phi * shift[1])
    )


STEPS: dict[str, Callable[..., Modalities]] = {
    "splitting": _split,
    "soft": _soften,
    "smearing": _smear,
    "dropout": _drop,
    "rotation": _rotate,
    "translation": _translate,
}
