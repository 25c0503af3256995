"""A fixed handful of rows, held in memory as padded batches without labels: what the monitor looks at again and again.

Axes: n rows, B rows of a batch, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from foundation.batch import TokenBatch, Tokens
from foundation.store import Store

LONG = 0.25  # share of the rows, the longest ones, that have a padded shape of their own
STEP = 4  # padded lengths are multiples of it


@dataclass(frozen=True)
class FixedRows:
    """Some rows of a split.

    Attributes:
        split: which split.
        rows: which of its rows, ascending.
        batches: them, each with the places (in `rows`) that it holds; of at most two shapes.
    """

    split: str
    rows: Int[np.ndarray, " n"]
    batches: tuple[tuple[Int[np.ndarray, " _"], TokenBatch], ...]

    def __call__(self, function: Callable[[TokenBatch], Any]) -> Any:
        """`function` (batch -> tree of arrays [B, ...]) of every row, in the order of `rows`."""
        found: Any = None
        for places, batch in self.batches:
            part = jax.tree.map(lambda a: np.asarray(a)[: len(places)], function(batch))  # noqa: B023
            if found is None:
                found = jax.tree.map(lambda a: np.zeros((len(self.rows), *a.shape[1:]), a.dtype), part)
            jax.tree.map(lambda whole, a: whole.__setitem__(places, a), found, part)  # noqa: B023
        return found


def fixed_rows(
    store: Store, rows: Mapping[str, tuple[str, Int[np.ndarray, " n"]]], tokens: int
) -> dict[str, FixedRows]:
    """Reads rows into batches whose shapes all sets share, so that each function compiles twice at most.

    Args:
        rows: name of a set -> split and its rows.
        tokens: padded tokens of a batch.
    """
    whole = {name: store.read(split, each) for name, (split, each) in rows.items() if len(each)}
    counts = {n: np.stack([t.mask.sum(axis=1) for t in b.modalities.values()], axis=1) for n, b in whole.items()}
    total = np.concatenate([c.sum(axis=1) for c in counts.values()])
    edge = float(np.quantile(total, 1 - LONG))
    chosen = {n: (c.sum(axis=1) <= edge, c.sum(axis=1) > edge) for n, c in counts.items()}
    shapes = []
    for group in range(2):
        longest = np.concatenate([counts[n][chosen[n][group]] for n in whole]).max(axis=0, initial=1)
        capacity = [m.capacity for m in store.schema.modalities.values()]
        lengths = dict(zip(store.schema.modalities, np.minimum(-(-longest // STEP) * STEP, capacity).tolist()))
        most = max(len(np.flatnonzero(chosen[n][group])) for n in whole)
        size = min(max(tokens // sum(lengths.values()), 1), max(most, 1))
        shapes.append((lengths, size))
    found = {}
    for name, batch in whole.items():
        parts = [
            part for g, shape in enumerate(shapes) for part in _cut(batch, np.flatnonzero(chosen[name][g]), *shape)
        ]
        found[name] = FixedRows(*rows[name], tuple(parts))
    return found


def _cut(
    whole: TokenBatch, places: Int[np.ndarray, " n"], lengths: Mapping[str, int], size: int
) -> Iterator[tuple[np.ndarray, TokenBatch]]:
    """Batches of `size` of the rows at `places`; the last one is filled up with its last row."""
    for start in range(0, len(places), size):
        own = places[start : start + size]
        take = np.concatenate([own, np.repeat(own[-1:], size - len(own))])
        modalities = {n: _padded(t, take, lengths[n]) for n, t in whole.modalities.items()}
        yield own, TokenBatch(modalities, whole.globals[take], {}, whole.weights[take], whole.index[take])


def _padded(tokens: Tokens, rows: np.ndarray, length: int) -> Tokens:
    values, mask = tokens.values[rows][:, :length], tokens.mask[rows][:, :length]
    short = length - mask.shape[1]
    if short > 0:
        values, mask = np.pad(values, ((0, 0), (0, short), (0, 0))), np.pad(mask, ((0, 0), (0, short)))
    return Tokens(values, mask)
