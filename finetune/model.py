"""The tagger: an encoder with a head for classes and one for regression targets.

Axes: B batch, C classes, R regression targets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from foundation.batch import TokenBatch
from foundation.errors import ConfigError, SchemaError, close_names
from foundation.models import Encoder, EncoderConfig, Head, HeadConfig
from foundation.models.encoder import Statistics
from foundation.schema import DetectorSchema
from foundation.train import TrainConfig

Mode = Literal["linear", "frozen", "full"]


@dataclass(frozen=True)
class TaskConfig:
    """What to learn.

    Attributes:
        label: class label of the schema; empty: the first one. `none` for regression alone.
        groups: class to learn -> classes of the schema that make it up; classes in no group are left out.
            Empty: every class that occurs, each by itself.
        regression: labels of kind regression to learn beside it.
        regression_weight: of their loss against the cross-entropy.
        balance: weight the classes so that each counts the same.
    """

    label: str = ""
    groups: dict[str, list[str]] = field(default_factory=dict)
    regression: tuple[str, ...] = ()
    regression_weight: float = 1.0
    balance: bool = False


@dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tuning.

    Attributes:
        task: what to learn.
        mode: `linear` (a linear probe on the frozen encoder), `frozen` (the head of `head` on the frozen encoder),
            `full` (everything).
        labels: number of labelled training examples, drawn by train.seed; 0 means all.
        trunk: learning rate of a pretrained encoder in mode `full`, relative to the head's.
        head: of the classes and regression targets (mode `linear` has no hidden layer).
        encoder: the backbone, used only when training from scratch.
        train: optimisation.
        batch_size: examples in a batch.
        buckets: number of padded lengths.
    """

    task: TaskConfig = field(default_factory=TaskConfig)
    mode: Mode = "full"
    labels: int = 0
    trunk: float = 0.2
    head: HeadConfig = field(default_factory=HeadConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=400, checkpoint_every=1000))
    batch_size: int = 128
    buckets: int = 2


@dataclass(frozen=True)
class Task:
    """A TaskConfig resolved against a schema.

    Attributes:
        label: class label, or None.
        classes: names of the classes, in output order.
        lookup: class integer of the store -> output class, -1 where left out.
        regression: names of the regression labels.
    """

    label: str | None
    classes: tuple[str, ...]
    lookup: tuple[int, ...]
    regression: tuple[str, ...]

    @staticmethod
    def resolve(schema: DetectorSchema, config: TaskConfig, present: list[str] | None = None) -> Task:
        """Checks the task against the schema. `present` lists the classes that occur, for an empty `groups`.

        Raises:
            SchemaError: a label or class that the schema does not have; names the close ones.
            ConfigError: nothing to learn, or a class in two groups.
        """
        for name in config.regression:
            if name not in schema.regression_labels:
                hint = close_names(name, schema.regression_labels)
                raise SchemaError(f"task.regression: no regression label '{name}' of examples; {hint}")
        label = config.label or next(iter(schema.class_labels), "none")
        if label == "none":
            if not config.regression:
                raise ConfigError(f"nothing to learn: schema '{schema.name}' has no class label; name task.regression")
            return Task(None, (), (), config.regression)
        known = schema.class_names(label)
        groups = config.groups or {name: [name] for name in known if present is None or name in present}
        members = [name for group in groups.values() for name in group]
        for name in members:
            if name not in known:
                raise SchemaError(f"task.groups: label '{label}' has no class '{name}'; {close_names(name, known)}")
            if members.count(name) > 1:
                raise ConfigError(f"task.groups: class '{name}' is in more than one group")
        if len(groups) < 2:
            raise ConfigError(f"a classification needs two classes or more; task.groups gives {list(groups)}")
        lookup = [next((i for i, g in enumerate(groups.values()) if name in g), -1) for name in known]
        return Task(label, tuple(groups), tuple(lookup), config.regression)

    def targets(self, labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Output classes of the store's class integers; -1 where unknown or left out."""
        return np.asarray([*self.lookup, -1], np.int32)[labels]


class Tagger(nnx.Module):
    """Encoder, class head and regression head.

    Args:
        encoder: pretrained or fresh.
        task: what to learn.
        config: mode and head.
        class_weights: [C], multiplies the loss of each class.
        target_mean, target_std: [R], scale of the regression targets.
    """

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        config: FinetuneConfig,
        *,
        class_weights: np.ndarray | None = None,
        target_mean: np.ndarray | None = None,
        target_std: np.ndarray | None = None,
        rngs: nnx.Rngs,
    ):
        self.encoder, self.task, self.mode = encoder, task, config.mode
        self.regression_weight = config.task.regression_weight
        width, regressions = encoder.config.width, len(task.regression)
        head = HeadConfig(hidden=0, dropout=0.0) if config.mode == "linear" else config.head
        self.head = Head(width, len(task.classes), head, rngs=rngs) if task.classes else None
        self.regression = Head(width, regressions, head, rngs=rngs) if regressions else None
        ones, zeros = np.ones(len(task.classes)), np.zeros(regressions)
        self.class_weights = Statistics(jnp.asarray(ones if class_weights is None else class_weights, jnp.float32))
        self.target_mean = Statistics(jnp.asarray(zeros if target_mean is None else target_mean, jnp.float32))
        self.target_std = Statistics(jnp.asarray(zeros + 1 if target_std is None else target_std, jnp.float32))

    def __call__(self, batch: TokenBatch, key: Array | None = None) -> tuple[Float[Array, "B C"], Float[Array, "B R"]]:
        """Logits, and regression values in the units of their labels."""
        keys = (None, None, None) if key is None else tuple(jax.random.split(key, 3))
        frozen = self.mode != "full"
        pooled = self.encoder(batch, None if frozen else keys[0]).pooled
        pooled = jax.lax.stop_gradient(pooled) if frozen else pooled
        logits = jnp.zeros((batch.size, 0)) if self.head is None else self.head(pooled, keys[1])
        values = jnp.zeros((batch.size, 0)) if self.regression is None else self.regression(pooled, keys[2])
        return logits, values * self.target_std[...] + self.target_mean[...]

    def loss(self, batch: TokenBatch, key: Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Cross-entropy plus Huber loss of the standardised targets; unknown labels count nothing."""
        logits, values = self(batch, key)
        total, terms = jnp.zeros(()), {}
        if self.head is not None and self.task.label is not None:
            target = jnp.asarray([*self.task.lookup, -1])[batch.labels[self.task.label]]
            known = jnp.maximum(target, 0)
            weight = batch.weights * (target >= 0) * self.class_weights[...][known]
            error = optax.losses.softmax_cross_entropy_with_integer_labels(logits, known)
            terms["loss/class"] = jnp.sum(error * weight) / jnp.maximum(jnp.sum(weight), 1e-6)
            total += terms["loss/class"]
        for i, name in enumerate(self.task.regression):
            target = (batch.labels[name] - self.target_mean[i]) / self.target_std[i]
            finite = jnp.isfinite(target)
            scaled = (values[:, i] - self.target_mean[i]) / self.target_std[i]
            error = optax.losses.huber_loss(scaled, jnp.where(finite, target, 0.0))
            weight = batch.weights * finite
            terms[f"loss/{name}"] = jnp.sum(error * weight) / jnp.maximum(jnp.sum(weight), 1e-6)
            total += self.regression_weight * terms[f"loss/{name}"]
        return total, terms


def outputs(tagger: Tagger, batch: TokenBatch) -> Float[Array, "B O"]:
    """Logits and regression values side by side: O = C + R outputs."""
    return jnp.concatenate(tagger(batch), axis=1)
