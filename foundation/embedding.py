"""Applying a trained model to a store, and judging an embedding in closed form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from foundation.batch import TokenBatch
from foundation.loader import Loader
from foundation.models import Backbone
from foundation.store import Store


def input_statistics(store: Store) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What an `Encoder` needs to know of the data: modality (and `globals`) -> mean[F], std[F] after transforms."""
    found = {name: store.statistics(name) for name in store.schema.modalities} | {"globals": store.global_statistics()}
    return {name: (statistics.mean, statistics.std) for name, statistics in found.items()}


@partial(jax.jit, static_argnames=("graph", "function"))
def _apply(state: Any, batch: TokenBatch, *, graph: nnx.GraphDef, function: Callable) -> Any:
    return function(nnx.merge(graph, state), batch)


def apply(
    model: Any,
    function: Callable[[Any, TokenBatch], Any],
    store: Store,
    split: str,
    *,
    rows: Int[np.ndarray, " n"] | None = None,
    batch_tokens: int = 16384,
) -> np.ndarray:
    """`function(model, batch)` for every row of a split (or `rows` of it), in order.

    Args:
        function: a module-level function (it is a jit key) that returns one array [B, ...].

    Returns:
        Array [n, ...], row i for the i-th row asked for.
    """
    graph, state = nnx.split(model)
    wanted = np.arange(store.length(split)) if rows is None else np.asarray(rows)
    found: np.ndarray | None = None
    place = np.full(store.length(split), -1)
    place[wanted] = np.arange(len(wanted))
    for batch in Loader(store, split, batch_tokens=batch_tokens, seed=0, shuffle=False, subset=wanted).one_pass():
        values = np.asarray(_apply(state, batch, graph=graph, function=function))
        real = np.asarray(batch.index) >= 0
        if found is None:
            found = np.zeros((len(wanted), *values.shape[1:]), values.dtype)
        found[place[np.asarray(batch.index)[real]]] = values[real]
    return np.zeros((0,), np.float32) if found is None else found


def pooled(encoder: Backbone, batch: TokenBatch) -> Float[Any, "B D"]:
    """The embedding of a batch."""
    return encoder(batch).pooled


def embed(encoder: Backbone, store: Store, split: str, rows: Int[np.ndarray, " n"] | None = None) -> np.ndarray:
    """Embeddings [n, D] of the rows of a split, in order."""
    return apply(encoder, pooled, store, split, rows=rows)


def ridge_probe(
    train: Float[np.ndarray, "n D"],
    train_labels: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m D"],
    test_labels: Int[np.ndarray, " m"],
    penalty: float = 1e-2,
) -> float:
    """Accuracy of the closed-form ridge classifier (one-hot targets, standardised inputs) on frozen embeddings.

    Rows with label -1 are left out of both sets.
    """
    known, seen = train_labels >= 0, test_labels >= 0
    x, y, x_test = train[known].astype(np.float64), train_labels[known], test[seen].astype(np.float64)
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-6
    x, x_test = (x - mean) / std, (x_test - mean) / std
    targets = np.eye(int(y.max()) + 1)[y]
    offset = targets.mean(axis=0)
    gram = x.T @ x + penalty * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (targets - offset))
    return float(np.mean(np.argmax(x_test @ weights + offset, axis=1) == test_labels[seen]))
