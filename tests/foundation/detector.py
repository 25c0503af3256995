"""A small detector for tests: a ROOT file with two modalities, and the schema that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from foundation.schema import DetectorSchema

SCHEMA: dict[str, Any] = {
    "name": "toy",
    "tree": "events",
    "modalities": {
        "tracks": {
            "max_tokens": 12,
            "select": "track_pt > 1",
            "coordinates": {"pt": "pt", "phi": "phi"},
            "features": {
                "pt": {"expression": "track_pt", "unit": "GeV", "transform": "log"},
                "phi": {"expression": "track_phi", "unit": "rad"},
                "charge": {"expression": "track_charge", "standardize": False},
                "one": {"expression": "0 * track_pt + 1"},
            },
        },
        "cells": {"features": {"energy": {"expression": "cells[..., 0]", "transform": "asinh"}}, "max_tokens": 4},
    },
    "globals": {"met": {"expression": "met", "unit": "GeV", "transform": "log1p"}},
    "labels": {
        "kind": {"kind": "class", "expression": "process", "classes": {"signal": 1, "background": 0}},
        "flag": {"kind": "class", "classes": {"yes": "is_yes", "no": "is_no"}},
        "target": {"kind": "regression", "expression": "2 * met"},
    },
    "weight": "0.5 + 0 * met",
    "observers": {"event": "event", "met": "met"},
    "split": {"key": "event", "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}},
}


def schema(**changes: Any) -> DetectorSchema:
    return DetectorSchema.load(SCHEMA | changes)


def columns(rows: int, seed: int = 0) -> dict[str, Any]:
    """Two rows in a row share an event number; a row has 0 to 19 tracks and always 3 cells."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 20, rows)
    total = int(counts.sum())
    yes = rng.integers(0, 2, rows)
    return {
        "track_pt": ak.unflatten(rng.exponential(5, total).astype(np.float32) + 0.5, counts),
        "track_phi": ak.unflatten(rng.uniform(-3, 3, total).astype(np.float32), counts),
        "track_charge": ak.unflatten(rng.choice([-1, 1], total).astype(np.int32), counts),
        "cells": rng.normal(size=(rows, 3, 2)),
        "met": rng.exponential(30, rows),
        "process": rng.integers(0, 2, rows),
        "is_yes": yes,
        "is_no": 1 - yes,
        "event": np.arange(rows) // 2 + 1000 * seed,
    }


def write(path: Path, content: dict[str, Any], tree: str = "events", basket: int = 250) -> Path:
    """A ROOT file with one tree, `basket` rows per basket, so that a file has several to damage."""
    rows = len(content["met"])
    types = {n: ak.type(v).content if isinstance(v, ak.Array) else (v.dtype, v.shape[1:]) for n, v in content.items()}
    with uproot.recreate(path) as file:
        file.mktree(tree, types)
        for start in range(0, rows, basket):
            file[tree].extend({n: v[start : start + basket] for n, v in content.items()})
    return path
