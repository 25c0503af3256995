"""Lists per row as flat numpy contents and offsets: what element-wise arithmetic over tokens needs, at numpy's speed.

Awkward arrays do all this and much more; their broadcasting costs several times the arithmetic itself. Here columns
whose lists have equal lengths share one `Rows`, so that agreeing is an identity check and a ufunc acts on the contents.

Axes: R rows, T tokens of all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

REDUCTIONS: Mapping[str, np.ufunc] = {"sum": np.add, "max": np.maximum, "min": np.minimum}


class Rows:
    """Where each row's tokens are: row i owns the contents `offsets[i]:offsets[i + 1]`.

    Attributes:
        offsets: int64 [R + 1], beginning with 0.
        first: number of row 0 in a larger table; for messages.
    """

    def __init__(self, offsets: Int[np.ndarray, " offsets"], first: int = 0):
        self.offsets, self.first = offsets, first

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def counts(self) -> Int[np.ndarray, " R"]:
        return np.diff(self.offsets)

    @cached_property
    def row_of(self) -> Int[np.ndarray, " T"]:
        """The row of each token."""
        return np.repeat(np.arange(len(self)), self.counts)

    @cached_property
    def position(self) -> Int[np.ndarray, " T"]:
        """The place of each token in its row."""
        return np.arange(self.offsets[-1]) - np.repeat(self.offsets[:-1], self.counts)

    @cached_property
    def uniform(self) -> int | None:
        """The number of tokens that every row has, or None where they differ (or there is no row)."""
        return int(self.counts[0]) if len(self) and (self.counts == self.counts[0]).all() else None

    def part(self, start: int, stop: int) -> Rows:
        return Rows(self.offsets[start : stop + 1] - self.offsets[start], self.first + start)

    def difference(self, other: Rows) -> tuple[int, int, int] | None:
        """The first row whose number of tokens differs, and both numbers; None if there is none."""
        if other is self or np.array_equal(self.offsets, other.offsets):
            return None
        row = int(np.argmax(self.counts != other.counts))
        return self.first + row, int(self.counts[row]), int(other.counts[row])


class Jagged(np.lib.mixins.NDArrayOperatorsMixin):
    """A list per row: `values` [T] or [T, ...] and the `rows` that divide it. Immutable by convention.

    Ufuncs and operators take other jagged arrays of the same lengths, one number per row [R], or scalars. Shorter
    shapes are extended on the right: [T] with [T, 3] acts on all three.
    """

    def __init__(self, values: Shaped[np.ndarray, " T ..."], rows: Rows):
        self.values, self.rows = values, rows

    @property
    def ndim(self) -> int:
        return 1 + self.values.ndim

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        if method != "__call__" or keywords:
            return NotImplemented
        return Jagged(ufunc(*self._aligned(*inputs)), self.rows)

    def _aligned(self, *inputs: Any) -> list[Any]:
        """Contents that numpy can broadcast. Raises ValueError where lengths differ, TypeError for other arrays."""
        parts = [self._contents(value) for value in inputs]
        depth = max(np.ndim(part) for part in parts)
        if depth == 1:
            return parts
        return [p.reshape(p.shape + (1,) * (depth - p.ndim)) if np.ndim(p) else p for p in parts]

    def _contents(self, value: Any) -> Any:
        if isinstance(value, Jagged):
            if differ := self.rows.difference(value.rows):
                row, mine, other = differ
                raise ValueError(f"its lists have {mine} and {other} entries in row {row} of these")
            return value.values
        if np.ndim(value) == 0:
            return value
        if isinstance(value, np.ndarray) and value.shape == (len(self.rows),):
            return value[self.rows.row_of]
        raise TypeError(f"lists per example and {type(value).__name__} of {np.ndim(value)} axes do not combine")

    def where(self, condition: Any, yes: Any, no: Any) -> Jagged:
        return Jagged(np.where(*self._aligned(condition, yes, no)), self.rows)

    def index(self) -> Jagged:
        """The place of each token in its row."""
        return Jagged(self.rows.position, self.rows)

    def reduce(self, name: str) -> Shaped[np.ndarray, " R ..."]:
        """`sum` (0 of no tokens), `max` or `min` (NaN of no tokens) over each row's tokens, or their `count`."""
        if name == "count":
            return self.rows.counts
        values = self.values
        kind = np.dtype(np.int64) if values.dtype.kind in "biu" and name == "sum" else values.dtype
        wide = np.dtype(np.float64) if kind.kind == "f" and name == "sum" else kind
        some = self.rows.counts > 0
        unknown = name != "sum" and not some.all()
        result = np.zeros((len(self.rows), *values.shape[1:]), np.result_type(kind, np.float32) if unknown else kind)
        if unknown:
            result[~some] = np.nan
        if some.any():  # with empty rows left out, each row's tokens end where the next row's begin
            result[some] = REDUCTIONS[name].reduceat(values, self.rows.offsets[:-1][some], axis=0, dtype=wide)
        return result

    def part(self, start: int, stop: int, rows: Rows) -> Jagged:
        """Rows `start` to `stop - 1`, which `rows` divides."""
        return Jagged(self.values[self.rows.offsets[start] : self.rows.offsets[stop]], rows)

    def __getitem__(self, where: Any) -> Any:
        """As awkward's: [..., 3], [:, 0], [:, ::8], [:, 1:, 0]. One value per row comes as a numpy array."""
        index = where if isinstance(where, tuple) else (where,)
        inner = index[1:] if index[0] is Ellipsis else index[2:] if index[:2] == (slice(None), slice(None)) else None
        if inner and (index[0] is not Ellipsis or len(inner) == self.values.ndim - 1):
            return Jagged(self.values[(slice(None), *inner)], self.rows)
        if (length := self.rows.uniform) is not None:
            box = self.values.reshape(len(self.rows), length, *self.values.shape[1:])
            return _regular(box[where], self.rows)
        return from_column(self.awkward()[where], self.rows.first)

    def awkward(self) -> Any:
        import awkward as ak

        values = ak.from_numpy(self.values)
        return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(self.rows.offsets), values.layout))


