"""`detfm evaluate`: figures, predictions and plots of a tagger, student or firmware on unseen examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from distill_to_fpga.anomaly.evaluate import evaluate_score, is_score_student
from distill_to_fpga.config import REFERENCE, STUDENT
from distill_to_fpga.firmware import firmware_outputs
from distill_to_fpga.inputs import hardware_integers
from distill_to_fpga.objective import Examples
from distill_to_fpga.robustness import energy_features, robustness, tagger_figures
from distill_to_fpga.search.kept import chosen
from distill_to_fpga.students import load_student, predict, predict_exact
from finetune.evaluate import EvaluateConfig, evaluate_tagger
from finetune.saved import load_tagger
from finetune.task import Task
from foundation.command import Command
from foundation.errors import ConfigError
from foundation.evaluation import Fitted, check_settings, evaluate_predictions
from foundation.predictions import Kind, Predictions, Regression
from foundation.progress import console
from foundation.runs import Run
from foundation.store import Store


def evaluate(
    run: str | Path,
    *,
    cfg: EvaluateConfig,
    out: str | Path,
    store: str | Path | None = None,
    against: str | Path | None = None,
    trial: int | None = None,
    overwrite: bool = False,
) -> Run:
    """Evaluates a finetune, distill or export run, or one trial of a search.

    A student is evaluated by its exact integer arithmetic, an export by what its compiled C++ computes.

    Args:
        store: where, if not on the store that it was trained on.
        against: another store, whose differences from the first are measured; of a finetune run.
        trial: of a search, whose student it is.

    Raises:
        RunError, DataError: a folder is not what it should be.
        ConfigError: a setting that a student cannot do.
        ToolError: an export, and there is no C++ compiler.
    """
    origin = chosen(run, trial, "finetune", "distill", "export")
    if origin.stage == "finetune":
        written = evaluate_tagger(origin, cfg=cfg, out=out, store=store, against=against, overwrite=overwrite)
    else:
        for what, asked in (("--against", against is not None), ("--cfg.embeddings", cfg.embeddings)):
            if asked:
                raise ConfigError(f"{what} needs a finetune run; {origin.path} is of stage '{origin.stage}'")
        distilled = origin if origin.stage == "distill" else Run.open(origin.input("student"), "distill")
        if is_score_student(distilled):
            written = evaluate_score(origin, distilled, cfg=cfg, out=out, store=store, overwrite=overwrite)
        else:
            written = _evaluate_hardware(origin, distilled, cfg, out, store, overwrite)
    console.print(_table(written))
    return written


def _evaluate_hardware(
    origin: Run, distilled: Run, cfg: EvaluateConfig, out: str | Path, store: str | Path | None, overwrite: bool
) -> Run:
    """Metrics of a student or its firmware; of a student also of its `reference`, trained on labels only."""
    where = Path(store) if store is not None else origin.input("store")
    data, task = Store.open(where), load_tagger(Run.open(distilled.input("teacher"), "finetune")).task
    student, layout = load_student(distilled.path / STUDENT)
    check_settings(cfg, data, cfg.split, student.classes)
    splits = [cfg.split]
    if cfg.calibration not in ("", cfg.split) and cfg.calibration in data.splits and data.length(cfg.calibration):
        splits.append(cfg.calibration)
    parts = [hardware_integers(data, layout, split)[0] for split in splits]
    integers = np.concatenate(parts)  # in one go: the firmware is compiled once
    outputs = {"": firmware_outputs(origin, integers) if origin.stage == "export" else predict_exact(student, integers)}
    reference = None
    if origin.stage == "distill" and (origin.path / REFERENCE).is_dir():
        reference = load_student(origin.path / REFERENCE)[0]
        outputs[REFERENCE] = predict(reference, integers)
    inputs = {"model": origin.path, "store": where}
    run = Run.create(out, "evaluate", config=cfg, schema=data.schema, inputs=inputs, overwrite=overwrite)
    found: dict[str, Any] = {}
    for name, values in outputs.items():
        folder = run.path / name
        folder.mkdir(exist_ok=True)
        cuts = np.split(values, [len(parts[0])])
        said = [
            _said(task, data, split, each, student.classes, student.regressions) for split, each in zip(splits, cuts)
        ]
        fitted = Fitted.of(said[1], f"{splits[1]} of {data.path}") if len(splits) > 1 else Fitted()
        figures = evaluate_predictions(folder, data, cfg.split, said[0], cfg, fitted)
        found |= {name: figures} if name else figures
    if origin.stage == "distill" and cfg.robustness.rows:
        used = slice(min(cfg.robustness.rows, len(parts[0])))
        truth = _truth(task, data, cfg.split, used)
        students = {"": student} | ({REFERENCE: reference} if reference is not None else {})
        figures_of = {name: tagger_figures(each, truth) for name, each in students.items()}
        energies = energy_features(data.schema, layout.modality)
        found["robustness"] = robustness(figures_of, parts[0][used], layout, energies, cfg.robustness)
    run.write("metrics.json", found)
    return run


def _truth(task: Task, data: Store, split: str, used: slice) -> Examples:
    """What `tagger_figures` compares with."""
    count = len(range(*used.indices(data.length(split))))
    labels = np.full(count, -1, np.int32)
    if task.label is not None:
        labels = task.targets(data.labels(split, task.label))[used].astype(np.int32)
    targets = [np.asarray(data.labels(split, name)[used], np.float32) for name in task.regression]
    return Examples(np.zeros((count, 1, 1), np.int32), labels, None, np.stack(targets, axis=1) if targets else None)


def _said(
    task: Task, data: Store, split: str, values: np.ndarray, classes: tuple[str, ...], regressions: tuple[str, ...]
) -> Predictions:
    """Outputs of a student, logits before regression values, beside the truth."""
    rows, targets = np.arange(len(values)), np.full(len(values), -1, np.int32)
    if task.label is not None:
        targets = task.targets(data.labels(split, task.label))
    each = {
        name: Regression(data.labels(split, name), values[:, len(classes) + i]) for i, name in enumerate(regressions)
    }
    kind: Kind = "none" if task.label is None else "class"
    return Predictions(kind, classes, values[:, : len(classes)], targets, rows, regressions=each)


def _table(run: Run) -> Table:
    found = run.read("metrics.json")
    table = Table(title=f"{run.path}: {found['rows']:,} rows of '{found['split']}'", title_justify="left")
    for heading in ("figure", "value"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for name, value in found.items():
        if isinstance(value, float):
            table.add_row(name, f"{value:.4f}")
        elif isinstance(value, dict) and "resolution" in value:
            table.add_row(f"{name}: response, resolution", f"{value['response']:.3f}, {value['resolution']:.3f}")
        elif name == "efficiencies":
            for each in (record for record in value if record["kept"] is not None):
                at = f"{each['class']} at {each['rate_khz']:g} kHz ({each['passes']:.2g} of the normal)"
                seen = f"{each['student']:.4f} of the teacher's {each['teacher']:.4f}"
                table.add_row(at, seen + ("" if each["measured"] else " (threshold not measured)"))
    return table


COMMAND = Command(
    run=lambda args: evaluate(
        args.run,
        cfg=args.cfg,
        out=args.out,
        store=args.store,
        against=args.against,
        trial=args.trial,
        overwrite=args.overwrite,
    ),
    config=EvaluateConfig,
    arguments=lambda parser: (
        parser.add_argument("run", help="a finetune, distill or export run, or a search"),
        parser.add_argument("--trial", type=int, help="of a search: number of the trial"),
        parser.add_argument("--store", help="labelled data, if not the run's own"),
        parser.add_argument("--against", help="another store: how it differs, and what the tagger loses there"),
        parser.add_argument("--out", default="runs/evaluate", help="run folder to write"),
        parser.add_argument("--overwrite", action="store_true", help="replace an evaluate run at --out"),
    ),
    description="Measures a tagger, a student or its compiled firmware on examples it was not trained on: accuracy, "
    "AUC, background rejection, calibration, mass sculpting, dependence on pt, eta and pile-up, with errors; ROC, and "
    "predictions as Parquet and ROOT. Example: detfm evaluate runs/finetune --cfg.signal '[b]' --cfg.background "
    "'[c,light]' --out runs/evaluate",
)
