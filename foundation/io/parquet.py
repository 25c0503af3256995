"""Parquet and Arrow (Feather) files through pyarrow: numbers, strings, lists, structs, nulls; read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foundation.errors import DataError, DetfmError, close_names
from foundation.io.arrow import Leaf, combined, leaves
from foundation.io.divide import spans
from foundation.io.files import open_bytes, reason
from foundation.io.layout import Layout

BUFFER_BYTES = 1 << 20  # of a column's bytes in the file, read at a time
BATCH_BYTES = 64 << 20  # decoded at a time
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}


class ParquetReader:
    """See `foundation.io.Reader`. A struct's fields are columns `struct.field`, also in lists of structs.

    Nulls: a missing number is NaN, a missing list is empty, a missing string is "". A column of whole numbers with
    nulls somewhere in the file is read as float64.
    """

    def __init__(self, path: str, tree: str = "", layout: Mapping[str, Layout] | None = None):
        self.path, self.bytes = path, open_bytes(path)
        try:
            _check_ends(path, self.bytes)
            self.file = pq.ParquetFile(
                self.bytes, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
            )
            self.leaves = {leaf.name: leaf for leaf in leaves(self.file.schema_arrow)}
            self.columns = list(self.leaves)
            self.groups = np.cumsum([0, *(self._group(g).num_rows for g in range(self.file.num_row_groups))])
        except Exception as error:
            self.bytes.close()
            if isinstance(error, DetfmError):
                raise
            raise DataError(f"{path}: the Parquet file's footer cannot be read ({reason(error)})") from error
        self.num_rows = int(self.groups[-1])

    @staticmethod
    def table_names(path: str) -> dict[str, str]:
        ParquetReader(path).close()
        return {"": "Parquet"}

    def close(self) -> None:
        self.bytes.close()

    def column_type(self, column: str) -> str:
        return self.leaves[column].typename

    def require(self, columns: Sequence[str]) -> None:
        for column in columns:
            if column not in self.leaves:
                raise DataError(f"{self.path}: no column '{column}'; {close_names(column, self.columns)}")

    def bytes_per_row(self, columns: Sequence[str]) -> float:
        self.require(columns)
        total = 0
        for leaf in (self.leaves[c] for c in columns):
            for group in range(self.file.num_row_groups):
                chunk = self._group(group).column(leaf.number)
                width = WIDTHS.get(chunk.physical_type)
                total += chunk.num_values * width if width else chunk.total_uncompressed_size
            total += 8 * self.num_rows * leaf.lists
        return total / max(self.num_rows, 1)

    def chunks(self, columns: Sequence[str], rows: int, start: int = 0, stop: int | None = None) -> Iterator[ak.Array]:
        self.require(columns)
        stop = self.num_rows if stop is None else min(stop, self.num_rows)
        chosen = {c: self.leaves[c] for c in columns}
        floats = {c for c, leaf in chosen.items() if self._has_nulls(leaf)}
        pending: list[pa.RecordBatch] = []
        batches = self._batches(columns, rows, start)
        for first, last in spans(start, stop, rows):
            pending, chunk = self._take(pending, batches, last - first, f"entries {first} to {last - 1}")
            try:
                arrays = {c: combined(chunk, leaf, c in floats) for c, leaf in chosen.items()}
            except (pa.ArrowException, ValueError) as error:
                raise DataError(f"{self.path}, entries {first} to {last - 1}: {reason(error)}") from error
            yield ak.zip(arrays, depth_limit=1)

    def _take(
        self, pending: list[pa.RecordBatch], batches: Iterator[pa.RecordBatch], rows: int, where: str
    ) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
        """Batches that begin after the next `rows` rows, and those of the rows."""
        while (have := sum(len(b) for b in pending)) < rows:
            try:
                pending = [*pending, next(batches)]
            except StopIteration:
                raise DataError(f"{self.path}, {where}: only {have} of {rows} rows are there") from None
            except Exception as error:
                raise DataError(
                    f"{self.path}, {where}: cannot be read; the file is damaged ({reason(error)})"
                ) from error
        chunk, left = pending[:-1], rows - sum(len(b) for b in pending[:-1])
        rest = pending[-1].slice(left)
        return [rest] if len(rest) else [], [*chunk, pending[-1].slice(0, left)]

    def _batches(self, columns: Sequence[str], rows: int, start: int) -> Iterator[pa.RecordBatch]:
        """From row `start` on."""
        most = int(BATCH_BYTES / max(self.bytes_per_row(columns), 1.0))
        paths = [self.file.schema.column(self.leaves[c].number).path for c in columns]
        group = int(np.searchsorted(self.groups, start, side="right")) - 1
        wanted = range(group, self.file.num_row_groups)
        skip = start - int(self.groups[group])
        size = max(1, min(rows, most))
        for batch in self.file.iter_batches(batch_size=size, row_groups=list(wanted), columns=paths, use_threads=False):
            if skip < len(batch):
                yield batch.slice(skip)
            skip = max(0, skip - len(batch))

    def _has_nulls(self, leaf: Leaf) -> bool:
        """Whether a column of whole numbers may have nulls anywhere in the file."""
        if not leaf.nullable:
            return False
        chunks = (self._group(g).column(leaf.number) for g in range(self.file.num_row_groups))
        found = (c.statistics.null_count if c.is_stats_set and c.statistics.has_null_count else 1 for c in chunks)
        return any(found)

    def _group(self, group: int) -> Any:
        return self.file.metadata.row_group(group)


def _check_ends(path: str, file: Any) -> None:
    """Raises DataError unless the file has Parquet's mark at both ends."""
    begin = file.read(4)
    size = file.seek(0, 2)
    if begin != b"PAR1":
        raise DataError(
            f"{path}: not a Parquet file (it begins with {begin!r})" if begin else f"{path}: the file is empty"
        )
    file.seek(max(size - 4, 0))
    if file.read(4) != b"PAR1" or size < 12:
        raise DataError(f"{path}: the Parquet file is cut short at {size:,} bytes; copy or write it again")
    file.seek(0)
