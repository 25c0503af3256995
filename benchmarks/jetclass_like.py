"""JetClass-like jets for the benchmarks of ingest and loader: about 40 constituents, up to 128, of 17 features."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from foundation.schema import DetectorSchema

FEATURES = 17
MOST = 128
COLUMNS = [f"part_{i}" for i in range(FEATURES)]
CLASSES = [f"label_{i}" for i in range(10)]


def schema() -> DetectorSchema:
    """Every feature as it is in the file, all rows in one split."""
    return DetectorSchema.load(
        {
            "name": "jetclass_like",
            "modalities": {
                "particles": {"max_tokens": MOST, "features": {name: {"expression": name} for name in COLUMNS}}
            },
            "labels": {"jet_class": {"classes": {name: name for name in CLASSES}}},
            "split": {"key": "event", "fractions": {"train": 1.0}},
        }
    )


def write(path: Path, jets: int, seed: int = 0, chunk: int = 10_000) -> Path:
    """A ROOT file of random jets; gamma-distributed multiplicities, as those of quark, gluon and top jets together."""
    rng = np.random.default_rng(seed)
    types = dict.fromkeys(COLUMNS, "var * float32") | {name: np.dtype(bool) for name in CLASSES}
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        file.mktree("tree", types | {"event": np.dtype(np.int64)})
        for start in range(0, jets, chunk):
            rows = min(chunk, jets - start)
            counts = np.clip(rng.gamma(4.0, 10.0, rows).astype(np.int64), 1, MOST)
            total = int(counts.sum())
            columns = {n: ak.unflatten(rng.normal(size=total).astype(np.float32), counts) for n in COLUMNS}
            kind = rng.integers(0, len(CLASSES), rows)
            columns |= {name: kind == i for i, name in enumerate(CLASSES)}
            file["tree"].extend(columns | {"event": start + np.arange(rows)})
    return path
