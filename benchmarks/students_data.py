"""Five classes of simulated jets as numbers for both sides of benchmarks/students.py.

16 high-level observables, or pt, eta and phi of the leading constituents, as counts of 1/64 of their standard deviation
(10 bits). The classes are those of the LHC
jets data set (quark, gluon, W, Z, top) when the file is made by configs/simulate/five_classes.yaml; the shipped sample
has QCD, top, W, Z and H.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foundation.high_level import HighLevelConfig, high_level, subjettiness
from foundation.store import Store

SPLITS = ("train", "val", "test")
COUNTS = 64
AS_THEY_ARE = ("fraction1", "tau21", "tau32", "tau43")  # of order one and without a tail: no logarithm


def observables_file(store: Store, path: Path) -> Path:
    """Writes `train`, `val`, `test` [n, 1, 16] and `y_...`; the statistics are those of `train`."""
    found = {split: _observables(store, split) for split in SPLITS}
    mean, deviation = found["train"].mean(axis=0), found["train"].std(axis=0)
    return _written(store, path, {split: ((v - mean) / deviation)[:, None, :] for split, v in found.items()})


def constituents_file(store: Store, path: Path, tokens: int) -> Path:
    """The same of [n, tokens, 3]: log(1 + pt/GeV), deta and dphi of the hardest; all 0 where there is none."""
    found = {split: _constituents(store, split, tokens) for split in SPLITS}
    present = found["train"][found["train"][..., 0] > 0]
    return _written(store, path, {split: values / present.std(axis=0) for split, values in found.items()})


def _written(store: Store, path: Path, deviations: dict[str, np.ndarray]) -> Path:
    arrays = {}
    for split, values in deviations.items():
        arrays[split] = np.clip(np.floor(values * COUNTS + 0.5), -512, 511).astype(np.int32)
        arrays[f"y_{split}"] = classes(store, split)
    np.savez(path, **arrays)
    return path


def _constituents(store: Store, split: str, count: int) -> np.ndarray:
    pt, eta, phi = _particles(store, split)
    hardest = np.argsort(-pt, axis=1, kind="stable")[:, :count]
    columns = [np.take_along_axis(column, hardest, axis=1) for column in (np.log1p(pt), eta, phi)]
    return np.stack(columns, axis=-1)


def _particles(store: Store, split: str, rows: np.ndarray | None = None) -> list[np.ndarray]:
    """pt, deta and dphi [n, tokens], 0 where there is none."""
    batch = store.read(split, np.arange(store.length(split)) if rows is None else rows)
    tokens, names = batch.modalities["particles"], list(store.schema.modalities["particles"].features)
    return [np.where(tokens.mask, tokens.values[..., names.index(n)], 0) for n in ("pt", "deta", "dphi")]


def _observables(store: Store, split: str) -> np.ndarray:
    names, values = high_level(store, split, HighLevelConfig(leading=0, moments=False))
    columns = {name.split(".")[1]: column for name, column in zip(names, values.T)}
    columns["tau43"] = _tau43(store, split)
    kept = [
        np.nan_to_num(c) if n in AS_THEY_ARE else np.log(np.maximum(np.nan_to_num(c), 1e-6)) for n, c in columns.items()
    ]
    return np.stack(kept, axis=1)


def _tau43(store: Store, split: str, at_once: int = 2048) -> np.ndarray:
    ratios = []
    for first in range(0, store.length(split), at_once):
        rows = np.arange(first, min(first + at_once, store.length(split)))
        pt, eta, phi = _particles(store, split, rows)
        z = pt / np.maximum(pt.sum(axis=1, keepdims=True), 1e-9)
        three, four = (subjettiness(z, eta, phi, axes) for axes in (3, 4))
        ratios.append(four / np.maximum(three, 1e-9))
    return np.concatenate(ratios)


def classes(store: Store, split: str) -> np.ndarray:
    return np.asarray(store.labels(split, next(iter(store.schema.labels)))).astype(np.int32)
