"""How fast the best method scores, and what is left of it in a network of AXOL1TL's size, as firmware."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
from anomaly_measure import EMBEDDING, LINEAR, RAW, Arm, Figures, fitted, row
from anomaly_simulated import CHOSEN, NORMAL, SHOWN

from distill_to_fpga.anomaly.distill import distill_score
from distill_to_fpga.anomaly.evaluate import evaluate_score
from distill_to_fpga.config import DistillRunConfig
from distill_to_fpga.export import ExportConfig, export
from distill_to_fpga.verify import verify
from finetune.anomaly.config import RowsConfig
from finetune.anomaly.score import ScoreConfig as ScoringConfig
from finetune.anomaly.score import anomaly_score
from foundation.command import load_config
from foundation.evaluation_config import EvaluateConfig
from foundation.schema import DetectorSchema
from foundation.store.ingest import ingest

REPEATS = 3
RATE = 10.0  # kHz, of student_efficiency_kept
PRESET, OWN_SHAPE, QUICK_STEPS = "distill/axol1tl", "distill/axol1tl_mahalanobis", 200
MIXED = 1.0  # made-up crossings for each real one: a few thousand have no tail to learn


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
            made = anomaly_score(run.path, [store], cfg=ScoringConfig(root=False), out=where / "scores", overwrite=True)
            rates.append(made.read("metrics.json")["rows"] / (time.monotonic() - begun))
        found[arm.method] = float(np.median(rates))
        row(arm.name, [f"{found[arm.method]:,.0f}"])
    return {"crossings_per_s": found["autoencoder"], "crossings_per_s_mahalanobis": found["mahalanobis"]}


def student(folder: Path, pileup: int, quick: bool) -> Figures:
    """A student of the method that `simulated` chose, seed 0: of AXOL1TL v4's shape, or of its teacher's."""
    where, made = folder / "student", folder / "simulated" / str(pileup)
    if not (made / CHOSEN).is_file():
        raise SystemExit("student: first the part `simulated` with the same --folder")
    name = (made / CHOSEN).read_text()
    arm = next(each for each in (*RAW, *EMBEDDING, *LINEAR) if each.name == name)
    made = made / "linear" if arm.linear else made
    teacher = fitted(made / "zerobias", made, arm, 0, RowsConfig(), quick)
    distilled = distill_score(
        teacher, cfg=_settings(arm, quick), out=where / "student", store=made / "zerobias", overwrite=True
    )
    measured = load_config(
        EvaluateConfig, {"rates_khz": [1, 5, 10], "signal": [SHOWN], "background": [NORMAL], "replicas": 100}
    )
    found = evaluate_score(
        distilled, distilled, cfg=measured, out=where / "evaluation", store=made / "store", overwrite=True
    ).read("metrics.json")
    firmware = export(
        distilled.path, cfg=ExportConfig(name="anomaly"), out=where / "firmware", store=made / "store", overwrite=True
    )
    result = verify(firmware.path, count=1000 if quick else 10_000)
    cost = firmware.read("metrics.json")
    print(f"teacher {name}: rank correlation {found['spearman']:.3f} on zero bias, {found['all_rows']['spearman']:.3f}")
    row("", ["teacher", "student", "kept", "68% from", "to"])
    for each in found["efficiencies"]:
        if each["rate_khz"] in measured.rates_khz:
            values = [each[key] for key in ("teacher", "student", "kept", "kept_low", "kept_high")]
            row(f"{each['rate_khz']:g} kHz{'' if each['measured'] else ' (not measured)'}", values)
    kept = next(each["kept"] for each in found["efficiencies"] if each["rate_khz"] == RATE)
    return {
        "student_luts": cost["luts"],
        "student_latency_ns": cost["latency_ns"],
        "student_weights": cost["nonzero_weights"],
        "student_efficiency_kept": kept,
        "student_correlation": found["spearman"],
        "student_mismatches": sum(result.mismatches.values()),
        "student_vectors": result.vectors,
    }


def _settings(arm: Arm, quick: bool) -> DistillRunConfig:
    """The preset for the teacher, with made-up crossings."""
    own = arm.method == "mahalanobis" and arm.inputs == "embedding"
    cfg = load_config(DistillRunConfig, OWN_SHAPE if own else PRESET)
    training = dataclasses.replace(cfg.distill, steps=QUICK_STEPS if quick else cfg.distill.steps)
    return dataclasses.replace(
        cfg, distill=training, score=dataclasses.replace(cfg.score, mixed=MIXED), reference=False
    )
