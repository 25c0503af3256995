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
from distill_to_fpga.inputs import HardwareLayout, hardware_integers, hardware_layout
from distill_to_fpga.objective import Examples
from distill_to_fpga.students import save_student
from distill_to_fpga.written import describe, write_history
from finetune.anomaly.saved import STAGE as ANOMALY
from finetune.config import FinetuneConfig
from finetune.labelled import labelled_rows
from finetune.model import Tagger, outputs
from finetune.saved import load_tagger
from foundation.command import Command
from foundation.embedding import apply
from foundation.errors import ConfigError
from foundation.progress import console
from foundation.runs import Run, make_room
from foundation.store import Store


def distill_run(
    teacher: str | Path,
    *,
    cfg: DistillRunConfig,
    out: str | Path,
    store: str | Path | None = None,
    overwrite: bool = False,
) -> Run:
    """Distils a finetune or anomaly run into a student; for the latter see `distill_to_fpga.anomaly.distill`.

    A tagger labels the whole `train` split; true labels enter for the examples that the teacher was given, and for
    no others. The reference sees those labelled examples only.

    Args:
        teacher: a finetune or anomaly run.
        store: the data, if it has moved.
        out: run folder to write.

    Raises:
        RunError, DataError, SchemaError, ConfigError, TrainingError: see the modules that raise them.
    """
    origin = Run.open(teacher, "finetune", ANOMALY)
    if origin.stage == ANOMALY:
        return distill_score(origin, cfg=cfg, out=out, store=store, overwrite=overwrite)
    where = Path(store) if store is not None else origin.input("store")
    data, tagger = Store.open(where), checked_teacher(load_tagger(origin))
    layout = hardware_layout(
        data.schema, cfg.modality or next(iter(data.schema.modalities)), cfg.student.features, cfg.student.tokens
    )
    make_room(Path(out), "distill", overwrite)
    labelled = labelled_rows(
        data, tagger.task, origin.config(FinetuneConfig).labels, origin.provenance["seeds"]["train"]
    )
    train, validation = examples(data, tagger, layout, "train", labelled), examples(data, tagger, layout, "val")
    task = tagger.task
    student = distill(cfg.distill, cfg.student, train, task.classes, task.regression, validation, cfg.seed, layout)
    run = Run.create(
        out,
        "distill",
        config=cfg,
        schema=data.schema,
        inputs={"teacher": teacher, "store": where},
        seeds={"student": cfg.seed},
    )
    save_student(run.path / STUDENT, student.student, layout)
    results = {"student": describe(student, layout)}
    if cfg.reference:
        reference = train_reference(cfg, train, labelled, tagger, validation)
        save_student(run.path / REFERENCE, reference.student, layout)
        results["reference"] = {"seconds": reference.seconds, "labels": len(labelled)}
    write_history(run, student)
    run.write("metrics.json", results)
    return run


def checked_teacher(tagger: Any) -> Tagger:
    """A teacher that students can learn from. Raises ConfigError: its outputs are not one vector of an example."""
    if not isinstance(tagger, Tagger):
        raise ConfigError("the teacher is a boosted tree; a student is distilled from a network: finetune one")
    task = tagger.task
    if task.kind in ("class", "none") and not task.modality:
        return tagger
    what = {"multilabel": "multi-labels", "edge": "edges (pairs of tokens)"}.get(task.kind, "tokens")
    raise ConfigError(
        f"the teacher is a tagger of {what} ('{task.label or task.regression[0]}'); students are distilled from "
        "taggers with one class per example, regression targets of examples, or both"
    )


def examples(
    data: Store, tagger: Tagger, layout: HardwareLayout, split: str, labelled: Int[np.ndarray, " n"] | None = None
) -> Examples:
    """A split as the student sees it, with the teacher's outputs. Labels outside `labelled` are hidden.

    Where a regression target is hidden or unknown, the teacher's own value stands in.
    """
    integers, saturated = hardware_integers(data, layout, split)
    for name, count in zip(layout.features, saturated):
        if count > 0.001 * integers[..., 0].size:
            console.print(f"{split}: {count} values of '{name}' saturate their hardware type")
    task, predicted = tagger.task, apply(tagger, outputs, data, split)
    shown = np.ones(len(integers), bool) if labelled is None else np.isin(np.arange(len(integers)), labelled)
    labels = np.full(len(integers), -1, np.int32)
    if task.label is not None:
        labels = np.where(shown, task.targets(data.labels(split, task.label)), -1).astype(np.int32)
    targets = None
    if task.regression:
        true = np.stack([data.labels(split, name) for name in task.regression], axis=1)
        use = shown[:, None] & np.isfinite(true)
        targets = np.where(use, true, predicted[:, len(task.classes) :]).astype(np.float32)
    return Examples(integers, labels, predicted[:, : len(task.classes)].astype(np.float32), targets)


def train_reference(
    cfg: DistillRunConfig, train: Examples, labelled: Int[np.ndarray, " n"], tagger: Tagger, validation: Examples
) -> Distilled:
    """The floating-point student of the same shape, from the labelled examples alone: what distillation must beat."""
    only = Examples(
        train.integers[labelled],
        train.labels[labelled],
        None,
        None if train.targets is None else train.targets[labelled],
    )
    shape = dataclasses.replace(cfg.student, quantized=False)
    training = dataclasses.replace(cfg.distill, alpha=0.0)
    return distill(training, shape, only, tagger.task.classes, tagger.task.regression, validation, cfg.seed)


COMMAND = Command(
    run=lambda args: distill_run(args.teacher, cfg=args.cfg, out=args.out, store=args.store, overwrite=args.overwrite),
    config=DistillRunConfig,
    arguments=lambda parser: (
        parser.add_argument("teacher", help="a finetune or anomaly run"),
        parser.add_argument("--store", help="the data, if it has moved"),
        parser.add_argument("--out", default="runs/student", help="run folder to write"),
        parser.add_argument("--overwrite", action="store_true", help="replace a distill run at --out"),
    ),
    description="Distils a tagger, or an anomaly model's score, into a quantised student over the integers that the "
    "trigger board receives. "
    "Example: detfm distill runs/finetune --cfg quickstart/distill --cfg.distill.lut_budget 10000 --out runs/student",
)
