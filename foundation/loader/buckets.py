"""Length buckets: which length classes share a padded shape, under one token budget.

Axes: C cells (a length class of a source), M modalities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from foundation.store.lengths import padded, partition

SIZE_STEP = 8  # batch sizes are multiples of this


@dataclass(frozen=True)
class Shape:
    """A static shape and the cells that use it.

    Attributes:
        lengths: padded length per modality, in schema order.
        size: rows per (global) batch.
        cells: which cells, ascending.
    """

    lengths: tuple[int, ...]
    size: int
    cells: Int[np.ndarray, " n"]


def choose(
    rows: Float[np.ndarray, " C"],
    longest: Int[np.ndarray, "C M"],
    capacity: Int[np.ndarray, " M"],
    *,
    most: int,
    batch_tokens: int,
    batch_size: int | None,
    multiple: int,
) -> list[Shape]:
    """Divides the cells into at most `most` shapes with the least padding.

    There are fewer shapes than asked for when one of them could not fill a single batch: every bucket ends in a batch
    that is partly empty.

    Args:
        rows: in each cell; cells of none are left out.
        longest: tokens of the longest row of each cell, by modality.
        capacity: tokens that a row can have at most, by modality: padded lengths stop there.
        batch_tokens: padded tokens per global batch, all modalities together, at most (but at least one size step).
        batch_size: rows per global batch, instead of the budget.
        multiple: what batch sizes must be divisible by.
    """
    used = np.flatnonzero(rows > 0)
    order = used[np.lexsort((used, padded(longest[used], capacity).sum(axis=1)))]
    for groups in range(most, 0, -1):
        found = []
        for cells in partition(rows[order], longest[order], capacity, groups):
            lengths = tuple(padded(longest[order[cells]].max(axis=0), capacity).tolist())
            size = batch_size or max(batch_tokens // sum(lengths) // multiple, 1) * multiple
            found.append(Shape(lengths, size, np.sort(order[cells])))
        if all(rows[shape.cells].sum() >= shape.size for shape in found):
            break
    return found
