"""The hash of each row that decides its split: of a key the user names, or of the row's content.

Axes: R rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Int, Shaped, UInt64

from foundation.expression import parsed
from foundation.hashing import bits, mix, word
from foundation.jagged import Jagged
from foundation.schema import PSEUDO_COLUMNS, DetectorSchema
from foundation.store.columns import Table, numbers


def key_expressions(schema: DetectorSchema) -> list[str]:
    """The expressions of the split key; none where the content decides."""
    key = schema.split.key
    return [k for k in ([key] if isinstance(key, str) else key) if k]


def content_columns(schema: DetectorSchema) -> list[str]:
    """The raw columns that the network's inputs are made from, sorted.

    The raw columns, because computed values may differ in their last bit between machines. Not the labels, because two
    rows of equal inputs in different splits would be a leak.
    """
    texts = [f.expression for m in schema.modalities.values() for f in m.features.values()]
    texts += [f.expression for f in schema.globals.values()]
    texts += [t for m in schema.modalities.values() if m.grid for t in (m.grid.row, m.grid.column)]
    return sorted({name for text in texts for name in parsed(text).names}.difference(PSEUDO_COLUMNS))


def split_keys(table: Table, expressions: list[str], content: list[str]) -> UInt64[np.ndarray, " R"]:
    """One hash per row of the values of `expressions`; without any, of the columns `content`.

    Numbers are hashed by value, whatever their type; lists whole, with their order and length. A column that the file
    lacks (of an optional modality) counts as empty.
    """
    if len(expressions) == 1:
        value = table.evaluate("split.key", expressions[0])
        if getattr(value, "ndim", 0) < 2:
            return mix(np.broadcast_to(_words("split.key", value), (table.rows,)))
    known: dict[tuple[int, int], _Lists] = {}
    keys = np.zeros(table.rows, np.uint64)
    for position, text in enumerate(expressions):
        where = f"split.key.{position}"
        keys = mix(keys ^ _hash(where, table.evaluate(where, text), f"key {position}", table.rows, known))
    for name in content if not expressions else ():
        keys = mix(keys ^ _hash(f"split.key, column {name}", table.columns.get(name), name, table.rows, known))
    return keys


@dataclass(frozen=True)
class _Lists:
    """Lists of these lengths, and what the hashes of all columns of such lists have in common."""

    counts: Int[np.ndarray, " R"]

    @cached_property
    def starts(self) -> Int[np.ndarray, " some"]:
        """Of the lists that are not empty."""
        return (np.cumsum(self.counts) - self.counts)[self.counts > 0]

    @cached_property
    def positions(self) -> UInt64[np.ndarray, " T"]:
        firsts = np.cumsum(self.counts) - self.counts
        return mix((np.arange(self.counts.sum()) - np.repeat(firsts, self.counts)).astype(np.uint64))

    def hash(self, values: Shaped[np.ndarray, " T"], salt: str) -> UInt64[np.ndarray, " R"]:
        """`hash_rows` of values in such lists."""
        mixed = mix(bits(values) ^ self.positions)
        total = np.zeros(len(self.counts), np.uint64)
        if len(self.starts):
            total[self.counts > 0] = np.add.reduceat(mixed, self.starts)
        return mix(total ^ mix(self.counts.astype(np.uint64) ^ word(salt)))


def _words(where: str, value: Any) -> Shaped[np.ndarray, "..."]:
    """64 bits per number or text."""
    if isinstance(value, ak.Array):
        value = ak.to_numpy(value)
    array = np.asarray(value)
    if array.dtype.kind not in "SUO":
        return bits(numbers(where, array))
    distinct, inverse = np.unique(array.astype(str), return_inverse=True)
    words = np.array([word(text) for text in distinct], np.uint64)
    return np.asarray(words[inverse.reshape(array.shape)])


def _hash(
    where: str, column: Any, salt: str, rows: int, known: dict[tuple[int, int], _Lists]
) -> UInt64[np.ndarray, " R"]:
    """Of every number (texts as words) of a column of any depth; `known` are the lists met before."""
    if isinstance(column, Jagged):
        each = int(np.prod(column.values.shape[1:], dtype=np.int64))
        lists = known.setdefault((id(column.rows), each), _Lists(column.rows.counts * each))
        return lists.hash(numbers(where, column.values).reshape(-1), salt)
    if column is None:
        return _Lists(np.zeros(rows, np.int64)).hash(np.zeros(0), salt)
    if isinstance(column, ak.Array) and column.ndim > 1:
        while column.ndim > 2:
            column = ak.flatten(column, axis=2)
        counts = ak.to_numpy(ak.num(column, axis=1)).astype(np.int64)
        return _Lists(counts).hash(numbers(where, ak.to_numpy(ak.flatten(column, axis=None))), salt)
    values = column if isinstance(column, np.ndarray) and column.dtype.kind in "biuf" else _words(where, column)
    return _Lists(np.ones(rows, np.int64)).hash(np.broadcast_to(values, (rows,)), salt)
