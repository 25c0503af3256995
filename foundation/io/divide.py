"""Columns with a first axis of their own -> examples, as `Layout` says. The one place where layouts are applied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import awkward as ak
import numpy as np

from foundation.errors import DataError

BLOCK = 1 << 16  # entries of an offsets or index column read at a time


@runtime_checkable
class Stored(Protocol):
    """One column as the file holds it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole column; the first axis at least."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers."""
        ...

    @property
    def row_bytes(self) -> float:
        """Of one entry of the first axis in memory."""
        ...

    def read(self, start: int, stop: int) -> np.ndarray | ak.Array:
        """Entries [start, stop) of the first axis."""
        ...


@runtime_checkable
class Division(Protocol):
    """Which entries of a column are whose.

    Attributes:
        rows: examples.
    """

    rows: int

    def read(self, stored: Stored, start: int, stop: int) -> ak.Array:
        """[stop - start, ...] of the examples [start, stop)."""
        ...


class Rows:
    """The first axis is the example."""

    def __init__(self, stored: Stored):
        self.rows = stored.shape[0]

    def read(self, stored: Stored, start: int, stop: int) -> ak.Array:
        return lists(stored.read(start, stop))


class WholeFile:
    """The file is one example, the first axis its tokens. Held in memory as a whole, for so is an example."""

    rows = 1

    def read(self, stored: Stored, start: int, stop: int) -> ak.Array:
        array = as_awkward(stored.read(0, stored.shape[0]))
        return ak.unflatten(array, [len(array)])[start:stop]


class Offsets:
    """Example i owns the entries `by[i]:by[i + 1]`; `by` is read along with the chunks, never as a whole."""

    def __init__(self, where: str, column: str, by: Stored, stored: Stored, rows: int | None = None):
        self.where, self.by, self.length = f"{where}: column '{column}'", by, stored.shape[0]
        if by.dtype.kind not in "iu" or len(by.shape) != 1:
            raise DataError(f"{self.where}: offsets must be one whole number per example, not {dtype_name(by)}")
        entries = by.shape[0]
        ends = [int(_numbers(by, i, i + 1)[0]) for i in (0, entries - 1)] if entries else []
        self.rows = entries - 1
        self.before: list[int] | None = None
        # counts like [0, 0, 6] also look like offsets: the number of rows tells then
        if ends != [0, self.length] or (rows == entries and self._sums(entries)[-1] == self.length):
            self.rows, self.before = entries, self._sums(entries)
            if self.before[-1] != self.length:
                raise DataError(
                    f"{self.where} has {self.length:,} entries. The column of offsets neither goes from 0 to that, nor "
                    f"do its {entries:,} values add up to it as counts (they give {self.before[-1]:,}); correct `by` "
                    "in the layout"
                )

    def _sums(self, entries: int) -> list[int]:
        """If `by` holds counts: their sums before each block of them."""
        sums = [0]
        for start, stop in spans(0, entries, BLOCK):
            counts = _numbers(self.by, start, stop)
            if (counts < 0).any():
                raise DataError(f"{self.where}: negative counts, entry {start + int(np.argmax(counts < 0))} first")
            sums.append(sums[-1] + int(counts.sum()))
        return sums

    def bounds(self, start: int, stop: int) -> np.ndarray:
        """int64 [stop - start + 1], ascending."""
        if self.before is not None:
            block = start // BLOCK
            counts = _numbers(self.by, block * BLOCK, stop)
            edges = self.before[block] + np.concatenate([[0], np.cumsum(counts)])
            return edges[start - block * BLOCK :]
        bounds = _numbers(self.by, start, stop + 1)
        wrong = (np.diff(bounds) < 0) | (bounds[:-1] < 0) | (bounds[1:] > self.length)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise DataError(
                f"{self.where}: offsets must ascend from 0 to {self.length:,}; those of example {start + at} are "
                f"{bounds[at]} and {bounds[at + 1]}"
            )
        return bounds

    def read(self, stored: Stored, start: int, stop: int) -> ak.Array:
        bounds = self.bounds(start, stop)
        return ak.unflatten(as_awkward(stored.read(int(bounds[0]), int(bounds[-1]))), np.diff(bounds))


