"""Parquet and Arrow (Feather) files through pyarrow: numbers, strings, lists, structs, nulls; read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from foundation.errors import DataError
from foundation.io.arrow import Leaf
from foundation.io.batches import BatchReader, closing_on_error
from foundation.io.files import open_bytes
from foundation.io.layout import Layout

BUFFER_BYTES = 1 << 20  # of a column's bytes in the file, read at a time
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}


class ParquetReader(BatchReader):
    """See `foundation.io.Reader` and `BatchReader`. Pages are checked against their checksums, where the file has them.

    A column of whole numbers with nulls somewhere in the file is read as float64.
    """

    def __init__(self, path: str, tree: str = "", layout: Mapping[str, Layout] | None = None):
        file = open_bytes(path)
        with closing_on_error(path, "Parquet", file):
            _check_ends(path, file)
            self.file = pq.ParquetFile(
                file, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
            )
            rows = [self._group(g).num_rows for g in range(self.file.num_row_groups)]
            super().__init__(path, file, self.file.schema_arrow, rows)

    @staticmethod
    def table_names(path: str) -> dict[str, str]:
        ParquetReader(path).close()
        return {"": "Parquet"}

    def bytes_per_row(self, columns: Sequence[str]) -> float:
        self.require(columns)
        total = 0
        for leaf in (self.leaves[c] for c in columns):
            for chunk in self._column_chunks(leaf):
                width = WIDTHS.get(chunk.physical_type)
                total += chunk.num_values * width if width else chunk.total_uncompressed_size
            total += 8 * self.num_rows * leaf.lists
        return total / max(self.num_rows, 1)

    def may_have_nulls(self, leaf: Leaf) -> bool:
        def nulls(chunk: Any) -> int:
            known = chunk.is_stats_set and chunk.statistics.has_null_count
            return chunk.statistics.null_count if known else 1

        return leaf.nullable and any(map(nulls, self._column_chunks(leaf)))

    def batches(self, leaves: Sequence[Leaf], rows: int, group: int) -> Iterator[pa.RecordBatch]:
        paths = [self.file.schema.column(leaf.number).path for leaf in leaves]
        groups = list(range(group, self.file.num_row_groups))
        yield from self.file.iter_batches(batch_size=rows, row_groups=groups, columns=paths, use_threads=False)

    def _group(self, group: int) -> Any:
        return self.file.metadata.row_group(group)

    def _column_chunks(self, leaf: Leaf) -> Iterator[Any]:
        return (self._group(g).column(leaf.number) for g in range(self.file.num_row_groups))


class ArrowReader(BatchReader):
    """See `foundation.io.Reader` and `BatchReader`. Arrow's IPC files, of which Feather 2 is one; not its streams.

    A record batch is read as a whole, the wanted columns of it; nulls are looked for batch by batch.
    """

    def __init__(self, path: str, tree: str = "", layout: Mapping[str, Layout] | None = None):
        file = open_bytes(path)
        with closing_on_error(path, "Arrow", file):
            begin = file.read(6)
            if begin != b"ARROW1":
                hint = "; if it is an Arrow stream, write it with pyarrow.ipc.new_file or as Parquet" if begin else ""
                raise DataError(f"{path}: not an Arrow file (it begins with {begin!r}){hint}")
            self.file = file
            first = self._open([0])
            rows = [first.get_batch(i).num_rows for i in range(first.num_record_batches)]
            super().__init__(path, file, self._open(None).schema, rows)
            self.sizes = self._sizes()

    @staticmethod
    def table_names(path: str) -> dict[str, str]:
        ArrowReader(path).close()
        return {"": "Arrow"}

    def bytes_per_row(self, columns: Sequence[str]) -> float:
        self.require(columns)
        tops = {leaf.fields[0]: leaf.lists for leaf in (self.leaves[c] for c in columns)}
        return sum(self.sizes[top] + 8 * lists for top, lists in tops.items())

    def may_have_nulls(self, leaf: Leaf) -> bool:
        return False

    def batches(self, leaves: Sequence[Leaf], rows: int, group: int) -> Iterator[pa.RecordBatch]:
        tops = list(dict.fromkeys(leaf.fields[0] for leaf in leaves))
        file = self._open([self.names.index(top) for top in tops])
        for number in range(group, file.num_record_batches):
            yield file.get_batch(number)

    def _open(self, fields: list[int] | None) -> Any:
        return pa.ipc.open_file(self.file, options=pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False))

    def _sizes(self) -> dict[str, float]:
        """Bytes per row of each top column, by the first batch."""
        if self.num_rows == 0:
            return dict.fromkeys(self.names, 0.0)
        batch = self._open(None).get_batch(0)
        return {name: batch.column(i).nbytes / max(len(batch), 1) for i, name in enumerate(self.names)}


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
