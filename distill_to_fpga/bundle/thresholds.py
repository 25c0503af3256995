"""Thresholds of a score as the firmware's menu takes them: integers for rates in kHz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from distill_to_fpga.anomaly.comparison import Scored, hardware_thresholds
from distill_to_fpga.anomaly.distill import said_of
from distill_to_fpga.anomaly.evaluate import NormalAndSignals, is_score_student
from distill_to_fpga.students import Student
from finetune.anomaly.config import AnomalyConfig
from finetune.anomaly.saved import STAGE as ANOMALY
from foundation.errors import RunError
from foundation.evaluation_config import EvaluateConfig
from foundation.runs import Run
from foundation.store import Store


def thresholds(
    origin: Run, student: Student, integers: Int[np.ndarray, "n K H"], data: Store, split: str, measured: Run | None
) -> dict[str, Any]:
    """`records`, one for each rate, and `of`: the crossings that they were set with; without records, `why` not.

    Args:
        origin: the distill run.
        integers: of the split.
        measured: an evaluate run of the student, whose thresholds are taken then.
    """
    if not is_score_student(origin):
        outputs = ", ".join([*student.classes, *student.regressions])
        return {"why": f"the student makes no score: its outputs are {outputs}, on which a menu cuts as it likes"}
    if measured is not None:
        found = measured.read("metrics.json")
        return {"records": found["thresholds"], "of": {"split": found["split"], **found["normal"]}}
    try:
        normal = Run.open(origin.input("teacher"), ANOMALY).config(AnomalyConfig).rows
    except RunError as error:
        return {"why": f"which crossings are normal is not known: {error}"}
    cfg, rows = EvaluateConfig(split=split), np.arange(len(integers))
    said = said_of(student, integers)
    classes = NormalAndSignals.of(data, cfg, normal.label, normal.classes, rows)
    weights = np.asarray(data.part(split, "weights", 0, len(integers)), np.float64)
    scored = Scored(said, said, classes.normal, classes.signals, weights)
    fraction = student.config.score_bits - student.config.score_integer
    records = hardware_thresholds(scored, cfg.rates_khz, cfg.beam, fraction)
    return {"records": records, "of": {"split": split, "store": Path(data.path).name, **classes.describe()}}
