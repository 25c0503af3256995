"""Which rows come how often: all once, classes equally often, or by the examples' weights.

Axes: n rows, K length classes, C classes of the label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from foundation.errors import ConfigError, DataError, close_names
from foundation.loader.source import Source

Kind = Literal["each", "balanced", "weighted"]


@dataclass(frozen=True)
class Sampling:
    """How rows are drawn.

    With `balanced` and `weighted` rows are drawn with replacement, within each window of the shuffle (131,072 rows) in
    proportion to their worth, and an epoch is as many draws as there are rows.

    Attributes:
        kind: `each`: every row once per epoch. `balanced`: every class of `label` equally often, rows of unknown class
            never. `weighted`: in proportion to the example weight, which the loss then need not apply again.
        label: of `balanced`: a class label; empty: the first one.
    """

    kind: Kind = "each"
    label: str = ""

    def check(self) -> None:
        """Raises ConfigError: no such kind."""
        if self.kind not in get_args(Kind):
            raise ConfigError(f"sampling: there is no kind '{self.kind}'; {close_names(self.kind, get_args(Kind))}")


class Worth:
    """The worth of rows under a `Sampling` that draws."""

    def __init__(self, sampling: Sampling, sources: list[Source], copies: Float[np.ndarray, " S"]):
        self.sampling, self.sources = sampling, sources
        schema = sources[0].store.schema
        if sampling.kind == "balanced":
            known = schema.class_labels
            self.label = sampling.label or (known[0] if known else "")
            if self.label not in known:
                raise ConfigError(
                    f"sampling.label: '{self.label}' is no class label of '{schema.name}'; known: {known}"
                )
            counts = sum(c * self._counts(s).sum(axis=0) for c, s in zip(copies, sources))
            if not np.any(counts):
                raise DataError(f"{sources[0].store.path}: no row of a known {self.label} to balance")
            self.per_class = np.where(counts > 0, 1 / np.maximum(counts, 1e-9), 0)

    def of_class(self, source: Source) -> Float[np.ndarray, " K"]:
        """Total worth of the rows of each length class of a source."""
        if self.sampling.kind == "balanced":
            return self._counts(source) @ self.per_class
        if source.subset is None:
            return np.asarray(source.store.split(source.split)["length_classes"]["weights"], np.float64)
        worth = self.of_rows(source, np.asarray(source.subset))
        return np.bincount(source.subset_classes, worth, minlength=len(source.rows_per_class))

    def of_rows(self, source: Source, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        arrays = source.store.arrays(source.split)
        with arrays.rows(rows) as (shard, place):
            if self.sampling.kind == "weighted":
                return arrays.gather("weights", shard, place).astype(np.float64)
            found = arrays.gather(f"label.{self.label}", shard, place)
        return np.where(found >= 0, self.per_class[np.maximum(found, 0)], 0.0)

    def _counts(self, source: Source) -> Float[np.ndarray, "K C"]:
        """Rows of each length class and class."""
        if source.subset is None:
            return np.asarray(source.store.split(source.split)["length_classes"]["labels"][self.label], np.float64)
        labels = source.store.labels(source.split, self.label)[np.asarray(source.subset)]
        shape = (len(source.rows_per_class), len(source.store.schema.labels[self.label].classes))
        counts = np.zeros(shape)
        known: Any = labels >= 0
        np.add.at(counts, (source.subset_classes[known], labels[known]), 1)
        return counts
