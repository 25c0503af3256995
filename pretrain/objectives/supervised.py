"""Supervised pretraining on simulation labels, alone or beside other objectives. NOT label-free.

A run that uses it says so: `labels_used` in its metrics.json.

Axes: B batch, D width, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from foundation.errors import ConfigError, close_names
from foundation.models import EncoderConfig, Head, HeadConfig
from foundation.models.encoder import Statistics
from foundation.schema import DetectorSchema, Label
from foundation.store import Store
from pretrain.objectives.base import Objective, Pass
from pretrain.objectives.projection import weighted_mean


@dataclass(frozen=True)
class SupervisedConfig:
    """Learning from simulation labels: the embedding is then no longer learnt without labels.

    Attributes:
        weight: of this loss; 0 turns it off, and no label is read.
        labels: label of examples in the schema -> weight of its loss. Classes and multi-labels by cross-entropy,
            regressions by the Huber loss of the standardised value; unknown ones count nothing.
        hidden: width of a hidden layer of each head; 0: linear heads.
    """

    weight: float = 0.0
    labels: dict[str, float] = field(default_factory=dict)
    hidden: int = 0


class Supervised(Objective):
    """One head per label on the pooled embedding of every view.

    Raises:
        ConfigError: no label named, one that the schema does not have, or one that gives no target of the example.
    """

    def __init__(self, schema: DetectorSchema, encoder: EncoderConfig, settings: SupervisedConfig, *, rngs: nnx.Rngs):
        known = {n: label for n, label in schema.labels.items() if not label.modality and label.kind != "group"}
        if not settings.labels:
            raise ConfigError(f"supervised.labels names none; give {{LABEL: WEIGHT}} of {', '.join(known) or 'none'}")
        for name in settings.labels:
            if name not in known:
                raise ConfigError(
                    f"supervised.labels: schema '{schema.name}' has no label '{name}' of examples; "
                    f"{close_names(name, known)}"
                )
        self.weights = tuple(settings.labels.items())
        self.kinds = tuple(known[name].kind for name in settings.labels)
        head = HeadConfig(settings.hidden, dropout=0.0)
        self.heads = nnx.Dict(
            {name: Head(encoder.width, _outputs(known[name]), head, rngs=rngs) for name in settings.labels}
        )
        unknown = jnp.full(2, jnp.nan)
        numbers = [n for n, kind in zip(settings.labels, self.kinds) if kind == "regression"]
        self.scale = nnx.Dict({name: Statistics(unknown) for name in numbers})

    def prepare(self, statistics: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Takes mean and deviation of the regression labels. Raises ConfigError: those of one are not there."""
        for name in self.scale:
            if f"label.{name}" not in statistics:
                raise ConfigError(f"no statistics of label '{name}': pass those of `label_statistics` to Pretrainer")
            self.scale[name] = Statistics(jnp.asarray(np.stack(statistics[f"label.{name}"]), jnp.float32))

    def __call__(self, step: Pass) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        terms: dict[str, Float[Array, ""]] = {}
        total = jnp.zeros(())
        for (name, weight), kind in zip(self.weights, self.kinds):
            losses = [
                self._loss(name, kind, view.encoded.pooled, jnp.asarray(view.batch.labels[name]), view.batch.weights)
                for view in step.views
            ]
            terms[name] = jnp.mean(jnp.stack(losses))
            total += weight * terms[name]
        return total, terms

    def _loss(self, name: str, kind: str, pooled_BD: Array, labels: Array, weights: Array) -> Float[Array, ""]:
        found = self.heads[name](pooled_BD)
        if kind == "class":
            return class_loss(found, labels, weights)
        if kind == "multilabel":
            return multilabel_loss(found, labels, weights)
        mean, deviation = self.scale[name][...]
        return regression_loss(found[:, 0], (labels - mean) / deviation, weights)


def class_loss(logits_BC: Float[Array, "B C"], labels: Array, weights: Array) -> Float[Array, ""]:
    """Cross-entropy; -1 is unknown."""
    error_B = optax.losses.softmax_cross_entropy_with_integer_labels(logits_BC, jnp.maximum(labels, 0))
    return weighted_mean(error_B, weights * (labels >= 0))


def multilabel_loss(logits_BC: Float[Array, "B C"], labels_BC: Array, weights: Array) -> Float[Array, ""]:
    """Mean binary cross-entropy over the known entries; -1 is unknown."""
    known_BC = labels_BC >= 0
    error_BC = optax.losses.sigmoid_binary_cross_entropy(logits_BC, jnp.maximum(labels_BC, 0).astype(jnp.float32))
    return weighted_mean(error_BC.ravel(), (weights[:, None] * known_BC).ravel())


def regression_loss(found_B: Float[Array, " B"], target_B: Array, weights: Array) -> Float[Array, ""]:
    """Huber loss; NaN is unknown."""
    known_B = jnp.isfinite(target_B)
    return weighted_mean(optax.losses.huber_loss(found_B, jnp.where(known_B, target_B, 0.0)), weights * known_B)


def label_statistics(store: Store, settings: SupervisedConfig) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and deviation over the train split of the regression labels that are used, as `label.NAME`."""
    if settings.weight <= 0:
        return {}
    found = {}
    for name in settings.labels:
        if name in store.schema.regression_labels:
            values = np.asarray(store.labels("train", name), np.float64)
            values = values[np.isfinite(values)]
            if not len(values):
                raise ConfigError(f"supervised.labels: label '{name}' is unknown in every row of {store.path}")
            found[f"label.{name}"] = (values.mean(), values.std() + 1e-6)
    return found


def labels_used(settings: SupervisedConfig) -> list[str]:
    """The labels that reach the loss: none, for an embedding learnt without labels."""
    return list(settings.labels) if settings.weight > 0 else []


def _outputs(label: Label) -> int:
    return 1 if label.kind == "regression" else len(label.classes)
