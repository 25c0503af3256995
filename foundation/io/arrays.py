"""The reader over formats that hold plain arrays (HDF5, npz, npy), each with a first axis of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher

import awkward as ak
import numpy as np

from foundation.errors import DataError, DetfmError, SchemaError, close_names
from foundation.io.divide import (
    Division,
    Index,
    Offsets,
    Picked,
    Rows,
    Stored,
    WholeFile,
    dtype_name,
    is_index,
    is_offsets,
    parse_by,
    spans,
)
from foundation.io.files import damage
from foundation.io.layout import Layout


class ArrayReader:
    """See `foundation.io.Reader`.

    A column that does not fit the rows is listed; asking for it is an error that says which layout to declare.

    Args:
        path: of the file, for the errors.
        stored: column -> its array.
        layout: column, or `*` for all others -> how it is divided into examples.
        close: called by `close`.
        types: column -> its type for people, where it is more than that of the numbers.
    """

    def __init__(
        self,
        path: str,
        stored: Mapping[str, Stored],
        layout: Mapping[str, Layout] | None = None,
        close: Callable[[], None] = lambda: None,
        types: Mapping[str, str] | None = None,
    ):
        self.path, self.stored, self.columns = path, dict(stored), list(stored)
        self.layout, self.close, self.types = dict(layout or {}), close, dict(types or {})
        self.divisions: dict[str, Division] = {}
        if not self.columns:
            raise DataError(f"{path}: holds no array")
        # columns of offsets or numbers only: `*` is not meant for them
        self.indices = {name for name, k in (parse_by(x.by) for x in self.layout.values()) if k is None}
        self.num_rows = self._rows()

    def column_type(self, column: str) -> str:
        stored = self.stored[column]
        name = self.types.get(column) or dtype_name(stored)
        return name if stored.shape[0] == self.num_rows else f"{name}, {stored.shape[0]:,} entries"

    def require(self, columns: Sequence[str]) -> None:
        for column in columns:
            if column not in self.stored:
                raise DataError(f"{self.path}: no column '{column}'; {close_names(column, self.columns)}")
            self._division(column)

    def suggested_layout(self, column: str) -> Layout | None:
        """A layout that would divide a column that does not fit the rows, judged by names and first and last values."""
        length = self.stored[column].shape[0]
        offsets = [name for name in self.columns if name != column and is_offsets(self.stored[name], length)]
        if offsets:
            return Layout("offsets", max(offsets, key=lambda name: SequenceMatcher(None, column, name).ratio()))
        return Layout("index", f"{column}[:, 0]") if is_index(self.stored[column], self.num_rows) else None

    def bytes_per_row(self, columns: Sequence[str]) -> float:
        self.require(columns)
        return sum(self.stored[c].row_bytes * self.stored[c].shape[0] for c in columns) / max(self.num_rows, 1)

    def chunks(self, columns: Sequence[str], rows: int, start: int = 0, stop: int | None = None) -> Iterator[ak.Array]:
        self.require(columns)
        stop = self.num_rows if stop is None else min(stop, self.num_rows)
        for first, last in spans(start, stop, rows):
            yield ak.zip({c: self._read(c, first, last) for c in columns}, depth_limit=1)

    def _read(self, column: str, start: int, stop: int) -> ak.Array:
        where = f"{self.path}: column '{column}', entries {start} to {stop - 1}"
        try:
            array = self._division(column).read(self.stored[column], start, stop)
        except DetfmError:
            raise
        except Exception as error:
            raise DataError(f"{where} {damage(self.path, error)}") from error
        if len(array) != stop - start:
            raise DataError(f"{where}: only {len(array)} of {stop - start} entries are there; the file is cut short")
        return array

    def _layout(self, column: str) -> Layout:
        if column in self.layout:
            return self.layout[column]
        return Layout() if column in self.indices else self.layout.get("*", Layout())

    def _division(self, column: str) -> Division:
        if column not in self.divisions:
            try:
                found = self._divide(column, self.num_rows)
            except DetfmError:
                raise
            except Exception as error:
                where = f"{self.path}: what divides column '{column}' into examples"
                raise DataError(f"{where} {damage(self.path, error)}") from error
            if found.rows != self.num_rows:
                raise DataError(
                    f"{self.path}: column '{column}' has {found.rows:,} examples by its layout "
                    f"'{self._layout(column).kind}', the others have {self.num_rows:,}"
                )
            self.divisions[column] = found
        return self.divisions[column]

    def _divide(self, column: str, rows: int | None) -> Division:
        """The column's division; `rows` is the number of examples, where that is known."""
        layout, stored = self._layout(column), self.stored[column]
        if layout.kind == "file":
            return WholeFile()
        if layout.kind == "offsets":
            return Offsets(self.path, column, self._by(column, layout), stored, rows)
        if layout.kind == "index":
            return Index(self.path, column, self._by(column, layout), stored.shape[0], rows)
        length = stored.shape[0]
        if rows is not None and length != rows:
            raise DataError(
                f"{self.path}: column '{column}' has {length:,} entries, for {rows:,} rows; {self._advice(column)}"
            )
        return Rows(stored)

    def _advice(self, column: str) -> str:
        found = self.suggested_layout(column)
        likely = f"{{kind: {found.kind}, by: '{found.by}'}}" if found else "{kind: offsets, by: COLUMN_OF_OFFSETS}"
        advice = f"declare in the schema how it is divided, e.g. `layout: {{{column}: {likely}}}`"
        if found is None:
            advice += ", or kind `index` with the column of example numbers, or kind `file` if the file is one example"
        return advice

    def _by(self, column: str, layout: Layout) -> Stored:
        """The column of offsets or example numbers that a layout names."""
        name, k = parse_by(layout.by)
        if name not in self.stored:
            raise DataError(
                f"{self.path}: the layout of '{column}' names column '{layout.by}', which is not there; "
                f"{close_names(name, self.columns)}"
            )
        stored = self.stored[name]
        if k is None:
            return stored
        if len(stored.shape) != 2 or k >= stored.shape[1]:
            raise SchemaError(f"{self.path}: the layout of '{column}' needs '{layout.by}'; it is {dtype_name(stored)}")
        return Picked(stored, k)

    def _rows(self) -> int:
        """The number of examples: that of the columns said to be `rows`, else of the first other layout that tells it,
        else the length that most columns have."""
        named = {c: x for c, x in self.layout.items() if c in self.stored}
        for column, layout in named.items():
            if layout.kind == "rows":
                return self.stored[column].shape[0]
        plain = [c for c in self.columns if c not in self.indices and self._layout(c).kind == "rows"]
        lengths = Counter(self.stored[c].shape[0] for c in plain)
        for column in self.columns:
            if self._layout(column).kind == "offsets":
                by = self._by(column, self._layout(column)).shape[0]
                known = next((n for n, _ in lengths.most_common() if n in (by, by - 1)), None)
                return self._divide(column, known).rows
        if any(self._layout(c).kind == "file" for c in self.columns):
            return 1
        if lengths:
            return lengths.most_common(1)[0][0]
        found = [self._divide(c, None).rows for c in self.columns if self._layout(c).kind == "index"]
        return int(np.max(found, initial=0))
