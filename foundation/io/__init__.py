"""File formats -> columns (awkward arrays). Nothing outside this package knows a file format."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import awkward as ak

from foundation.errors import DataError
from foundation.io.files import check_there, suffix
from foundation.io.layout import Layout

# suffix -> "module:class"; imported when a file of that kind is opened
FORMATS = {
    ".root": "foundation.io.root:RootReader",
    ".h5": "foundation.io.hdf5:Hdf5Reader",
    ".hdf5": "foundation.io.hdf5:Hdf5Reader",
    ".hdf": "foundation.io.hdf5:Hdf5Reader",
    ".parquet": "foundation.io.parquet:ParquetReader",
    ".pq": "foundation.io.parquet:ParquetReader",
    ".npz": "foundation.io.numpy_files:NpzReader",
    ".npy": "foundation.io.numpy_files:NpyReader",
}


@runtime_checkable
class Reader(Protocol):
    """One table of one file, read as columns in chunks of rows.

    Attributes:
        path: the file, local or a URL, as it was given.
        columns: names, in file order.
        num_rows: rows in the table; may be 0.
    """

    path: str
    columns: list[str]
    num_rows: int

    def column_type(self, column: str) -> str:
        """As the format calls it; for people."""
        ...

    def require(self, columns: Sequence[str]) -> None:
        """Raises DataError naming the first column that is not there, or does not fit the rows, and what to do."""
        ...

    def bytes_per_row(self, columns: Sequence[str]) -> float:
        """About how many bytes a row of these columns takes in memory."""
        ...

    def chunks(self, columns: Sequence[str], rows: int, start: int = 0, stop: int | None = None) -> Iterator[ak.Array]:
        """Records of the given columns, `rows` rows at a time (the last chunk may be shorter), in file order.

        A column holds one number or string per row, or a list per row: tokens are always on axis 1 and always of
        variable length, also where the file gives them a fixed size. Rows are those of [start, stop), by default all.

        Raises:
            DataError: a column is missing, or its bytes cannot be read; names file, column and entries.
        """
        ...

    def close(self) -> None: ...


def open_reader(path: str | Path, tree: str = "", layout: Mapping[str, Layout] | None = None) -> Reader:
    """A reader for the file's format.

    Args:
        path: the file, or its URL.
        tree: which table, where the format holds several; may be left out if there is just one. A group of an HDF5
            file; formats of one table per file pay no heed to it.
        layout: column, or `*` for all others -> how it is divided into examples, where its first axis is not the
            example.

    Raises:
        DataError: no such file, unknown format, not of the format it claims, cut short, or the table is ambiguous.
        ToolError: the package that the URL's protocol needs is not installed.
    """
    return _format(str(path))(str(path), tree, layout)


def table_names(path: str | Path) -> dict[str, str]:
    """Name of every table of a file -> what kind it is. Raises DataError as `open_reader` does."""
    return _format(str(path)).table_names(str(path))


def _format(path: str) -> Any:
    kind = suffix(path)
    check_there(path)
    if kind not in FORMATS:
        raise DataError(f"{path}: no reader for '{kind}' files; known: {', '.join(sorted(FORMATS))}")
    module, name = FORMATS[kind].split(":")
    return getattr(importlib.import_module(module), name)
