"""A sweep's table as Markdown, JSON, CSV and HTML, and its pictures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.sweep_plot import label_curves
from finetune.sweep_results import (
    Metric,
    comparison,
    label_efficiency,
    published_figures,
    summary_of,
)
from foundation.page import Picture, Section, Table, format_value, write_report
from foundation.plots import png, save
from foundation.runs import Run

TABLE = "table"


def write_results(
    run: Run,
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[Metric],
    missing: Mapping[str, str],
    *,
    reference: str,
    data_set: str = "",
    caption: str = "",
) -> None:
    """Writes table.md, table.json, table.csv, one picture for each metric, report.html and metrics.json into `run`.

    Args:
        rows: one for each finished point.
        missing: points that did not finish -> why.
        reference: the start that label efficiency counts in.
        caption: of the pictures.
    """
    published = published_figures(data_set, metrics)
    figures: dict[str, Any] = {"points": len(rows) + len(missing), "finished": len(rows), "failed": dict(missing)}
    pictures = []
    for metric in metrics:
        here = [row for row in published if row["metric"] == metric.title]
        picture = label_curves(rows, metric, caption, here)
        save(picture, run.path / f"{file_name(metric)}.png")
        pictures.append(Picture(png(picture), f"{metric.title}: mean and standard deviation over the seeds"))
        figures[metric.title] = {
            "summary": summary_of(rows, metric),
            "label efficiency": label_efficiency(rows, metric, reference),
        }
    figures |= {"published": published, "comparison": comparison(data_set, metrics)}
    tables = _tables(rows, metrics, figures, reference)
    text = figures["comparison"] + (f"\n\n{_failed(missing)}" if missing else "")
    (run.path / f"{TABLE}.md").write_text(_markdown(caption, text, tables))
    run.write(f"{TABLE}.json", {"rows": list(rows), **figures})
    _write_csv(run.path / f"{TABLE}.csv", rows)
    command = run.provenance["command"]
    section = Section("Sweep", text, tables[:-1], pictures, tables[-1:], command=command)
    write_report(run.path / "report.html", f"Sweep: {caption}", [section], {"folder": str(run.path)})
    run.write("metrics.json", figures)


def file_name(metric: Metric) -> str:
    """Of the metric's picture, without the ending."""
    return metric.title.replace(" at eps_S = ", "@").replace("/", "_")


def _tables(
    rows: Sequence[Mapping[str, Any]], metrics: Sequence[Metric], figures: Mapping[str, Any], reference: str
) -> list[Table]:
    """Means, label efficiency and published figures; the table of all seeds is the last one."""
    found = []
    for metric in metrics:
        found.append(_means(figures[metric.title]["summary"], metric))
        if worth := figures[metric.title]["label efficiency"]:
            caption = f"{metric.title}: labels of {reference} that do as well [68%]"
            lines = [[r["arm"], r["labels"], _equal(r), _mark(r) + f"{r['ratio']:g}", r["statement"]] for r in worth]
            found.append(Table(["start", "labels", f"labels of {reference}", "ratio", "in words"], lines, caption))
    if published := figures["published"]:
        keys = ("model", "metric", "value", "training jets", "read")
        found.append(Table(keys, [[row.get(k) for k in keys] for row in published], "Published (no rank: see above)"))
    header = [key for key in rows[0] if key != "point"] if rows else ["no point has finished"]
    return [*found, Table(header, [[row[key] for key in header] for row in rows] if rows else [], "Every seed")]


def _means(summary: Sequence[Mapping[str, Any]], metric: Metric) -> Table:
    counts = sorted({record["labels"] for record in summary})
    arms = list(dict.fromkeys(record["arm"] for record in summary))
    cells = {(r["arm"], r["labels"]): _mean(r) for r in summary}
    better = "lower" if metric.lower else "higher"
    caption = f"{metric.title} ({better} is better): mean ± standard deviation of the seeds"
    header = ["start", *(f"{n:,} labels" for n in counts)]
    return Table(header, [[name, *(cells.get((name, n), "–") for n in counts)] for name in arms], caption)


def _mean(record: Mapping[str, Any]) -> str:
    spread = "" if record["std"] is None else f" ± {record['std']:.2g}"
    return f"{record['mean']:.4g}{spread} ({record['seeds']})"


def _equal(record: Mapping[str, Any]) -> str:
    interval = "" if record["out of range"] else f" [{record['low']:,}, {record['high']:,}]"
    return f"{_mark(record)}{record['equal to']:,}{interval}"


def _mark(record: Mapping[str, Any]) -> str:
    return {"above": "> ", "below": "< "}.get(record["out of range"], "")


def _failed(missing: Mapping[str, str]) -> str:
    lines = "; ".join(f"{name}: {why.splitlines()[0]}" for name, why in missing.items())
    return f"{len(missing)} points did not finish and are left out: {lines}"


def _markdown(caption: str, text: str, tables: Sequence[Table]) -> str:
    parts = [f"# Sweep: {caption}", text]
    for table in tables:
        lines = [table.header, ["---"] * len(table.header), *table.rows]
        body = "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)
        parts += [f"## {table.caption}", body]
    return "\n\n".join(parts) + "\n"


def _cell(value: Any) -> str:
    return format_value(value).replace("|", "\\|").replace("\n", " ")


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["arm"])
        writer.writeheader()
        writer.writerows(rows)
