"""Which rows of a store a task can learn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from finetune.config import FinetuneConfig
from finetune.task import Task
from finetune.truth import class_counts, learnable, missing, present, unknown
from foundation.errors import DataError
from foundation.store import Store


@dataclass(frozen=True)
class Labelled:
    """What a tagger is trained on.

    Attributes:
        task: resolved against the store.
        rows: of the split `train`, ascending.
        per_class: labels per class in these rows: examples, tokens (token classes) or pairs of tokens (edges).
        left_out: why -> how many rows of `train` are not used.
        unknown: label -> examples (or tokens) of `train` without it.
    """

    task: Task
    rows: Int[np.ndarray, " n"]
    per_class: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """For metrics.json."""
        counts = {"labels": len(self.rows), "labels_per_class": self.per_class}
        return counts | {"left_out": self.left_out, "unknown": self.unknown}

    def notes(self) -> list[str]:
        """What the user should know of it."""
        without = self.left_out.get("without a label", 0)
        which = ", ".join(f"{name}: {count}" for name, count in self.unknown.items() if count)
        return [f"{without} rows of 'train' without a label of this task are left out ({which})"] if without else []


def choose(data: Store, cfg: FinetuneConfig) -> Labelled:
    """The task and the rows of `train` that it is learnt from.

    Raises:
        SchemaError, ConfigError: a task that cannot be.
        DataError: fewer labelled rows than asked for, or none of some class.
    """
    task = Task.resolve(data.schema, cfg.task, present(data, cfg.task))
    rows = labelled_rows(data, task, cfg.labels, cfg.train.seed)
    if lacking := missing(data, task, rows):
        raise DataError(
            f"no labelled example of {', '.join(lacking)} among the {len(rows)} training rows drawn; "
            "raise labels, or take the class out of task.groups"
        )
    counts = class_counts(data, "train", task, rows)
    known = int(learnable(data, "train", task).sum())
    left_out = {"without a label": data.length("train") - known, "not drawn": known - len(rows)}
    per_class = dict(zip(task.classes, (counts if counts.ndim == 1 else counts[:, 1]).tolist()))
    return Labelled(task, rows, per_class, left_out, unknown(data, "train", task))


def labelled_rows(data: Store, task: Task, count: int, seed: int) -> Int[np.ndarray, " n"]:
    """Rows of the train split that the task can learn from; `count` of them drawn by `seed` (0: all).

    Raises:
        DataError: there are fewer.
    """
    rows = np.flatnonzero(learnable(data, "train", task))
    if len(rows) < max(count, 1):
        raise DataError(f"{count or 'some'} labelled training rows were asked for; the store has {len(rows)}")
    return np.sort(np.random.default_rng(seed).permutation(rows)[: count or None])
