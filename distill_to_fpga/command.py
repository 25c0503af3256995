"""`detfm distill`: a tagger (or an anomaly model) becomes a tiny, quantised, pruned student over hardware integers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from distill_to_fpga.anomaly.distill import distill_score
from distill_to_fpga.config import REFERENCE, STUDENT, DistillRunConfig
from distill_to_fpga.distill import Distilled, distill
from distill_to_fpga.inputs import hardware_layout
from distill_to_fpga.objective import Examples
from distill_to_fpga.prune import PruneConfig
from distill_to_fpga.started import started
from distill_to_fpga.students import save_student
from distill_to_fpga.taught import Taggers
from distill_to_fpga.written import describe, write_history
from finetune.anomaly.saved import STAGE as ANOMALY
from finetune.task import Task
from foundation.command import Command
from foundation.runs import Run, make_room


def distill_run(
    teacher: str | Path,
    *,
    cfg: DistillRunConfig,
    out: str | Path,
    store: str | Path | None = None,
    start: str | Path | None = None,
    overwrite: bool = False,
) -> Run:
    """Distils a finetune or anomaly run into a student; for the latter see `distill_to_fpga.anomaly.distill`.

    A tagger (or several, `ensemble`) labels the whole `train` split and those of `stores.extra`; true
    labels enter for the examples that a teacher was given, and for no others. The reference sees those examples only.
    The student may see another store than the teachers, of the same crossings (`stores.student`).

    Args:
        teacher: a finetune or anomaly run.
        store: the data, if it has moved.
        start: a distill run of the same shape, whose student this one begins as: to shrink it further, say.
        out: run folder to write.

    Raises:
        RunError, DataError, SchemaError, ConfigError, TrainingError: see the modules that raise them.
    """
    origin = Run.open(teacher, "finetune", ANOMALY)
    if origin.stage == ANOMALY:
        return distill_score(origin, cfg=cfg, out=out, store=store, start=start, overwrite=overwrite)
    teachers = Taggers.load(origin, cfg, store, embeds=cfg.distill.embeds)
    schema, task = teachers.board.schema, teachers.taggers[0].task
    layout = hardware_layout(
        schema, cfg.modality or next(iter(schema.modalities)), cfg.student.features, cfg.student.tokens
    )
    first = None if start is None else started(start, layout)
    make_room(Path(out), "distill", overwrite)
    train, validation = teachers.train(layout, cfg.stores.extra), teachers.examples(layout, "val")
    names = task.classes, task.regression
    student = distill(cfg.distill, cfg.student, train, *names, validation, cfg.seed, layout, first)
    inputs: dict[str, Any] = {"teacher": teacher, "store": teachers.board.path}
    inputs |= {"teacher_store": teachers.data.path} if teachers.paired else {}
    inputs |= {f"teacher_{i}": path for i, path in enumerate(cfg.ensemble, 2)}
    inputs |= {} if start is None else {"start": start}
    run = Run.create(
        out,
        "distill",
        config=cfg,
        schema=schema,
        inputs=inputs,
        seeds={"student": cfg.seed},
    )
    save_student(run.path / STUDENT, student.student, layout)
    results = {"student": describe(student, layout)}
    if cfg.reference:
        given = teachers.given()
        reference = train_reference(cfg, train, given, task, validation)
        save_student(run.path / REFERENCE, reference.student, layout)
        results["reference"] = {"seconds": reference.seconds, "labels": len(given)}
    write_history(run, student)
    run.write("metrics.json", results)
    return run


def train_reference(
    cfg: DistillRunConfig, train: Examples, labelled: Int[np.ndarray, " n"], task: Task, validation: Examples
) -> Distilled:
    """The floating-point student of the same shape, from the labelled examples alone: what distillation must beat."""
    only = Examples(
        train.integers[labelled],
        train.labels[labelled],
        None,
        None if train.targets is None else train.targets[labelled],
    )
    shape = dataclasses.replace(cfg.student, quantized=False)
    training = dataclasses.replace(
        cfg.distill, alpha=0.0, embedding_weight=0.0, relational_weight=0.0, prune=PruneConfig()
    )
    return distill(training, shape, only, task.classes, task.regression, validation, cfg.seed)


COMMAND = Command(
    run=lambda args: distill_run(
        args.teacher, cfg=args.cfg, out=args.out, store=args.store, start=args.start, overwrite=args.overwrite
    ),
    config=DistillRunConfig,
    arguments=lambda parser: (
        parser.add_argument("teacher", help="a finetune or anomaly run"),
        parser.add_argument("--store", help="the data, if it has moved"),
        parser.add_argument("--start", help="a distill run of the same shape to begin as"),
        parser.add_argument("--out", default="runs/student", help="run folder to write"),
        parser.add_argument("--overwrite", action="store_true", help="replace a distill run at --out"),
    ),
    description="Distils a tagger, or an anomaly model's score, into a quantised student over the integers that the "
    "trigger board receives. "
    "Example: detfm distill runs/finetune --cfg quickstart/distill --cfg.distill.lut_budget 10000 --out runs/student",
)
