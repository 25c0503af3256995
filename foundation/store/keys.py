"""The hash of each row that decides its split: of a key the user names, or of the row's content.

Axes: R rows.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Int, Shaped, UInt64

from foundation.expression import parsed
from foundation.hashing import bits, hash_rows, mix, word
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
    keys = np.zeros(table.rows, np.uint64)
    for position, text in enumerate(expressions):
        values, counts = _flat(f"split.key.{position}", table.evaluate(f"split.key.{position}", text), table.rows)
        keys = mix(keys ^ hash_rows(values, counts, f"key {position}"))
    for name in content if not expressions else ():
        values, counts = _flat(f"split.key, column {name}", table.columns.get(name), table.rows)
        keys = mix(keys ^ hash_rows(values, counts, name))
    return keys


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


def _flat(where: str, column: Any, rows: int) -> tuple[np.ndarray, Int[np.ndarray, " R"]]:
    """Every number of a column of any depth (texts as words), and how many each row has."""
    if column is None:
        return np.zeros(0), np.zeros(rows, np.int64)
    if isinstance(column, Jagged):
        each = int(np.prod(column.values.shape[1:], dtype=np.int64))
        return numbers(where, column.values).reshape(-1), column.rows.counts * each
    if isinstance(column, ak.Array) and column.ndim > 1:
        while column.ndim > 2:
            column = ak.flatten(column, axis=2)
        counts = ak.to_numpy(ak.num(column, axis=1)).astype(np.int64)
        return numbers(where, ak.to_numpy(ak.flatten(column, axis=None))), counts
    values = column if isinstance(column, np.ndarray) and column.dtype.kind in "biuf" else _words(where, column)
    return np.broadcast_to(values, (rows,)), np.ones(rows, np.int64)
