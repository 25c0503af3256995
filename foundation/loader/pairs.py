"""Batches of pairs: rows 2i and 2i+1 are two different rows with the same value of an observer, the hard event say.

A group is all rows of one value. An epoch divides each group anew, at random, into pairs; of an odd number of rows one
is left over. A pair has the length class of its group's longest row, whichever rows of the group it is made of, so that
the plan of batches is the same in every epoch and no row is cut.

Axes: n rows, G groups, P pairs (of an epoch), K length classes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from foundation.batch import TokenBatch
from foundation.errors import ConfigError, DataError
from foundation.hashing import mix, word
from foundation.loader.buckets import SIZE_STEP
from foundation.loader.loader import Loader
from foundation.loader.plan import Descriptor, Plan
from foundation.loader.sampling import Sampling
from foundation.loader.source import ListedRows, RowSpace, Source


class Pairs(Loader):
    """A `Loader` whose batches are made of pairs, with the token budget, buckets and processes of another one.

    Batch k is a pure function of (the loader, by, seed, k). Each epoch holds every row that has a partner once (but one
    of an odd number). Fillers come in pairs too. There are at most as many shapes as the loader's buckets.

    Memory grows with the number of rows: about 40 bytes for each, and twice 8 while the partners are looked for.

    Args:
        loader: its rows are paired; it is not moved.
        by: observer; rows of equal value belong together, those of NaN to none. Values must not repeat between files
            that hold different events.
        seed: of the shuffle and of the pairing; default: the loader's.

    Raises:
        DataError: no such observer, no row has a partner, or rows of one value are in two splits of the store.
        ConfigError: the loader draws its rows, or its batch size is odd.
    """

    def __init__(self, loader: Loader, by: str = "event_id", *, seed: int | None = None):
        if loader.plan.worth is not None:
            raise ConfigError("pairs take each row once, and this loader draws: make it without `sampling`")
        if loader.batch_size is not None and loader.batch_size % (2 * loader.process_count):
            raise ConfigError(
                f"batch_size {loader.batch_size} is no whole number of pairs for each of "
                f"{loader.process_count} processes; give a multiple of {2 * loader.process_count}"
            )
        self.paired = [PairSource(s.store, s.split, s.weight, s.subset, by) for s in loader.sources]
        for source in self.paired:
            source.check()
        self.sources: list[Source] = [*self.paired]
        self.seed, self.shuffle = loader.seed if seed is None else seed, loader.shuffle
        self.process_index, self.process_count = loader.process_index, loader.process_count
        self.most, self.batch_tokens, self.batch_size = loader.most, loader.batch_tokens, loader.batch_size
        self.plan = Plan(  # its rows are pairs
            self.sources,
            most=self.most,
            batch_tokens=self.batch_tokens // 2,
            batch_size=self.batch_size and self.batch_size // 2,
            multiple=math.lcm(SIZE_STEP // 2, self.process_count),
            seed=self.seed,
            sampling=Sampling(),
        )
        self.step, self.ahead = 0, loader.ahead
        self._first = loader._first
        self._ahead: Any = None
        self._ready: deque[TokenBatch] = deque()

    @property
    def rows(self) -> int:
        """Rows of an epoch: two of each pair."""
        return 2 * sum(source.rows for source in self.sources)

    @property
    def left_out(self) -> int:
        """Rows of the loader that have no partner."""
        return sum(source.groups.alone for source in self.paired)

    @property
    def across_files(self) -> int:
        """Values that rows of several files share: one event seen in each of them, or numbers that begin anew."""
        return sum(source.across_files for source in self.paired)

    @property
    def shapes(self) -> list[tuple[int, tuple[int, ...]]]:
        return [(2 * size, lengths) for size, lengths in super().shapes]

    @property
    def padding(self) -> float:
        slots = sum(2 * b.batches * b.shape.size * sum(b.shape.lengths) for b in self.plan.buckets)
        return 1 - sum(source.tokens for source in self.sources) / slots

    def batch_at(self, step: int) -> TokenBatch:
        pairs = self.plan.batch(int(step)) if self.shuffle else self.plan.ordered(int(step))
        return self._read(self._rows_of(pairs, int(step) // self.batches_per_epoch))

    def one_pass(self) -> Iterator[TokenBatch]:
        """The pairs of the first epoch, bucket by bucket. Does not move `step`."""
        for step in range(self.batches_per_epoch):
            yield self._read(self._rows_of(self.plan.ordered(step), 0))

    def _rows_of(self, pairs: Descriptor, epoch: int) -> Descriptor:
        rows = np.full((len(pairs.rows), 2), -1, np.int64)
        for number, source in enumerate(self.paired):
            own = (pairs.sources == number) & (pairs.rows >= 0)
            rows[own] = source.groups.pairs(pairs.rows[own], self.seed, epoch, number)
        return Descriptor(pairs.bucket, np.repeat(pairs.sources, 2), rows.ravel())


@dataclass(frozen=True)
class Groups:
    """Rows that belong together, at least two of each group.

    Attributes:
        members: rows, group after group; groups in the order of their first row, rows of a group ascending.
        first: place of each group's first member, and the number of all members.
        alone: rows that were left out, having no partner.
    """

    members: Int[np.ndarray, " n"]
    first: Int[np.ndarray, " G1"]
    alone: int

    @staticmethod
    def of(rows: Int[np.ndarray, " n"], values: Shaped[np.ndarray, " n"]) -> Groups:
        """Of equal `values`; `rows` ascending."""
        known = np.flatnonzero(values == values)  # NaN is nobody's partner
        known = known[np.argsort(values[known], kind="stable")]
        ordered = values[known]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))[: len(ordered)]
        sizes = np.diff(np.concatenate([starts, [len(ordered)]]))
        starts, sizes = starts[sizes > 1], sizes[sizes > 1]
        order = np.argsort(known[starts])
        starts, sizes = starts[order], sizes[order]
        members = rows[known[_runs(starts, sizes)]]
        return Groups(members, np.concatenate([[0], np.cumsum(sizes)]), len(rows) - len(members))

    @cached_property
    def sizes(self) -> Int[np.ndarray, " G"]:
        return np.diff(self.first)

    @cached_property
    def group(self) -> Int[np.ndarray, " P"]:
        """Of each pair."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes // 2)

    @cached_property
    def slot(self) -> Int[np.ndarray, " P"]:
        """Which of its group's pairs each pair is."""
        return _runs(np.zeros_like(self.sizes), self.sizes // 2)

    def pairs(self, numbers: Int[np.ndarray, " m"], *key: Any) -> Int[np.ndarray, "m 2"]:
        """The two rows of some pairs: of the group's members in random order, the next two."""
        groups = self.group[numbers]
        sizes = self.sizes[groups]
        rows = self.members[_runs(self.first[groups], sizes)]
        lot = mix(rows.astype(np.uint64) ^ word("pairs", *key))
        rows = rows[np.lexsort((lot, np.repeat(np.arange(len(groups)), sizes)))]
        place = np.cumsum(sizes) - sizes + 2 * self.slot[numbers]
        return np.stack([rows[place], rows[place + 1]], axis=1)


@dataclass(frozen=True)
class PairSource(Source):
    """A source as pairs: what a plan takes for its rows are pairs.

    Attributes:
        by: the observer.
    """

    by: str = "event_id"

    def check(self) -> None:
        """Raises DataError: no pairs, or the store's splits cut them."""
        super().check()
        if not len(self.groups.members):
            raise DataError(
                f"{self.store.path}: no two rows of split '{self.split}' have the same {self.by}; pairs need a sample "
                "with views (detfm simulate --cfg simulate/views), or another observer"
            )
        key = self.store.schema.split.key
        if key == self.store.schema.observers[self.by]:
            return  # then they cannot
        own = self._values
        for other in self.store.splits:
            if other != self.split and len(shared := np.intersect1d(own, self.store.observer(other, self.by))):
                raise DataError(
                    f"{self.store.path}: {len(shared)} values of {self.by} ({shared[0]:g}, say) are in both split "
                    f"'{self.split}' and split '{other}', so that pairs are torn apart; ingest again with split.key: "
                    f"{self.store.schema.observers[self.by]} in the schema"
                )

    @cached_property
    def _listed(self) -> Int[np.ndarray, " n"]:
        return np.arange(self.store.length(self.split)) if self.subset is None else np.sort(np.asarray(self.subset))

    @cached_property
    def groups(self) -> Groups:
        return Groups.of(self._listed, self._values)

    @property
    def _values(self) -> Shaped[np.ndarray, " n"]:
        values = self.store.observer(self.split, self.by)
        return values if self.subset is None else values[self._listed]

    @property
    def across_files(self) -> int:
        """Groups whose rows come from more than one file."""
        file = self.store.source(self.split)[self.groups.members, 0]
        first = self.groups.first[:-1]
        return int(np.sum(np.maximum.reduceat(file, first) != np.minimum.reduceat(file, first)))

    @cached_property
    def classes(self) -> Int[np.ndarray, " P"]:
        """Length class of each pair: the last of its group's."""
        found = self.store.index(self.split).length_class(self.groups.members)
        return np.maximum.reduceat(found, self.groups.first[:-1])[self.groups.group]

    @cached_property
    def rows_per_class(self) -> Int[np.ndarray, " K"]:
        return np.bincount(self.classes, minlength=self.store.index(self.split).length_classes)

    @cached_property
    def longest(self) -> dict[str, Int[np.ndarray, " K"]]:
        """As of a source, but a shorter class has its partners among longer ones."""
        return {name: np.maximum.accumulate(each) for name, each in super().longest.items()}

    @cached_property
    def rows(self) -> int:
        return len(self.groups.group)

    @cached_property
    def tokens(self) -> int:
        """Of an epoch, on average."""
        total = np.zeros(len(self.groups.members), np.int64)
        for name in self.store.schema.modalities:
            total += self.store.tokens_lengths(self.split, name)[self.groups.members]
        taken = self.groups.sizes // 2 * 2 / self.groups.sizes
        return round(float(np.sum(np.add.reduceat(total, self.groups.first[:-1]) * taken)))

    def row_space(self, classes: Int[np.ndarray, " k"]) -> RowSpace:
        return ListedRows(np.flatnonzero(np.isin(self.classes, classes)))


def _runs(starts: Int[np.ndarray, " r"], counts: Int[np.ndarray, " r"]) -> Int[np.ndarray, " n"]:
    """start, start + 1, ... of each run, `count` numbers long, one run after another."""
    return np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
