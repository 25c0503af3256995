"""Examples -> shards of plain .npy files with their checksums.

A shard is a folder: `tokens.NAME.values.npy` [T, F] and `tokens.NAME.offsets.npy` [R + 1] per modality, `globals.npy`
[R, G], `weights.npy`, `source.npy` [R, 2] and one file per label and observer, whose SHA-256 are in `shard.json`.
Its rows are in order of their length class, and in file order within one.

Axes: R rows, T tokens, K length classes, S splits.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from foundation.hashing import uniform
from foundation.schema import DetectorSchema
from foundation.store.address import npy_header
from foundation.store.examples import Examples
from foundation.store.lengths import length_class
from foundation.store.tokens import token_index


@dataclass(frozen=True)
class Piece:
    """Consecutive rows on their way into shards.

    Attributes:
        source: number of the file, entry in the file.
        place: split * K + length class of each row.
    """

    examples: Examples
    source: Int[np.ndarray, "R 2"]
    place: Int[np.ndarray, " R"]


@dataclass(frozen=True)
class Shard:
    """The rows of one split that go into one folder.

    Attributes:
        rows: rows of each length class.
        arrays: file stem -> array.
    """

    split: str
    rows: Int[np.ndarray, " K"]
    arrays: dict[str, np.ndarray]

    def write(self, folder: Path) -> bytes:
        """Writes the files and returns the SHA-256 of `shard.json`."""
        folder.mkdir()
        files = {f"{name}.npy": write_npy(folder / f"{name}.npy", array) for name, array in self.arrays.items()}
        listed = json.dumps({"rows": int(self.rows.sum()), "files": files}, indent=1).encode()
        write_durably(folder / "shard.json", listed)
        return hashlib.sha256(listed).digest()


class Sorter:
    """Collects rows and gives them back divided into splits, each in the order of a shard.

    Attributes:
        rows: that are waiting.
        bytes: of their values.
    """

    def __init__(self, schema: DetectorSchema, edges: Mapping[str, list[int]]):
        self.schema, self.edges = schema, edges
        self.classes = len(next(iter(edges.values())))
        self.waiting: list[Piece] = []
        self.rows = self.bytes = 0

    def add(self, examples: Examples, source: Int[np.ndarray, "R 2"]) -> None:
        if examples.rows == 0:
            return
        ends = np.cumsum(list(self.schema.split.fractions.values()))[:-1]
        split = np.searchsorted(ends, uniform(examples.keys), side="right")
        counts = {name: tokens.counts for name, tokens in examples.modalities.items()}
        place = split * self.classes + length_class(self.edges, counts, examples.rows)
        self.waiting.append(Piece(examples, source, place))
        self.rows += examples.rows
        self.bytes += sum(tokens.values.nbytes for tokens in examples.modalities.values()) + examples.globals.nbytes

    def flush(self) -> Iterator[Shard]:
        """The waiting rows as one shard for each split that has any."""
        pieces, self.waiting, self.rows, self.bytes = self.waiting, [], 0, 0
        if not pieces:
            return
        place = np.concatenate([piece.place for piece in pieces])
        order = np.argsort(place, kind="stable")
        per_place = np.bincount(place, minlength=len(self.schema.split.fractions) * self.classes)
        ends = np.concatenate([[0], np.cumsum(per_place.reshape(-1, self.classes).sum(axis=1))])
        for number, split in enumerate(self.schema.split.fractions):
            chosen = order[ends[number] : ends[number + 1]]
            if len(chosen):
                rows = per_place[number * self.classes : (number + 1) * self.classes]
                yield Shard(split, rows, _arrays(pieces, chosen))


def _arrays(pieces: list[Piece], order: Int[np.ndarray, " R"]) -> dict[str, np.ndarray]:
    """File stem -> array of the rows `order` of all pieces together, in that order."""
    parts = [piece.examples for piece in pieces]
    first = parts[0]
    arrays = {
        "globals": _rows([e.globals for e in parts], order),
        "weights": _rows([e.weights for e in parts], order),
        "source": _rows([piece.source for piece in pieces], order),
    }
    tokens = {}
    for name in first.modalities:
        counts = np.concatenate([e.modalities[name].counts for e in parts])
        tokens[name] = token_index(counts, order)
        arrays[f"tokens.{name}.values"] = _rows([e.modalities[name].values for e in parts], tokens[name])
        arrays[f"tokens.{name}.offsets"] = np.concatenate([[0], np.cumsum(counts[order])]).astype(np.int64)
    for name in first.labels:
        index = tokens[first.token_labels[name]] if name in first.token_labels else order
        arrays[f"label.{name}"] = _rows([e.labels[name] for e in parts], index)
    for name in first.observers:
        arrays[f"observer.{name}"] = _rows([e.observers[name] for e in parts], order)
    return arrays


def _rows(parts: list[np.ndarray], index: Int[np.ndarray, " m"]) -> Shaped[np.ndarray, " m ..."]:
    return np.take(parts[0] if len(parts) == 1 else np.concatenate(parts), index, axis=0)


def write_npy(path: Path, array: Shaped[np.ndarray, "..."]) -> dict[str, Any]:
    """As `np.save`, with the checksum of the file taken on the way. Little-endian, C order."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    header, values = npy_header(array.dtype, array.shape), array.reshape(-1).view(np.uint8)
    digest = hashlib.sha256(header)
    digest.update(values.data)
    write_durably(path, header, values)
    return {"sha256": digest.hexdigest(), "bytes": len(header) + array.nbytes}


def write_durably(path: Path, *parts: Any) -> None:
    """A file of these bytes that is on the disk, not only in the system's memory, when this returns."""
    with path.open("wb", buffering=0) as file:
        for part in parts:
            written = 0
            while written < len(part):
                written += file.write(memoryview(part)[written:])
        os.fsync(file.fileno())
