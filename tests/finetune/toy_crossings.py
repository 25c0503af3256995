"""Small zero-bias crossings in hardware integers, as files and as a store, for tests of anomaly triggers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.ingest import IngestConfig, ingest

PHI = 2 * np.pi / 144
SCHEMA: dict[str, Any] = {
    "name": "crossings",
    "modalities": {
        name: {
            "max_tokens": most,
            "order": f"{name}_pt",
            "coordinates": {"pt": "pt", "eta": "eta", "phi": "phi"},
            "features": {
                "pt": {"expression": f"{name}_pt", "unit": "GeV", "transform": "log1p",
                       "hardware": {"lsb": 0.5, "bits": 9, "signed": False}},
                "eta": {"expression": f"{name}_eta", "hardware": {"lsb": 0.1, "bits": 7}},
                "phi": {"expression": f"{name}_phi", "unit": "rad",
                        "hardware": {"lsb": float(PHI), "bits": 8, "signed": False}},
            },
        }
        for name, most in (("jets", 4), ("muons", 2))
    },
    "globals": {"met": {"expression": "met", "unit": "GeV", "transform": "log1p",
                        "hardware": {"lsb": 0.5, "bits": 12, "signed": False}}},
    "labels": {"kind": {"expression": "kind", "classes": {"zero_bias": 0, "signal": 1}}},
    "weight": "w",
    "observers": {"run": "run", "event": "event", "npu": "npu"},
    "split": {"key": "event", "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}},
}  # fmt: skip


def changed(edit: Callable[[dict[str, Any]], Any]) -> DetectorSchema:
    """The schema after `edit` of the mapping it is read from."""
    mapping = copy.deepcopy(SCHEMA)
    edit(mapping)
    return DetectorSchema.load(mapping)


def crossings(count: int = 400, seed: int = 0, pt_scale: float = 1.0) -> dict[str, Any]:
    """Crossings with 0 to 4 jets and 0 to 2 muons, the first one without any object; signal has harder ones."""
    rng = np.random.default_rng(seed)
    kind = (rng.random(count) < 0.1).astype(int)
    found: dict[str, Any] = {}
    for name, most in (("jets", 4), ("muons", 2)):
        numbers = rng.integers(0, most + 1, count)
        numbers[0] = 0
        hard = np.repeat(np.where(kind == 1, 60.0, 15.0), numbers)
        total = int(numbers.sum())
        integers = {
            "pt": 0.5 * np.round(pt_scale * (10 + 2 * hard * rng.exponential(size=total))).clip(1, 511),
            "eta": 0.1 * rng.integers(-50, 51, total),
            "phi": PHI * rng.integers(0, 144, total),
        }
        found |= {f"{name}_{k}": ak.unflatten(v.astype(np.float32), numbers) for k, v in integers.items()}
    found["met"] = (0.5 * np.round(2 * rng.exponential(20, count))).astype(np.float32)
    found["kind"], found["w"] = kind, np.ones(count, np.float32)
    found["run"] = 1000 + rng.integers(0, 3, count)
    found["event"], found["npu"] = np.arange(count) + 100_000 * seed, rng.integers(20, 60, count)
    return found


def write_file(path: Path, columns: dict[str, Any]) -> Path:
    """Parquet, or ROOT by the ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".root":
        import uproot

        with uproot.recreate(path) as file:
            file["tree"] = columns
    else:
        ak.to_parquet(ak.zip(columns, depth_limit=1), path)
    return path


def toy_store(folder: Path, columns: dict[str, Any], schema: DetectorSchema | None = None) -> Store:
    file = write_file(folder / "crossings.parquet", columns)
    return Store.open(ingest([file], schema=schema or changed(dict), cfg=IngestConfig(), out=folder / "store"))
