"""Decorrelation of a class score from a quantity of the example: distance correlation, DisCo (arXiv:2001.05310).

Axes: B examples, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from foundation.batch import TokenBatch
from foundation.errors import ConfigError, SchemaError, close_names
from foundation.physics import invariant_mass, jet_kinematics, momentum_of
from foundation.schema import DetectorSchema, Modality

MASS = "mass"


@dataclass(frozen=True)
class DecorrelateConfig:
    """Decorrelation of the score from a quantity, in the background (DisCo, arXiv:2001.05310).

    Attributes:
        quantity: a regression label of examples, one of the globals, or `mass`: the invariant mass of the tokens of the
            first modality with momenta. Empty: no decorrelation.
        of: the background, classes of the task; the score is the probability of all others together.
        weight: of the squared distance correlation (0 to 1) in the loss: what the score loses in separation, it gains
            in independence. The correlation is that of a batch, so take large ones.
        power: of the squared distance correlation; 2 punishes large ones more.
    """

    quantity: str = ""
    of: tuple[str, ...] = ()
    weight: float = 1.0
    power: float = 1.0

    def check(self, schema: DetectorSchema, kind: str, classes: tuple[str, ...]) -> None:
        """Raises ConfigError, SchemaError: it does not go with these classes, or the schema lacks the quantity."""
        if not self.quantity:
            if self.of:
                raise ConfigError(
                    "task.decorrelate.of names the background; say also from which task.decorrelate.quantity"
                )
            return
        if kind != "class":
            raise ConfigError("task.decorrelate works on the class score of examples; this task has none")
        for name in self.of:
            if name not in classes:
                raise ConfigError(f"task.decorrelate.of: no class '{name}' is learnt; {close_names(name, classes)}")
        if not set(classes) > set(self.of) or not self.of:
            raise ConfigError(
                f"task.decorrelate.of names the background, some of the classes {list(classes)} but not all; "
                f"it is {list(self.of)}"
            )
        if not (math.isfinite(self.weight) and self.weight > 0 and math.isfinite(self.power) and self.power > 0):
            raise ConfigError(f"task.decorrelate needs weight > 0 and power > 0; it has {self.weight} and {self.power}")
        known = [*schema.regression_labels, *schema.globals]
        if self.quantity in known:
            return
        if self.quantity != MASS:
            hint = close_names(self.quantity, [*known, MASS])
            raise SchemaError(f"task.decorrelate.quantity: no regression label or global '{self.quantity}'; {hint}")
        if _massive(schema) is None:
            raise SchemaError(
                "task.decorrelate.quantity: the mass needs a modality with coordinates pt, eta, phi or px, py, pz, "
                f"energy; none of {list(schema.modalities)} has them"
            )


def quantity(batch: TokenBatch, schema: DetectorSchema, name: str) -> Float[Array, " B"]:
    """The quantity of each example; NaN where it is not known. `schema` names the globals and coordinates."""
    if name in batch.labels:
        return jnp.asarray(batch.labels[name])
    if name in schema.globals:
        return jnp.asarray(batch.globals)[:, list(schema.globals).index(name)]
    modality = _massive(schema)
    assert modality is not None, name
    return mass(batch, schema.modalities[modality], modality)


def mass(batch: TokenBatch, modality: Modality, name: str) -> Float[Array, " B"]:
    """Invariant mass of the sum of an example's tokens, in the unit of their momenta.

    Tokens count as massless where eta is measured from a jet's axis, in whose frame their energy is not.
    """
    tokens = batch.modalities[name]
    parts = {c: tokens.values[..., modality.index(f)] for c, f in modality.coordinates.items()}
    if not {"pt", "eta", "phi"} <= parts.keys():
        momenta = jnp.where(tokens.mask[..., None], momentum_of(parts), 0.0)
        return invariant_mass(momenta.sum(axis=1))
    energy = None if modality.relative else parts.get("energy")
    if energy is None and "mass" in parts and not modality.relative:
        energy = momentum_of(parts)[..., 0]
    return jet_kinematics(parts["pt"], parts["eta"], parts["phi"], energy, tokens.mask).mass


def distance_correlation(x: Float[Array, " B"], y: Float[Array, " B"], weights: Float[Array, " B"]) -> Float[Array, ""]:
    """Squared distance correlation of two weighted samples (Szekely, Rizzo, Bakirov, arXiv:0803.4101): 0 for
    independent ones (up to the bias of a finite sample), 1 for linear ones; 0 where one of them is constant.
    """
    share = weights / jnp.maximum(weights.sum(), 1e-12)
    a, b = _centred(x, share), _centred(y, share)
    pairs = share[:, None] * share[None, :]
    ab, aa, bb = (jnp.sum(pairs * first * second) for first, second in ((a, b), (a, a), (b, b)))
    there = (aa > 1e-12) & (bb > 1e-12)
    scale = jnp.sqrt(jnp.where(there, aa, 1.0)) * jnp.sqrt(jnp.where(there, bb, 1.0))
    return jnp.where(there, jnp.maximum(ab, 0.0) / scale, 0.0)


def _centred(x: Float[Array, " B"], share: Float[Array, " B"]) -> Float[Array, "B B"]:
    """Distances in units of their mean, less the means of row and column, plus the mean of all."""
    distances = jnp.abs(x[:, None] - x[None, :])
    rows = distances @ share
    mean = rows @ share
    centred = distances - rows[:, None] - rows[None, :] + mean
    return centred / jnp.where(mean > 0, mean, 1.0)


def decorrelation(
    config: DecorrelateConfig,
    classes: tuple[str, ...],
    schema: DetectorSchema,
    batch: TokenBatch,
    logits: Float[Array, "B C"],
    target: Array,
) -> Float[Array, ""]:
    """The term of the loss, without its weight.

    Args:
        target: [B] output class of each example, -1 where unknown.
    """
    background = jnp.asarray([name in config.of for name in classes])
    probability = jax.nn.softmax(logits, axis=-1)
    score = jnp.sum(jnp.where(background, 0.0, probability), axis=-1)
    of = quantity(batch, schema, config.quantity)
    counts = (target >= 0) & background[jnp.maximum(target, 0)] & jnp.isfinite(of)
    weights = jnp.asarray(batch.weights) * counts
    squared = distance_correlation(score, jnp.where(counts, of, 0.0), weights)
    return jnp.where(squared > 0, jnp.where(squared > 0, squared, 1.0) ** config.power, 0.0)


def _massive(schema: DetectorSchema) -> str | None:
    """The first modality whose tokens have momenta."""
    for name, modality in schema.modalities.items():
        known = set(modality.coordinates)
        if {"pt", "eta", "phi"} <= known or {"px", "py", "pz", "energy"} <= known:
            return name
    return None
