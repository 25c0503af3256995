"""`detfm evaluate`: figures, predictions and plots of a tagger, student or firmware on unseen examples."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from rich.table import Table

from distill_to_fpga.command import REFERENCE, STUDENT, hardware_integers
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.containers import container
from distill_to_fpga.hls.project import GRAPH
from distill_to_fpga.hls.simulate import simulate
from distill_to_fpga.students import load_student, predict, predict_exact
from distill_to_fpga.verify import PROJECT
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
    """Evaluates a finetune, distill or export run.

    A student is evaluated by its exact integer arithmetic, an export by what its compiled C++ computes.

    Raises:
        RunError, DataError: a folder is not what it should be.
        ToolError: an export, and there is no C++ compiler.
    """
    origin = Run.open(run, "finetune", "distill", "export")
    if origin.stage == "finetune":
        written = evaluate_tagger(origin, cfg=cfg, out=out, store=store, overwrite=overwrite)
    else:
        written = _evaluate_hardware(origin, cfg, out, store, overwrite)
    console.print(_table(written))
    return written


def _evaluate_hardware(
    origin: Run, cfg: EvaluateConfig, out: str | Path, store: str | Path | None, overwrite: bool
) -> Run:
    """Metrics of a student or its firmware; of a student also of its `reference`, trained on labels only."""
    distilled = origin if origin.stage == "distill" else Run.open(origin.input("student"), "distill")
    where = Path(store) if store is not None else origin.input("store")
    data, task = Store.open(where), load_tagger(Run.open(distilled.input("teacher"), "finetune")).task
    targets = None if task.label is None else task.targets(data.labels(cfg.split, task.label))
    student, layout = load_student(distilled.path / STUDENT)
    integers, _ = hardware_integers(data, layout, cfg.split)
    outputs = {"": firmware_outputs(origin, integers) if origin.stage == "export" else predict_exact(student, integers)}
    if origin.stage == "distill" and (origin.path / REFERENCE).is_dir():
        outputs[REFERENCE] = predict(load_student(origin.path / REFERENCE)[0], integers)
    inputs = {"model": origin.path, "store": where}
    run = Run.create(out, "evaluate", config=cfg, schema=data.schema, inputs=inputs, overwrite=overwrite)
    found: dict[str, Any] = {}
    for name, values in outputs.items():
        folder = run.path / name
        folder.mkdir(exist_ok=True)
        figures = evaluate_split(folder, data, cfg.split, values, targets, student.classes, student.regressions)
        found |= {name: figures} if name else figures
    run.write("metrics.json", found)
    return run


def firmware_outputs(export: Run, integers: Int[np.ndarray, "n K H"]) -> Float[np.ndarray, "n O"]:
    """What the compiled firmware of an export run makes of hardware integers, in real units."""
    project = export.path / PROJECT
    graph = FixedPointGraph.load(project / GRAPH)
    (port,), (wire,) = graph.inputs, graph.outputs.values()
    with tempfile.TemporaryDirectory(prefix="detfm-evaluate-") as build:
        words = simulate(project, graph, {port: integers.astype(np.int64)}, Path(build))
    return words * 2.0 ** -container(graph.wires[wire]).fraction


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
        parser.add_argument("run", help="a finetune, distill or export run"),
        parser.add_argument("--store", help="labelled data, if not the run's own"),
        parser.add_argument("--out", default="runs/evaluate", help="run folder to write"),
        parser.add_argument("--overwrite", action="store_true", help="replace an evaluate run at --out"),
    ),
    description="Measures a tagger, a student or its compiled firmware on examples it was not trained on: accuracy, "
    "AUC, background rejection, ROC, and predictions as Parquet and ROOT. "
    "Example: detfm evaluate runs/finetune --out runs/evaluate",
)
