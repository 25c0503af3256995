"""`detfm evaluate`: figures, predictions and plots of a tagger or a student on a split it was not trained on."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from distill_to_fpga.command import REFERENCE, STUDENT, hardware_integers
from distill_to_fpga.students import load_student, predict, predict_exact
from finetune.evaluate import EvaluateConfig, evaluate_tagger
from finetune.saved import load_tagger
from foundation.command import Command
from foundation.evaluation import evaluate_split
from foundation.progress import console
from foundation.runs import Run
from foundation.store import Store


def evaluate(
    run: str | Path, *, cfg: EvaluateConfig, out: str | Path, store: str | Path | None = None, overwrite: bool = False
) -> Run:
    """Evaluates a finetune or distill run; a student by its exact integer arithmetic.

    Raises:
        RunError, DataError: a folder is not what it should be.
    """
    origin = Run.open(run, "finetune", "distill")
    if origin.stage == "finetune":
        written = evaluate_tagger(origin, cfg=cfg, out=out, store=store, overwrite=overwrite)
    else:
        written = evaluate_student(origin, cfg=cfg, out=out, store=store, overwrite=overwrite)
    console.print(_table(written))
    return written


def evaluate_student(
    origin: Run, *, cfg: EvaluateConfig, out: str | Path, store: str | Path | None = None, overwrite: bool = False
) -> Run:
    """Writes metrics.json of the student and, under `reference/`, of the floating-point one trained on labels only."""
    where = Path(store) if store is not None else origin.input("store")
    data, task = Store.open(where), load_tagger(Run.open(origin.input("teacher"), "finetune")).task
    targets = None if task.label is None else task.targets(data.labels(cfg.split, task.label))
    student, layout = load_student(origin.path / STUDENT)
    integers, _ = hardware_integers(data, layout, cfg.split)
    run = Run.create(
        out,
        "evaluate",
        config=cfg,
        schema=data.schema,
        inputs={"model": origin.path, "store": where},
        overwrite=overwrite,
    )
    names = (data, cfg.split)
    exact = predict_exact(student, integers)
    found = evaluate_split(run.path, *names, exact, targets, student.classes, student.regressions)
    if (origin.path / REFERENCE).is_dir():
        reference, _ = load_student(origin.path / REFERENCE)
        (run.path / REFERENCE).mkdir()
        floats = predict(reference, integers)
        found[REFERENCE] = evaluate_split(
            run.path / REFERENCE, *names, floats, targets, student.classes, student.regressions
        )
    run.write("metrics.json", found)
    return run


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
    return table


COMMAND = Command(
    run=lambda args: evaluate(args.run, cfg=args.cfg, out=args.out, store=args.store, overwrite=args.overwrite),
    config=EvaluateConfig,
    arguments=lambda parser: (
        parser.add_argument("run", help="a finetune or distill run"),
        parser.add_argument("--store", help="labelled data, if not the run's own"),
        parser.add_argument("--out", default="runs/evaluate", help="run folder to write"),
        parser.add_argument("--overwrite", action="store_true", help="replace an evaluate run at --out"),
    ),
    description="Measures a tagger or student on examples it was not trained on: accuracy, AUC, background rejection, "
    "ROC, and predictions as Parquet and ROOT. Example: detfm evaluate runs/finetune --out runs/evaluate",
)
