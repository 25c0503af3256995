"""The tagger: a backbone with heads for classes and regression targets, of examples, tokens or pairs of tokens.

Axes: B batch, N tokens (of the task's modality), P pairs of tokens, D width, C classes, R regression targets, Q
quantiles; *o is B of examples, B N of tokens.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from finetune.adapt import Adapted
from finetune.config import FinetuneConfig
from finetune.decorrelate import decorrelation
from finetune.losses import class_loss, ordered, tag_loss, value_loss
from finetune.pairs import edge_loss, pairs_to_learn, together_fraction
from finetune.task import Task
from foundation.batch import TokenBatch
from foundation.errors import ConfigError
from foundation.models import Backbone, Encoded, FlatEncoder, Head, HeadConfig
from foundation.models.edges import EdgeHead, all_pairs
from foundation.models.encoder import Statistics
from foundation.models.heads import AttentionPool

FROZEN = ("linear", "frozen")  # modes that leave the backbone as it is


class Tagger(nnx.Module):
    """Backbone, class head and regression head.

    Args:
        encoder: pretrained or fresh.
        task: what to learn.
        config: mode, head, and what the loss is made of.
        class_weights: multiplies the loss of each class: [C], or [C, 2] of no and yes of multi-labels and edges.
        target_mean, target_std: [R], scale of the regression targets.

    Raises:
        ConfigError: the heads need token vectors that this backbone does not give, or pool what is not pooled.
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
        self.regression_weight, self.pairs = config.task.regression_weight, config.task.pairs
        self.decorrelate = config.task.decorrelate
        width, regressions = encoder.width, len(task.regression)
        head = HeadConfig(hidden=0, dropout=0.0) if config.mode == "linear" else config.head
        _check(encoder, task, config)
        self.pool = AttentionPool(width, rngs=rngs) if head.pooling == "attention" else None
        self.head = _class_head(encoder, task, head, rngs)
        outputs = regressions * max(len(task.quantiles), 1)
        self.regression = Head(width, outputs, head, rngs=rngs) if regressions else None
        shape = (len(task.classes), 2) if task.kind in ("multilabel", "edge") else (len(task.classes),)
        ones, zeros = np.ones(shape), np.zeros(regressions)
        self.class_weights = Statistics(jnp.asarray(ones if class_weights is None else class_weights, jnp.float32))
        self.target_mean = Statistics(jnp.asarray(zeros if target_mean is None else target_mean, jnp.float32))
        self.target_std = Statistics(jnp.asarray(zeros + 1 if target_std is None else target_std, jnp.float32))

    def __call__(
        self, batch: TokenBatch, key: Array | None = None
    ) -> tuple[Float[Array, "*o C"], Float[Array, "*o R"]]:
        """Logits, and regression values in the units of their labels. Of edges: the logits [B, P, 1] of every pair."""
        keys = _split(key)
        vectors = self.vectors(batch, keys[0])
        if self.task.kind == "edge":
            pairs = all_pairs(vectors.shape[1])
            every = jnp.broadcast_to(pairs, (len(vectors), *pairs.shape))
            return self.edges(vectors, batch, every, keys[1])[..., None], jnp.zeros((len(vectors), len(pairs), 0))
        logits, values = self._of(vectors, keys)
        return logits, self._in_units(values)[..., self.task.point]

    def quantiles(self, batch: TokenBatch) -> tuple[Float[Array, "*o C"], Float[Array, "*o R Q"]]:
        """Logits, and every quantile of the regression targets in the units of their labels (Q = 1 without any)."""
        logits, values = self._of(self.vectors(batch, None), _split(None))
        return logits, self._in_units(values)

    def edges(
        self, vectors: Float[Array, "B N D"], batch: TokenBatch, pairs: Int[Array, "B P 2"], key: Array | None = None
    ) -> Float[Array, "B P"]:
        """Logits that the tokens of each pair belong together."""
        assert isinstance(self.head, EdgeHead)
        return self.head(vectors, batch.modalities[self.task.modality], pairs, key)

    def vectors(self, batch: TokenBatch, key: Array | None) -> Float[Array, "*o D"]:
        """What the heads stand on: a vector per example, or per token of the task's modality."""
        frozen = self.mode in FROZEN
        encoded = self.encoder(batch, None if frozen else key)
        encoded = jax.lax.stop_gradient(encoded) if frozen else encoded
        if self.task.modality:
            return self._tokens(encoded, batch)
        return encoded.pooled if self.pool is None else self.pool(encoded)

    def loss(self, batch: TokenBatch, key: Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Cross-entropy, and Huber or pinball loss of the standardised targets; unknown labels count nothing."""
        keys = _split(key)
        vectors = self.vectors(batch, keys[0])
        if self.task.kind == "edge":
            return self._edge_loss(vectors, batch, keys[1], jax.random.fold_in(key, 3))
        logits, values = self._of(vectors, keys)
        total, terms = jnp.zeros(()), {}
        weights = jnp.broadcast_to(_beside(jnp.asarray(batch.weights), logits.ndim - 1), logits.shape[:-1])
        if self.task.label is not None:
            target = self._targets(jnp.asarray(batch.labels[self.task.label]))
            loss = tag_loss if self.task.kind == "multilabel" else class_loss
            terms["loss/class"] = loss(logits, target, weights, self.class_weights[...])
            total += terms["loss/class"]
            if self.decorrelate.quantity:
                of = (self.decorrelate, self.task.classes, self.encoder.schema)
                terms["loss/decorrelation"] = decorrelation(*of, batch, logits, target)
                total += self.decorrelate.weight * terms["loss/decorrelation"]
        for i, name in enumerate(self.task.regression):
            target = (jnp.asarray(batch.labels[name]) - self.target_mean[i]) / self.target_std[i]
            terms[f"loss/{name}"] = value_loss(values[..., i, :], target, weights, self.task.quantiles)
            total += self.regression_weight * terms[f"loss/{name}"]
        return total, terms

    def _edge_loss(
        self, vectors: Float[Array, "B N D"], batch: TokenBatch, of_head: Array | None, of_pairs: Array
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        assert self.task.label is not None
        group = jnp.asarray(batch.labels[self.task.label])
        pairs = pairs_to_learn(group, self.pairs, of_pairs)
        logits = self.edges(vectors, batch, pairs.tokens, of_head)
        weights = jnp.asarray(batch.weights)
        loss = edge_loss(logits, pairs, together_fraction(group), weights, self.class_weights[0])
        return loss, {"loss/edges": loss}

    def _of(
        self, vectors: Float[Array, "*o D"], keys: tuple[Array | None, ...]
    ) -> tuple[Float[Array, "*o C"], Float[Array, "*o R Q"]]:
        """Logits and standardised quantiles."""
        where = vectors.shape[:-1]
        logits = self.head(vectors, keys[1]) if isinstance(self.head, Head) else jnp.zeros((*where, 0))
        levels = max(len(self.task.quantiles), 1)
        if self.regression is None:
            return logits, jnp.zeros((*where, 0, levels))
        raw = self.regression(vectors, keys[2]).reshape(*where, -1, levels)
        return logits, ordered(raw, self.task.point) if self.task.quantiles else raw

    def _in_units(self, values: Float[Array, "*o R Q"]) -> Float[Array, "*o R Q"]:
        return values * self.target_std[...][:, None] + self.target_mean[...][:, None]

    def _tokens(self, encoded: Encoded, batch: TokenBatch) -> Float[Array, "B N D"]:
        """The vectors of the task's modality, among those of all modalities in the backbone's order."""
        names = list(self.encoder.schema.modalities)
        before = names[: names.index(self.task.modality)]
        start = sum(batch.modalities[name].mask.shape[1] for name in before)
        return encoded.tokens[:, start : start + batch.modalities[self.task.modality].mask.shape[1]]

    def _targets(self, labels: Int[Array, "B *n"]) -> Int[Array, "B *m"]:
        """What `Task.targets` does, on the device."""
        if self.task.kind != "multilabel":
            return jnp.asarray([*self.task.lookup, -1])[labels]
        member = jnp.asarray(self.task.lookup)[:, None] == jnp.arange(len(self.task.classes))
        applies, open_ = ((labels[..., None] == value) & member for value in (1, -1))
        return jnp.where(applies.any(axis=1), 1, jnp.where(open_.any(axis=1), -1, 0))


def _check(encoder: Backbone, task: Task, config: FinetuneConfig) -> None:
    pooling = config.head.pooling
    if pooling != "mean" and config.mode == "linear":
        raise ConfigError(f"head.pooling {pooling} is more than mode linear, a linear probe; take mode frozen")
    if pooling != "mean" and task.modality:
        raise ConfigError(f"head.pooling {pooling}: a task of the tokens of '{task.modality}' pools nothing")
    if config.model == "pcnn" and (task.modality or pooling != "mean"):
        raise ConfigError("model pcnn has no vectors of tokens: take another for tokens, edges and attention pooling")
    own = encoder.encoder if isinstance(encoder, Adapted) else encoder
    if isinstance(own, FlatEncoder) and (task.modality or pooling != "mean"):
        raise ConfigError(
            "a flat encoder has no vectors of tokens: take another for tokens, edges and attention pooling"
        )
    if task.modality and isinstance(encoder, Adapted) and task.modality not in dict(encoder.plan.columns):
        raise ConfigError(
            f"the task is of the tokens of '{task.modality}', which the pretrained encoder does not read; it reads "
            f"{', '.join(encoder.encoder.names)}"
        )


def _class_head(encoder: Backbone, task: Task, config: HeadConfig, rngs: nnx.Rngs) -> Head | EdgeHead | None:
    if task.kind == "edge":
        return EdgeHead(encoder.width, encoder.schema.modalities[task.modality], config, rngs=rngs)
    return Head(encoder.width, len(task.classes), config, rngs=rngs) if task.classes else None


def outputs(tagger: Tagger, batch: TokenBatch) -> Float[Array, "*o O"]:
    """Logits and regression values side by side: O = C + R outputs."""
    return jnp.concatenate(tagger(batch), axis=-1)


def _split(key: Array | None) -> tuple[Array | None, ...]:
    return (None, None, None) if key is None else tuple(jax.random.split(key, 3))


def _beside(values: Float[Array, " B"], axes: int) -> Float[Array, "B *ones"]:
    """[B], with axes of length 1 behind to make up so many."""
    return jnp.reshape(values, (-1, *[1] * (axes - 1)))
