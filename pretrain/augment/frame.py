"""Another choice of frame: rotations, translation, mirror image. The physics is the same by symmetry.

One angle, one shift, one axis serve all modalities of an example: charged and neutral constituents of one jet turn
together.

Axes: B examples, N tokens, F features, G globals.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from foundation.batch import Tokens
from foundation.physics import wrap_phi
from foundation.schema import DetectorSchema, Modality
from pretrain.augment.columns import Columns, Examples, axis, has, is_azimuth, is_longitudinal, place, present, wrap
from pretrain.augment.columns import set_column as set_values
from pretrain.augment.settings import EtaFlip, PhiRotation, Rotation, Translation


def movable(schema: DetectorSchema) -> list[str]:
    """Modalities with eta and phi; if some have them relative to a jet axis, those alone."""
    placed = [n for n, m in schema.modalities.items() if has(m, "eta", "phi")]
    return [n for n in placed if schema.modalities[n].relative] or placed


def _move(
    examples: Examples, schema: DetectorSchema, acts: Array, motion: Callable[[Array, Array], tuple[Array, Array]]
) -> Examples:
    """Applies `motion` of (eta, phi) to the tokens."""
    changed = {}
    for name in movable(schema):
        modality, tokens = schema.modalities[name], examples.modalities[name]
        columns = Columns.of(modality)
        eta, phi = motion(tokens.values[..., columns.eta], tokens.values[..., columns.phi])
        values = place(tokens.values, modality, eta, phi, present(tokens) & acts[:, None])
        changed[name] = Tokens(values, tokens.mask)
    return examples.with_tokens(changed)


def rotate(examples: Examples, schema: DetectorSchema, settings: Rotation, acts: Array, key: Array) -> Examples:
    names = movable(schema)
    if not names:
        return examples
    angle = jax.random.uniform(key, acts.shape, minval=-settings.angle, maxval=settings.angle)[:, None]
    centre = axis({name: examples.modalities[name] for name in names}, schema)
    eta_axis, phi_axis = (each[:, None] for each in centre)

    def turn(eta: Array, phi: Array) -> tuple[Array, Array]:
        x, y = eta - eta_axis, wrap_phi(phi - phi_axis)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return eta_axis + cos * x - sin * y, phi_axis + sin * x + cos * y

    return _move(examples, schema, acts, turn)


def translate(examples: Examples, schema: DetectorSchema, settings: Translation, acts: Array, key: Array) -> Examples:
    shift = jax.random.uniform(key, (2, acts.shape[0], 1), minval=-1.0, maxval=1.0)
    return _move(
        examples, schema, acts, lambda eta, phi: (eta + settings.eta * shift[0], phi + settings.phi * shift[1])
    )


def turns(modality: Modality) -> bool:
    """Whether a modality is measured around the beam."""
    return not modality.relative and (has(modality, "phi") or has(modality, "px", "py") or has(modality, "x", "y"))


def rotate_about_beam(
    examples: Examples, schema: DetectorSchema, settings: PhiRotation, acts: Array, key: Array
) -> Examples:
    angle = jax.random.uniform(key, acts.shape, minval=-settings.angle, maxval=settings.angle)[:, None]
    if settings.step > 0:
        angle = jnp.round(angle / settings.step) * settings.step
    changed = {}
    for name, modality in schema.modalities.items():
        if turns(modality):
            tokens = examples.modalities[name]
            where, values = present(tokens) & acts[:, None], tokens.values
            if has(modality, "phi"):
                values = place(values, modality, None, values[..., Columns.of(modality).phi] + angle, where)
            for pair in (("px", "py"), ("x", "y")):
                values = _turn_pair(values, modality, pair, angle, where)
            changed[name] = Tokens(values, tokens.mask)
    found = examples.globals
    for i, (name, spec) in enumerate(schema.globals.items()):
        if is_azimuth(name, spec):
            found = found.at[:, i].set(jnp.where(acts, wrap(found[:, i] + angle[:, 0], spec), found[:, i]))
    return examples.with_tokens(changed)._replace(globals=found)


def _turn_pair(
    values: Float[Array, "B N F"], modality: Modality, pair: tuple[str, str], angle: Array, where: Array
) -> Float[Array, "B N F"]:
    if not has(modality, *pair):
        return values
    across, up = (modality.index(modality.coordinates[name]) for name in pair)
    x, y, cos, sin = values[..., across], values[..., up], jnp.cos(angle), jnp.sin(angle)
    return set_values(set_values(values, across, cos * x - sin * y, where), up, sin * x + cos * y, where)


def mirrored(modality: Modality) -> list[int]:
    """Columns that change sign under a mirror image along the beam."""
    along = {modality.coordinates[c] for c in ("eta", "z", "pz") if c in modality.coordinates}
    found = {name for name, spec in modality.features.items() if name in along or is_longitudinal(name, spec)}
    positive = {n for n in along if (limits := modality.features[n].range) and limits[0] >= 0}
    return sorted(modality.index(name) for name in found - positive)


def flip(examples: Examples, schema: DetectorSchema, settings: EtaFlip, acts: Array, key: Array) -> Examples:
    changed = {}
    for name, modality in schema.modalities.items():
        tokens = examples.modalities[name]
        values = tokens.values
        for column in mirrored(modality):
            values = set_values(values, column, -values[..., column], present(tokens) & acts[:, None])
        changed[name] = Tokens(values, tokens.mask)
    found = examples.globals
    for i, (name, spec) in enumerate(schema.globals.items()):
        if is_longitudinal(name, spec):
            found = found.at[:, i].set(jnp.where(acts, -found[:, i], found[:, i]))
    return examples.with_tokens(changed)._replace(globals=found)
