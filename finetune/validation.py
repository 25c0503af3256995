"""How good a tagger is while it is trained: a figure on rows of the split `val`, for early stopping.

Axes: B batch, n rows, C classes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from finetune.model import Tagger, outputs
from finetune.task import Task
from finetune.truth import learnable
from foundation.batch import TokenBatch
from foundation.errors import ConfigError, DataError
from foundation.loader import Loader
from foundation.stopping import StopConfig
from foundation.store import Store

SPLIT = "val"
OF_EXAMPLES = ("class", "multilabel")  # kinds of task that have an accuracy and an AUC here
METRICS = ("loss", "accuracy", "auc")


class Validation:
    """Measures a tagger on the same rows each time; they stay on the device.

    Raises:
        ConfigError: the task has no such metric.
        DataError: the split is absent, or has no row with a label of the task.
    """

    def __init__(self, data: Store, task: Task, stop: StopConfig, seed: int):
        known = METRICS if task.kind in OF_EXAMPLES else METRICS[:1]
        if stop.metric not in known:
            raise ConfigError(f"stop.metric '{stop.metric}' is not measured of this task; known: {', '.join(known)}")
        stop.check()
        rows = np.flatnonzero(learnable(data, SPLIT, task)) if SPLIT in data.splits else np.zeros(0, np.int64)
        if len(rows) == 0:
            raise DataError(
                f"{data.path} has no labelled row in split '{SPLIT}', by which stop.metric {stop.metric} would stop; "
                "ingest with a fraction for it, or set stop.metric to '' and the number of steps instead"
            )
        self.rows = np.sort(np.random.default_rng(seed).permutation(rows)[: stop.rows])
        self.data, self.task, self.metric = data, task, stop.metric
        self.batches: list[TokenBatch] = []

    def __call__(self, tagger: nnx.Module) -> dict[str, float]:
        """The figure, as `val/METRIC`. Turns the drop-out of `tagger` off, which is a copy."""
        assert isinstance(tagger, Tagger)
        if not self.batches:
            loader = Loader(self.data, SPLIT, subset=self.rows, seed=0, shuffle=False, buckets=1)
            self.batches = [jax.device_put(batch) for batch in loader.one_pass()]
        for _, module in nnx.iter_modules(tagger):
            if hasattr(module, "dropout"):
                module.dropout = 0.0
        graph, state = nnx.split(tagger)
        if self.metric == "loss":
            value = self._loss(graph, state)
        else:
            value = figure(self.metric, *self._logits(graph, state))
        return {f"val/{self.metric}": value}

    def _loss(self, graph: nnx.GraphDef, state: Any) -> float:
        losses = [float(_loss(state, batch, graph=graph)) for batch in self.batches]
        weights = [float(np.sum(batch.weights)) for batch in self.batches]
        return float(np.average(losses, weights=weights))

    def _logits(self, graph: nnx.GraphDef, state: Any) -> tuple[Float[np.ndarray, "n C"], Int[np.ndarray, "n *C"]]:
        """Of the rows in the order of the batches, and their targets."""
        logits = np.concatenate([np.asarray(_outputs(state, batch, graph=graph)) for batch in self.batches])
        index = np.concatenate([np.asarray(batch.index) for batch in self.batches])
        targets = self.task.targets(self.data.labels(SPLIT, str(self.task.label))[index[index >= 0]])
        return logits[index >= 0, : len(self.task.classes)], targets


def figure(metric: str, logits: Float[np.ndarray, "n C"], targets: Int[np.ndarray, "n *C"]) -> float:
    """Accuracy, or the mean over the classes of the AUC of each against the rest (of multi-labels: of yes against no).

    Unknown targets (-1) count nothing; a class that occurs not at all, or always, has no AUC.
    """
    from foundation.metrics import roc  # imports sklearn: a second that only early stopping by AUC needs

    if metric == "accuracy":
        known = targets >= 0
        guess = np.argmax(logits, axis=1) if targets.ndim == 1 else logits > 0
        return float(np.mean(guess[known] == targets[known]))
    areas = []
    for c in range(logits.shape[1]):
        score, target = logits[:, c], targets[:, c] if targets.ndim == 2 else np.where(targets < 0, -1, targets == c)
        if targets.ndim == 1:  # the logarithm of the odds of this class
            rest = np.delete(logits, c, axis=1)
            score = score - np.logaddexp.reduce(rest, axis=1)
        known = target >= 0
        if len(np.unique(target[known])) == 2:
            areas.append(roc(target[known] == 1, score[known]).auc)
    return float(np.mean(areas)) if areas else 0.5


@partial(jax.jit, static_argnames="graph")
def _loss(state: Any, batch: TokenBatch, *, graph: nnx.GraphDef) -> jax.Array:
    return nnx.merge(graph, state).loss(batch, jax.random.key(0))[0]


@partial(jax.jit, static_argnames="graph")
def _outputs(state: Any, batch: TokenBatch, *, graph: nnx.GraphDef) -> jax.Array:
    return outputs(nnx.merge(graph, state), batch)
