"""Which rows of a store a task can learn from."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from finetune.task import Task
from finetune.truth import learnable
from foundation.errors import DataError
from foundation.store import Store


def labelled_rows(data: Store, task: Task, count: int, seed: int) -> Int[np.ndarray, " n"]:
    """Rows of the train split that the task can learn from; `count` of them drawn by `seed` (0: all)."""
    known = learnable(data, "train", task)
    rows = np.flatnonzero(known)
    if len(rows) < max(count, 1):
        raise DataError(f"{count or 'some'} labelled training rows were asked for; the store has {len(rows)}")
    return np.sort(np.random.default_rng(seed).permutation(rows)[: count or None])
