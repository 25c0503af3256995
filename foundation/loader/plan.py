"""Which rows make which batch: length buckets under a token budget, shuffled by a key.

Axes: R rows to be used, M modalities, K buckets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from foundation.hashing import permutation

LENGTH_STEP = 4  # padded lengths are multiples of this
SIZE_STEP = 8  # batch sizes are multiples of this


@dataclass(frozen=True)
class Bucket:
    """A static shape and the rows that use it.

    Attributes:
        lengths: padded length per modality, in schema order.
        size: rows per (global) batch.
        rows: positions in the split, ascending.
    """

    lengths: tuple[int, ...]
    size: int
    rows: Int[np.ndarray, " n"]

    @property
    def batches(self) -> int:
        return math.ceil(len(self.rows) / self.size)


@dataclass(frozen=True)
class Descriptor:
    """One batch: its bucket, and the rows in it, -1 where there are none left to fill it."""

    bucket: int
    rows: Int[np.ndarray, " size"]


def ladder(lengths: Int[np.ndarray, " R"], rungs: int) -> list[int]:
    """At most `rungs` padded lengths that cover all rows with the least padding, ascending.

    Exact, by dynamic programming over the histogram: `best[j]` is the least number of padded tokens of all rows of
    length up to candidate j when j is the highest rung.
    """
    longest = max(int(lengths.max(initial=0)), 1)
    candidates = np.arange(LENGTH_STEP, longest + LENGTH_STEP, LENGTH_STEP)
    below = np.searchsorted(np.sort(lengths), candidates, side="right")  # rows that fit each candidate
    best = below * candidates
    chosen = [[int(c)] for c in candidates]
    for _ in range(rungs - 1):
        cost = best[:, None] + (below[None, :] - below[:, None]) * candidates[None, :]
        cost = np.where(np.tri(len(candidates), k=-1, dtype=bool).T, cost, np.iinfo(np.int64).max)
        previous = cost.argmin(axis=0)
        better = cost.min(axis=0) < best
        chosen = [
            chosen[previous[j]] + [int(candidates[j])] if better[j] else chosen[j] for j in range(len(candidates))
        ]
        best = np.where(better, cost.min(axis=0), best)
    return chosen[-1]


def make_buckets(
    lengths: Sequence[Int[np.ndarray, " R"]],
    rows: Int[np.ndarray, " R"],
    *,
    most: int,
    batch_tokens: int,
    batch_size: int | None,
    multiple: int,
) -> list[Bucket]:
    """Divides `rows` into at most `most` buckets of static shape.

    A row is in the first bucket in which the tokens of all its modalities fit. There are fewer buckets than asked for
    when one of them could not fill a single batch: every bucket ends in a batch that is partly empty.

    Args:
        lengths: tokens per row, one array per modality.
        rows: positions in the split.
        batch_tokens: padded tokens per global batch, all modalities together, at most (but at least one size step).
        batch_size: rows per global batch, instead of the budget.
        multiple: what batch sizes must be divisible by.
    """
    for rungs in range(most, 0, -1):
        found = _buckets(lengths, rows, rungs, batch_tokens, batch_size, multiple)
        if all(len(bucket.rows) >= bucket.size for bucket in found):
            break
    return found


def _buckets(
    lengths: Sequence[np.ndarray], rows: np.ndarray, rungs: int, budget: int, batch_size: int | None, multiple: int
) -> list[Bucket]:
    ladders = [ladder(each, rungs) for each in lengths]
    count = max(map(len, ladders))
    ladders = [steps + [steps[-1]] * (count - len(steps)) for steps in ladders]
    first_fit = [np.searchsorted(steps, each, side="left") for steps, each in zip(ladders, lengths)]
    bucket_of = np.max(first_fit, axis=0) if len(rows) else np.zeros(0, np.int64)
    found = []
    for number, shape in enumerate(zip(*ladders)):
        size = batch_size or max(budget // sum(shape) // multiple, 1) * multiple
        members = rows[bucket_of == number]
        if len(members):
            found.append(Bucket(shape, size, members))
    return found


def epoch(plan: Sequence[Bucket], seed: int, number: int) -> list[Descriptor]:
    """The batches of one epoch: rows shuffled within buckets, then batches. A function of the arguments only."""
    batches = []
    for index, bucket in enumerate(plan):
        rows = bucket.rows[permutation(len(bucket.rows), "rows", seed, number, index)]
        batches += _cut(index, bucket, rows)
    return [batches[i] for i in permutation(len(batches), "batches", seed, number)]


def in_order(plan: Sequence[Bucket]) -> list[Descriptor]:
    """Every row once, bucket by bucket, ascending within each."""
    return [batch for index, bucket in enumerate(plan) for batch in _cut(index, bucket, bucket.rows)]


def _cut(index: int, bucket: Bucket, rows: np.ndarray) -> list[Descriptor]:
    filled = np.full(bucket.batches * bucket.size, -1, np.int64)
    filled[: len(rows)] = rows
    return [Descriptor(index, part) for part in filled.reshape(bucket.batches, bucket.size)]
