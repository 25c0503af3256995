"""What the columns of a modality are to an augmentation, and the moves that several augmentations share.

Axes: B examples, N tokens, M tokens to be added, F features, G globals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from foundation.batch import Tokens
from foundation.physics import jet_axis, wrap_phi
from foundation.schema import DetectorSchema, Feature, Modality
from foundation.units import dimension

MOMENTA = ("pt", "energy", "mass", "px", "py", "pz")
LONGITUDINAL = ("eta", "pz", "z", "z0", "dz", "vz")


class Examples(NamedTuple):
    """What augmentations change, and whose it is.

    Attributes:
        modalities: name -> Tokens, in schema order.
        globals: example-level features.
        row: its index; -1 for rows that only fill up.
    """

    modalities: dict[str, Tokens]
    globals: Float[Array, "B G"]
    row: Int[Array, " B"]

    def with_tokens(self, changed: Mapping[str, Tokens]) -> Examples:
        return self._replace(modalities={**self.modalities, **changed})

    def ordered(self, schema: DetectorSchema) -> Examples:
        """In schema order, on which the keys depend: jit hands dicts back sorted by name."""
        return self._replace(modalities={name: self.modalities[name] for name in schema.modalities})


class Columns(NamedTuple):
    """Positions on the last axis; None where the modality has no such coordinate.

    Attributes:
        momenta: what goes with the momentum: pt, energy, mass, px, py, pz and every feature in units of energy, but
            for those that are recomputed.
    """

    pt: int | None
    eta: int | None
    phi: int | None
    energy: int | None
    momenta: tuple[int, ...]

    @staticmethod
    def of(modality: Modality) -> Columns:
        named = {feature for name, feature in modality.coordinates.items() if name in MOMENTA}
        momenta = tuple(
            i
            for i, (name, spec) in enumerate(modality.features.items())
            if (name in named or dimension(spec.unit) == "energy") and not spec.recompute
        )
        pt, eta, phi, energy = (modality.coordinate_index(name) for name in ("pt", "eta", "phi", "energy"))
        return Columns(pt, eta, phi, energy, momenta)


def has(modality: Modality, *coordinates: str) -> bool:
    return set(coordinates) <= modality.coordinates.keys()


def is_image(modality: Modality) -> bool:
    """Whether the places of the tokens, and not coordinates, say where they are."""
    return modality.grid is not None and not has(modality, "eta") and not has(modality, "phi")


def has_slots(modality: Modality) -> bool:
    """Whether tokens can be added and moved in the list: a grid's cells are all there and have their places."""
    return modality.grid is None


def is_longitudinal(name: str, feature: Feature) -> bool:
    """Whether a feature changes sign under a mirror image along the beam; by its name, unless it is never negative."""
    if (feature.range and feature.range[0] >= 0) or (feature.hardware is not None and not feature.hardware.signed):
        return False
    return name.lower().rpartition("_")[2] in LONGITUDINAL


def is_azimuth(name: str, feature: Feature) -> bool:
    """Whether a global is an angle about the beam; by its name."""
    return name.lower().endswith("phi") and feature.unit in ("", "rad") and not name.lower().startswith(("d", "rel"))


def present(tokens: Tokens) -> Bool[Array, "B N"]:
    """Real tokens of which any feature is not 0: an empty place on a grid or in a trigger's list stays empty."""
    return tokens.mask & jnp.any(tokens.values != 0, axis=-1)


def set_column(
    values: Float[Array, "B N F"], column: int, new: Array, where: Bool[Array, "B N"]
) -> Float[Array, "B N F"]:
    # a choice, not a scatter: it is fused with what comes before and after
    return jnp.where((jnp.arange(values.shape[-1]) == column) & where[..., None], new[..., None], values)


def scaled(
    values: Float[Array, "B N F"], columns: Columns, factor: Float[Array, "B #N"], where: Bool[Array, "B N"]
) -> Float[Array, "B N F"]:
    """Everything that goes with the momentum times a factor."""
    return jnp.where(goes_with_momentum(values, columns) & where[..., None], factor[..., None] * values, values)


def goes_with_momentum(values: Float[Array, "B N F"], columns: Columns) -> Bool[Array, " F"]:
    return jnp.asarray(np.isin(np.arange(values.shape[-1]), columns.momenta))


def wrap(phi: Float[Array, "*s"], feature: Feature) -> Float[Array, "*s"]:
    """The same azimuth in [-pi, pi), or in [0, 2 pi) where the feature is never negative."""
    phi = wrap_phi(phi)
    positive = (feature.range and feature.range[0] >= 0) or (feature.hardware and not feature.hardware.signed)
    return jnp.where(phi < 0, phi + 2 * jnp.pi, phi) if positive else phi


def place(
    values: Float[Array, "B N F"], modality: Modality, eta: Array | None, phi: Array, where: Bool[Array, "B N"]
) -> Float[Array, "B N F"]:
    """Sets eta (unless None) and phi, wrapped as the feature has it."""
    columns = Columns.of(modality)
    if eta is not None and columns.eta is not None:
        values = set_column(values, columns.eta, eta, where)
    assert columns.phi is not None
    return set_column(values, columns.phi, wrap(phi, modality.features[modality.coordinates["phi"]]), where)


