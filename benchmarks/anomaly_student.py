"""How fast the best method scores, and what is left of it in a network of AXOL1TL's size, as firmware."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from anomaly_measure import Arm, Figures, fitted, row

from finetune.anomaly.config import RowsConfig
from finetune.anomaly.score import ScoreConfig, anomaly_score
from foundation.schema import DetectorSchema
from foundation.store.ingest import ingest

REPEATS = 3
RATE = 10.0  # kHz, of student_efficiency_kept
PRESET = "distill/axol1tl"


def speed(folder: Path, data: Path, quick: bool) -> Figures:
    """Crossings that `detfm anomaly score` writes in a second, store to table: the median of three, for two methods."""
    where = folder / "speed"
    store = where / "store"
    if not store.exists():
        ingest([data / "l1ugt" / "cms_l1_ugt.h5"], schema=DetectorSchema.load("data/axol1tl"), out=store, processes=1)
    found = {}
    for arm in (Arm("mahalanobis"), Arm("autoencoder")):
        run, rates = fitted(store, where, arm, 0, RowsConfig(), quick), []
        for _ in range(REPEATS):
            begun = time.monotonic()
            made = anomaly_score(run.path, [store], cfg=ScoreConfig(root=False), out=where / "scores", overwrite=True)
            rates.append(made.read("metrics.json")["rows"] / (time.monotonic() - begun))
        found[arm.method] = float(np.median(rates))
        row(arm.name, [f"{found[arm.method]:,.0f}"])
    return {"crossings_per_s": found["autoencoder"], "crossings_per_s_mahalanobis": found["mahalanobis"]}
