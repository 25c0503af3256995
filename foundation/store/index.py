"""What a split's `index.npz` says of its shards: rows by length class, tokens, checksums. Nothing per row.

Axes: S shards, E = S + 1 edges between them, K length classes, B rows asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from foundation.errors import DataError

FORMAT, VERSION, MANIFEST = "detfm-store", 2, "manifest.json"


@dataclass(frozen=True)
class SplitIndex:
    """The shards of one split, in order. Rows of a shard are ordered by length class.

    Attributes:
        rows: rows of each shard and length class.
        tokens: modality -> tokens of each shard.
        sha256: of each shard's `shard.json`.
    """

    rows: Int[np.ndarray, "S K"]
    tokens: dict[str, Int[np.ndarray, " S"]]
    sha256: UInt8[np.ndarray, "S 32"]

    @staticmethod
    def load(path: Path) -> SplitIndex:
        """Raises DataError: the file is gone or damaged."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, KeyError) as error:
            raise DataError(f"{path}: cannot be read ({error}); `detfm inspect --verify` checks the store") from error
        tokens = {n.removeprefix("tokens."): v.astype(np.int64) for n, v in arrays.items() if n.startswith("tokens.")}
        return SplitIndex(arrays["rows"].astype(np.int64), tokens, arrays["sha256"])

    @property
    def shards(self) -> int:
        return len(self.rows)

    @property
    def length_classes(self) -> int:
        return self.rows.shape[1]

    @cached_property
    def first(self) -> Int[np.ndarray, " E"]:
        """First row of each shard, and the number of all rows."""
        return np.concatenate([[0], np.cumsum(self.rows.sum(axis=1))])

    @cached_property
    def runs(self) -> Int[np.ndarray, "S K"]:
        """First row of each length class of each shard."""
        ends = np.cumsum(self.rows.ravel())
        return (ends - self.rows.ravel()).reshape(self.rows.shape)

    def locate(self, rows: Int[np.ndarray, " B"]) -> tuple[Int[np.ndarray, " B"], Int[np.ndarray, " B"]]:
        """Shard of each row, and its place in the shard."""
        shard = np.searchsorted(self.first, rows, side="right") - 1
        return shard, rows - self.first[shard]

    def length_class(self, rows: Int[np.ndarray, " B"]) -> Int[np.ndarray, " B"]:
        run = np.searchsorted(self.runs.ravel(), rows, side="right") - 1
        return run % self.length_classes


def shard_name(number: int) -> str:
    """Folder of a shard below that of its split."""
    return f"{number:06d}"
