"""Reading a store: memory-mapped shards, padded batches of any rows.

Axes: B rows of a batch, N padded tokens, F features, G globals, R rows of a split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.lib.stride_tricks import as_strided

from foundation.batch import TokenBatch, Tokens
from foundation.errors import DataError, close_names
from foundation.runs import sha256
from foundation.schema import DetectorSchema
from foundation.store.statistics import FeatureStatistics, normalisation

FORMAT, VERSION, MANIFEST = "detfm-store", 1, "manifest.json"


@dataclass(frozen=True)
class Store:
    """A folder of examples, written by `detfm ingest` and never changed after.

    Attributes:
        path: the folder.
        manifest: counts, statistics, accounting, sources and checksums (see `foundation.store.ingest`).
    """

    path: Path
    manifest: dict[str, Any]

    @staticmethod
    def open(path: str | Path) -> Store:
        """Raises DataError: no such folder, not a store, incomplete, or written by a newer detfm."""
        path = Path(path)
        if not path.is_dir():
            raise DataError(f"{path}: no such folder; `detfm ingest FILE... --out {path}` makes a store")
        if not (path / MANIFEST).is_file():
            raise DataError(f"{path} is not a store: it has no {MANIFEST}; `detfm ingest` makes one")
        try:
            manifest = json.loads((path / MANIFEST).read_text())
        except ValueError as error:
            raise DataError(f"{path / MANIFEST}: damaged ({error}); ingest again") from error
        if manifest.get("format") != FORMAT:
            raise DataError(f"{path} is not a store: its manifest says format {manifest.get('format')!r}")
        if manifest["version"] > VERSION:
            raise DataError(
                f"{path} is a store of format {manifest['version']}, written by detfm {manifest['detfm']}; "
                f"this detfm reads up to {VERSION}: install the newer one"
            )
        missing = [file for file in manifest["files"] if not (path / file).is_file()]
        if missing:
            raise DataError(f"{path} is incomplete: {len(missing)} files are gone, {missing[0]} first; ingest again")
        return Store(path, manifest)

    @cached_property
    def schema(self) -> DetectorSchema:
        return DetectorSchema.load(self.manifest["schema"])

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the manifest, which holds those of all other files."""
        return sha256(self.path / MANIFEST)

    @property
    def splits(self) -> list[str]:
        return list(self.manifest["splits"])

    def length(self, split: str) -> int:
        """Rows of a split."""
        return int(self._split(split)["rows"])

    def statistics(self, modality: str) -> FeatureStatistics:
        """Normalisation of a modality's features."""
        features = self.schema.modalities[self._known(modality, self.schema.modalities, "modality")].features
        return normalisation(features, self.manifest["statistics"]["modalities"][modality])

    def global_statistics(self) -> FeatureStatistics:
        return normalisation(self.schema.globals, self.manifest["statistics"]["globals"])

    def labels(self, split: str, name: str) -> Shaped[np.ndarray, " R"]:
        """int32 classes (-1 unknown) or float32 targets (NaN unknown), in row order."""
        kind = self.schema.labels[self._known(name, self.schema.labels, "label")].kind
        return self._column(split, f"label.{name}", np.dtype(np.int32 if kind == "class" else np.float32))

    def observers(self, split: str) -> dict[str, Shaped[np.ndarray, " R"]]:
        """Observer -> float64 or int64 values, in row order."""
        return {name: self._column(split, f"observer.{name}", np.dtype(np.float64)) for name in self.schema.observers}

    def tokens_lengths(self, split: str, modality: str) -> Int[np.ndarray, " R"]:
        """Tokens per row."""
        self._known(modality, self.schema.modalities, "modality")
        parts = [np.diff(shard[f"tokens.{modality}.offsets"]) for shard in self._shards(split)]
        return np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, np.int32)

    def read(self, split: str, indices: Int[np.ndarray, " B"], lengths: Mapping[str, int] | None = None) -> TokenBatch:
        """The rows `indices` of a split as a padded batch of numpy arrays; index -1 makes an empty row of weight 0.

        Args:
            lengths: padded length per modality; default: the longest of these rows, at least 1.

        Raises:
            IndexError: an index is not a row of the split.
            ValueError: a row is longer than the length given.
        """
        indices = np.asarray(indices, np.int64)
        if len(indices) and not -1 <= indices.min() <= indices.max() < self.length(split):
            raise IndexError(
                f"rows {indices.min()} to {indices.max()} of split '{split}', which has {self.length(split)}"
            )
        places = self._places(split, indices)
        modalities = {}
        for name, modality in self.schema.modalities.items():
            padded = None if lengths is None else lengths[name]
            modalities[name] = _pad(name, places, padded, len(indices), len(modality.features))
        labels = {}
        for name, label in self.schema.labels.items():
            unknown = np.int32(-1) if label.kind == "class" else np.float32(np.nan)
            labels[name] = _gather(places, f"label.{name}", np.full(len(indices), unknown))
        return TokenBatch(
            modalities,
            _gather(places, "globals", np.zeros((len(indices), len(self.schema.globals)), np.float32)),
            labels,
            _gather(places, "weights", np.zeros(len(indices), np.float32)),
            indices.astype(np.int32),
        )

    def verify(self) -> int:
        """Reads every file again and compares its SHA-256 with the manifest's. Returns the number of files.

        Raises:
            DataError: names every file that differs.
        """
        bad = [name for name, entry in self.manifest["files"].items() if sha256(self.path / name) != entry["sha256"]]
        if bad:
            raise DataError(
                f"{self.path}: {len(bad)} of {len(self.manifest['files'])} files are damaged: {', '.join(bad)}"
            )
        return len(self.manifest["files"])

    def _split(self, split: str) -> dict[str, Any]:
        return self.manifest["splits"][self._known(split, self.manifest["splits"], "split")]

    def _known(self, name: str, known: Mapping[str, Any], kind: str) -> str:
        if name not in known:
            raise DataError(f"{self.path} has no {kind} '{name}'; {close_names(name, known)}")
        return name

    @cached_property
    def _mapped(self) -> dict[str, list[Shard]]:
        return {}

    def _shards(self, split: str) -> list[Shard]:
        if split not in self._mapped:
            start, shards = 0, []
            for entry in self._split(split)["shards"]:
                shards.append(Shard(self.path / entry["name"], start, entry["rows"]))
                start += entry["rows"]
            self._mapped[split] = shards
        return self._mapped[split]

    def _column(self, split: str, name: str, empty: np.dtype) -> np.ndarray:
        parts = [shard[name] for shard in self._shards(split)]
        return np.concatenate(parts) if parts else np.zeros(0, empty)

    def _places(self, split: str, indices: np.ndarray) -> list[Place]:
        """Per shard that holds some of the rows: the shard, positions in the batch and rows in the shard."""
        shards = self._shards(split)
        if len(shards) == 1 and len(indices) and indices.min() >= 0:
            return [Place(shards[0], np.arange(len(indices)), indices)]
        owner = np.searchsorted([shard.start for shard in shards], indices, side="right") - 1
        places = []
        for number in np.unique(owner[indices >= 0]):
            batch_rows = np.flatnonzero((owner == number) & (indices >= 0))
            places.append(Place(shards[number], batch_rows, indices[batch_rows] - shards[number].start))
        return places


