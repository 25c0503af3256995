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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from foundation.hashing import uniform
from foundation.schema import DetectorSchema
from foundation.store.address import npy_header
from foundation.store.examples import Examples
from foundation.store.lengths import length_class
from foundation.store.spare import leave_memory, take_memory
from foundation.store.statistics import BLOCK, Moments
from foundation.store.tokens import Ragged, token_index


@dataclass(frozen=True)
class Piece:
    """Consecutive rows on their way into shards, without the values of their tokens.

    Attributes:
        source: number of the file, entry in the file.
        place: split * K + length class of each row.
    """

    examples: Examples
    source: Int[np.ndarray, "R 2"]
    place: Int[np.ndarray, " R"]


class Tokens:
    """The values of one modality that are waiting, in memory that is used again after each flush."""

    def __init__(self, features: int, capacity: int):
        self.memory = take_memory(capacity, features)  # costs nothing before it is written to
        self.used = 0

    def add(self, values: Float[np.ndarray, "T F"]) -> None:
        needed = self.used + len(values)
        if needed > len(self.memory):
            larger = np.empty((max(needed, 2 * len(self.memory)), self.memory.shape[1]), np.float32)
            larger[: self.used] = self.memory[: self.used]
            self.memory = larger
        self.memory[self.used : needed] = values
        self.used = needed


@dataclass(frozen=True)
class Values:
    """Tokens `index` of `tokens`, to be written in that order a block at a time, so that they are copied once."""

    tokens: Tokens
    index: Int[np.ndarray, " T"]

    def __len__(self) -> int:
        return len(self.index)

    def blocks(self) -> Iterator[Float[np.ndarray, "n F"]]:
        block = np.empty((BLOCK, self.tokens.memory.shape[1]), np.float32)
        for start in range(0, len(self.index), BLOCK):
            index = self.index[start : start + BLOCK]
            part = block[: len(index)]
            np.take(self.tokens.memory, index, axis=0, out=part, mode="clip")  # "raise" would copy twice
            yield part

    def write(self, path: Path, moments: Moments | None) -> dict[str, Any]:
        """One pass: gather, statistics, checksum, file."""
        header = npy_header(np.dtype("<f4"), (len(self.index), self.tokens.memory.shape[1]))
        with CheckedFile(path) as file:
            file.write(header)
            for block in self.blocks():
                if moments is not None:
                    moments.add(block)
                file.write(block.astype("<f4", copy=False).reshape(-1).view(np.uint8).data)
        return file.entry()


@dataclass(frozen=True)
class Shard:
    """The rows of one split that go into one folder.

    Attributes:
        rows: rows of each length class.
        values: modality -> its tokens.
        arrays: file stem -> array, for all other files.
    """

    split: str
    rows: Int[np.ndarray, " K"]
    values: dict[str, Values]
    arrays: dict[str, np.ndarray]

    def write(self, folder: Path, moments: Mapping[str, Moments] | None = None) -> bytes:
        """Writes the files, adds the values to `moments`, and returns the SHA-256 of `shard.json`."""
        folder.mkdir()
        files = {}
        for name, values in self.values.items():
            file = f"tokens.{name}.values.npy"
            files[file] = values.write(folder / file, moments[name] if moments else None)
        files |= {f"{name}.npy": write_npy(folder / f"{name}.npy", array) for name, array in self.arrays.items()}
        listed = json.dumps({"rows": int(self.rows.sum()), "files": files}, indent=1).encode()
        write_durably(folder / "shard.json", listed)
        return hashlib.sha256(listed).digest()


