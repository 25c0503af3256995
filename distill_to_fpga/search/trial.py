"""One trial: a student is trained, measured on `val`, and kept as a distill run of its own in OUT/trials/NUMBER."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_to_fpga.anomaly.distill import TRANSFORM, score_shape
from distill_to_fpga.config import STUDENT, DistillRunConfig
from distill_to_fpga.lower import lower
from distill_to_fpga.search.examples import Material, loaded
from distill_to_fpga.search.kept import FAILURE, TRIALS
from distill_to_fpga.search.measures import costs, lost
from distill_to_fpga.search.space import SearchConfig, distill_config
from distill_to_fpga.students import save_student
from distill_to_fpga.written import describe, write_history
from foundation.command import to_dict
from foundation.compilation_cache import forget_compiled
from foundation.errors import DetfmError
from foundation.runs import Run
from foundation.schema import DetectorSchema

EXAMPLES = "examples"


def run_trial(
    folder: Path, cfg: SearchConfig, number: int, seed: int, settings: dict[str, Any], inputs: Mapping[str, Path]
) -> dict[str, Any]:
    """Trains and measures the student of these settings.

    Args:
        folder: of the search.
        number: of the trial.
        seed: of the student.
        settings: those of the search that have a meaning here.
        inputs: role -> folder, for the run that keeps the student.

    Returns:
        The record: number, seed, settings, figures, seconds, and the error that ended it (else an empty string), so
        that one trial does not end the others.
    """
    start = time.monotonic()
    record: dict[str, Any] = {"number": number, "seed": seed, "settings": settings, "figures": {}, "error": ""}
    try:
        own = dataclasses.replace(distill_config(cfg, settings), seed=seed)
        record["figures"] = _trained(folder, cfg, number, own, inputs)
    except Exception as error:
        record["error"] = str(error) if isinstance(error, DetfmError) else f"{type(error).__name__}: {error}"
        where = folder / TRIALS / str(number)
        where.mkdir(parents=True, exist_ok=True)
        (where / FAILURE).write_text(traceback.format_exc())
    forget_compiled()
    return record | {"seconds": time.monotonic() - start}


def _trained(
    folder: Path, cfg: SearchConfig, number: int, own: DistillRunConfig, inputs: Mapping[str, Path]
) -> dict[str, Any]:
    material: Material = loaded(folder / EXAMPLES)
    schema = DetectorSchema.load(folder / "schema.yaml")
    own = dataclasses.replace(own, student=score_shape(own)) if material.score else own
    layout = material.seen(own)
    made, transform = material.train_student(own)
    figures = material.figures(made.student, transform, cfg)
    integers = material.integers("val", layout)
    found: dict[str, Any] = figures(integers)
    if rows := cfg.robustness.rows:
        some = material.figures(made.student, transform, cfg, rows)
        found |= lost(some, integers[:rows], layout, schema, cfg.robustness)
    found |= costs(lower(made.student, layout), cfg.clock_ns) | {"seconds": made.seconds}
    run = Run.create(
        folder / TRIALS / str(number),
        "distill",
        config=own,
        schema=schema,
        inputs=inputs,
        seeds={"student": own.seed},
    )
    save_student(run.path / STUDENT, made.student, layout)
    if transform is not None:
        run.write(TRANSFORM, to_dict(transform))
    write_history(run, made)
    run.write("metrics.json", {"student": describe(made, layout), "val": found})
    return found
