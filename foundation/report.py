"""Runs -> one self-contained HTML page, in the order of the line: what `detfm report` writes.

A run knows its inputs, so naming the last one shows the line that led to it. Each stage gets its key figures, settings,
inputs with checksums (compared with what lies there now) and pictures.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from foundation import __version__, embedding_pictures, plots
from foundation.errors import RunError
from foundation.figure_tables import figure_section, figure_tables
from foundation.page import Code, Picture, Section, Settings, Table, format_value, write_report
from foundation.progress import console
from foundation.runs import PROVENANCE, Run, checksum, flatten, read_metrics

__all__ = ["Code", "Picture", "Section", "Settings", "Table", "arguments", "figure_section", "report", "run_section"]
__all__ += ["runs_of", "write_report"]

STAGES = (
    "ingest",
    "pretrain",
    "publish",
    "embed",
    "finetune",
    "evaluate",
    "compare",
    "anomaly",
    "anomaly_scores",
    "anomaly_rates",
    "anomaly_display",
    "distill",
    "search",
    "export",
    "quickstart",
)
SHOWN = {
    "exact": "bit-exact",
    "vectors": "vectors",
    "auc": "AUC",
    "accuracy": "accuracy",
    "probe_accuracy": "probe accuracy",
    "rows": "rows",
    "luts": "LUTs (estimate)",
    "ebops": "EBOPs",
    "latency_ns": "latency in ns",
    "labels": "labels",
    "parameters": "parameters",
    "method": "method",
    "crossings_per_s": "crossings/s",
}
CAPTIONS = {
    "roc": "ROC",
    "roc_pairs": "ROC of the stated pairs",
    "confusion": "Confusion matrix",
    "scores": "Scores",
    "reliability": "Reliability",
    "sculpting": "Mass of the background before and after cuts",
    "shift": "Inputs that differ most between the stores",
    "anomaly_scores": "Anomaly scores of the training set and of val",
} | embedding_pictures.CAPTIONS
FIRST = ("roc", "roc_pairs", "confusion", "scores", "reliability")
EMBEDDING = "embedding"  # the folder of a pretraining's pictures
FIGURES = ("metrics.json", "results.json", "verify.json")


def report(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    title: str = "",
    lead: Sequence[Section] = (),
    overwrite: bool = False,
) -> Path:
    """Writes one page about runs and all they were made from.

    Args:
        paths: run folders, or folders that hold run folders.
        out: the HTML file to write.
        title: of the page; otherwise made from the schema's name.
        lead: sections to put first.

    Raises:
        RunError: a path is neither, or `out` exists and `overwrite` is not set.
    """
    out = Path(out)
    if out.exists() and not overwrite:
        raise RunError(f"{out} exists; choose another --out, or --overwrite to replace it")
    runs = runs_of(paths)
    sections = [*lead, _overview(runs), *(run_section(run) for run in runs)]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_report(out, title or f"{runs[0].schema.name}: the line", sections, _made_by())
    console.print(f"{out}: {len(runs)} runs", highlight=False)
    return out


def runs_of(paths: Iterable[str | Path]) -> list[Run]:
    """The runs at `paths` and their inputs that are runs and still there, each once, in the order of the line.

    Raises:
        RunError: a path is neither a run folder nor a folder of run folders.
    """
    found: dict[Path, Run] = {}
    waiting = [run for path in paths for run in _named(Path(path))]
    while waiting:
        run = waiting.pop()
        if run.path.resolve() not in found:
            found[run.path.resolve()] = run
            waiting += _inputs(run)
    return sorted(found.values(), key=lambda run: _place(run, found))


def _place(run: Run, known: Mapping[Path, Run]) -> list[tuple[int, str, str]]:
    """Sorts by stage, then time; an evaluation comes right after the model it evaluates."""
    stage = STAGES.index(run.stage) if run.stage in STAGES else len(STAGES)
    own = (stage, str(run.provenance["created"]), str(run.path))
    models = [known.get(model.path.resolve()) for model in _inputs(run)] if run.stage == "evaluate" else []
    model = next((m for m in models if m is not None and m.stage != "ingest"), None)
    return [own] if model is None else [*_place(model, known), own]


def _named(path: Path) -> list[Run]:
    if path.is_dir() and not (path / PROVENANCE).is_file():
        inside = [Run.open(p.parent) for p in sorted(path.glob(f"*/{PROVENANCE}"))]
        if inside:
            return inside
    return [Run.open(path)]


def _inputs(run: Run) -> list[Run]:
    found = []
    for role in run.provenance.get("inputs", {}):
        try:
            found.append(Run.open(run.input(role)))
        except RunError:  # a file of the detector, or a run that has been moved or deleted
            continue
    return found


def run_section(run: Run) -> Section:
    """All there is to say about one run."""
    provenance = run.provenance
    figures = [run.read(name) for name in FIGURES if (run.path / name).is_file()]
    tables = _store_tables(run) + [table for values in figures for table in figure_tables(values)]
    text = f"Made {_time(provenance['created'])}."
    text += "" if tables else f" This stage has not finished: there is no {FIGURES[0]}."
    details: list[Table | Settings] = [_input_table(run)]
    if (run.path / "config.yaml").is_file():
        settings = flatten(yaml.safe_load((run.path / "config.yaml").read_text()) or {})
        details = [Settings(settings, "Settings"), *details]
    name = run.path.name
    return Section(
        run.stage if run.stage == name else f"{run.stage}: {name}",
        text,
        tables,
        pictures_of(run),
        details,
        command=_as_typed(provenance["command"]),
        short=name,
    )


def _as_typed(command: str) -> str:
    """The recorded command with the path of the program left out."""
    program, _, rest = command.partition(" ")
    return f"detfm {rest}" if Path(program).name in ("detfm", "cli.py") else command


def _time(iso: str) -> str:
    return iso.replace("T", " ").replace("Z", " UTC")


def _store_tables(run: Run) -> list[Table | Settings]:
    """Rows of each split and class, and what became of the rows read, if the run is a store."""
    if not (run.path / "manifest.json").is_file():
        return []
    manifest = run.read("manifest.json")
    splits, accounting = manifest.get("splits", {}), manifest.get("accounting", {})
    counts = {name: flatten(split.get("classes", {})) for name, split in splits.items()}
    labels = [label for label in next(iter(counts.values()), {}) if any(c.get(label) for c in counts.values())]
    rows = [[name, split["rows"], *(counts[name].get(label) for label in labels)] for name, split in splits.items()]
    found = {name: value for name, value in flatten(accounting).items() if value}
    return [
        Table(["split", "rows", *(label.split(".")[-1] for label in labels)], rows),
        Settings(found, "Rows and tokens"),
    ]


def _input_table(run: Run) -> Table:
    rows = []
    for role, recorded in run.provenance.get("inputs", {}).items():
        rows.append([role, Code(recorded["path"]), Code(recorded["sha256"]), _state(run, role, recorded["sha256"])])
    return Table(["input", "path", "SHA-256", "now"], rows, "Inputs")


def _state(run: Run, role: str, recorded: str) -> str:
    """Whether an input is still what the run was made from; files of the detector, being large, are not read again."""
    try:
        path = run.input(role)
        return "a file, not read again" if path.is_file() else ("same" if checksum(path) == recorded else "has changed")
    except RunError:
        return "not there"


def curves_of(run: Run) -> list[Picture]:
    """What metrics.jsonl records against the step: loss, probe, and how the embedding forms."""
    if not (run.path / "metrics.jsonl").is_file():
        return []
    rows, pictures = read_metrics(run.path / "metrics.jsonl"), []
    if any("loss" in row for row in rows):
        dots = " (dots: on val)" if any("val/loss" in row for row in rows) else ""
        pictures.append(Picture(plots.png(plots.loss_curves(rows, run.path.name)), f"Loss{dots}"))
    if sum("effective_rank" in row for row in rows) > 1:
        formed = embedding_pictures.formation(rows, run.path.name)
        pictures.append(Picture(plots.png(formed), "How the embedding forms, on rows of val"))
    elif sum("probe_accuracy" in row for row in rows) > 1:
        pictures.append(Picture(plots.png(plots.probe_curve(rows, run.path.name)), "Probe on the frozen embedding"))
    return pictures


def pictures_of(run: Run) -> list[Picture]:
    """The curves from metrics.jsonl, then the PNG files of the run and of the folders in it."""
    pictures = curves_of(run)
    for path in [*sorted(run.path.glob("*.png"), key=_order), *sorted(run.path.glob("*/*.png"), key=_order)]:
        inside = "" if path.parent == run.path or path.parent.name == EMBEDDING else f" ({path.parent.name})"
        wide = path.stem in {*embedding_pictures.WIDE, "sculpting"} or path.stem.startswith(
            ("response_", "crossing_", "ordinary_")
        )
        pictures.append(Picture(path.read_bytes(), _caption(path.stem) + inside, wide))
    return pictures


def _order(path: Path) -> tuple[int, str]:
    """Those of an evaluation as `CAPTIONS` has them, what the eye looks for first; all others by name."""
    known = list(CAPTIONS)
    return (known.index(path.stem) if path.stem in FIRST else len(known), str(path))


def _caption(stem: str) -> str:
    for prefix, text in (("dependence_", "Dependence on"), ("response_", "Response of"), ("coverage_", "Quantiles of")):
        if stem.startswith(prefix):
            return f"{text} {stem.removeprefix(prefix)}"
    return CAPTIONS.get(stem, stem.replace("_", " "))


def _overview(runs: Sequence[Run]) -> Section:
    """One line per run; and the evaluations side by side."""
    rows, compared = [], []
    for run in runs:
        figures = {k: v for name in FIGURES if (run.path / name).is_file() for k, v in flatten(run.read(name)).items()}
        if (run.path / "manifest.json").is_file():
            figures["rows"] = sum(split["rows"] for split in run.read("manifest.json")["splits"].values())
        shown = {text: found for key, text in SHOWN.items() if (found := _find(key, figures)) is not None}
        text = ", ".join(f"{name} {format_value(value)}" for name, value in list(shown.items())[:5])
        rows.append([run.stage, run.path.name, _time(run.provenance["created"])[:16].replace(" ", "\u00a0"), text])
        if "auc" in figures:
            model = run.provenance["inputs"].get("model", {}).get("path", "")
            compared.append([Path(model).name, *(figures.get(k) for k in ("split", "examples", "accuracy", "auc"))])
    tables = [Table(["stage", "run", "made (UTC)", "figures"], rows)]
    if compared:
        tables.append(
            Table(["model", "split", "examples", "accuracy", "AUC (mean of classes)"], compared, "Evaluations")
        )
    return Section("Overview", runs[0].schema.comment, tables)


def _find(key: str, figures: Mapping[str, Any]) -> Any:
    """The figure of that name: of the run itself, else the first of what it contains."""
    inner = [name for name in figures if name.endswith(f".{key}")]
    return figures[key] if key in figures else figures[inner[0]] if inner else None


def _made_by() -> dict[str, str]:
    return {
        "detfm": __version__,
        "command": _as_typed(shlex.join(sys.argv)),
        "made": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    }


def arguments(parser: ArgumentParser) -> None:
    """Of the command."""
    parser.add_argument("runs", nargs="+", help="run folders, or folders that hold run folders")
    parser.add_argument("--out", default="report.html", help="HTML file to write")
    parser.add_argument("--title", default="", help="of the page")
    parser.add_argument("--overwrite", action="store_true", help="replace the file at --out")
