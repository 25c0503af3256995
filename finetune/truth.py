"""The labels of a task as a store holds them: what is known, how often, on which scale.

Axes: n rows of a split, T tokens of all rows one after another, C output classes, R regression targets.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int

from finetune.task import Task, TaskConfig, label_of
from foundation.store import Store


class Scales(TypedDict):
    """What a `Tagger` is told of the training labels.

    Attributes:
        class_weights: [C] of classes; [C, 2], of no and yes, of multi-labels and edges.
        target_mean, target_std: [R], of the regression targets.
    """

    class_weights: Float[np.ndarray, "C *two"]
    target_mean: Float[np.ndarray, " R"]
    target_std: Float[np.ndarray, " R"]


def present(store: Store, config: TaskConfig, split: str = "train") -> list[str]:
    """Classes of the task's label that occur in a split (of tags: that apply to some example), in schema order."""
    label = label_of(store.schema, config)
    if label is None or label not in store.schema.labels:
        return []
    spec, values = store.schema.labels[label], store.labels(split, label)
    if spec.kind == "multilabel":
        return [name for name, column in zip(spec.classes, values.T) if (column == 1).any()]
    if spec.kind != "class":
        return []
    counts = np.bincount(values + 1, minlength=len(spec.classes) + 1)[1:]
    return [name for name, count in zip(spec.classes, counts) if count]


def learnable(store: Store, split: str, task: Task) -> Bool[np.ndarray, " n"]:
    """Rows that a task can learn from: every label of the example is known; of tags, tokens and pairs at least one.

    A pair of tokens is known where both have a group: 0 is a token of none, or of an unknown one.
    """
    known = np.ones(store.length(split), bool)
    if task.kind == "edge":
        assert task.label is not None
        grouped = store.labels(split, task.label) > 0
        return known & (np.bincount(_owners(store, split, task)[grouped], minlength=len(known)) >= 2)
    each = {} if task.label is None else {task.label: _labelled(task, store.labels(split, task.label))}
    for name, there in (each | {name: np.isfinite(store.labels(split, name)) for name in task.regression}).items():
        if store.schema.labels[name].modality:
            there = np.bincount(_owners(store, split, task)[there], minlength=len(known)) > 0
        known &= there
    return known


def unknown(store: Store, split: str, task: Task) -> dict[str, int]:
    """Label -> how many of the rows (or tokens) of a split do not have it, or have a class that is left out.

    Of groups: tokens of none. Nothing is learnt from these.
    """
    found = {} if task.label is None else {task.label: _labelled(task, store.labels(split, task.label))}
    found |= {name: np.isfinite(store.labels(split, name)) for name in task.regression}
    return {name: int(np.sum(~there)) for name, there in found.items()}


def class_counts(store: Store, split: str, task: Task, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, "C *two"]:
    """How often each class occurs in some rows: [C] of classes, [C, 2] (no and yes) of multi-labels and of edges.

    Of tokens these are tokens, of edges pairs of tokens.
    """
    if task.label is None:
        return np.zeros(0, np.int64)
    labels, classes = store.labels(split, task.label), len(task.classes)
    if task.kind == "multilabel":
        targets = task.targets(labels[rows])
        return np.stack([(targets == value).sum(axis=0) for value in (0, 1)], axis=1)
    if not task.modality:
        return np.bincount(task.targets(labels[rows]) + 1, minlength=classes + 1)[1:]
    owners = _owners(store, split, task)
    wanted = np.isin(owners, rows)
    if task.kind == "token_class":
        return np.bincount(task.targets(labels[wanted]) + 1, minlength=classes + 1)[1:]
    wanted &= labels > 0
    every = np.bincount(owners[wanted])
    sizes = np.unique(np.stack([owners[wanted], labels[wanted]]), axis=1, return_counts=True)[1]
    total, together = (int(np.sum(n * (n - 1) // 2)) for n in (every, sizes))
    return np.asarray([[total - together, together]])


def missing(store: Store, task: Task, rows: Int[np.ndarray, " n"]) -> list[str]:
    """What some training rows have no example of, so that it cannot be learnt from them.

    Classes; of multi-labels and edges also the examples or pairs that a class does not apply to.
    """
    counts = class_counts(store, "train", task, rows)
    if counts.ndim == 1:
        return [name for name, count in zip(task.classes, counts) if count == 0]
    ways = [(f"'not {name}'", f"'{name}'") for name in task.classes]
    return [way for pair, both in zip(counts, ways) for count, way in zip(pair, both) if count == 0]


def scales(store: Store, task: Task, config: TaskConfig, rows: Int[np.ndarray, " n"]) -> Scales:
    """Weights of the classes and scale of the regression targets, from the training rows in use.

    With `balance` the classes (of multi-labels and edges: no and yes) weigh alike; the mean weight is 1. A class that
    does not occur keeps weight 1.
    """
    counts = class_counts(store, "train", task, rows)
    weights = np.ones(counts.shape)
    if config.balance and len(counts):
        even = counts.sum(axis=-1, keepdims=True) / counts.shape[-1]
        weights = np.where(counts > 0, even / np.maximum(counts, 1), 1.0)
    factors = np.asarray([config.class_weights.get(name, 1.0) for name in task.classes])
    if task.kind == "edge":  # the one class named is `together`; the factor is of yes against no
        weights[:, 1] *= factors
    else:
        weights = weights * (factors if weights.ndim == 1 else factors[:, None])
    targets = [_values(store, task, name, rows) for name in task.regression]
    return {
        "class_weights": weights,
        "target_mean": np.asarray([np.mean(each) for each in targets]),
        "target_std": np.asarray([np.std(each) + 1e-6 for each in targets]),
    }


def _labelled(task: Task, labels: np.ndarray) -> Bool[np.ndarray, " n"]:
    if task.kind == "edge":
        return labels > 0
    targets = task.targets(labels)
    return np.any(np.atleast_2d(targets.T) >= 0, axis=0)


def _values(store: Store, task: Task, name: str, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """The known values of a regression label in some rows."""
    values = store.labels("train", name)
    values = values[np.isin(_owners(store, "train", task), rows)] if task.modality else values[rows]
    return values[np.isfinite(values)].astype(np.float64)


def _owners(store: Store, split: str, task: Task) -> Int[np.ndarray, " T"]:
    """The row of each token of the task's modality."""
    return np.repeat(np.arange(store.length(split)), store.tokens_lengths(split, task.modality))
