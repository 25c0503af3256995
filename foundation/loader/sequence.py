"""Which bucket each batch of an epoch comes from, found for any step at once.

The epoch is cut into stretches of 1,024 batches. Each stretch has its share of every bucket, as even as whole numbers
allow, in random order. Within a bucket batches come in order: number 0, 1, 2, ... of its shuffled rows.

Axes: K buckets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from foundation.hashing import permutation
from foundation.loader.shuffle import Kept

STRETCH = 1024


class BucketOrder:
    """`counts[b]` batches of bucket b in every epoch."""

    def __init__(self, counts: Sequence[int]):
        self.counts = np.asarray(counts, np.int64)
        self.total = int(self.counts.sum())
        self.largest = int(self.counts.argmax())
        self.kept = Kept(4)

    def before(self, batch: int) -> Int[np.ndarray, " K"]:
        """Batches of each bucket among the first `batch`, at the boundary of a stretch. The largest takes the rest."""
        found = self.counts * batch // self.total
        found[self.largest] += batch - found.sum()
        return found

    def at(self, batch: int, *key: Any) -> tuple[int, int]:
        """Bucket of the epoch's batch number `batch`, and which of that bucket's batches it is."""
        number = min(batch // STRETCH, max(self.total // STRETCH, 1) - 1)  # the last one is longer by what is left over
        order, numbers = self.kept((number, *key), lambda: self._stretch(number, *key))
        place = batch - number * STRETCH
        return int(order[place]), int(numbers[place])

    def in_order(self, batch: int) -> tuple[int, int]:
        """As `at`, bucket after bucket."""
        ends = np.cumsum(self.counts)
        bucket = int(np.searchsorted(ends, batch, side="right"))
        return bucket, int(batch - ends[bucket] + self.counts[bucket])

    def _stretch(self, number: int, *key: Any) -> tuple[np.ndarray, np.ndarray]:
        start, stop = number * STRETCH, (number + 1) * STRETCH
        stop = self.total if self.total - stop < STRETCH else stop
        first = self.before(start)
        share = self.before(stop) - first
        order = np.repeat(np.arange(len(share)), share)[permutation(stop - start, "buckets", number, *key)]
        numbers = np.empty(len(order), np.int64)
        for bucket in np.flatnonzero(share):
            here = order == bucket
            numbers[here] = first[bucket] + np.arange(share[bucket])
        return order, numbers
