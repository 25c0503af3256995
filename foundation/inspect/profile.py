"""What one pass over a file's first rows tells of each column: types, multiplicities, ranges, distributions."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import awkward as ak
import numpy as np

from foundation.errors import DataError
from foundation.inspect.arrays import Peeled, peel
from foundation.io import Reader

CHUNK_BYTES = 32e6  # uncompressed, read at a time
GROUP_COLUMNS = 128  # read together
SAMPLE = 20_000  # first numbers (and first rows' lengths) kept of each column
MOST_UNIQUE = 64  # distinct values remembered
MOST_COMPONENTS = 64  # an inner axis of fixed length up to this is a set of components, each described by itself
CHANNELS, LONG = 16, 32  # [rows, at most CHANNELS, at least LONG]: the components are on axis 1, the tokens on axis 2


@dataclass
class Numbers:
    """Running summary of numbers: of one column, or of one component of it."""

    count: int = 0
    nan: int = 0
    inf: int = 0
    zeros: int = 0
    low: float = np.inf
    high: float = -np.inf
    integral: bool = True
    unique: set[float] = field(default_factory=set)  # up to MOST_UNIQUE + 1, then no longer kept
    parts: list[np.ndarray] = field(default_factory=list)
    kept: int = 0

    def add(self, values: np.ndarray) -> None:
        """values: flat, bool, integer or float."""
        self.count += len(values)
        if self.kept < SAMPLE:
            part = values[: SAMPLE - self.kept]
            self.parts.append(part.astype(np.float64))
            self.kept += len(part)
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                nan = int(np.isnan(values).sum())
                self.nan, self.inf = self.nan + nan, self.inf + int(len(values) - finite.sum()) - nan
                values = values[finite]
            self.integral = self.integral and bool((values == np.rint(values)).all())
        if not len(values):
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.zeros += int(len(values) - np.count_nonzero(values))
        if self.integral and len(self.unique) <= MOST_UNIQUE:
            self.unique |= set(np.unique(values).astype(np.float64)[: MOST_UNIQUE + 1].tolist())

    @property
    def sample(self) -> np.ndarray:
        """The first numbers, float64, in file order, NaN and infinities included."""
        if len(self.parts) > 1:
            self.parts = [np.concatenate(self.parts)]
        return self.parts[0] if self.parts else np.zeros(0)

    @property
    def finite(self) -> np.ndarray:
        return self.sample[np.isfinite(self.sample)]

    @property
    def empty(self) -> bool:
        return self.low > self.high

    @property
    def few(self) -> list[float]:
        """All distinct values in ascending order, if they are integers and few; else nothing."""
        return sorted(self.unique) if self.integral and len(self.unique) <= MOST_UNIQUE else []

    @property
    def flag(self) -> bool:
        """Holds nothing but 0 and 1."""
        return bool(self.unique) and self.integral and self.unique <= {0.0, 1.0}


@dataclass
class Profile:
    """One column.

    Attributes:
        name: of the column.
        type: as the format calls it.
        kind: `number`, `bool`, `string`, `other`, `damaged`; `divider` for offsets, which hold no data.
        depth: axes: 1 for one number per row, 2 for a list per row.
        fewest, most, total: tokens per row.
        rows: rows seen.
        counts: tokens per row of the first rows.
        key: digest of all tokens per row; columns of equal key have tokens that belong together.
        components: 0, or the fixed length of the axis that holds components instead of tokens.
        channels: the components are on axis 1 and the tokens on axis 2.
        numbers: of all values together.
        parts: of each component.
        texts: strings and how often each came.
        problem: why the column cannot be read.
        divided: how its examples are found, for people, where the first axis is not the example.
        number_of_example: component 0 is the number of each token's example.
    """

    name: str
    type: str
    kind: str = "number"
    depth: int = 1
    fewest: int = 0
    most: int = 0
    total: int = 0
    rows: int = 0
    counts: list[np.ndarray] = field(default_factory=list)
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=8))
    components: int = 0
    channels: bool = False
    numbers: Numbers = field(default_factory=Numbers)
    parts: list[Numbers] = field(default_factory=list)
    texts: Counter[str] = field(default_factory=Counter)
    problem: str = ""
    divided: str = ""
    number_of_example: bool = False

    @property
    def key(self) -> str:
        return self.digest.hexdigest() if self.depth > 1 else ""

    @property
    def mean(self) -> float:
        return self.total / max(self.rows, 1)

    @property
    def fixed(self) -> bool:
        """Every row has equally many tokens."""
        return self.depth > 1 and self.fewest == self.most

    def add(self, column: ak.Array) -> None:
        """One more chunk."""
        peeled = peel(column)
        first = self.rows == 0
        self.rows += len(column)
        self.kind, self.depth = peeled.kind, max(self.depth, 1 + len(peeled.counts))
        if first:
            self._shape(peeled)
        if self.components and not self._still(peeled):
            self.components, self.parts, self.channels = 0, [], False
        if peeled.counts:
            self._count(peeled)
        if peeled.kind == "string":
            if len(self.texts) < SAMPLE:
                self.texts.update(peeled.values.tolist())
        elif peeled.kind != "other":
            self._add_numbers(peeled)

    def _shape(self, peeled: Peeled) -> None:
        """From the first chunk: which axis, if any, is one of components."""
        lengths = [_constant(counts) for counts in peeled.counts]
        if len(lengths) == 1 and 0 < lengths[0] <= MOST_COMPONENTS and _fixed_type(self.type):
            self.components = lengths[0]
        elif len(lengths) == 2 and 0 < lengths[0] <= CHANNELS and lengths[1] >= LONG:
            self.components, self.channels = lengths[0], True
        elif len(lengths) == 2 and 0 < lengths[1] <= MOST_COMPONENTS:
            self.components = lengths[1]
        self.parts = [Numbers() for _ in range(self.components)]

    def _still(self, peeled: Peeled) -> bool:
        """Whether this chunk has the components that the first one had."""
        axis = 0 if len(peeled.counts) == 1 or self.channels else 1
        lengths = [_constant(counts) if len(counts) else -1 for counts in peeled.counts]
        return lengths[axis] in (-1, self.components) and not (self.channels and lengths[1] == 0)

    def _count(self, peeled: Peeled) -> None:
        counts = peeled.counts[0]
        if self.channels:
            counts = peeled.counts[1][:: self.components]
        if self.rows == len(counts):
            self.fewest = int(counts.min(initial=2**62)) if len(counts) else 0
        elif len(counts):
            self.fewest = min(self.fewest, int(counts.min()))
        self.most, self.total = max(self.most, int(counts.max(initial=0))), self.total + int(counts.sum())
        self.digest.update(np.ascontiguousarray(counts, np.int64).tobytes())
        if sum(map(len, self.counts)) < SAMPLE:
            self.counts.append(counts)

    def _add_numbers(self, peeled: Peeled) -> None:
        values = peeled.values
        self.numbers.add(values)
        if not self.parts or not len(values):
            return
        if self.channels:
            table = values.reshape(-1, self.components, len(values) // (self.components * len(peeled.counts[0])))
            columns = [table[:, k].ravel() for k in range(self.components)]
        else:
            columns = list(values.reshape(-1, self.components).T)
        for part, column in zip(self.parts, columns):
            part.add(column)


def _fixed_type(text: str) -> bool:
    """Whether a type, as the format calls it, gives the lengths of its lists: `double[16][20]`."""
    return re.search(r"\[\d|std::array|fixed", text) is not None and "[]" not in text and "vector<" not in text


def _constant(counts: np.ndarray) -> int:
    """The common value, or 0."""
    return int(counts[0]) if len(counts) and (counts == counts[0]).all() else 0


def profile(reader: Reader, columns: Sequence[str], rows: int) -> dict[str, Profile]:
    """One pass over the first `rows` rows, many columns read together.

    A column that cannot be read gets `kind` damaged and the reason in `problem`; the others are read all the same.
    """
    found = {name: Profile(name, reader.column_type(name)) for name in columns}
    if reader.num_rows == 0:  # nothing but the type tells
        return {name: replace(p, depth=2 if re.search(r"\[|vector<", p.type) else 1) for name, p in found.items()}
    names = list(columns)
    for start in range(0, len(names), GROUP_COLUMNS):
        group = names[start : start + GROUP_COLUMNS]
        try:
            _read(reader, group, rows, found)
        except (DataError, ValueError, TypeError):
            for name in group:  # one of them is damaged: which one shows when each is read alone
                found[name] = Profile(name, reader.column_type(name))
                try:
                    _read(reader, [name], rows, found)
                except (DataError, ValueError, TypeError) as error:
                    found[name] = Profile(name, reader.column_type(name), kind="damaged", problem=str(error))
    return found


def _read(reader: Reader, names: list[str], rows: int, found: dict[str, Profile]) -> None:
    rows = min(rows, reader.num_rows)
    size = max(reader.bytes_per_row(names), 1.0)
    step = max(1, min(rows, int(CHUNK_BYTES / size)))
    for chunk in reader.chunks(names, step, 0, rows) if rows else ():
        for name in names:
            found[name].add(chunk[name])
