"""How the arrays of a file are divided into examples, guessed from their shapes and from columns of offsets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np

from foundation.io import Reader, open_reader
from foundation.io.layout import Layout

LONG = 100  # entries; shorter arrays of another length are constant tables
OFFSETS = re.compile(r"(?i)(.*?)_?(off|offs|offset|offsets|ptr|indptr|splits|counts|count|n)$")


def open_divided(path: str, tree: str = "") -> tuple[Reader, dict[str, Layout]]:
    """A reader with the layouts guessed, and those layouts (empty where every column is one entry per example)."""
    reader = open_reader(path, tree)
    layout = guess_layout(getattr(reader, "stored", {}), reader.num_rows)
    if not layout:
        return reader, {}
    reader.close()
    return open_reader(path, tree, layout), layout


def guess_layout(stored: Mapping[str, Any], rows: int) -> dict[str, Layout]:
    """Column -> layout, for columns whose first axis is not the example.

    Offsets are known by their name (`eb_off` beside `eb`) and their last entry; example numbers by ascending whole
    numbers in component 0. Long arrays of several lengths that nothing divides are taken for one example: the file.

    Args:
        stored: column -> array with `shape`, `dtype` and `read(start, stop)` (see `foundation.io.divide.Stored`).
        rows: examples, as the lengths of most columns say.
    """
    found: dict[str, Layout] = {}
    lengths = {name: array.shape[0] if array.shape else 0 for name, array in stored.items()}
    for name, array in stored.items():
        match = OFFSETS.fullmatch(name)
        if not match or array.dtype.kind not in "iu" or len(array.shape) != 1 or not lengths[name]:
            continue
        total = _total(array)
        for target in stored:
            named = match[1] and (target == match[1] or target.startswith(f"{match[1]}_"))
            if named and target != name and lengths[target] == total and target not in found:
                found[target] = Layout("offsets", name)
    for name, array in stored.items():
        if name not in found and lengths[name] != rows and len(array.shape) == 2 and _is_index(array, rows):
            found[name] = Layout("index", f"{name}[:, 0]")
    unexplained = [n for n, length in lengths.items() if length != rows and length >= LONG and n not in found]
    unexplained = [n for n in unexplained if n not in {entry.by for entry in found.values()}]
    if not found and len({lengths[n] for n in unexplained}) >= 1 and len(unexplained) >= 2:
        return {"*": Layout("file")}
    return found


def _total(array: Any) -> int:
    """The number of entries that a column of offsets, or of counts, divides."""
    first, last = (int(ak.to_numpy(array.read(i, i + 1))[0]) for i in (0, array.shape[0] - 1))
    if first == 0 and last > 1:
        return last
    return int(ak.sum(array.read(0, array.shape[0])))


def _is_index(array: Any, rows: int) -> bool:
    """Whether column 0 ascends through whole numbers below the number of examples."""
    if array.shape[0] == 0 or array.dtype.kind not in "iuf" or array.shape[1] < 2:
        return False
    numbers = np.asarray(ak.to_numpy(array.read(0, min(array.shape[0], 100_000))))[:, 0]
    whole = np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all()
    return bool(whole and (np.diff(numbers) >= 0).all() and numbers[0] >= 0 and 0 < numbers[-1] < rows)


def told(layout: Mapping[str, Layout], columns: Sequence[str]) -> dict[str, str]:
    """Column -> how it is divided, for people."""
    words = {"offsets": "divided by {by}", "index": "example number in {by}", "file": "the file is one example"}
    found = {name: layout.get(name, layout.get("*", Layout())) for name in columns}
    return {name: words[entry.kind].format(by=entry.by) for name, entry in found.items() if entry.kind in words}
