"""Globals and missing momenta that follow what happened to the tokens.

The rule. `jet_pt` and `jet_energy` follow the constituents: they are multiplied by the ratio of the sums of pt (of
energy, where there is one) after and before, over the modalities with pt, eta and phi relative to the jet axis. The
missing transverse momentum takes up the change of the vector sum of the modalities named in `met_from`; without such
it stays. It is a global whose name has `met` in it beside its azimuth (`met` or `met_pt`, and `met_phi`), or a modality
called so with pt and phi and without eta. Then globals with a `recompute` expression are evaluated again. Every other
global stays as it was measured, and so do labels.

Axes: B examples, N tokens, G globals.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from foundation.batch import Tokens
from foundation.expression import parsed
from foundation.schema import DetectorSchema
from pretrain.augment.columns import Columns, Examples, has, set_column, wrap

SUMS = {"jet_pt": "pt", "jet_energy": "energy"}


def missing_globals(schema: DetectorSchema) -> dict[str, str]:
    """Global that is the size of a missing transverse momentum -> global that is its azimuth."""
    found = {}
    for name in schema.globals:
        base = name.removesuffix("_pt").removesuffix("_et")
        azimuth = next((n for n in (f"{base}_phi", f"{base}phi") if n in schema.globals and n != name), "")
        if "met" in base.lower() and azimuth:
            found[name] = azimuth
    return found


def missing_modalities(schema: DetectorSchema) -> list[str]:
    return [n for n, m in schema.modalities.items() if has(m, "pt", "phi") and not has(m, "eta") and "met" in n.lower()]


def has_missing(schema: DetectorSchema) -> bool:
    return bool(missing_globals(schema) or missing_modalities(schema))


def follow(
    before: Examples, after: Examples, schema: DetectorSchema, met_from: tuple[str, ...], acted: Bool[Array, " B"]
) -> Examples:
    """`after` with the sums and missing momenta that follow its tokens, where something acted."""
    after = after._replace(globals=_sums(before, after, schema, acted))
    if met_from:
        x, y = (new - old for new, old in zip(_vector(after, schema, met_from), _vector(before, schema, met_from)))
        after = add_missing(after, schema, -x, -y, acted)
    return after


def _sums(before: Examples, after: Examples, schema: DetectorSchema, acted: Bool[Array, " B"]) -> Array:
    parts = {n: m for n, m in schema.modalities.items() if m.relative and has(m, "pt", "eta", "phi")}
    found = after.globals
    for name, coordinate in SUMS.items():
        if name not in schema.globals or not parts:
            continue
        if coordinate == "energy" and not all(has(m, "energy") for m in parts.values()):
            coordinate = "pt"
        columns = {n: m.coordinate_index(coordinate) for n, m in parts.items()}
        new, old = (
            jnp.asarray(sum(jnp.sum(each.modalities[n].values[..., i], axis=1) for n, i in columns.items()))
            for each in (after, before)
        )
        usable = acted & (old > 0) & (new > 0)
        i = list(schema.globals).index(name)
        ratio = jnp.where(usable, new, 1.0) / jnp.where(usable, old, 1.0)
        found = found.at[:, i].set(jnp.where(usable, found[:, i] * ratio, found[:, i]))
    return found


def _vector(examples: Examples, schema: DetectorSchema, names: tuple[str, ...]) -> tuple[Array, Array]:
    """px, py of the tokens of some modalities."""
    x = y = jnp.zeros(examples.row.shape)
    for name in names:
        columns, values = Columns.of(schema.modalities[name]), examples.modalities[name].values
        pt, phi = values[..., columns.pt], values[..., columns.phi]
        x, y = x + jnp.sum(pt * jnp.cos(phi), axis=1), y + jnp.sum(pt * jnp.sin(phi), axis=1)
    return x, y


def add_missing(examples: Examples, schema: DetectorSchema, x: Array, y: Array, acts: Bool[Array, " B"]) -> Examples:
    """(x, y) added to every missing transverse momentum."""
    found, changed = examples.globals, {}
    for name, azimuth in missing_globals(schema).items():
        i, j = (list(schema.globals).index(n) for n in (name, azimuth))
        size, phi = _sum(found[:, i], found[:, j], x, y)
        found = found.at[:, i].set(jnp.where(acts, size, found[:, i]))
        found = found.at[:, j].set(jnp.where(acts, wrap(phi, schema.globals[azimuth]), found[:, j]))
    for name in missing_modalities(schema):
        modality, tokens = schema.modalities[name], examples.modalities[name]
        columns, where = Columns.of(modality), tokens.mask & acts[:, None]
        assert columns.pt is not None
        assert columns.phi is not None
        size, phi = _sum(tokens.values[..., columns.pt], tokens.values[..., columns.phi], x[:, None], y[:, None])
        values = set_column(tokens.values, columns.pt, size, where)
        phi = wrap(phi, modality.features[modality.coordinates["phi"]])
        changed[name] = Tokens(set_column(values, columns.phi, phi, where), tokens.mask)
    return examples.with_tokens(changed)._replace(globals=found)


def _sum(size: Array, phi: Array, x: Array, y: Array) -> tuple[Array, Array]:
    x, y = size * jnp.cos(phi) + x, size * jnp.sin(phi) + y
    return jnp.hypot(x, y), jnp.arctan2(y, x)


def recompute_globals(
    found: Float[Array, "B G"], schema: DetectorSchema, acted: Bool[Array, " B"]
) -> Float[Array, "B G"]:
    """Evaluates the `recompute` expressions of globals, in schema order, where something acted."""
    columns: dict[str, Any] = {name: found[:, i] for i, name in enumerate(schema.globals)}
    for i, (name, spec) in enumerate(schema.globals.items()):
        if spec.recompute:
            new = parsed(spec.recompute).evaluate(columns, jnp)
            found = found.at[:, i].set(jnp.where(acted, new, found[:, i]))
            columns[name] = found[:, i]
    return found
