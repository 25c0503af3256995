"""What a unit leaves for the next one of the same process: an open file, and memory that the system has mapped already.

Both take their time: a ROOT file some 50 ms to open, fresh memory several times what copying into it takes.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from jaxtyping import Float

from foundation.io import Reader

_readers: dict[Hashable, Reader] = {}
_memory: dict[int, np.ndarray] = {}


def take_reader(key: Hashable) -> Reader | None:
    """The reader that was left under `key`; it is the caller's now."""
    return _readers.pop(key, None)


def leave_reader(key: Hashable, reader: Reader) -> None:
    """For the next unit; the one that was left before is closed."""
    _close_readers()
    _readers[key] = reader


def take_memory(rows: int, columns: int) -> Float[np.ndarray, "T F"]:
    """At least `rows` rows, holding anything; what was left is taken if it is large enough."""
    left = _memory.pop(columns, None)
    return left if left is not None and len(left) >= rows else np.empty((rows, columns), np.float32)


def leave_memory(memory: Float[np.ndarray, "T F"]) -> None:
    _memory[memory.shape[1]] = memory


def clear() -> None:
    """Closes and frees what was left."""
    _close_readers()
    _memory.clear()


def _close_readers() -> None:
    while _readers:
        _readers.popitem()[1].close()
