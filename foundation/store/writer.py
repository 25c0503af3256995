"""Examples -> shards of plain .npy files, with the counts, histograms and statistics that the manifest records.

A shard is a folder: `tokens.NAME.values.npy` [T, F] and `tokens.NAME.offsets.npy` [R + 1] per modality, `globals.npy`,
`weights.npy`, and one file per label and observer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foundation.runs import sha256
from foundation.schema import DetectorSchema
from foundation.store.examples import Examples
from foundation.store.statistics import Moments


class SplitWriter:
    """Collects the examples of one split and writes a shard whenever `shard_rows` are there.

    With `statistics`, it also streams the moments of every feature.

    Attributes:
        shards: name and rows of what is written.
        files: path relative to the store -> sha256 and bytes.
    """

    def __init__(self, folder: Path, split: str, schema: DetectorSchema, shard_rows: int, statistics: bool):
        self.folder, self.split, self.schema, self.shard_rows = folder, split, schema, shard_rows
        self.waiting: list[Examples] = []
        self.shards: list[dict[str, Any]] = []
        self.files: dict[str, dict[str, Any]] = {}
        self.lengths = {n: np.zeros(m.max_tokens + 1, np.int64) for n, m in schema.modalities.items()}
        self.classes = {n: np.zeros(len(s.classes), np.int64) for n, s in schema.labels.items() if s.kind == "class"}
        self.statistics = statistics
        self.moments = {n: Moments(m.features) for n, m in schema.modalities.items()}
        self.global_moments = Moments(schema.globals)

    def add(self, examples: Examples) -> None:
        if examples.rows == 0:
            return
        self.waiting.append(examples)
        self._count(examples)
        if sum(e.rows for e in self.waiting) >= self.shard_rows:
            self.flush()

    def _count(self, examples: Examples) -> None:
        for name, tokens in examples.modalities.items():
            self.lengths[name] += np.bincount(tokens.counts, minlength=len(self.lengths[name]))
        for name, counts in self.classes.items():
            known = examples.labels[name][examples.labels[name] >= 0]
            counts += np.bincount(known, minlength=len(counts))
        if self.statistics:
            self.global_moments.add(examples.globals)
            for name, moments in self.moments.items():
                moments.add(examples.modalities[name].values)

    def flush(self) -> None:
        """Writes what is waiting as one shard."""
        if not self.waiting:
            return
        name = f"{self.split}-{len(self.shards):05d}"
        (self.folder / name).mkdir()
        for file, array in _arrays(self.waiting).items():
            path = self.folder / name / f"{file}.npy"
            np.save(path, array, allow_pickle=False)
            self.files[f"{name}/{file}.npy"] = {"sha256": sha256(path), "bytes": path.stat().st_size}
        self.shards.append({"name": name, "rows": sum(e.rows for e in self.waiting)})
        self.waiting = []

    def to_dict(self) -> dict[str, Any]:
        """What the manifest says of this split."""
        classes = {n: dict(zip(self.schema.labels[n].classes, c.tolist())) for n, c in self.classes.items()}
        return {
            "rows": sum(shard["rows"] for shard in self.shards),
            "shards": self.shards,
            "lengths": {name: histogram.tolist() for name, histogram in self.lengths.items()},
            "classes": classes,
        }


def _arrays(parts: Sequence[Examples]) -> dict[str, np.ndarray]:
    """File stem -> array, of consecutive examples."""
    arrays = {"globals": np.concatenate([e.globals for e in parts])}
    arrays["weights"] = np.concatenate([e.weights for e in parts])
    for name in parts[0].modalities:
        counts = np.concatenate([e.modalities[name].counts for e in parts])
        arrays[f"tokens.{name}.values"] = np.concatenate([e.modalities[name].values for e in parts])
        arrays[f"tokens.{name}.offsets"] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    for name in parts[0].labels:
        arrays[f"label.{name}"] = np.concatenate([e.labels[name] for e in parts])
    for name in parts[0].observers:
        arrays[f"observer.{name}"] = np.concatenate([e.observers[name] for e in parts])
    return arrays
