"""Layouts over formats whose columns all have the same length: a flat table of tokens with an example number each."""

from __future__ import annotations

from collections.abc import Mapping

import awkward as ak
import numpy as np

from foundation.io.arrays import ArrayReader
from foundation.io.layout import Layout
from foundation.io.reader import Reader

SAMPLE_ROWS = 1000


class FlatColumn:
    """A reader's column as `foundation.io.divide.Stored`."""

    def __init__(self, reader: Reader, column: str):
        self.reader, self.column = reader, column
        self._sample: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.reader.num_rows,)

    @property
    def dtype(self) -> np.dtype:
        if self._sample is None:
            flat = ak.flatten(self.read(0, min(SAMPLE_ROWS, self.reader.num_rows)), axis=None)
            self._sample = ak.to_numpy(flat)[:0]
        return self._sample.dtype

    @property
    def row_bytes(self) -> float:
        return self.reader.bytes_per_row([self.column])

    def read(self, start: int, stop: int) -> ak.Array:
        parts = [chunk[self.column] for chunk in self.reader.chunks([self.column], max(stop - start, 1), start, stop)]
        return parts[0] if parts else ak.Array(np.empty(0))


def divided(reader: Reader, layout: Mapping[str, Layout]) -> ArrayReader:
    """The same columns, divided into examples as `layout` says."""
    stored = {column: FlatColumn(reader, column) for column in reader.columns}
    types = {column: reader.column_type(column) for column in reader.columns}
    return ArrayReader(reader.path, stored, layout, reader.close, types)