def concatenated(parts: Sequence[Jagged | Shaped[np.ndarray, " R"]]) -> Jagged:
    """In each row the tokens of all parts, one part after the other; a numpy array [R] is one token per row."""
    first = next((part.rows.first for part in parts if isinstance(part, Jagged)), 0)
    lists = [p if isinstance(p, Jagged) else Jagged(p, Rows(np.arange(len(p) + 1), first)) for p in parts]
    if len({(len(part.rows), *part.values.shape[1:]) for part in lists}) > 1:
        raise ValueError(
            f"parts of {[part.values.shape[1:] or 'one number' for part in lists]} do not go into one list"
        )
    counts = sum(part.rows.counts for part in lists)
    rows = Rows(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), first)
    values = np.empty((rows.offsets[-1], *lists[0].values.shape[1:]), np.result_type(*(p.values for p in lists)))
    begin = rows.offsets[:-1].copy()
    for part in lists:
        values[np.repeat(begin, part.rows.counts) + part.rows.position] = part.values
        begin += part.rows.counts
    return Jagged(values, rows)


def _regular(box: Shaped[np.ndarray, " R ..."], like: Rows) -> Any:
    """Lists of equal length, or one number per row as it is."""
    if box.ndim == 1:
        return box
    if box.shape[1] == like.uniform:
        return Jagged(box.reshape(-1, *box.shape[2:]), like)
    return Jagged(box.reshape(-1, *box.shape[2:]), Rows(np.arange(len(box) + 1) * box.shape[1], like.first))


def from_column(column: Any, first: int = 0) -> Any:
    """A file's column in the form that is fast to work on.

    Numbers per row become a numpy array [R]; lists per row, whose entries are numbers or arrays of fixed shape, a
    `Jagged`. Missing numbers become NaN and missing lists empty. Strings and lists of lists stay awkward arrays.
    """
    import awkward as ak

    if isinstance(column, np.ndarray):
        return column if column.ndim < 2 else _regular(column, Rows(np.zeros(1, np.int64), first))
    if not isinstance(column, ak.Array):
        return column
    layout = ak.to_packed(_without_missing(column)).layout
    if layout.parameter("__array__") in ("string", "bytestring"):
        return column
    if layout.is_regular:
        layout = layout.to_ListOffsetArray64(True)
    if layout.is_unknown or (layout.is_list and layout.content.is_unknown):  # nothing in it, so of no type
        return from_column(ak.enforce_type(column, "float64" if layout.is_unknown else "var * float64"), first)
    if not layout.is_list:
        return ak.to_numpy(layout) if layout.is_numpy else column
    if not _is_box(layout.content):
        return column
    offsets = np.asarray(layout.offsets, np.int64)
    return Jagged(ak.to_numpy(layout.content[offsets[0] : offsets[-1]]), Rows(offsets - offsets[0], first))


def _is_box(layout: Any) -> bool:
    """Numbers, or arrays of numbers of one shape."""
    while layout.is_regular:
        layout = layout.content
    return bool(layout.is_numpy)


def _without_missing(column: Any) -> Any:
    import awkward as ak

    if "?" not in str(column.type) and "option" not in str(column.type):
        return column
    if column.ndim > 1:
        column = ak.fill_none(column, [], axis=0)
    missing = ak.any(ak.is_none(column, axis=-1), axis=None)
    return ak.fill_none(column, np.nan, axis=-1) if missing else ak.drop_none(column, axis=-1)
