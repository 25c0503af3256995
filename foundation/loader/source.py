"""Where rows come from: splits of stores, whole or in part, and what positions in them mean.

Axes: n rows, S shards, K length classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from foundation.errors import DataError
from foundation.store import Store


@dataclass(frozen=True)
class Source:
    """Rows to load.

    Attributes:
        store: where from.
        split: which split.
        weight: share of the rows of an epoch, relative to the other sources' weights; None: as many as it has.
        subset: rows of the split to use (few labels, one class, ...); None: all.
    """

    store: Store
    split: str
    weight: float | None = None
    subset: Any = None  # Int[np.ndarray, " n"] | None

    def check(self) -> None:
        """Raises DataError: no such split, no rows, or a subset that is none."""
        total = self.store.length(self.split)
        where = f"{self.store.path}: "
        if self.subset is not None:
            rows = np.asarray(self.subset, np.int64)
            if len(rows) == 0:
                raise DataError(f"{where}no rows of split '{self.split}' to load")
            if rows.min() < 0 or rows.max() >= total or len(np.unique(rows)) != len(rows):
                raise DataError(f"{where}`subset` must be different rows of '{self.split}', 0 to {total - 1}")
        elif total == 0:
            raise DataError(f"{where}no rows of split '{self.split}' to load")

    @cached_property
    def rows_per_class(self) -> Int[np.ndarray, " K"]:
        """Rows of each length class."""
        if self.subset is None:
            return self.store.index(self.split).rows.sum(axis=0)
        return np.bincount(self.subset_classes, minlength=self.store.index(self.split).length_classes)

    @cached_property
    def longest(self) -> dict[str, Int[np.ndarray, " K"]]:
        """Modality -> most tokens in each length class."""
        found = self.store.split(self.split)["length_classes"]["longest"]
        return {name: np.asarray(found[name], np.int64) for name in self.store.schema.modalities}

    @cached_property
    def rows(self) -> int:
        return int(self.rows_per_class.sum())

    @cached_property
    def tokens(self) -> int:
        """Tokens of all rows and modalities."""
        if self.subset is None:
            return int(sum(each.sum() for each in self.store.index(self.split).tokens.values()))
        lengths = [self.store.tokens_lengths(self.split, m)[self.subset] for m in self.store.schema.modalities]
        return int(sum(each.sum() for each in lengths))

    def row_space(self, classes: Int[np.ndarray, " k"]) -> RowSpace:
        """The rows of some length classes, by position."""
        if self.subset is not None:
            return ListedRows(np.asarray(self.subset, np.int64)[np.isin(self.subset_classes, classes)])
        index = self.store.index(self.split)
        return RunRows(index.runs[:, classes].ravel(), index.rows[:, classes].ravel())

    @cached_property
    def subset_classes(self) -> Int[np.ndarray, " n"]:
        return self.store.index(self.split).length_class(np.asarray(self.subset, np.int64))


@runtime_checkable
class RowSpace(Protocol):
    """`count` rows of a split; `at` gives those at some positions 0 ... count - 1."""

    count: int

    def at(self, positions: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]: ...


class ListedRows:
    def __init__(self, rows: Int[np.ndarray, " n"]):
        self.rows, self.count = np.sort(rows), len(rows)

    def at(self, positions: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        return self.rows[positions]


class RunRows:
    """Runs of consecutive rows, one after another."""

    def __init__(self, starts: Int[np.ndarray, " n"], counts: Int[np.ndarray, " n"]):
        kept = counts > 0
        self.first = np.concatenate([[0], np.cumsum(counts[kept])])
        self.starts, self.count = starts[kept], int(self.first[-1])

    def at(self, positions: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        run = np.searchsorted(self.first, positions, side="right") - 1
        return self.starts[run] + positions - self.first[run]


def repeats(sources: list[Source]) -> Float[np.ndarray, " S"]:
    """How often each source's rows come in one epoch, so that the epoch has as many rows as all sources together."""
    rows = np.array([source.rows for source in sources], np.float64)
    weights = np.array([rows[i] if s.weight is None else s.weight for i, s in enumerate(sources)], np.float64)
    return weights / weights.sum() * rows.sum() / rows
