"""Which rows make which batch, as functions of the step: nothing is listed, so nothing grows with the number of rows.

A bucket is a padded shape and the rows that have it, as positions 0 ... count - 1: those of its first part (a source's
rows in the bucket's length classes, shard by shard), then those of the next. An epoch shuffles the positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from foundation.hashing import mix, permutation, uniform, word
from foundation.loader.buckets import Shape, choose
from foundation.loader.sampling import Sampling, Worth
from foundation.loader.sequence import BucketOrder
from foundation.loader.shuffle import Kept, Windows, window_positions
from foundation.loader.source import RowSpace, Source, repeats


@dataclass(frozen=True)
class Part:
    """A source's rows in a bucket.

    Attributes:
        source: its number.
        rows: them.
        places: how many of the bucket's positions are theirs; more or fewer than there are rows if sources are mixed by
            weight. Successive epochs go on where the last one ended.
    """

    source: int
    rows: RowSpace
    places: int

    def at(self, places: Int[np.ndarray, " n"], epoch: int) -> Int[np.ndarray, " n"]:
        if self.places == self.rows.count:
            return self.rows.at(places)
        return self.rows.at((places + epoch * self.places) % self.rows.count)


@dataclass(frozen=True)
class Bucket:
    """A static shape, the positions that use it, and how many rows an epoch takes of it (each once, or as drawn)."""

    shape: Shape
    parts: tuple[Part, ...]
    taken: int

    @property
    def batches(self) -> int:
        return math.ceil(self.taken / self.shape.size)

    @property
    def count(self) -> int:
        return sum(part.places for part in self.parts)

    def rows(self, positions: Int[np.ndarray, " n"], epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and row at each position."""
        first = np.concatenate([[0], np.cumsum([part.places for part in self.parts])])
        owner = np.searchsorted(first, positions, side="right") - 1
        rows, sources = np.empty_like(positions), np.empty_like(positions)
        for number, part in enumerate(self.parts):
            here = owner == number
            rows[here] = part.at(positions[here] - first[number], epoch)
            sources[here] = part.source
        return sources, rows


@dataclass(frozen=True)
class Descriptor:
    """One batch: its bucket, and source and row of each of its rows, row -1 where there are none left to fill it."""

    bucket: int
    sources: Int[np.ndarray, " size"]
    rows: Int[np.ndarray, " size"]


