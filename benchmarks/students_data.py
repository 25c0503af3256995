"""Five classes of simulated jets as numbers for both sides of benchmarks/students.py.

16 high-level observables as counts of 1/64 of their standard deviation (10 bits). The classes are those of the LHC
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


def high_level_file(store: Store, path: Path) -> Path:
    """Writes `train`, `val`, `test` [n, 1, 16] and `y_...`; the statistics are those of `train`."""
    found = {split: _observables(store, split) for split in SPLITS}
    mean, deviation = found["train"].mean(axis=0), found["train"].std(axis=0)
    arrays = {}
    for split, values in found.items():
        counts = np.floor((values - mean) / deviation * COUNTS + 0.5)
        arrays[split] = np.clip(counts, -512, 511).astype(np.int32)[:, None, :]
        arrays[f"y_{split}"] = classes(store, split)
    np.savez(path, **arrays)
    return path


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
        batch = store.read(split, np.arange(first, min(first + at_once, store.length(split))))
        tokens, names = batch.modalities["particles"], list(store.schema.modalities["particles"].features)
        pt, eta, phi = (np.where(tokens.mask, tokens.values[..., names.index(n)], 0) for n in ("pt", "deta", "dphi"))
        z = pt / np.maximum(pt.sum(axis=1, keepdims=True), 1e-9)
        three, four = (subjettiness(z, eta, phi, axes) for axes in (3, 4))
        ratios.append(four / np.maximum(three, 1e-9))
    return np.concatenate(ratios)


def classes(store: Store, split: str) -> np.ndarray:
    return np.asarray(store.labels(split, next(iter(store.schema.labels)))).astype(np.int32)
