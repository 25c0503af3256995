"""The tagger: an encoder with a head for classes and one for regression targets.

Axes: B batch, C classes, R regression targets.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from finetune.config import FinetuneConfig
from finetune.task import Task
from foundation.batch import TokenBatch
from foundation.models import Backbone, Head, HeadConfig
from foundation.models.encoder import Statistics


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
        encoder: Backbone,
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
        width, regressions = encoder.width, len(task.regression)
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