class Index:
    """`by` gives the example of each entry, in any order; entries of an example keep theirs.

    Only the lowest and highest number of each block of `by` are kept. A chunk reads the blocks that may hold its
    examples: a sorted file once, a shuffled one as often as there are chunks.
    """

    def __init__(self, where: str, column: str, by: Stored, length: int, rows: int | None = None):
        self.where, self.by, self.length = f"{where}: column '{column}'", by, by.shape[0]
        if self.length != length:
            raise DataError(
                f"{self.where} has {length:,} entries and its column of example numbers {self.length:,}; they must "
                "be as many: correct `by` in the layout"
            )
        ranges = [(n.min(), n.max()) for n in map(self._block, range(-(-self.length // BLOCK)))]
        self.lows, self.highs = np.array(ranges, np.int64).reshape(-1, 2).T
        found = int(self.highs.max(initial=-1)) + 1
        self.rows = found if rows is None else rows
        if found > self.rows:
            raise DataError(f"{self.where}: example numbers go to {found - 1:,}, but there are {self.rows:,} rows")

    def _block(self, block: int) -> np.ndarray:
        start = block * BLOCK
        numbers = ak.to_numpy(self.by.read(start, min(start + BLOCK, self.length)))
        whole = numbers.astype(np.int64) if numbers.dtype.kind in "biuf" and np.isfinite(numbers).all() else None
        if whole is None or whole.ndim != 1 or (whole != numbers).any() or (whole < 0).any():
            raise DataError(
                f"{self.where}: example numbers must be whole and not negative, one per entry; those of the entries "
                f"from {start} on are not. Correct `by` in the layout, e.g. `COLUMN[:, 0]`"
            )
        return whole

    def read(self, stored: Stored, start: int, stop: int) -> ak.Array:
        parts, numbers = [], [np.empty(0, np.int64)]
        for block in np.flatnonzero((self.highs >= start) & (self.lows < stop)):
            found = self._block(int(block))
            here = (found >= start) & (found < stop)
            if here.any():
                first = int(block) * BLOCK
                part = as_awkward(stored.read(first, first + len(found)))
                parts.append(part[here])
                numbers.append(found[here])
        number = np.concatenate(numbers) - start
        array = ak.concatenate(parts or [as_awkward(stored.read(0, 0))])
        if (np.diff(number) < 0).any():
            array = array[np.argsort(number, kind="stable")]
        return ak.unflatten(array, np.bincount(number, minlength=stop - start))


class Picked:
    """Column `[:, k]` of a stored one."""

    def __init__(self, stored: Stored, k: int):
        self.stored, self.k = stored, k
        self.shape, self.dtype = stored.shape[:1], stored.dtype
        self.row_bytes = stored.row_bytes

    def read(self, start: int, stop: int) -> np.ndarray | ak.Array:
        return self.stored.read(start, stop)[:, self.k]


def parse_by(by: str) -> tuple[str, int | None]:
    """`calo[:, 0]` -> ("calo", 0); `event` -> ("event", None)."""
    match = re.fullmatch(r"(.+?)\[\s*:\s*,\s*(\d+)\s*\]", by.strip())
    return (match[1], int(match[2])) if match else (by.strip(), None)


def is_offsets(stored: Stored, length: int) -> bool:
    """Whether a column looks like the offsets of another of `length` entries."""
    if len(stored.shape) != 1 or stored.shape[0] < 2 or stored.dtype.kind not in "iu":
        return False
    return [int(_numbers(stored, i, i + 1)[0]) for i in (0, stored.shape[0] - 1)] == [0, length]


def is_index(stored: Stored, rows: int) -> bool:
    """Whether the first of a column's numbers per entry looks like the number of the example."""
    if len(stored.shape) != 2 or min(stored.shape) < 1 or stored.dtype.kind not in "iuf":
        return False
    length = stored.shape[0]
    first = np.asarray(ak.to_numpy(stored.read(0, min(BLOCK, length))))[:, 0]
    last = np.asarray(ak.to_numpy(stored.read(length - 1, length)))[0, 0]
    whole = np.isfinite(first).all() and (first == np.rint(first)).all()
    return bool(whole and first[0] >= 0 and (np.diff(first) >= 0).all() and first[0] < last < rows)


def as_awkward(array: np.ndarray | ak.Array) -> ak.Array:
    """With numbers that awkward takes: native byte order, float32 for float16; `S` and `U` become strings."""
    if isinstance(array, ak.Array):
        return array
    if array.dtype.kind in "SU":
        return _strings(array)
    narrow: dict[str, np.dtype[Any]] = {"float16": np.dtype("f4"), "float128": np.dtype("f8")}
    dtype = narrow.get(array.dtype.name, array.dtype)
    return ak.from_numpy(array.astype(dtype.newbyteorder("="), copy=False))


def lists(array: np.ndarray | ak.Array) -> ak.Array:
    """With the second axis of variable length, as tokens are."""
    array = as_awkward(array)
    return ak.from_regular(array, axis=1) if array.ndim > 1 else array


def dtype_name(stored: Stored) -> str:
    """`float32[12, 4]`: the numbers of one entry."""
    inner = ", ".join(map(str, stored.shape[1:]))
    name = "string" if stored.dtype.kind in "SU" else str(stored.dtype)
    return f"{name}[{inner}]" if inner else name


def spans(start: int, stop: int, rows: int) -> Iterator[tuple[int, int]]:
    """[start, stop) in pieces of `rows`."""
    if rows < 1:
        raise ValueError(f"chunks must have a positive number of rows, not {rows}")
    for first in range(start, stop, rows):
        yield first, min(first + rows, stop)


def _numbers(by: Stored, start: int, stop: int) -> np.ndarray:
    return np.asarray(ak.to_numpy(by.read(start, stop))).astype(np.int64)


def _strings(array: np.ndarray) -> ak.Array:
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    flat = ak.from_numpy(np.ascontiguousarray(array).reshape(-1))
    for size in array.shape[:0:-1]:
        flat = ak.unflatten(flat, np.full(len(flat) // size if size else 0, size))
    return flat
