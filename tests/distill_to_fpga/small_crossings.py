"""Stores of small crossings, objects in fixed places, and an anomaly model of what is normal among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from finetune.anomaly.config import AnomalyConfig, RowsConfig
from finetune.anomaly.fit import anomaly_fit
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.ingest import IngestConfig, ingest

PLACES = 4
FEATURES: dict[str, Any] = {
    "pt": {
        "expression": "pt",
        "unit": "GeV",
        "transform": "log1p",
        "hardware": {"lsb": 0.5, "bits": 9, "signed": False},
    },
    "eta": {"expression": "eta", "hardware": {"lsb": 0.05, "bits": 8}},
}


def schema(*features: str) -> DetectorSchema:
    chosen = {name: FEATURES[name] for name in features or FEATURES}
    return DetectorSchema.load(
        {
            "name": "crossings",
            "modalities": {"objects": {"max_tokens": PLACES, "coordinates": {"pt": "pt"}, "features": chosen}},
            "labels": {"sample": {"expression": "sample", "classes": {"data": 0, "signal": 1}}},
            "observers": {"event_id": "event"},
            "split": {"key": "event", "fractions": {"train": 0.5, "val": 0.2, "test": 0.3}},
        }
    )


def crossings(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Soft objects in falling order; one crossing in five is a harder signal."""
    rng = np.random.default_rng(seed)
    signal = rng.random(count) < 0.2
    pt = np.sort(rng.exponential(8, (count, PLACES)) * np.where(signal, 4, 1)[:, None], axis=1)[:, ::-1]
    eta = rng.normal(0, 1.5, (count, PLACES))
    return {
        "pt": np.floor(2 * np.clip(pt, 0, 255)) / 2,
        "eta": np.clip(np.round(eta / 0.05), -127, 127) * 0.05,
        "sample": signal.astype(np.int64),
        "event": rng.permutation(count).astype(np.int64),
    }


def write_store(folder: Path, columns: dict[str, np.ndarray], kind: DetectorSchema) -> Store:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        name: ak.from_numpy(v) if v.ndim == 1 else ak.from_regular(ak.from_numpy(v)) for name, v in columns.items()
    }
    ak.to_parquet(ak.zip(arrays, depth_limit=1), folder / "crossings.parquet")
    return Store.open(ingest([folder / "crossings.parquet"], schema=kind, cfg=IngestConfig(), out=folder / "store"))


def teacher(folder: Path, store: Store) -> Run:
    """Mahalanobis distance to the data; the signal is not shown."""
    cfg = AnomalyConfig(method="mahalanobis", rows=RowsConfig(label="sample", classes=("data",)))
    return anomaly_fit(store.path, cfg=cfg, out=folder)