class Shard:
    """The arrays of one shard, memory-mapped when first used. `start` is the split's row that is its first."""

    def __init__(self, path: Path, start: int, rows: int):
        self.path, self.start, self.rows = path, start, rows
        self._arrays: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            path = self.path / f"{name}.npy"
            try:
                # a plain view of the map: numpy's memmap class makes every indexing several times slower
                self._arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
            except (OSError, ValueError, EOFError) as error:
                raise DataError(
                    f"{path}: cannot be read ({error}); `detfm inspect --verify` checks the store"
                ) from error
        return self._arrays[name]


@dataclass(frozen=True)
class Place:
    shard: Shard
    batch_rows: np.ndarray
    shard_rows: np.ndarray


def _gather(places: list[Place], name: str, into: np.ndarray) -> np.ndarray:
    for place in places:
        into[place.batch_rows] = place.shard[name][place.shard_rows]
    return into


def _pad(name: str, places: list[Place], length: int | None, rows: int, width: int) -> Tokens:
    spans = []
    for place in places:
        offsets = place.shard[f"tokens.{name}.offsets"]
        first = offsets[place.shard_rows]
        spans.append((first, offsets[place.shard_rows + 1] - first))
    longest = max((int(counts.max(initial=0)) for _, counts in spans), default=0)
    padded = max(longest, 1) if length is None else length
    if longest > padded:
        raise ValueError(f"modality '{name}': a row has {longest} tokens and the batch is padded to {padded}")
    values, mask = np.zeros((rows, padded, width), np.float32), np.zeros((rows, padded), bool)
    for place, (first, counts) in zip(places, spans):
        mask[place.batch_rows] = np.arange(padded) < counts[:, None]
        windows = _windows(place.shard[f"tokens.{name}.values"], first, padded)
        if len(windows) == rows:
            values = windows  # all from one shard, in order: no second copy
        else:
            values[place.batch_rows] = windows
    values[~mask] = 0  # what the windows caught of the next row
    return Tokens(values, mask)


def _windows(values: Float[np.ndarray, "T F"], first: Int[np.ndarray, " B"], length: int) -> Float[np.ndarray, "B N F"]:
    """`length` consecutive tokens from each of `first` on, whatever row they belong to, as one block copy per row.

    Fancy indexing of a strided view that holds every window: several times faster than indexing token by token.
    Windows that would end beyond the last token (there are few) repeat it instead.
    """
    tokens, width = values.shape
    starts = max(tokens - length + 1, 0)
    inside = first < starts
    view = as_strided(values, (starts, length * width), (values.strides[0], values.itemsize), writeable=False)
    if inside.all():
        return view[first].reshape(-1, length, width)
    out = np.zeros((len(first), length, width), np.float32)
    out[inside] = view[first[inside]].reshape(-1, length, width)
    if tokens:
        out[~inside] = values[np.minimum(first[~inside, None] + np.arange(length), tokens - 1)]
    return out
