"""Reading a store: padded batches of any rows, whole columns, checksums.

Axes: B rows of a batch, N padded tokens, F features, G globals, C classes, R rows of a split, T tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from foundation.batch import TokenBatch, Tokens
from foundation.errors import DataError, close_names
from foundation.runs import PROVENANCE, sealed, sha256
from foundation.schema import DetectorSchema
from foundation.store.arrays import SplitArrays, label_kind, token_mask
from foundation.store.index import FORMAT, MANIFEST, VERSION, SplitIndex, shard_name
from foundation.store.statistics import FeatureStatistics, constants, normalisation

ENTRIES = ("version", "detfm", "schema", "splits", "statistics", "accounting", "files")  # of the manifest


@dataclass(frozen=True)
class Store:
    """A folder of examples, written by `detfm ingest` and never changed after.

    Opening reads the manifest alone, whose size does not depend on the number of rows or shards.

    Attributes:
        path: the folder.
        manifest: counts, statistics, accounting and checksums (see `foundation.store.ingest`).
    """

    path: Path
    manifest: dict[str, Any]
    _indices: dict[str, SplitIndex] = field(default_factory=dict, repr=False, compare=False)
    _arrays: dict[str, SplitArrays] = field(default_factory=dict, repr=False, compare=False)
    _lock: Any = field(default_factory=Lock, repr=False, compare=False)

    @staticmethod
    def open(path: str | Path) -> Store:
        """Raises DataError: no such folder, not a store, or written by another version of detfm."""
        path = Path(path)
        if not path.is_dir():
            raise DataError(f"{path}: no such folder; `detfm ingest FILE... --out {path}` makes a store")
        if not (path / MANIFEST).is_file():
            raise DataError(f"{path} is not a store: it has no {MANIFEST}; `detfm ingest` makes one")
        try:
            manifest = json.loads((path / MANIFEST).read_text())
        except ValueError as error:
            raise DataError(f"{path / MANIFEST}: damaged ({error}); ingest again") from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise DataError(f"{path} is not a store: its manifest is none of the format '{FORMAT}'")
        lost = [name for name in ENTRIES if name not in manifest]
        if lost:
            raise DataError(f"{path / MANIFEST}: damaged (it lacks {', '.join(lost)}); ingest again")
        if manifest["version"] != VERSION:
            advice = "ingest again" if manifest["version"] < VERSION else "install the newer detfm"
            raise DataError(
                f"{path} is a store of format {manifest['version']}, written by detfm {manifest['detfm']}; "
                f"this detfm reads format {VERSION}: {advice}"
            )
        missing = [file for file in manifest["files"] if not (path / file).is_file()]
        if missing:
            raise DataError(f"{path} is incomplete: {', '.join(missing)} gone; ingest again")
        return Store(path, manifest)

    @cached_property
    def schema(self) -> DetectorSchema:
        return DetectorSchema.load(self.manifest["schema"])

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the manifest, which stands for all other files."""
        return sha256(self.path / MANIFEST)

    @property
    def splits(self) -> list[str]:
        return list(self.manifest["splits"])

    def length(self, split: str) -> int:
        """Rows of a split."""
        return int(self.split(split)["rows"])

    def split(self, name: str) -> dict[str, Any]:
        """What the manifest says of a split. Raises DataError: there is none of that name."""
        return self.manifest["splits"][self._known(name, self.manifest["splits"], "split")]

    def index(self, split: str) -> SplitIndex:
        """Rows per shard and length class."""
        self.split(split)
        with self._lock:
            if split not in self._indices:
                self._indices[split] = SplitIndex.load(self.path / split / "index.npz")
            return self._indices[split]

    def sources(self) -> list[dict[str, Any]]:
        """The files that rows came from, in order: path, checksum, rows; `source` numbers them."""
        return json.loads((self.path / "sources.json").read_text())

    def statistics(self, modality: str) -> FeatureStatistics:
        """Normalisation of a modality's features."""
        features = self.schema.modalities[self._known(modality, self.schema.modalities, "modality")].features
        return normalisation(features, self.manifest["statistics"]["modalities"][modality])

    def global_statistics(self) -> FeatureStatistics:
        return normalisation(self.schema.globals, self.manifest["statistics"]["globals"])

    def constants(self) -> list[str]:
        """Features, `modality.feature` or `globals.feature`, that are the same throughout the training split."""
        recorded = {**self.manifest["statistics"]["modalities"], "globals": self.manifest["statistics"]["globals"]}
        return [f"{where}.{name}" for where, each in recorded.items() for name in constants(each)]

    def labels(self, split: str, name: str) -> Shaped[np.ndarray, "R ..."]:
        """A label in row order, as `Label` says it is stored; of tokens: [T], those of all rows one after another."""
        kind = label_kind(self.schema.labels[self._known(name, self.schema.labels, "label")])
        empty = np.zeros((0,) if kind.width == 1 else (0, kind.width), kind.dtype)
        return self._column(split, f"label.{name}", empty)

    def observers(self, split: str) -> dict[str, Shaped[np.ndarray, " R"]]:
        """Observer -> float64 or int64 values, in row order."""
        return {name: self._column(split, f"observer.{name}", np.zeros(0)) for name in self.schema.observers}

    def observer(self, split: str, name: str) -> Shaped[np.ndarray, " R"]:
        """One of `observers`. Raises DataError: there is none of that name."""
        return self._column(split, f"observer.{self._known(name, self.schema.observers, 'observer')}", np.zeros(0))

    def source(self, split: str) -> Int[np.ndarray, "R 2"]:
        """Where each row came from: number of the file in `sources`, entry in the file."""
        return self._column(split, "source", np.zeros((0, 2), np.int64))

    def part(self, split: str, name: str, start: int, stop: int) -> Shaped[np.ndarray, "n ..."]:
        """Rows [start, stop) of an array with one entry per row: `source`, `weights`, `observer.NAME`.

        Raises:
            DataError: the array cannot be read.
        """
        ends = np.cumsum(self.index(split).rows.sum(axis=1)).astype(np.int64)
        first = int(np.searchsorted(ends, start, side="right"))
        parts = []
        for shard in range(first, len(ends)):
            begin = int(ends[shard - 1]) if shard else 0
            if begin >= stop:
                break
            parts.append(self._load(split, shard, name)[max(start - begin, 0) : stop - begin])
        return np.concatenate(parts) if parts else np.zeros(0)

    def tokens_lengths(self, split: str, modality: str) -> Int[np.ndarray, " R"]:
        """Tokens per row."""
        self._known(modality, self.schema.modalities, "modality")
        parts = [np.diff(self._load(split, s, f"tokens.{modality}.offsets")) for s in range(self.index(split).shards)]
        return np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, np.int32)

    def arrays(self, split: str) -> SplitArrays:
        """The arrays of a split, mapped as they are needed."""
        index = self.index(split)
        with self._lock:
            if split not in self._arrays:
                longest = self.split(split)["length_classes"]["longest"]
                most = {name: max(each, default=0) for name, each in longest.items()}
                self._arrays[split] = SplitArrays(self.path / split, self.schema, index, most)
            return self._arrays[split]

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
        real = indices >= 0
        return self._read(split, indices, None if real.all() else real, lengths)

    def _read(
        self, split: str, indices: np.ndarray, real: np.ndarray | None, lengths: Mapping[str, int] | None
    ) -> TokenBatch:
        arrays = self.arrays(split)
        fill = _Fill(len(indices), real)
        with arrays.rows(indices if real is None else indices[real]) as (shard, place):
            spans = {name: arrays.spans(name, shard, place) for name in self.schema.modalities}
            padded = {name: _length(name, each.counts, lengths) for name, each in spans.items()}
            masks = {name: token_mask(each.counts, padded[name]) for name, each in spans.items()}
            absent = {name: np.flatnonzero(~mask.ravel()) for name, mask in masks.items()}
            modalities, labels = {}, {}
            for name, mask in masks.items():
                values = arrays.windows(f"tokens.{name}.values", name, spans[name], padded[name])
                values.reshape(-1, values.shape[2])[absent[name]] = 0  # what the windows caught of the next row
                modalities[name] = Tokens(fill(values, 0), fill(mask, False))
            for name, label in self.schema.labels.items():
                kind, stem = label_kind(label), f"label.{name}"
                if label.modality:
                    found = arrays.windows(stem, label.modality, spans[label.modality], padded[label.modality])[..., 0]
                    found.reshape(-1)[absent[label.modality]] = kind.unknown
                else:
                    found = arrays.gather(stem, shard, place)
                labels[name] = fill(found, kind.unknown)
            weights = fill(arrays.gather("weights", shard, place), 0)
            example = fill(arrays.gather("globals", shard, place).reshape(len(shard), len(self.schema.globals)), 0)
        return TokenBatch(modalities, example, labels, weights, indices.astype(np.int32))

    def verify(self) -> int:
        """Reads every file again and compares it with its SHA-256. Returns the number of files.

        The provenance holds its own checksum and the manifest's, the manifest those of the indices, an index those of
        its shards' lists, a list those of the shard's files: a change anywhere is found and the file named.

        Raises:
            DataError: names every file that is gone or differs.
        """
        self._check_manifest()
        files = dict(self.manifest["files"])
        for split in self.splits:
            if not self._intact(f"{split}/index.npz", files[f"{split}/index.npz"]["sha256"]):
                continue  # named below; what it says of its shards is worth nothing
            for number, expected in enumerate(self.index(split).sha256):
                folder = f"{split}/{shard_name(number)}"
                files[f"{folder}/shard.json"] = {"sha256": bytes(expected).hex()}
                if self._intact(f"{folder}/shard.json", bytes(expected).hex()):
                    listed = json.loads((self.path / folder / "shard.json").read_text())["files"]
                    files |= {f"{folder}/{name}": entry for name, entry in listed.items()}
        bad = [name for name, entry in files.items() if not self._intact(name, entry["sha256"])]
        if bad:
            raise DataError(f"{self.path}: {len(bad)} of {len(files)} files are damaged: {', '.join(bad)}")
        return len(files)

    def _check_manifest(self) -> None:
        """Compares the manifest with the checksum that the provenance has of it, where there is one.

        Raises DataError: one of the two is damaged.
        """
        path = self.path / PROVENANCE
        try:
            found = json.loads(path.read_text()) if path.is_file() else {}
        except ValueError as error:
            raise DataError(f"{path}: damaged ({error})") from error
        if not {"manifest", "sha256"} & found.keys():
            return
        if sealed(found) != found:
            raise DataError(f"{path}: damaged (it differs from its SHA-256)")
        if not self._intact(MANIFEST, found["manifest"]):
            raise DataError(f"{self.path / MANIFEST}: damaged (it differs from its SHA-256 in {PROVENANCE})")

    def _intact(self, name: str, expected: str) -> bool:
        return (self.path / name).is_file() and sha256(self.path / name) == expected

    def _known(self, name: str, known: Mapping[str, Any], kind: str) -> str:
        if name not in known:
            raise DataError(f"{self.path} has no {kind} '{name}'; {close_names(name, known)}")
        return name

    def _column(self, split: str, name: str, empty: np.ndarray) -> np.ndarray:
        parts = [self._load(split, shard, name) for shard in range(self.index(split).shards)]
        return np.concatenate(parts) if parts else empty

    def _load(self, split: str, shard: int, name: str) -> np.ndarray:
        path = self.path / split / shard_name(shard) / f"{name}.npy"
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: cannot be read ({error}); `detfm inspect --verify` checks the store") from error


class _Fill:
    """Spreads what was read for the real rows of a batch over all of its rows."""

    def __init__(self, rows: int, real: np.ndarray | None):
        self.rows, self.real = rows, real

    def __call__(self, values: np.ndarray, empty: float) -> np.ndarray:
        if self.real is None:
            return values
        spread = np.full((self.rows, *values.shape[1:]), empty, values.dtype)
        spread[self.real] = values
        return spread


def _length(name: str, counts: np.ndarray, lengths: Mapping[str, int] | None) -> int:
    longest = int(counts.max(initial=0))
    if lengths is None:
        return max(longest, 1)
    if longest > lengths[name]:
        raise ValueError(f"modality '{name}': a row has {longest} tokens and the batch is padded to {lengths[name]}")
    return lengths[name]
