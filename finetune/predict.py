"""What a tagger says of the rows of a store, beside the truth."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from finetune.model import Tagger, outputs
from finetune.task import Task
from foundation.embedding import apply
from foundation.predictions import Predictions, Regression
from foundation.store import Store


@runtime_checkable
class WholeSplit(Protocol):
    """A model that reads a store by itself instead of batches: the boosted tree.

    Attributes:
        task: of examples.
    """

    task: Task

    def outputs(self, store: Store, split: str, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n O"]: ...


def predict(
    tagger: Tagger | WholeSplit, store: Store, split: str, rows: Int[np.ndarray, " n"] | None = None
) -> Predictions:
    """Predictions for a split (or `rows` of it), in order.

    Raises:
        DataError: no such split.
    """
    rows = np.arange(store.length(split)) if rows is None else np.asarray(rows)
    task = tagger.task
    if isinstance(tagger, Tagger):
        found = apply(tagger, outputs, store, split, rows=rows)
    else:
        found = tagger.outputs(store, split, rows)
    found = found.reshape(len(rows), len(task.classes) + len(task.regression))
    targets = np.full(len(rows), -1, np.int32)
    if task.label is not None:
        targets = task.targets(store.labels(split, task.label)[rows])
    regressions = {
        name: Regression(store.labels(split, name)[rows], found[:, len(task.classes) + i])
        for i, name in enumerate(task.regression)
    }
    kind = "none" if task.label is None else "class"
    return Predictions(kind, task.classes, found[:, : len(task.classes)], targets, rows, regressions=regressions)
