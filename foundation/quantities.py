"""Numbers of examples by name: what a measurement is made against, whether the network saw them or not.

Axes: R rows of a split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial

import jax
import numpy as np
from jaxtyping import Float

from foundation.batch import TokenBatch
from foundation.errors import ConfigError, close_names
from foundation.physics import Jets, jet_kinematics
from foundation.schema import DetectorSchema
from foundation.store import Store

ROWS_AT_ONCE = 2048
USUAL = re.compile(r"(^|_)(pt|eta|npv|nvtx|npu|pu|pileup)($|_)|pileup", re.IGNORECASE)
MASS = re.compile(r"mass|(^|_)(msd|m)($|_)", re.IGNORECASE)


class Quantities:
    """Observers, globals, regression labels, and what follows from the tokens, of the rows of a split.

    `MODALITY.n` is the number of tokens; where pt, eta and phi are coordinates, `MODALITY.pt` and `MODALITY.mass` are
    those of the vector sum, `MODALITY.eta` too where eta is measured from the beam line.
    """

    def __init__(self, store: Store, split: str):
        self.store, self.split = store, split
        self.schema: DetectorSchema = store.schema
        self._sources: dict[str, Callable[[], np.ndarray]] = {}
        for name, modality in self.schema.modalities.items():
            self._sources[f"{name}.n"] = partial(store.tokens_lengths, split, name)
            if {"pt", "eta", "phi"} <= set(modality.coordinates):
                for part in ("pt", "mass") if modality.relative else ("pt", "eta", "mass"):
                    self._sources[f"{name}.{part}"] = partial(self._kinematics, name, part)
        for name in self.schema.regression_labels:
            self._sources[name] = partial(store.labels, split, name)
        for i, name in enumerate(self.schema.globals):
            self._sources[name] = partial(self._global, i)
        for name in self.schema.observers:
            self._sources[name] = partial(store.observer, split, name)
        self._jets: dict[str, dict[str, np.ndarray]] = {}

    @property
    def names(self) -> list[str]:
        return list(self._sources)

    def __getitem__(self, name: str) -> Float[np.ndarray, " R"]:
        """Values in row order; NaN where unknown.

        Raises:
            ConfigError: there is no quantity of that name.
        """
        self.check([name])
        return np.asarray(self._sources[name](), np.float64)

    def check(self, names: Iterable[str]) -> None:
        """Raises ConfigError: there is no quantity of a name."""
        for name in names:
            if name not in self._sources:
                hint = close_names(name, self.names)
                raise ConfigError(f"the store {self.store.path} has no quantity '{name}'; {hint}")

    def usual(self) -> list[str]:
        """Observers and globals with pt, eta or pile-up in their name; without one, those of the tokens' sum."""
        named = [name for name in {**self.schema.globals, **self.schema.observers} if USUAL.search(name)]
        return named or [name for name in self._sources if name.endswith((".pt", ".eta"))]

    def mass(self) -> str:
        """A quantity that is the mass of the example: one of the files', else that of the tokens; empty: none."""
        files = [name for name in {**self.schema.globals, **self.schema.observers} if MASS.search(name)]
        return next(iter([*files, *(name for name in self._sources if name.endswith(".mass"))]), "")

    def _global(self, number: int) -> np.ndarray:
        arrays, found = self.store.arrays(self.split), []
        for first in range(0, self.store.length(self.split), ROWS_AT_ONCE):
            rows = np.arange(first, min(first + ROWS_AT_ONCE, self.store.length(self.split)))
            with arrays.rows(rows) as (shard, place):
                found.append(arrays.gather("globals", shard, place).reshape(len(rows), -1)[:, number])
        return np.concatenate(found) if found else np.zeros(0)

    def _kinematics(self, modality: str, part: str) -> np.ndarray:
        if modality not in self._jets:
            self._jets[modality] = self._summed(modality)
        return self._jets[modality][part]

    def _summed(self, modality: str) -> dict[str, np.ndarray]:
        total = self.store.length(self.split)
        longest = {n: self.store.arrays(self.split).longest[n] or 1 for n in self.schema.modalities}
        found = []
        for first in range(0, total, ROWS_AT_ONCE):
            rows = np.arange(first, first + ROWS_AT_ONCE)
            batch = self.store.read(self.split, np.where(rows < total, rows, -1), longest)
            found.append(jax.tree.map(np.asarray, _jets(batch, self.schema, modality)))
        if not found:
            return dict.fromkeys(Jets._fields, np.zeros(0))
        return {part: np.concatenate([getattr(each, part) for each in found])[:total] for part in Jets._fields}


@partial(jax.jit, static_argnames=("schema", "modality"))
def _jets(batch: TokenBatch, schema: DetectorSchema, modality: str) -> Jets:
    """The vector sums; with eta relative to an axis the tokens are massless (see `foundation.physics`)."""
    spec, tokens = schema.modalities[modality], batch.modalities[modality]
    column = {c: tokens.values[..., spec.index(feature)] for c, feature in spec.coordinates.items()}
    energy = None if spec.relative else column.get("energy")
    return jet_kinematics(column["pt"], column["eta"], column["phi"], energy, tokens.mask)
