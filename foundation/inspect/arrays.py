"""Columns as plain numpy: what one chunk of a column looks like under its layers of lists.

Axes: R rows of a chunk, T tokens of the chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np


@dataclass(frozen=True)
class Peeled:
    """One chunk of a column.

    Attributes:
        counts: lengths of the lists on axis 1 (one per row), on axis 2 (one per token), and so on.
        values: everything below, flat; numbers or, for `kind` string, an object array of str.
        kind: `number`, `bool`, `string`, or `other` (records: nothing to describe).
        missing: values that the format marks as missing; they are left out of `values`' statistics as NaN.
    """

    counts: list[np.ndarray] = field(default_factory=list)
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    kind: str = "number"
    missing: int = 0


def peel(column: ak.Array) -> Peeled:
    """Takes the lists off a column, layer by layer."""
    layout: Any = column.layout
    counts: list[np.ndarray] = []
    while True:
        if layout.is_indexed and not layout.is_option:
            layout = layout.project()
        elif layout.is_option and layout.content.is_list and layout.content.parameter("__array__") is None:
            layout = ak.fill_none(ak.Array(layout), [], axis=0).layout
        elif layout.is_union:
            return Peeled(counts, kind="other")
        elif layout.is_list and layout.parameter("__array__") is None:
            lists = layout.to_ListOffsetArray64(True)
            offsets = np.asarray(lists.offsets)
            counts.append(np.diff(offsets))
            layout = lists.content[: int(offsets[-1])]
        elif layout.is_numpy and layout.purelist_depth > 1:
            layout = layout.to_RegularArray()
        else:
            return _leaf(layout, counts)


def _leaf(layout: Any, counts: list[np.ndarray]) -> Peeled:
    array = ak.Array(layout)
    if layout.is_record or (layout.is_option and layout.content.is_record):
        return Peeled(counts, kind="other")
    if "string" in str(array.type) or "bytes" in str(array.type):
        return Peeled(counts, np.array([_text(value) for value in array.to_list()], object), "string")
    missing = 0
    if layout.is_option:
        missing = int(ak.sum(ak.is_none(array)))
        array = ak.fill_none(array, np.nan)
    values = ak.to_numpy(array)
    if values.dtype.kind == "b":
        return Peeled(counts, values, "bool", missing)
    if values.dtype.kind not in "iuf":
        return Peeled(counts, kind="other")
    return Peeled(counts, values, "number", missing)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
