"""File formats -> columns (awkward arrays). Nothing outside this package knows a file format."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import awkward as ak

from foundation.errors import DataError

# suffix -> "module:class"; imported when a file of that kind is opened
FORMATS = {".root": "foundation.io.root:RootReader"}


@runtime_checkable
class Reader(Protocol):
    """One table of one file, read as columns in chunks of rows.

    Attributes:
        path: the file.
        columns: names, in file order.
        num_rows: rows in the table.
    """

    path: Path
    columns: list[str]
    num_rows: int

    def column_type(self, column: str) -> str:
        """As the format calls it; for people."""
        ...

    def require(self, columns: Sequence[str]) -> None:
        """Raises DataError naming the first column that is not there, and the close ones that are."""
        ...

    def chunks(self, columns: Sequence[str], rows: int) -> Iterator[ak.Array]:
        """Records of the given columns, `rows` rows at a time (the last chunk may be shorter), in file order.

        A column holds one number per row, or a list per row: tokens are always on axis 1 and always of variable
        length, also where the file gives them a fixed size.

        Raises:
            DataError: a column is missing, or its bytes cannot be read; names file, column and entries.
        """
        ...

    def close(self) -> None: ...


def open_reader(path: str | Path, tree: str = "") -> Reader:
    """A reader for the file's format.

    Args:
        path: the file.
        tree: which table, where the format holds several; may be left out if there is just one.

    Raises:
        DataError: no such file, unknown format, not of the format it claims, cut short, or the table is ambiguous.
    """
    return _format(Path(path))(Path(path), tree)


def table_names(path: str | Path) -> dict[str, str]:
    """Name of every table of a file -> what kind it is. Raises DataError as `open_reader` does."""
    return _format(Path(path)).table_names(Path(path))


def _format(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: no such file" + (" (it is a folder)" if path.is_dir() else ""))
    if path.suffix not in FORMATS:
        raise DataError(f"{path}: no reader for '{path.suffix}' files; known: {', '.join(sorted(FORMATS))}")
    module, name = FORMATS[path.suffix].split(":")
    return getattr(importlib.import_module(module), name)
