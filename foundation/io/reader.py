"""What every format's reader offers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import awkward as ak


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