def in_disc(radius: float, v: Array, turn: Array) -> tuple[Array, Array]:
    """Points uniform in a disc, of `v` and `turn` uniform in [0, 1)."""
    r, angle = radius * jnp.sqrt(v), 2 * jnp.pi * turn
    return r * jnp.cos(angle), r * jnp.sin(angle)


def take(x: Array, index: Int[Array, "B M"]) -> Array:
    return jnp.take_along_axis(x, index.reshape(index.shape + (1,) * (x.ndim - 2)), axis=1)


def keys_of(examples: Examples, key: PRNGKeyArray, count: int) -> dict[str, Array]:
    """`count` keys for each modality."""
    return {name: jax.random.split(jax.random.fold_in(key, i), count) for i, name in enumerate(examples.modalities)}


def without(tokens: Tokens, lost: Bool[Array, "B N"], modality: Modality) -> Tokens:
    """Without the lost tokens, the others in their order; on a grid the cells stay, as zeros."""
    keep = tokens.mask & ~lost
    if modality.grid is not None:
        return Tokens(jnp.where(keep[..., None], tokens.values, 0), tokens.mask)
    order = jnp.argsort(~keep, axis=1, stable=True)
    mask = take(keep, order)
    return Tokens(jnp.where(mask[..., None], take(tokens.values, order), 0), mask)


def overlay(tokens: Tokens, extra: Tokens, rank: Float[Array, "B M"]) -> Tokens:
    """With extra tokens in the padding slots, those of low `rank` (in [0, 1)) first while slots last."""
    own = jnp.where(tokens.mask, -1.0, 2.0)
    order = jnp.argsort(jnp.concatenate([own, jnp.where(extra.mask, rank, 2.0)], axis=1), axis=1, stable=True)
    order = order[:, : tokens.mask.shape[1]]
    mask = take(jnp.concatenate([tokens.mask, extra.mask], axis=1), order)
    values = take(jnp.concatenate([tokens.values, extra.values], axis=1), order)
    return Tokens(jnp.where(mask[..., None], values, 0), mask)


class Spawned(NamedTuple):
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


def spawn(tokens: Tokens, wants: Bool[Array, "B N"], priority: Float[Array, "B N"]) -> Spawned:
    """Copies the tokens that want a daughter into padding slots, those of low `priority` first while slots last."""
    length = tokens.mask.shape[1]
    count = jnp.sum(tokens.mask, axis=1, keepdims=True)
    order = jnp.argsort(jnp.where(wants, priority, jnp.inf), axis=1)
    has_daughter = wants & (jnp.argsort(order, axis=1) < length - count)
    nth = jnp.arange(length)[None] - count
    is_daughter = (nth >= 0) & (nth < jnp.sum(wants, axis=1, keepdims=True))
    mother = take(order, jnp.clip(nth, 0, length - 1))
    values = jnp.where(is_daughter[..., None], take(tokens.values, mother), tokens.values)
    return Spawned(Tokens(values, tokens.mask | is_daughter), mother, is_daughter, has_daughter)


def share(spawned: Spawned, columns: Columns, z: Float[Array, "B N"]) -> Float[Array, "B N F"]:
    """Values in which each mother keeps z of what goes with the momentum, and its daughter has the rest."""
    whole = spawned.tokens.values
    kept = z[..., None] * whole
    parts = jnp.where(spawned.is_daughter[..., None], take(whole - kept, spawned.mother), kept)
    either = spawned.is_daughter | spawned.has_daughter
    return jnp.where(goes_with_momentum(whole, columns) & either[..., None], parts, whole)


def hardest(tokens: Tokens, columns: Columns) -> Bool[Array, "B N"]:
    """The token of the highest pt, or energy; the first, where there is neither."""
    size = columns.pt if columns.pt is not None else columns.energy
    order = jnp.zeros(tokens.mask.shape) if size is None else tokens.values[..., size]
    first = jnp.argmax(jnp.where(tokens.mask, order, -jnp.inf), axis=1)
    return jnp.arange(tokens.mask.shape[1])[None] == first[:, None]


def axis(modalities: Mapping[str, Tokens], schema: DetectorSchema) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """The centroid (eta, phi) of all modalities together: pt-weighted, plain where none has a pt."""
    placed = {name: m for name, m in schema.modalities.items() if name in modalities and has(m, "eta", "phi")}
    weighted = {name: m for name, m in placed.items() if has(m, "pt")}
    parts = []
    for name, modality in (weighted or placed).items():
        values, mask, columns = modalities[name].values, modalities[name].mask, Columns.of(modality)
        weight = jnp.ones(mask.shape) if columns.pt is None else values[..., columns.pt]
        parts.append((weight, values[..., columns.eta], values[..., columns.phi], mask))
    return jet_axis(*(jnp.concatenate(part, axis=1) for part in zip(*parts)))
