"""The reader over Arrow's record batches: lists, structs and nulls, batches cut to chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import awkward as ak
import numpy as np
import pyarrow as pa

from foundation.errors import DataError, DetfmError, close_names
from foundation.io.arrow import Leaf, combined, leaves
from foundation.io.divide import spans
from foundation.io.files import BinaryFile, damage, reason

BATCH_BYTES = 64 << 20  # decoded at a time


class BatchReader(ABC):
    """See `foundation.io.Reader`. A struct's fields are columns `struct.field`, also in lists of structs.

    Nulls: a missing number is NaN, a missing list is empty, a missing string is "".

    Args:
        path: of the file, for the errors.
        file: its bytes; closed by `close`.
        schema: of the whole table.
        rows: of each group of batches.
    """

    def __init__(self, path: str, file: BinaryFile, schema: pa.Schema, rows: Sequence[int]):
        self.path, self.close, self.names = path, file.close, schema.names
        self.leaves = {leaf.name: leaf for leaf in leaves(schema)}
        self.columns = list(self.leaves)
        self.groups = np.cumsum([0, *rows])
        self.num_rows = int(self.groups[-1])

    @abstractmethod
    def may_have_nulls(self, leaf: Leaf) -> bool:
        """Whether a column has nulls anywhere in the file, as far as its directory says."""

    @abstractmethod
    def bytes_per_row(self, columns: Sequence[str]) -> float:
        """See `foundation.io.Reader`."""

    @abstractmethod
    def batches(self, leaves: Sequence[Leaf], rows: int, group: int) -> Iterator[pa.RecordBatch]:
        """The columns in batches of at most `rows` rows, where the format allows that, from a group on."""

    def column_type(self, column: str) -> str:
        return self.leaves[column].typename

    def require(self, columns: Sequence[str]) -> None:
        for column in columns:
            if column not in self.leaves:
                raise DataError(f"{self.path}: no column '{column}'; {close_names(column, self.columns)}")

    def chunks(self, columns: Sequence[str], rows: int, start: int = 0, stop: int | None = None) -> Iterator[ak.Array]:
        self.require(columns)
        stop = self.num_rows if stop is None else min(stop, self.num_rows)
        chosen = {c: self.leaves[c] for c in columns}
        nulls = {c: self.may_have_nulls(leaf) for c, leaf in chosen.items()}
        pending: list[pa.RecordBatch] = []
        batches = self._from(columns, rows, start)
        for first, last in spans(start, stop, rows):
            where = f"{self.path}, entries {first} to {last - 1}"
            pending, chunk = _take(pending, batches, last - first, where)
            arrays = {c: self._column(chunk, leaf, nulls[c], where) for c, leaf in chosen.items()}
            yield ak.zip(arrays, depth_limit=1)

    def _column(self, batches: list[pa.RecordBatch], leaf: Leaf, nulls: bool, where: str) -> ak.Array:
        try:
            array = combined(batches, leaf, nulls)
        except (pa.ArrowException, ValueError) as error:
            raise DataError(f"{where}: column '{leaf.name}' cannot be used ({reason(error)})") from error
        return ak.from_regular(array, axis=1) if array.ndim > 1 else array

    def _from(self, columns: Sequence[str], rows: int, start: int) -> Iterator[pa.RecordBatch]:
        """Batches from row `start` on."""
        most = int(BATCH_BYTES / max(self.bytes_per_row(columns), 1.0))
        group = int(np.searchsorted(self.groups, start, side="right")) - 1
        skip = start - int(self.groups[group])
        for batch in self.batches([self.leaves[c] for c in columns], max(1, min(rows, most)), group):
            if skip < len(batch):
                yield batch.slice(skip)
            skip = max(0, skip - len(batch))


def _take(
    pending: list[pa.RecordBatch], batches: Iterator[pa.RecordBatch], rows: int, where: str
) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    """What is left after the next `rows` rows, and the batches of those."""
    have = sum(map(len, pending))
    while have < rows:
        try:
            batch = next(batches)
        except StopIteration:
            raise DataError(f"{where}: only {have} of {rows} rows are there; the file is damaged") from None
        except Exception as error:
            raise DataError(f"{where}: {damage(where, error)}") from error
        pending = [*pending, batch]
        have += len(batch)
    last = pending[-1]
    cut = len(last) - (have - rows)
    return ([last.slice(cut)] if have > rows else []), [*pending[:-1], last.slice(0, cut)]


@contextmanager
def closing_on_error(path: str, kind: str, file: BinaryFile) -> Iterator[None]:
    """Closes the file if it cannot be opened as what it should be, and makes a DataError of the failure."""
    try:
        yield
    except DetfmError:
        file.close()
        raise
    except Exception as error:
        file.close()
        raise DataError(
            f"{path}: the {kind} file's directory cannot be read; it is damaged ({reason(error)})"
        ) from error
