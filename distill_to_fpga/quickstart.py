"""`detfm quickstart`: the whole line on the shipped sample, each stage by its own command."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from distill_to_fpga.command import REFERENCE
from distill_to_fpga.verify import RESULT
from foundation.cli import dispatch
from foundation.command import Command
from foundation.errors import DataError
from foundation.progress import console
from foundation.runs import Run
from foundation.schema import DetectorSchema

SAMPLE = Path(__file__).parent.parent / "samples" / "jets.root"
REPORT = "report.html"


@dataclass(frozen=True)
class QuickstartConfig:
    """The whole line.

    Attributes:
        presets: folder of presets, one per stage: `PRESETS/pretrain`, `PRESETS/finetune`, ...
        schema: of the input file.
        seeds: of the taggers, from scratch and fine-tuned.
        labels: number of labelled jets each tagger may use.
        vectors: how many test vectors the firmware must get right, at least.
    """

    presets: str = "quickstart"
    schema: str = "data/jets"
    seeds: tuple[int, ...] = (0, 1, 2)
    labels: int = 500
    vectors: int = 20_000


def quickstart(file: str | Path, *, cfg: QuickstartConfig, out: str | Path, overwrite: bool = False) -> dict[str, Any]:
    """Runs ingest, pretrain, finetune, evaluate, distill, export, verify and report, each by its own command.

    Args:
        file: labelled jets; the shipped sample unless told otherwise.
        out: folder for the store, every run and `report.html`.

    Returns:
        The figures of the table.

    Raises:
        DataError: the sample is not there.
        RunError: `out` holds something that is not a quickstart.
    """
    file, out = Path(file), Path(out)
    if not file.is_file():
        raise DataError(f"{file}: no such file; the sample is in the repository, and `make sample` makes it again")
    schema = DetectorSchema.load(cfg.schema)
    Run.create(out, "quickstart", config=cfg, schema=schema, inputs={"file": file}, overwrite=overwrite)
    run, started, stage = Run.open(out), time.monotonic(), _Stages(cfg)
    stage("ingest", file, "--schema", cfg.schema, "--out", out / "store")
    stage("pretrain", out / "store", "--cfg", "@", "--out", out / "pretrain")
    for seed in cfg.seeds:
        for start, name in ((out / "store", "scratch"), (out / "pretrain", "finetuned")):
            options = ["--cfg.labels", cfg.labels, "--cfg.train.seed", seed]
            stage("finetune", start, "--cfg", "@", *options, "--out", out / f"{name}-{seed}")
            stage("evaluate", out / f"{name}-{seed}", "--out", out / f"evaluate-{name}-{seed}")
    stage("distill", out / f"finetuned-{cfg.seeds[0]}", "--cfg", "@", "--out", out / "student")
    stage("evaluate", out / "student", "--out", out / "evaluate-student")
    stage("export", out / "student", "--cfg", "@", "--out", out / "firmware")
    stage("evaluate", out / "firmware", "--out", out / "evaluate-firmware")
    stage("verify", out / "firmware", "--count", cfg.vectors)
    figures = collect(out, cfg)
    figures["seconds"] = time.monotonic() - started
    run.write("metrics.json", figures)
    stage("report", out, out / "evaluate-firmware", out / "evaluate-student", out / "firmware", "--out", out / REPORT)
    _print(figures, out)
    return figures


class _Stages:
    """Prints a command, then runs it in this process. `@` stands for the preset of the stage."""

    def __init__(self, cfg: QuickstartConfig):
        self.presets = cfg.presets

    def __call__(self, name: str, *words: Any) -> None:
        argv = [str(w) if w != "@" else f"{self.presets}/{name}" for w in words]
        console.print(f"\n[bold]$ detfm {name} {escape(shlex.join(argv))}[/bold]", highlight=False)
        dispatch(name, argv)


def collect(out: Path, cfg: QuickstartConfig) -> dict[str, Any]:
    """Figures of all models on the same test set, and of the firmware."""
    found: dict[str, Any] = {}
    for name in ("scratch", "finetuned"):
        each = [Run.open(out / f"evaluate-{name}-{seed}").read("metrics.json") for seed in cfg.seeds]
        found[name] = {k: [e[k] for e in each] for k in ("accuracy", "auc")}
    student = Run.open(out / "evaluate-student").read("metrics.json")
    firmware = Run.open(out / "evaluate-firmware").read("metrics.json")
    for name, values in (("label_only", student[REFERENCE]), ("student", student), ("firmware", firmware)):
        found[name] = {k: values[k] for k in ("accuracy", "auc")}
    export = Run.open(out / "firmware")
    cost, proof = export.read("metrics.json"), export.read(RESULT)
    kept = ("weights", "nonzero_weights", "weight_bits", "ebops", "luts", "latency_ns", "method")
    found["size"] = {k: cost[k] for k in kept}
    found["vectors"], found["mismatches"] = proof["vectors"], sum(proof["mismatches"].values())
    found["labels"], found["test_examples"] = cfg.labels, student["examples"]
    found["auc_gain"] = float(np.mean(found["finetuned"]["auc"]) - np.mean(found["scratch"]["auc"]))
    return found


def _print(found: dict[str, Any], out: Path) -> None:
    labels, size = found["labels"], found["size"]
    table = Table(title=f"\n{found['test_examples']:,} test jets, none of them trained on", title_justify="left")
    for heading in ("model", "accuracy", "AUC"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name, text in (("scratch", "from scratch"), ("finetuned", "pretrained, fine-tuned")):
        spread = [f"{np.mean(found[name][k]):.4f} ± {np.std(found[name][k]):.4f}" for k in ("accuracy", "auc")]
        table.add_row(f"tagger {text}, {labels:,} labels, {len(found[name]['auc'])} seeds", *spread)
    rows = (
        ("label_only", f"student, floating point, {labels:,} labels only"),
        ("student", "student, distilled and quantised"),
        ("firmware", "firmware (compiled C++)"),
    )
    for name, text in rows:
        table.add_row(text, f"{found[name]['accuracy']:.4f}", f"{found[name]['auc']:.4f}")
    console.print(table)
    console.print(
        f"student: {size['weights']:,} weights, {size['nonzero_weights']:,} not zero, {size['weight_bits']:,} bits, "
        f"{size['ebops']:,} EBOPs, {size['luts']:,} LUTs and {size['latency_ns']:g} ns ({size['method']})",
        highlight=False,
    )
    console.print(f"firmware against golden model: {found['mismatches']} mismatches in {found['vectors']:,} vectors")
    console.print(f"{found['seconds']:.0f} s in all; the whole story: {out / REPORT}", highlight=False)


COMMAND = Command(
    run=lambda args: quickstart(args.file, cfg=args.cfg, out=args.out, overwrite=args.overwrite),
    config=QuickstartConfig,
    arguments=lambda parser: (
        parser.add_argument("--file", default=str(SAMPLE), help="labelled jets"),
        parser.add_argument("--out", default="runs/quickstart", help="folder for the store and every run"),
        parser.add_argument("--overwrite", action="store_true", help="replace a quickstart at --out"),
    ),
    description="Takes the shipped sample of simulated jets down the whole line: store, pretraining, taggers, student, "
    "firmware, proof. Example: detfm quickstart --out runs/quickstart",
)
