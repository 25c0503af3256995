"""The same columns written in every format, for the readers' tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import uproot

from foundation.io.layout import Layout

Columns = dict[str, Any]  # name -> numpy [R, ...], or awkward [R, tokens]
SUFFIX = {
    "tree": ".root",
    "ntuple": ".root",
    "hdf5": ".h5",
    "parquet": ".parquet",
    "arrow": ".arrow",
    "npz": ".npz",
    "npz compressed": ".npz",
}


def columns(rows: int, seed: int = 0, most: int = 6) -> Columns:
    """Numbers of several types, a list of fixed length, a matrix, two ragged columns of equal lengths."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most + 1, rows)
    total = int(counts.sum())
    return {
        "event": np.arange(rows, dtype=np.int64) + 2**60,
        "met": rng.normal(size=rows).astype(np.float32),
        "flag": rng.integers(0, 2, rows).astype(bool),
        "cells": rng.normal(size=(rows, 3)),
        "image": rng.integers(-9, 9, (rows, 4, 2)).astype(np.int16),
        "pt": ak.unflatten(rng.exponential(size=total).astype(np.float32), counts),
        "charge": ak.unflatten(rng.integers(-1, 2, total).astype(np.int32), counts),
    }


def layout(content: Columns, kind: str) -> dict[str, Layout]:
    """What the reader must be told of a file that `write` made."""
    flat = kind in ("hdf5", "npz", "npz compressed")
    ragged = [c for c, v in content.items() if isinstance(v, ak.Array)]
    return {c: Layout("offsets", "offsets") for c in ragged} if flat else {}


def write(folder: Path, kind: str, content: Columns, step: int = 100, stem: str = "file") -> Path:
    """A file of this kind; `step` rows in each basket, cluster, chunk or row group."""
    path = folder / (stem + SUFFIX[kind])
    WRITERS[kind](path, content, max(step, 1))
    return path


def same(found: ak.Array, expected: Any) -> bool:
    """Equal in every number and in the lengths of lists."""
    if isinstance(expected, np.ndarray) and expected.ndim > 1:
        return bool(np.array_equal(ak.to_numpy(found), expected)) if len(expected) else len(found) == 0
    return bool(ak.to_list(found) == ak.to_list(expected))


def _steps(content: Columns, step: int) -> list[Columns]:
    rows = len(next(iter(content.values())))
    return [{c: v[i : i + step] for c, v in content.items()} for i in range(0, rows, step)]


def _tree(path: Path, content: Columns, step: int) -> None:
    types = {c: ak.type(v).content if isinstance(v, ak.Array) else (v.dtype, v.shape[1:]) for c, v in content.items()}
    with uproot.recreate(path) as file:
        tree = file.mktree("events", types)
        for part in _steps(content, step):
            tree.extend(part)


def _ntuple(path: Path, content: Columns, step: int) -> None:
    with uproot.recreate(path) as file:
        ntuple = file.mkrntuple("events", {c: ak.Array(v)[:0] for c, v in content.items()})
        for part in _steps(content, step):
            ntuple.extend(part)


def _flat(content: Columns) -> Columns:
    """Ragged columns as numbers after each other, with offsets."""
    ragged = [v for v in content.values() if isinstance(v, ak.Array)]
    flat = {c: ak.to_numpy(ak.flatten(v)) if isinstance(v, ak.Array) else v for c, v in content.items()}
    counts = ak.to_numpy(ak.num(ragged[0])) if ragged else []
    return flat | {"offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)} if ragged else flat


def _hdf5(path: Path, content: Columns, step: int) -> None:
    with h5py.File(path, "w") as file:
        for name, values in _flat(content).items():
            chunks = (min(step, len(values)), *(1 for _ in values.shape[1:])) if len(values) else None
            file.create_dataset(name, data=values, chunks=chunks, compression="gzip" if chunks else None)


def _table(content: Columns) -> pa.Table:
    arrays = {c: ak.to_arrow(ak.Array(v), extensionarray=False) for c, v in content.items()}
    return pa.table(arrays)


def _parquet(path: Path, content: Columns, step: int) -> None:
    pq.write_table(_table(content), path, row_group_size=step, write_page_checksum=True)


def _arrow(path: Path, content: Columns, step: int) -> None:
    pyarrow.feather.write_feather(_table(content), str(path), chunksize=step, compression="lz4")


WRITERS: dict[str, Callable[[Path, Columns, int], None]] = {
    "tree": _tree,
    "ntuple": _ntuple,
    "hdf5": _hdf5,
    "parquet": _parquet,
    "arrow": _arrow,
    "npz": lambda path, content, step: np.savez(path, **_flat(content)),
    "npz compressed": lambda path, content, step: np.savez_compressed(path, **_flat(content)),
}
