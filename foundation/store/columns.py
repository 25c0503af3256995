"""A chunk's columns, and the schema's expressions over them, a block of rows at a time.

A block's intermediate arrays stay in the processor's cache, which is worth more than the calls it costs.
Axes: R rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Shaped

from foundation.errors import SchemaError
from foundation.expression import Shared, common_parts, parsed
from foundation.jagged import Jagged, Rows, from_column

Columns = Mapping[str, Any]
BLOCK_TOKENS = 1 << 15


@dataclass
class Table:
    """Columns of some rows in the form that `from_column` gives, and what expressions over them have in common.

    Attributes:
        columns: name -> numpy array [R], `Jagged`, awkward array, or a string that holds for all rows.
        rows: how many.
        first: number of the first one in the chunk; for messages.
        shared: values of common sub-expressions.
    """

    columns: Columns
    rows: int
    first: int = 0
    shared: Shared = field(default_factory=lambda: Shared(frozenset()))

    @staticmethod
    def of(columns: Columns, rows: int, expressions: Iterable[str] = ()) -> Table:
        """The columns that `expressions` name (those that are there), lists of equal lengths sharing their `Rows`."""
        texts = list(expressions)
        wanted = {name for text in texts for name in parsed(text).names} & columns.keys()
        known: list[Rows] = []
        found = {name: _sharing(from_column(columns[name]), known) for name in sorted(wanted)}
        return Table(found, rows, 0, Shared(common_parts(texts)))

    def blocks(self) -> Iterator[Table]:
        """Consecutive parts of some `BLOCK_TOKENS` tokens each."""
        most = max([len(c.values) for c in self.columns.values() if isinstance(c, Jagged)], default=0)
        step = max(1, self.rows * BLOCK_TOKENS // max(most, self.rows, 1))
        for start in range(0, self.rows, step):
            yield self.part(start, min(start + step, self.rows))

    def part(self, start: int, stop: int) -> Table:
        if (start, stop) == (0, self.rows):
            return self
        parts: dict[int, Rows] = {}
        columns: dict[str, Any] = {}
        for name, column in self.columns.items():
            if isinstance(column, Jagged):
                rows = parts.setdefault(id(column.rows), column.rows.part(start, stop))
                columns[name] = column.part(start, stop, rows)
            else:
                columns[name] = column if isinstance(column, str) else column[start:stop]
        return Table(columns, stop - start, self.first + start, Shared(self.shared.texts))

    def evaluate(self, where: str, text: str) -> Any:
        """A scalar, a numpy array [R], `Jagged`, or an awkward array. Raises SchemaError naming `where`."""
        expression = parsed(text)
        named = [self.columns[name] for name in expression.names if name in self.columns]
        try:
            if any(isinstance(column, ak.Array) for column in named):
                return from_column(expression.evaluate(_awkward(self.columns)), self.first)
            return expression.evaluate(self.columns, np, self.shared)
        except SchemaError as error:
            raise SchemaError(f"{where}: {error}") from error

    def per_row(self, where: str, text: str) -> Shaped[np.ndarray, " R"]:
        """One number per row. Raises SchemaError if the expression gives a list, or no number; names `where`."""
        value = self.evaluate(where, text)
        if getattr(value, "ndim", 0) > 1:
            raise SchemaError(
                f"{where}: '{text}' gives a list per example; one number is needed (`sum(...)`, or `[:, 0]`)"
            )
        return np.broadcast_to(numbers(where, value), (self.rows,))

    def per_token(self, where: str, text: str) -> Jagged:
        """One number per token. Raises SchemaError naming `where` if the expression gives anything else."""
        value = self.evaluate(where, text)
        dimensions = getattr(value, "ndim", 0)
        if dimensions != 2 or not isinstance(value, Jagged):
            advice = "it belongs under `globals`" if dimensions < 2 else "subscript its last axis, as in `x[..., 0]`"
            raise SchemaError(
                f"{where}: '{text}' has {dimensions} axes; a token feature needs rows and tokens; {advice}"
            )
        numbers(where, value.values)
        return value

    def strings(self, where: str, text: str) -> Shaped[np.ndarray, " R"] | None:
        """One string per row, if that is what the expression gives."""
        value = self.evaluate(where, text)
        if isinstance(value, str):
            return np.full(self.rows, value)
        if isinstance(value, ak.Array) and value.ndim == 1:
            kind = ak.parameters(value).get("__array__", "")
            value = ak.to_numpy(value) if kind in ("string", "bytestring") else value
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "SUO":
            return None
        return value.astype(str) if value.dtype.kind == "S" else value


def per_row(where: str, text: str, columns: Columns, rows: int) -> Shaped[np.ndarray, " R"]:
    """One number per row of a chunk. Raises SchemaError as `Table.per_row`."""
    return Table.of(columns, rows, [text]).per_row(where, text)


def numbers(where: str, value: Any) -> np.ndarray:
    """As numpy. Raises SchemaError naming `where` if the value is no number."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        kind = "text" if array.dtype.kind in "SUO" else array.dtype
        raise SchemaError(f"{where}: is of type {kind}; a number is needed")
    return array


def _sharing(column: Any, known: list[Rows]) -> Any:
    """The column with the `Rows` of an earlier one that is equal; otherwise its own become known."""
    if not isinstance(column, Jagged):
        return column
    for rows in known:
        if np.array_equal(rows.offsets, column.rows.offsets):
            return Jagged(column.values, rows)
    known.append(column.rows)
    return column


def _awkward(columns: Columns) -> dict[str, Any]:
    return {name: column.awkward() if isinstance(column, Jagged) else column for name, column in columns.items()}
