"""Distill runs whose students nobody trained: enough for what comes after the training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from small_crossings import PLACES, crossings, schema, write_store

from distill_to_fpga.anomaly.distill import TRANSFORM, score_shape
from distill_to_fpga.anomaly.transform import ScoreTransform
from distill_to_fpga.config import STUDENT, DistillRunConfig
from distill_to_fpga.estimate import estimate
from distill_to_fpga.inputs import hardware_integers, hardware_layout
from distill_to_fpga.lower import lower
from distill_to_fpga.students import SCORE, StudentConfig, build_student, freeze, save_student
from distill_to_fpga.students.student import scaling_of
from finetune.anomaly.config import AnomalyConfig, RowsConfig
from finetune.anomaly.saved import STAGE as ANOMALY
from foundation.command import to_dict
from foundation.runs import Run
from foundation.store import Store

SMALL = DistillRunConfig(student=StudentConfig(kind="mlp", tokens=PLACES, hidden=(4,)), reference=False)


def untrained(root: Path, score: bool, seed: int = 0) -> Run:
    """`root/student`: of an anomaly model (with a score), or as if of a tagger (with two classes); with its store and
    teacher beside it."""
    if not (root / "data").exists():
        store = write_store(root / "data", crossings(1500), schema())
        normal = AnomalyConfig(rows=RowsConfig(label="sample", classes=("data",)))
        Run.create(root / "teacher", ANOMALY, config=normal, schema=store.schema, inputs={"store": store.path})
    store = Store.open(root / "data/store")
    cfg = replace(SMALL, seed=seed)
    if score:
        cfg = replace(cfg, student=score_shape(cfg))
    layout = hardware_layout(store.schema, "objects", None, PLACES)
    integers, _ = hardware_integers(store, layout, "train")
    outputs: dict[str, Any] = {"classes": (), "regressions": (SCORE,)} if score else {"classes": ("data", "signal")}
    made = build_student(cfg.student, *scaling_of(cfg.student, integers), seed=seed, **outputs)
    made = freeze(made, integers)
    name = ("score" if score else "tagger") + (f"-{seed}" if seed else "")
    inputs = {"teacher": root / "teacher", "store": store.path}
    run = Run.create(root / name, "distill", config=cfg, schema=store.schema, inputs=inputs, seeds={"student": seed})
    save_student(run.path / STUDENT, made, layout)
    if score:
        run.write(TRANSFORM, to_dict(ScoreTransform.of(np.linspace(1, 9, 50), "log")))
    run.write("metrics.json", {"student": estimate(lower(made, layout)).to_dict(), "val": {"spearman": 0.5}})
    return run
