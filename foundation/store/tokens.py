"""One modality of a chunk: expressions over tokens -> the tokens that stay, in order, checked, as float32.

Axes: R rows, T tokens of all rows, F features.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from foundation.errors import DataError
from foundation.jagged import Jagged, Rows
from foundation.schema import Grid, Label, Modality
from foundation.store.columns import Table
from foundation.store.labels import Source, label_values
from foundation.store.values import Checker, LimitTable, features_limits


@dataclass(frozen=True)
class Ragged:
    """Tokens of one modality: those of row i are the `counts[i]` rows of `values` after those of row i - 1."""

    values: Float[np.ndarray, "T F"]
    counts: Int[np.ndarray, " R"]

    def take(self, index: Shaped[np.ndarray, " n"]) -> Ragged:
        """The rows that `index` names, or where it is true."""
        index = np.flatnonzero(index) if index.dtype == bool else index
        return self.at(token_index(self.counts, index), index)

    def at(self, places: Int[np.ndarray, " t"], index: Int[np.ndarray, " n"]) -> Ragged:
        """The rows `index`, whose tokens are at `places`."""
        return Ragged(np.take(self.values, places, axis=0), self.counts[index])  # twice as fast as values[places]


def token_index(counts: Int[np.ndarray, " R"], index: Int[np.ndarray, " n"]) -> Int[np.ndarray, " t"]:
    """Where the tokens of the rows `index` are, row after row."""
    chosen = counts[index]
    starts = (np.cumsum(counts) - counts)[index]
    return np.arange(chosen.sum()) + np.repeat(starts - (np.cumsum(chosen) - chosen), chosen)


class ModalityReader:
    """Collects the tokens of one modality, and the labels of its tokens, block by block."""

    def __init__(self, name: str, modality: Modality, labels: dict[str, Label], checker: Checker):
        self.name, self.modality, self.labels, self.checker = name, modality, labels, checker
        self.where = f"modalities.{name}"
        self.limits = LimitTable(features_limits(f"{self.where}.features", modality.features, modality.coordinates))
        grid = modality.grid
        self.extra = {"select": modality.select, "order": modality.order}
        self.extra |= {"grid.row": grid.row, "grid.column": grid.column} if grid else {}
        self.values = np.empty((0, len(modality.features)), np.float32)
        self.block = np.empty((len(modality.features), 0), np.float32)
        self.used = 0
        self.counts: list[np.ndarray] = []
        self.label_parts: dict[str, list[np.ndarray]] = {name: [] for name in labels}
        self.tokens = checker.findings.tokens[name] = Counter(read=0, select=0, max_tokens=0)

    def skip(self, rows: int) -> None:
        """No token in these rows: the file has none of this modality."""
        self.counts.append(np.zeros(rows, np.int64))
        self.checker.findings.absent[self.name] = self.checker.findings.absent.get(self.name, 0) + rows

    def add(self, table: Table) -> None:
        """Raises DataError where the lists of a row differ in length, naming both and the row."""
        columns, rows = self._columns(table)
        extra = {part: columns.pop(part).values for part in self.extra if part in columns}
        take, counts = self._choose(extra, rows)
        if self.modality.grid is not None:
            self._add_image(self.modality.grid, table, columns, extra, rows, take)
            return
        row_of = np.repeat(np.arange(table.first, table.first + len(counts)), counts)
        self._reserve(len(row_of), table)
        self.values[self.used : self.used + len(row_of)] = self._checked(columns, take, row_of).T
        self.used += len(row_of)
        self.counts.append(counts)
        for name, label in self.labels.items():
            found = label_values(name, label, self._source(table, rows, take, row_of), self.checker)
            self.label_parts[name].append(found)

    def finish(self) -> tuple[Ragged, dict[str, np.ndarray]]:
        """All tokens, and name -> labels of the tokens."""
        values = self.values[: self.used]
        if self.used < 0.7 * len(self.values):
            values = values.copy()  # lets the memory that was reserved for more go
        empty = {name: label.empty() for name, label in self.labels.items()}
        labels = {name: np.concatenate([empty[name], *parts]) for name, parts in self.label_parts.items()}
        counts = np.concatenate([np.zeros(0, np.int64), *self.counts])
        return Ragged(values, counts), labels

    def _columns(self, table: Table) -> tuple[dict[str, Jagged], Rows]:
        """Part of the modality -> its values, all of equal lengths."""
        expressions = {f"features.{n}": f.expression for n, f in self.modality.features.items()}
        expressions |= {part: text for part, text in self.extra.items() if text}
        columns = {part: table.per_token(f"{self.where}.{part}", text) for part, text in expressions.items()}
        first, reference = next(iter(columns.items()))
        for part, column in columns.items():
            self._require_equal(first, reference.rows, part, column.rows)
        if len(reference.rows) != table.rows:
            raise DataError(f"{self.where}.{first}: {len(reference.rows)} lists in {table.rows} rows")
        return columns, reference.rows

    def _require_equal(self, first: str, rows: Rows, part: str, others: Rows) -> None:
        if differ := rows.difference(others):
            row, mine, other = differ
            raise DataError(
                f"{self.where}: '{first}' has {mine} tokens and '{part}' has {other} in row {row} of these; "
                "the features of one modality must have equal lengths"
            )

    def _choose(self, extra: dict[str, np.ndarray], rows: Rows) -> tuple[np.ndarray | None, np.ndarray]:
        """Which tokens stay, in their order (None: all, as they are), and how many of each row."""
        total, counts, most = int(rows.offsets[-1]), rows.counts, self.modality.max_tokens
        self.tokens["read"] += total
        take = None
        if "select" in extra:
            chosen = np.nan_to_num(extra["select"]).astype(bool)  # what has no value is not chosen
            take = np.flatnonzero(chosen)
            counts = _counts_of(chosen, rows)
            self.tokens["select"] += total - len(take)
        if "order" in extra:
            take = _ordered(extra["order"], rows, take)
        if self.modality.grid is None and len(counts) and counts.max() > most:
            place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            stay = np.flatnonzero(place < most)
            self.tokens["max_tokens"] += len(place) - len(stay)
            take, counts = stay if take is None else take[stay], np.minimum(counts, most)
        return take, counts

    def _checked(self, columns: dict[str, Jagged], take: np.ndarray | None, row_of: np.ndarray) -> np.ndarray:
        """The features of the tokens that stay, [F, t]: checked faster so than as [t, F], and used up at once."""
        if self.block.shape[1] < len(row_of):
            self.block = np.empty((len(self.modality.features), len(row_of)), np.float32)
        block = self.block[:, : len(row_of)]
        with np.errstate(over="ignore"):
            for position, name in enumerate(self.modality.features):
                values = columns[f"features.{name}"].values
                np.copyto(block[position], values if take is None else values[take], casting="unsafe")
        self.checker.check(self.limits, block, lambda: row_of)
        return block

    def _source(self, table: Table, rows: Rows, take: np.ndarray | None, row_of: np.ndarray) -> Source:
        def values(where: str, text: str) -> np.ndarray:
            column = table.per_token(where, text)
            self._require_equal(f"features.{next(iter(self.modality.features))}", rows, where, column.rows)
            return column.values if take is None else column.values[take]

        return Source(values, lambda where, text: None, row_of)

    def _reserve(self, more: int, table: Table) -> None:
        """Room for `more` tokens; at first for a whole chunk of blocks like this one."""
        if self.used + more <= len(self.values):
            return
        ahead = more * (self.checker.rows - table.first) / max(table.rows, 1)
        larger = np.empty((self.used + more + int(1.3 * ahead), self.values.shape[1]), np.float32)
        larger[: self.used] = self.values[: self.used]
        self.values = larger

    def _add_image(
        self,
        grid: Grid,
        table: Table,
        columns: dict[str, Jagged],
        extra: dict[str, np.ndarray],
        rows: Rows,
        take: np.ndarray | None,
    ) -> None:
        """Places the tokens on the grid; two in one cell add up."""
        height, width = grid.shape
        row_of = rows.row_of if take is None else rows.row_of[take]
        place = [np.floor(extra[p] if take is None else extra[p][take]) for p in ("grid.row", "grid.column")]
        inside = (place[0] >= 0) & (place[0] < height) & (place[1] >= 0) & (place[1] < width)
        if not inside.all():
            bad = row_of[~inside] + table.first
            self.checker.problems["outside_grid"].note(f"{self.where}.grid", len(bad), bad)
        inside_rows = row_of[inside]
        cell = (inside_rows * height + place[0][inside].astype(np.int64)) * width + place[1][inside].astype(np.int64)
        cells = table.rows * height * width
        self._reserve(cells, table)
        image = self.values[self.used : self.used + cells]
        kept = np.flatnonzero(inside) if take is None else take[inside]
        for position, numbers in enumerate(self._checked(columns, kept, inside_rows + table.first)):
            image[:, position] = np.bincount(cell, weights=numbers, minlength=cells)
        filled = int(np.count_nonzero(np.bincount(cell, minlength=cells)))
        self.tokens.update(
            outside_grid=len(row_of) - len(cell), same_cell=len(cell) - filled, empty_cells=cells - filled
        )
        self.used += cells
        self.counts.append(np.full(table.rows, height * width))


def _counts_of(chosen: Bool[np.ndarray, " T"], rows: Rows) -> Int[np.ndarray, " R"]:
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(chosen)])
    return np.diff(running[rows.offsets])


def _ordered(value: Shaped[np.ndarray, " T"], rows: Rows, take: np.ndarray | None) -> np.ndarray | None:
    """The chosen tokens of each row by descending value, equal ones in file order, NaN last."""
    falling = -(value if take is None else value[take]).astype(np.float64)
    row_of = rows.row_of if take is None else rows.row_of[take]
    same = row_of[1:] == row_of[:-1]
    if not (same & ~(falling[1:] >= falling[:-1])).any():
        return take
    order = np.lexsort((falling, row_of))
    return order if take is None else take[order]
