"""A store with a label of every kind, each of which follows from what a network sees."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.ingest import ingest
from foundation.store.settings import IngestConfig

SCHEMA = {
    "name": "labelled",
    "tree": "tree",
    "modalities": {
        "muons": {"features": {"pt": {"expression": "muon_pt", "unit": "GeV"}}, "max_tokens": 4},
        "hits": {
            "features": {
                "pt": {"expression": "pt", "unit": "GeV", "transform": "log"},
                "eta": {"expression": "eta"},
                "phi": {"expression": "phi", "unit": "rad"},
                "depth": {"expression": "depth"},
            },
            "coordinates": {"pt": "pt", "eta": "eta", "phi": "phi"},
            "max_tokens": 16,
        },
    },
    "globals": {"met": {"expression": "met", "unit": "GeV"}},
    "labels": {
        "side": {"kind": "class", "expression": "side", "classes": {"left": 0, "right": 1}},
        "tags": {"kind": "multilabel", "classes": {"busy": "busy", "high": "high", "never": "never"}},
        "total": {"kind": "regression", "expression": "total", "unit": "GeV"},
        "origin": {
            "kind": "class",
            "modality": "hits",
            "expression": "origin",
            "classes": {"hard": 0, "pileup": 1},
        },
        "share": {"kind": "regression", "modality": "hits", "expression": "share"},
        "cluster": {"kind": "group", "modality": "hits", "expression": "cluster"},
    },
    "split": {"fractions": {"train": 0.75, "test": 0.25}},
}


def columns(rows: int = 400, seed: int = 0) -> dict[str, ak.Array]:
    """Branches of a file: hits of two or three clusters in eta and phi, and what is true of them.

    A hit is of pile-up where its depth is negative, with a share of |depth|; the event leans right where the mean depth
    does; `busy` means more than nine hits, `high` a met above 50 GeV (unknown in one row of five), `total` is the
    summed pt, unknown in one row of ten.
    """
    rng = np.random.default_rng(seed)
    counts = rng.integers(4, 15, rows)
    flat = counts.sum()
    owner = np.repeat(np.arange(rows), counts)
    cluster = rng.integers(0, 3, flat)
    centres = rng.uniform(-2.5, 2.5, (rows, 3, 2))
    at = centres[owner, cluster] + rng.normal(0, 0.05, (flat, 2))
    lean = np.where(rng.random(rows) < 0.5, -0.5, 0.5)
    depth = rng.normal(lean[owner], 1.0)
    pt = rng.exponential(5.0, flat) + 1
    met = rng.exponential(50.0, rows)
    total = np.bincount(owner, pt, minlength=rows)
    mean = np.bincount(owner, depth, minlength=rows) / counts
    jagged = {
        "pt": pt,
        "eta": at[:, 0],
        "phi": at[:, 1],
        "depth": depth,
        "origin": np.where(rng.random(flat) < 0.1, -1, (depth < 0).astype(int)),
        "share": np.where(rng.random(flat) < 0.1, np.nan, np.abs(depth)),
        "cluster": np.where(rng.random(flat) < 0.1, 0, 100 * cluster + 7),
    }
    found = {name: ak.unflatten(values, counts) for name, values in jagged.items()}
    muons = rng.integers(0, 4, rows)
    found["muon_pt"] = ak.unflatten(rng.exponential(9.0, muons.sum()), muons)
    plain = {
        "met": met,
        "side": (mean > 0).astype(int),
        "busy": (counts > 9).astype(float),
        "high": np.where(rng.random(rows) < 0.2, -1, met > 50).astype(float),
        "never": np.zeros(rows),
        "total": np.where(rng.random(rows) < 0.1, np.nan, total),
    }
    return found | plain


def ingest_labelled(folder: Path, rows: int = 400, seed: int = 0, **changed: np.ndarray) -> Store:
    """The store, made of `folder/labelled.root`; `changed` columns replace those that `columns` makes."""
    with uproot.recreate(folder / "labelled.root") as file:
        file["tree"] = columns(rows, seed) | changed
    cfg = IngestConfig(unknown_label="unlabelled")
    return Store.open(
        ingest([folder / "labelled.root"], schema=DetectorSchema.load(SCHEMA), cfg=cfg, out=folder / "store")
    )
