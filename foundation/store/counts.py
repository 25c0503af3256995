"""What the manifest says of a split: rows, tokens and classes, altogether and by length class.

Axes: K length classes, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foundation.schema import DetectorSchema
from foundation.store.writer import Shard


class SplitCounts:
    """Sums over the shards of a split."""

    def __init__(self, schema: DetectorSchema, classes: int):
        self.lengths = {n: np.zeros(m.capacity + 1, np.int64) for n, m in schema.modalities.items()}
        self.rows = np.zeros(classes, np.int64)
        self.longest = {name: np.zeros(classes, np.int64) for name in schema.modalities}
        self.weights = np.zeros(classes)
        self.names = {n: list(s.classes) for n, s in schema.labels.items() if s.kind in ("class", "multilabel")}
        self.per_token = {name: label.modality for name, label in schema.labels.items() if label.modality}
        self.labels = {name: np.zeros((classes, len(each)), np.int64) for name, each in self.names.items()}

    def add(self, shard: Shard) -> None:
        classes = len(self.rows)
        of_row = np.repeat(np.arange(classes), shard.rows)
        self.rows += shard.rows
        self.weights += np.bincount(of_row, shard.arrays["weights"], minlength=classes)
        counts = {name: np.diff(shard.arrays[f"tokens.{name}.offsets"]) for name in self.lengths}
        for name, each in counts.items():
            self.lengths[name] += np.bincount(each, minlength=len(self.lengths[name]))
            np.maximum.at(self.longest[name], of_row, each)
        for name, table in self.labels.items():
            values = shard.arrays[f"label.{name}"]
            where = np.repeat(of_row, counts[self.per_token[name]]) if name in self.per_token else of_row
            if values.ndim == 2:
                np.add.at(table, where, values == 1)
            else:
                known = values >= 0
                flat = where[known] * table.shape[1] + values[known]
                table += np.bincount(flat, minlength=table.size).reshape(table.shape)

    def merge(self, other: Mapping[str, Any]) -> None:
        """Adds what `to_dict` gave for other shards."""
        for name, histogram in other["lengths"].items():
            self.lengths[name][: len(histogram)] += np.array(histogram, np.int64)  # `[]` alone would be of floats
        found = other["length_classes"]
        self.rows += np.array(found["rows"], np.int64)
        self.weights += found["weights"]
        for name, longest in found["longest"].items():
            np.maximum(self.longest[name], longest, out=self.longest[name])
        for name, table in found["labels"].items():
            self.labels[name] += np.array(table, np.int64)

    def to_dict(self) -> dict[str, Any]:
        """`classes` counts rows (or tokens, where a label is theirs) of each class, or that have it (`multilabel`)."""
        totals = {name: table.sum(axis=0).tolist() for name, table in self.labels.items()}
        return {
            "rows": int(self.rows.sum()),
            "lengths": {name: np.trim_zeros(h, "b").tolist() for name, h in self.lengths.items()},
            "classes": {name: dict(zip(self.names[name], each)) for name, each in totals.items()},
            "length_classes": {
                "rows": self.rows.tolist(),
                "longest": {name: longest.tolist() for name, longest in self.longest.items()},
                "weights": self.weights.tolist(),
                "labels": {name: table.tolist() for name, table in self.labels.items()},
            },
        }