class Plan:
    """Every batch of every epoch of some sources."""

    def __init__(
        self,
        sources: list[Source],
        *,
        most: int,
        batch_tokens: int,
        batch_size: int | None,
        multiple: int,
        seed: int,
        sampling: Sampling,
    ):
        self.sources, self.seed = sources, seed
        copies = repeats(sources)
        self.worth = None if sampling.kind == "each" else Worth(sampling, sources, copies)
        cells = [(number, k) for number, source in enumerate(sources) for k in range(len(source.rows_per_class))]
        rows = np.array([copies[s] * sources[s].rows_per_class[k] for s, k in cells])
        longest = np.array([[each[k] for each in sources[s].longest.values()] for s, k in cells], np.int64)
        capacity = np.array([modality.capacity for modality in sources[0].store.schema.modalities.values()])
        shapes = choose(
            rows, longest, capacity, most=most, batch_tokens=batch_tokens, batch_size=batch_size, multiple=multiple
        )
        if self.worth is not None:
            worth = np.concatenate([c * self.worth.of_class(source) for c, source in zip(copies, sources)])
        self.buckets = []
        for shape in shapes:
            parts = _parts(sources, [cells[c] for c in shape.cells], copies)
            taken = sum(part.places for part in parts)
            if self.worth is not None:
                taken = round(rows.sum() * worth[shape.cells].sum() / worth.sum())
            if taken > 0:
                self.buckets.append(Bucket(shape, parts, taken))
        self.order = BucketOrder([bucket.batches for bucket in self.buckets])
        self.kept = Kept(2 * len(self.buckets) + 2)  # every bucket is in one window, or reading ahead in the next

    @property
    def batches_per_epoch(self) -> int:
        return self.order.total

    def batch(self, step: int) -> Descriptor:
        """Batch number `step`, counted from 0 through all epochs."""
        epoch, place = divmod(step, self.order.total)
        number, batch = self.order.at(place, self.seed, epoch)
        bucket = self.buckets[number]
        places = batch * bucket.shape.size + np.arange(bucket.shape.size)
        return self._filled(number, *self._rows(number, places[places < bucket.taken], epoch))

    def ordered(self, step: int) -> Descriptor:
        """As `batch`, bucket by bucket and unshuffled, every epoch the same."""
        number, batch = self.order.in_order(step % self.order.total)
        bucket = self.buckets[number]
        places = batch * bucket.shape.size + np.arange(bucket.shape.size)
        return self._filled(number, *bucket.rows(places[places < bucket.count], 0))

    def _filled(self, number: int, sources: np.ndarray, rows: np.ndarray) -> Descriptor:
        size = self.buckets[number].shape.size
        filled = np.full((2, size), -1, np.int64)
        filled[:, : len(rows)] = sources, rows
        return Descriptor(number, filled[0], filled[1])

    def _rows(self, number: int, places: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and row at some places of a bucket's epoch. Draws go round the windows as often as it takes."""
        windows = Windows(self.buckets[number].count)
        window_of = windows.of(places % windows.count)
        sources, rows = np.empty_like(places), np.empty_like(places)
        for window in np.unique(window_of).tolist():
            here = window_of == window
            found = self._window(number, windows, window, epoch)
            chosen = found.draw(places[here]) if self.worth else places[here] - windows.start(window)
            sources[here], rows[here] = found.sources[chosen], found.rows[chosen]
        return sources, rows

    def _window(self, number: int, windows: Windows, window: int, epoch: int) -> _Window:
        """A window's rows in their final order; of one where no row is worth anything, the next one's."""
        found = self.kept((number, window, epoch), lambda: self._make_window(number, windows, window, epoch))
        if self.worth is not None and found.worth[-1] <= 0:
            return self._window(number, windows, (window + 1) % windows.number, epoch)
        return found

    def _make_window(self, number: int, windows: Windows, window: int, epoch: int) -> _Window:
        bucket, key = self.buckets[number], (self.seed, epoch, number)
        positions = window_positions(windows, window, *key)
        order = permutation(len(positions), "window", window, *key)
        sources, rows = bucket.rows(positions[order], epoch)
        worth = np.zeros(len(rows) if self.worth else 0)
        for part in bucket.parts if self.worth else ():
            here = sources == part.source
            worth[here] = self.worth.of_rows(self.sources[part.source], rows[here])  # type: ignore[union-attr]
        return _Window(sources, rows, np.cumsum(worth), word("draw", *key))


@dataclass(frozen=True)
class _Window:
    """Sources and rows of a window, the running sum of their worth (of draws), and the key of its draws."""

    sources: Int[np.ndarray, " n"]
    rows: Int[np.ndarray, " n"]
    worth: Float[np.ndarray, " d"]
    key: np.uint64

    def draw(self, places: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
        """For each place one of the rows, in proportion to its worth."""
        lot = uniform(mix(places.astype(np.uint64) ^ self.key)) * self.worth[-1]
        return np.minimum(np.searchsorted(self.worth, lot, side="right"), len(self.worth) - 1)


def _parts(sources: list[Source], cells: list[tuple[int, int]], copies: np.ndarray) -> tuple[Part, ...]:
    parts = []
    for number, source in enumerate(sources):
        space = source.row_space(np.array([k for s, k in cells if s == number], np.int64))
        places = round(space.count * copies[number])
        if places:
            parts.append(Part(number, space, places))
    return tuple(parts)
