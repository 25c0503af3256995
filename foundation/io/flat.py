"""Layouts over formats whose columns all have the same length: a flat table of tokens with an example number each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import awkward as ak
import numpy as np

from foundation.io.arrays import ArrayReader
from foundation.io.layout import Layout
from foundation.io.reader import Reader


class FlatColumn:
    """A reader's column as `foundation.io.divide.Stored`, read on from where the last read ended if it can be."""

    def __init__(self, reader: Reader, column: str):
        self.reader, self.column = reader, column
        self._empty: ak.Array | None = None
        self.ahead: Iterator[ak.Array] = iter(())
        self.size = self.first = self.stop = 0
        self.block: ak.Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.reader.num_rows,)

    @property
    def dtype(self) -> np.dtype:
        return ak.to_numpy(ak.flatten(self.empty, axis=None)).dtype

    @property
    def empty(self) -> ak.Array:
        """No rows of the column's type; of a file without rows, where that does not show, of numbers."""
        if self._empty is None:
            rows = next(self.reader.chunks([self.column], 1), None)
            self._empty = ak.Array(np.empty(0)) if rows is None else rows[self.column][:0]
        return self._empty

    @property
    def row_bytes(self) -> float:
        return self.reader.bytes_per_row([self.column])

    def read(self, start: int, stop: int) -> ak.Array:
        if start >= stop:
            return self.empty
        if self.block is None or (start, stop) != (self.first, self.stop):
            # blocks of one size after each other go through one iteration, which decompresses no basket twice
            if start != self.stop or stop - start > self.size or (stop - start < self.size and stop != self.shape[0]):
                self.size = stop - start
                self.ahead = self.reader.chunks([self.column], self.size, start)
            self.block = next(self.ahead)[self.column]
            self.first, self.stop = start, stop
        return self.block


def divided(reader: Reader, layout: Mapping[str, Layout]) -> ArrayReader:
    """The same columns, divided into examples as `layout` says."""
    stored = {column: FlatColumn(reader, column) for column in reader.columns}
    types = {column: reader.column_type(column) for column in reader.columns}
    return ArrayReader(reader.path, stored, layout, reader.close, types)
