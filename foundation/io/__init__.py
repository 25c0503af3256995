"""File formats -> columns (awkward arrays). Nothing outside this package knows a file format."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foundation.errors import DataError
from foundation.io.arrays import ArrayReader
from foundation.io.files import check_there, expand, opening, suffix
from foundation.io.flat import divided
from foundation.io.layout import Layout
from foundation.io.reader import Reader

__all__ = ["FORMATS", "Layout", "Reader", "expand", "open_reader", "table_names"]

# suffix -> "module:class"; imported when a file of that kind is opened
FORMATS = {
    ".root": "foundation.io.root:RootReader",
    ".h5": "foundation.io.hdf5:Hdf5Reader",
    ".hdf5": "foundation.io.hdf5:Hdf5Reader",
    ".hdf": "foundation.io.hdf5:Hdf5Reader",
    ".parquet": "foundation.io.parquet:ParquetReader",
    ".pq": "foundation.io.parquet:ParquetReader",
    ".arrow": "foundation.io.parquet:ArrowReader",
    ".feather": "foundation.io.parquet:ArrowReader",
    ".npz": "foundation.io.numpy_files:NpzReader",
    ".npy": "foundation.io.numpy_files:NpyReader",
}


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
    with opening(str(path)):
        reader: Reader = _format(str(path))(str(path), tree, layout)
        if not layout or isinstance(reader, ArrayReader) or all(x.kind == "rows" for x in layout.values()):
            return reader
        return divided(reader, layout)


def table_names(path: str | Path) -> dict[str, str]:
    """Name of every table of a file -> what kind it is. Raises DataError as `open_reader` does."""
    with opening(str(path)):
        return dict(_format(str(path)).table_names(str(path)))


def _format(path: str) -> Any:
    kind = suffix(path)
    check_there(path)
    if kind not in FORMATS:
        raise DataError(f"{path}: no reader for '{kind}' files; known: {', '.join(sorted(FORMATS))}")
    module, name = FORMATS[kind].split(":")
    return getattr(importlib.import_module(module), name)