class Sorter:
    """Collects rows and gives them back divided into splits, each in the order of a shard.

    Args:
        room: bytes that are expected to wait at a time.

    Attributes:
        rows: that are waiting.
        bytes: of their values.
    """

    def __init__(self, schema: DetectorSchema, edges: Mapping[str, list[int]], room: int):
        self.schema, self.edges = schema, edges
        self.classes = len(next(iter(edges.values())))
        widths = {name: len(modality.features) for name, modality in schema.modalities.items()}
        self.tokens = {name: Tokens(width, room // (4 * width)) for name, width in widths.items()}
        self.waiting: list[Piece] = []
        self.rows = self.bytes = 0

    def add(self, examples: Examples, source: Int[np.ndarray, "R 2"]) -> None:
        if examples.rows == 0:
            return
        ends = np.cumsum(list(self.schema.split.fractions.values()))[:-1]
        split = np.searchsorted(ends, uniform(examples.keys), side="right")
        counts = {name: tokens.counts for name, tokens in examples.modalities.items()}
        place = split * self.classes + length_class(self.edges, counts, examples.rows)
        bare = {}
        for name, tokens in examples.modalities.items():
            self.tokens[name].add(tokens.values)
            self.bytes += tokens.values.nbytes
            bare[name] = Ragged(tokens.values[:0], tokens.counts)
        self.waiting.append(Piece(replace(examples, modalities=bare), source, place))
        self.rows += examples.rows
        self.bytes += examples.globals.nbytes

    def flush(self) -> Iterator[Shard]:
        """The waiting rows as one shard for each split that has any. Write them before more rows are added."""
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
                yield self._shard(split, rows, pieces, chosen)
        for tokens in self.tokens.values():
            tokens.used = 0

    def close(self) -> None:
        """Leaves the memory for another."""
        for tokens in self.tokens.values():
            leave_memory(tokens.memory)

    def _shard(self, split: str, rows: Int[np.ndarray, " K"], pieces: list[Piece], order: Int[Any, " R"]) -> Shard:
        """Of the rows `order` of all pieces together, in that order."""
        parts = [piece.examples for piece in pieces]
        first = parts[0]
        arrays = {
            "globals": _rows([e.globals for e in parts], order),
            "weights": _rows([e.weights for e in parts], order),
            "source": _rows([piece.source for piece in pieces], order),
        }
        values = {}
        for name in first.modalities:
            counts = np.concatenate([e.modalities[name].counts for e in parts])
            values[name] = Values(self.tokens[name], token_index(counts, order))
            arrays[f"tokens.{name}.offsets"] = np.concatenate([[0], np.cumsum(counts[order])]).astype(np.int64)
        for name in first.labels:
            index = values[first.token_labels[name]].index if name in first.token_labels else order
            arrays[f"label.{name}"] = _rows([e.labels[name] for e in parts], index)
        for name in first.observers:
            arrays[f"observer.{name}"] = _rows([e.observers[name] for e in parts], order)
        return Shard(split, rows, values, arrays)


def _rows(parts: list[np.ndarray], index: Int[np.ndarray, " m"]) -> Shaped[np.ndarray, " m ..."]:
    return np.take(parts[0] if len(parts) == 1 else np.concatenate(parts), index, axis=0)


class CheckedFile:
    """A new file whose checksum is taken as it is written, and which is on the disk when it is closed."""

    def __init__(self, path: Path):
        self.file = path.open("wb", buffering=0)
        self.digest, self.bytes = hashlib.sha256(), 0

    def __enter__(self) -> CheckedFile:
        return self

    def __exit__(self, *error: Any) -> None:
        with self.file:
            os.fsync(self.file.fileno())

    def write(self, data: bytes | memoryview) -> None:
        self.digest.update(data)
        self.bytes += len(data)
        while len(data):
            data = data[self.file.write(data) :]

    def entry(self) -> dict[str, Any]:
        """What `shard.json` says of the file."""
        return {"sha256": self.digest.hexdigest(), "bytes": self.bytes}


def write_npy(path: Path, array: Shaped[np.ndarray, "..."]) -> dict[str, Any]:
    """As `np.save`, little-endian and in C order. Returns the checksum and size of the file."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    with CheckedFile(path) as file:
        file.write(npy_header(array.dtype, array.shape))
        file.write(array.reshape(-1).view(np.uint8).data)
    return file.entry()


def write_durably(path: Path, data: bytes) -> None:
    """A file that is on the disk, not only in the system's memory, when this returns."""
    with CheckedFile(path) as file:
        file.write(data)
