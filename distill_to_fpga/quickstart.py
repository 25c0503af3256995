"""`detfm quickstart`: the whole line on the shipped sample, each stage by its own command."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.markup import escape
from rich.table import Table as RichTable

from distill_to_fpga.config import REFERENCE
from distill_to_fpga.verify import RESULT
from foundation import plots
from foundation.cli import dispatch
from foundation.command import Command
from foundation.errors import DataError
from foundation.metrics import roc
from foundation.page import Picture, Section, Table
from foundation.progress import console
from foundation.report import report
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
        signal, background: classes of the ROC curve in the report.
    """

    presets: str = "quickstart"
    schema: str = "data/jets"
    seeds: tuple[int, ...] = (0, 1, 2)
    labels: int = 500
    vectors: int = 20_000
    signal: str = "Tbqq"
    background: str = "QCD"


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
    picture = draw(out, cfg)
    (out / "roc.png").write_bytes(picture)
    lines = [out / name for name in ("evaluate-firmware", "evaluate-student", "firmware")]
    report(lines, out / REPORT, title="detfm quickstart", lead=[_summary(figures, picture)])
    console.print(_table(figures))
    console.print(*_remarks(figures), f"{figures['seconds']:.0f} s in all; the whole story: {out / REPORT}", sep="\n")
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


def _rows(found: dict[str, Any]) -> list[list[str]]:
    """Model, accuracy and AUC; over seeds their mean and standard deviation."""
    labels, rows = found["labels"], []
    for name, text in (("scratch", "tagger from scratch"), ("finetuned", "tagger pretrained, then fine-tuned")):
        spread = [f"{np.mean(found[name][k]):.4f} ± {np.std(found[name][k]):.4f}" for k in ("accuracy", "auc")]
        rows.append([f"{text}: {labels:,} labels", *spread])
    names = (
        ("label_only", f"student, floating point, labels only: {labels:,} labels"),
        ("student", "student, distilled and quantised"),
        ("firmware", "firmware (the compiled C++)"),
    )
    return rows + [[text, f"{found[name]['accuracy']:.4f}", f"{found[name]['auc']:.4f}"] for name, text in names]


def _remarks(found: dict[str, Any]) -> list[str]:
    size = found["size"]
    return [
        f"student: {size['weights']:,} weights, {size['nonzero_weights']:,} of them not zero, in "
        f"{size['weight_bits']:,} bits; {size['ebops']:,} EBOPs",
        f"{size['luts']:,} LUTs and {size['latency_ns']:g} ns: {size['method']}",
        f"firmware against golden model: {found['mismatches']} mismatches in {found['vectors']:,} vectors",
    ]


def _table(found: dict[str, Any]) -> RichTable:
    seeds = len(found["scratch"]["auc"])
    title = f"\n{found['test_examples']:,} test jets that nothing was trained on; taggers: mean of {seeds} seeds"
    table = RichTable(title=title, title_justify="left")
    for heading in ("model", "accuracy", "AUC"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for row in _rows(found):
        table.add_row(*row)
    return table


def _summary(found: dict[str, Any], picture: bytes) -> Section:
    text = f"{found['test_examples']:,} test jets that nothing was trained on. AUC: mean over the classes, each "
    text += f"against the rest. Taggers: mean and standard deviation of {len(found['scratch']['auc'])} seeds.\n\n"
    table = Table(["model", "accuracy", "AUC"], _rows(found))
    return Section("Result", text + "\n\n".join(_remarks(found)), [table], [Picture(picture, "Top against QCD jets")])


def draw(out: Path, cfg: QuickstartConfig) -> bytes:
    """ROC curves of the signal class against the background class, of one seed of each model, as PNG."""
    label, curves = next(iter(DetectorSchema.load(cfg.schema).labels)), {}
    classes = DetectorSchema.load(cfg.schema).class_names(label)
    seed = cfg.seeds[0]
    for name, folder in (
        ("firmware", "evaluate-firmware"),
        ("fine-tuned tagger", f"evaluate-finetuned-{seed}"),
        ("tagger from scratch", f"evaluate-scratch-{seed}"),
        ("label-only student", f"evaluate-student/{REFERENCE}"),
    ):
        table = pq.read_table(out / folder / "predictions.parquet")
        signal, background = (table[f"score_{c}"].to_numpy() for c in (cfg.signal, cfg.background))
        truth = table[f"label_{label}"].to_numpy()
        used = np.isin(truth, [classes.index(cfg.signal), classes.index(cfg.background)])
        score = signal / np.maximum(signal + background, 1e-12)
        curves[name] = roc(truth[used] == classes.index(cfg.signal), score[used])
    caption = f"{cfg.labels} labels, simulation"
    return plots.png(plots.roc_curves(curves, caption, f"{cfg.signal} jets", f"{cfg.background} jets"))


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
