"""A shuffle of any number of rows that costs nothing to start: blocks by a keyed permutation, then rows in a window.

Rows that are neighbours in a shard travel in blocks of 16 (one contiguous read each). Blocks from all over the store
make a window of 131,072 rows, inside which the order of single rows is random.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Int

from foundation.hashing import shuffled

BLOCK_ROWS = 16
WINDOW_ROWS = 131_072


@dataclass(frozen=True)
class Windows:
    """How `count` places are cut: windows of `WINDOW_ROWS`, the last one longer by what is left over."""

    count: int

    @property
    def number(self) -> int:
        return max(self.count // WINDOW_ROWS, 1)

    def of(self, places: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        return np.minimum(places // WINDOW_ROWS, self.number - 1)

    def start(self, window: int) -> int:
        return window * WINDOW_ROWS

    def rows(self, window: int) -> int:
        return (self.count if window == self.number - 1 else self.start(window + 1)) - self.start(window)


class Kept:
    """The results of the last few calls of a function, by key; for threads."""

    def __init__(self, most: int):
        self.most, self.values, self.lock = most, OrderedDict[Any, Any](), Lock()

    def __call__(self, key: Any, make: Callable[[], Any]) -> Any:
        with self.lock:
            if key not in self.values:
                self.values[key] = make()
                while len(self.values) > self.most:
                    self.values.popitem(last=False)
            return self.values[key]


def window_positions(windows: Windows, window: int, *key: Any) -> Int[np.ndarray, " n"]:
    """The positions whose rows are in a window, block by block; every position 0 ... count - 1 is in one window.

    Whole blocks are shuffled; the rows of a last, short block stay last.
    """
    start, stop = windows.start(window), windows.start(window) + windows.rows(window)
    blocks = windows.count // BLOCK_ROWS
    here = np.arange(start // BLOCK_ROWS, min(stop // BLOCK_ROWS, blocks))
    first = shuffled(here, blocks, "blocks", *key) * BLOCK_ROWS
    whole = (first[:, None] + np.arange(BLOCK_ROWS)).ravel()
    return np.concatenate([whole, np.arange(max(start, blocks * BLOCK_ROWS), stop)])
