"""JetClass-like jets for the benchmarks of ingest and loader: about 40 constituents, up to 128, of 17 features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from foundation.schema import DetectorSchema

FLOATS = ["px", "py", "pz", "energy", "deta", "dphi", "pt", "d0val", "d0err", "dzval", "dzerr"]
FLAGS = ["charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon"]
BRANCHES = [f"part_{name}" for name in FLOATS + FLAGS]
FEATURES, MOST, CLASSES = len(BRANCHES), 128, 10
BASKET = 5_000  # jets


def schema(**changes: Any) -> DetectorSchema:
    """Every branch as a feature."""
    features = {name.removeprefix("part_"): {"expression": name} for name in BRANCHES}
    coordinates = {name: name for name in ("px", "py", "pz", "energy")}
    description = {
        "name": "jetclass_like",
        "modalities": {"particles": {"features": features, "coordinates": coordinates, "max_tokens": MOST}},
        "labels": {"jet": {"classes": {f"c{i}": i for i in range(CLASSES)}, "expression": "label"}},
    }
    return DetectorSchema.load(description | changes)


def write(path: Path, jets: int, tokens: int = 0) -> Path:
    """A ROOT file of random jets in ROOT's default compression; `tokens` constituents each, if that is given.

    Multiplicities are gamma-distributed: those of quark, gluon, W and top jets together.
    """
    rng = np.random.default_rng(0)
    with uproot.recreate(path) as file:
        file.mktree("tree", dict.fromkeys(BRANCHES, "var * float32") | {"label": np.int32})
        for start in range(0, jets, BASKET):
            rows = min(BASKET, jets - start)
            counts = np.clip(rng.gamma(4.0, 10.0, rows).astype(int), 1, MOST) if not tokens else np.full(rows, tokens)
            content: dict[str, Any] = {"label": rng.integers(0, CLASSES, rows).astype(np.int32)}
            for name in BRANCHES:
                flag = name.removeprefix("part_") in FLAGS
                values = rng.integers(0, 2, counts.sum()) if flag else rng.normal(size=counts.sum())
                values = np.abs(values) if name == "part_energy" else values
                content[name] = ak.unflatten(values.astype(np.float32), counts)
            file["tree"].extend(content)
    return path
