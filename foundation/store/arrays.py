"""The arrays of a split, gathered for any rows of it whatever shards they are in.

Axes: B rows, N padded tokens, F features (or any width), S shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped
from numpy.lib.stride_tricks import as_strided

from foundation.schema import DetectorSchema, Label
from foundation.store.address import MOST_MAPPINGS, Mapper, Region
from foundation.store.index import SplitIndex, shard_name

FLOAT, INTEGER, LONG = np.dtype("<f4"), np.dtype("<i4"), np.dtype("<i8")


@dataclass(frozen=True)
class Kind:
    """How a label is stored: type, numbers per row (or token), and what stands for an unknown or absent one."""

    dtype: np.dtype
    width: int
    unknown: float


def label_kind(label: Label) -> Kind:
    if label.kind == "regression":
        return Kind(FLOAT, 1, np.nan)
    return Kind(INTEGER, len(label.classes) if label.kind == "multilabel" else 1, -1)


@dataclass(frozen=True)
class Spans:
    """Where the tokens of some rows are: number of the first in the region's units of tokens, and how many."""

    shard: Int[np.ndarray, " B"]
    first: Int[np.ndarray, " B"]
    counts: Int[np.ndarray, " B"]


class SplitArrays:
    """Every array of a split in one address space each.

    Args:
        folder: of the split.
        longest: modality -> most tokens of a row.
    """

    def __init__(self, folder: Path, schema: DetectorSchema, index: SplitIndex, longest: Mapping[str, int]):
        self.folder, self.index, self.longest = folder, index, longest
        rows = index.rows.sum(axis=1)
        self.widths = {"globals": len(schema.globals), "weights": 1}
        self.regions = {
            "globals": self._region("globals", rows * len(schema.globals), FLOAT),
            "weights": self._region("weights", rows, FLOAT),
        }
        for name, modality in schema.modalities.items():
            width, tokens = len(modality.features), index.tokens[name]
            values, guard = f"tokens.{name}.values", longest[name] * width
            self.widths[values] = width
            self.regions[values] = self._region(values, tokens * width, FLOAT, guard)
            self.regions[f"tokens.{name}.offsets"] = self._region(f"tokens.{name}.offsets", rows + 1, LONG)
        for name, label in schema.labels.items():
            kind, stem = label_kind(label), f"label.{name}"
            count = index.tokens[label.modality] if label.modality else rows * kind.width
            guard = longest[label.modality] if label.modality else 0
            self.widths[stem], self.regions[stem] = kind.width, self._region(stem, count, kind.dtype, guard)
        self._views: dict[tuple[str, int], np.ndarray] = {}
        self.mapper = Mapper(list(self.regions.values()), index.shards, MOST_MAPPINGS)

    def _region(self, name: str, sizes: Int[np.ndarray, " S"], dtype: np.dtype, guard: int = 0) -> Region:
        return Region(lambda shard: self.folder / shard_name(shard) / f"{name}.npy", sizes, dtype, guard)

    @contextmanager
    def rows(self, rows: Int[np.ndarray, " B"]) -> Iterator[tuple[Int[np.ndarray, " B"], Int[np.ndarray, " B"]]]:
        """Shard and place of each row, all mapped within the block."""
        shard, place = self.index.locate(rows)
        with self.mapper.hold(shard):
            yield shard, place

    def gather(self, name: str, shard: Int[np.ndarray, " B"], place: Int[np.ndarray, " B"]) -> Shaped[Any, "B ..."]:
        """One number (or, where the array has a width, one vector) per row."""
        region, width = self.regions[name], self.widths[name]
        start = region.first[shard] + place * width
        return region.flat[start] if width == 1 else region.flat[start[:, None] + np.arange(width)]

    def spans(self, modality: str, shard: Int[np.ndarray, " B"], place: Int[np.ndarray, " B"]) -> Spans:
        offsets = self.regions[f"tokens.{modality}.offsets"]
        start = offsets.first[shard] + place
        first = offsets.flat[start]
        return Spans(shard, first, offsets.flat[start + 1] - first)

    def windows(self, name: str, modality: str, spans: Spans, length: int) -> Shaped[np.ndarray, "B N F"]:
        """`length` tokens from each span's first on: beyond a span's end they are anything.

        One block copy per row: fancy indexing of a strided view that holds every window. `Region.guard` lets windows
        run beyond the end of a shard.
        """
        region, width = self.regions[name], self.widths[name]
        inside = min(length, self.longest[modality])
        start = region.first[spans.shard] + spans.first * width
        found = self._every_window(name, inside * width)[start].reshape(len(start), inside, width)
        if inside == length:
            return found
        padded = np.zeros((len(start), length, width), region.dtype)
        padded[:, :inside] = found
        return padded

    def _every_window(self, name: str, numbers: int) -> Shaped[np.ndarray, "T W"]:
        """A view whose row i is the `numbers` numbers from number i on."""
        if (name, numbers) not in self._views:
            region = self.regions[name]
            shape, item = (len(region.flat) - numbers + 1, numbers), region.dtype.itemsize
            self._views[name, numbers] = as_strided(region.flat, shape, (item, item), writeable=False)
        return self._views[name, numbers]


def token_mask(counts: Int[np.ndarray, " B"], length: int) -> Bool[np.ndarray, "B N"]:
    return np.arange(length) < counts[:, None]
