"""What a tagger says of the rows of a store, beside the truth.

Axes: n predicted objects: rows, tokens or pairs of tokens; B examples of a batch, P pairs of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from finetune.model import Tagger
from finetune.task import Task
from foundation.batch import TokenBatch
from foundation.loader import Loader
from foundation.predictions import Predictions, Regression
from foundation.store import Store

TOKENS = 16384  # of a batch, as `foundation.embedding.apply` has it
PAIRS = 2**21  # predicted altogether; fewer for each example where there are more
AT_ONCE = 2**18  # pairs of a batch that are worked on at a time


@runtime_checkable
class WholeSplit(Protocol):
    """A model that reads a store by itself instead of batches: the boosted tree.

    Attributes:
        task: of examples. `outputs` are its logits, then every quantile (or the one value) of each regression target.
    """

    @property
    def task(self) -> Task: ...

    def outputs(self, store: Store, split: str, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n O"]: ...


def predict(
    tagger: Tagger | WholeSplit, store: Store, split: str, rows: Int[np.ndarray, " n"] | None = None
) -> Predictions:
    """Predictions for a split (or `rows` of it), in order; of the real tokens of each row, or the pairs of these.

    A row has all its pairs (a before b), or `PAIRS` over the number of rows of them if it has more, drawn evenly and
    each at most once; which ones depends on the row alone and on that number.

    Raises:
        DataError: no such split.
    """
    rows = np.arange(store.length(split)) if rows is None else np.asarray(rows)
    if not isinstance(tagger, Tagger):
        return _of_examples(tagger.task, store, split, rows, tagger.outputs(store, split, rows))
    if tagger.task.kind == "edge":
        return _of_pairs(tagger, store, split, rows)
    if tagger.task.modality:
        return _of_tokens(tagger, store, split, rows)
    found = np.zeros((len(rows), _outputs(tagger.task)), np.float32)
    for place, real, batch in _batches(store, split, rows):
        found[place] = np.asarray(_run(tagger, _everything, batch))[real]
    return _of_examples(tagger.task, store, split, rows, found)


def _of_examples(
    task: Task, store: Store, split: str, rows: Int[np.ndarray, " n"], found: Float[np.ndarray, "n O"]
) -> Predictions:
    classes = len(task.classes)
    values = {name: store.labels(split, name)[rows] for name in task.regression}
    shape = (len(rows), classes) if task.kind == "multilabel" else (len(rows),)
    targets = np.full(shape, -1, np.int32)
    if task.label is not None:
        targets = task.targets(store.labels(split, task.label)[rows])
    found = found.reshape(len(rows), _outputs(task))
    regressions = _regressions(task, values, found[:, classes:])
    return Predictions(task.kind, task.classes, found[:, :classes], targets, rows, regressions=regressions)


def _of_tokens(tagger: Tagger, store: Store, split: str, rows: Int[np.ndarray, " n"]) -> Predictions:
    task = tagger.task
    counts = store.tokens_lengths(split, task.modality)[rows]
    first = np.concatenate([[0], np.cumsum(counts)])
    found = np.zeros((first[-1], _outputs(task)), np.float32)
    labels = {} if task.label is None else {task.label: np.full(first[-1], -1, np.int32)}
    labels |= {name: np.full(first[-1], np.nan, np.float32) for name in task.regression}
    for place, real, batch in _batches(store, split, rows):
        mask = np.asarray(batch.modalities[task.modality].mask)[real]
        into = (first[place][:, None] + np.arange(mask.shape[1]))[mask]
        found[into] = np.asarray(_run(tagger, _everything, batch))[real][mask]
        for name, values in labels.items():
            values[into] = np.asarray(batch.labels[name])[real][mask]
    targets = np.full(first[-1], -1, np.int32) if task.label is None else task.targets(labels[task.label])
    owners, classes = np.repeat(np.arange(len(rows)), counts), len(task.classes)
    return Predictions(
        task.kind,
        task.classes,
        found[:, :classes],
        targets,
        rows[owners],
        np.arange(first[-1]) - first[owners],
        _regressions(task, labels, found[:, classes:]),
    )


def _of_pairs(tagger: Tagger, store: Store, split: str, rows: Int[np.ndarray, " n"]) -> Predictions:
    task, most = tagger.task, max(PAIRS // max(len(rows), 1), 1)
    assert task.label is not None
    counts = store.tokens_lengths(split, task.modality)[rows]
    chosen = [pairs_of_row(int(row), int(count), most) for row, count in zip(rows, counts)]
    first = np.concatenate([[0], np.cumsum([len(pairs) for pairs in chosen])]).astype(np.int64)
    pairs = np.concatenate([*chosen, np.zeros((0, 2), np.int32)])
    logits, targets = np.zeros((len(pairs), 1), np.float32), np.full((len(pairs), 1), -1, np.int32)
    for place, real, batch in _batches(store, split, rows):
        # padded to a power of two, so that batches of one shape of tokens do not compile once each
        widest = max((len(chosen[i]) for i in place), default=1)
        asked = np.zeros((batch.size, 1 << max(widest - 1, 0).bit_length(), 2), np.int32)
        for position, i in zip(np.flatnonzero(real), place):
            asked[position, : len(chosen[i])] = chosen[i]
        found = np.asarray(_run(tagger, _edges, batch, asked))
        group = np.asarray(batch.labels[task.label])
        for position, i in zip(np.flatnonzero(real), place):
            into = slice(first[i], first[i + 1])
            a, b = group[position][chosen[i]].T
            logits[into, 0] = found[position, : len(chosen[i])]
            targets[into, 0] = np.where((a > 0) & (b > 0), a == b, -1)
    owners = np.repeat(np.arange(len(rows)), np.diff(first))
    return Predictions("edge", task.classes, logits, targets, rows[owners], pairs)


def pairs_of_row(row: int, tokens: int, most: int) -> Int[np.ndarray, "P 2"]:
    """The pairs (a, b), a < b, of a row's tokens: all of them, or `most` drawn by the number of the row, ascending."""
    total = tokens * (tokens - 1) // 2
    if total <= most:
        number = np.arange(total)
    else:
        number = np.sort(np.random.default_rng(row).choice(total, most, replace=False, shuffle=False))
    second = np.floor((1 + np.sqrt(1.0 + 8.0 * number)) / 2).astype(np.int64)  # exact to 2^52
    return np.stack([number - second * (second - 1) // 2, second], axis=1).astype(np.int32)


def _batches(
    store: Store, split: str, rows: Int[np.ndarray, " n"]
) -> Iterator[tuple[Int[np.ndarray, " m"], np.ndarray, TokenBatch]]:
    """Every row once: the places among `rows` of a batch's real examples, which of it are real, the batch."""
    if not len(rows):
        return
    place = np.full(store.length(split), -1)
    place[rows] = np.arange(len(rows))
    for batch in Loader(store, split, batch_tokens=TOKENS, seed=0, shuffle=False, subset=rows).one_pass():
        index = np.asarray(batch.index)
        yield place[index[index >= 0]], index >= 0, batch


def _run(tagger: Tagger, function: Callable[..., Any], *arguments: Any) -> Any:
    graph, state = nnx.split(tagger)
    return _compiled(state, arguments, graph=graph, function=function)


@partial(jax.jit, static_argnames=("graph", "function"))
def _compiled(state: Any, arguments: tuple[Any, ...], *, graph: nnx.GraphDef, function: Callable[..., Any]) -> Any:
    return function(nnx.merge(graph, state), *arguments)


def _everything(tagger: Tagger, batch: TokenBatch) -> Float[jax.Array, "*o O"]:
    """Logits, then every quantile of every regression target."""
    logits, values = tagger.quantiles(batch)
    return jnp.concatenate([logits, values.reshape(*values.shape[:-2], -1)], axis=-1)


def _edges(tagger: Tagger, batch: TokenBatch, pairs: Int[jax.Array, "B P 2"]) -> Float[jax.Array, "B P"]:
    """Some pairs after others: the hidden layer of all at once would need much memory. P is a power of two."""
    vectors = tagger.vectors(batch, None)
    size, most = pairs.shape[:2]
    part = min(most, 1 << max((AT_ONCE // size).bit_length() - 1, 0))
    parts = jnp.moveaxis(pairs.reshape(size, -1, part, 2), 1, 0)
    return jnp.moveaxis(jax.lax.map(lambda each: tagger.edges(vectors, batch, each), parts), 0, 1).reshape(size, most)


def _outputs(task: Task) -> int:
    return len(task.classes) + len(task.regression) * max(len(task.quantiles), 1)


def _regressions(task: Task, targets: dict[str, np.ndarray], values: Float[np.ndarray, "n V"]) -> dict[str, Regression]:
    levels = max(len(task.quantiles), 1)
    found = {}
    for i, name in enumerate(task.regression):
        columns = values[:, i * levels : (i + 1) * levels]
        quantiles = {level: columns[:, q] for q, level in enumerate(task.quantiles)}
        found[name] = Regression(targets[name], columns[:, task.point], quantiles)
    return found
