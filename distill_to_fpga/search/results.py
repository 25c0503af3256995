"""What a search found: trials.parquet, the front as a table and pictures, report.html, metrics.json.

Axes: T trials, O objectives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float
from rich.table import Table as RichTable

from distill_to_fpga.energy import METHOD as ENERGY
from distill_to_fpga.estimate import METHOD as ESTIMATE
from distill_to_fpga.search.measures import MEASURES
from distill_to_fpga.search.plots import front_picture
from distill_to_fpga.search.space import SearchConfig
from foundation.page import Picture, Section, Table, format_value, write_report
from foundation.plots import png, save
from foundation.runs import Run

TABLE = "trials.parquet"
Record = Mapping[str, Any]


def pareto(values: Float[np.ndarray, "T O"], more: Sequence[bool]) -> Bool[np.ndarray, " T"]:
    """Which trials no other beats: none is at least as good in every objective and better in one.

    Args:
        values: of the objectives.
        more: of each objective, whether more is better.
    """
    cost = np.where(np.asarray(more), -values, values)
    no_worse = (cost[:, None] <= cost[None]).all(-1)  # [i, j]: i is no worse than j
    better = (cost[:, None] < cost[None]).any(-1)
    return np.asarray(~(no_worse & better).any(0))


def front_of(records: Sequence[Record], objectives: Sequence[str]) -> list[Record]:
    """The trials of the front, the best in the first objective first."""
    done = [record for record in records if not record["error"]]
    if not done:
        return []
    values = np.array([[record["figures"][name] for name in objectives] for record in done], float)
    found = [record for record, best in zip(done, pareto(values, [MEASURES[n].more for n in objectives])) if best]
    sign = -1 if MEASURES[objectives[0]].more else 1
    return sorted(found, key=lambda record: (sign * record["figures"][objectives[0]], record["number"]))


def write_results(run: Run, cfg: SearchConfig, records: Sequence[Record], teacher: Mapping[str, float]) -> None:
    """Writes the results of these trials into the folder of a search; those of an earlier time are replaced.

    Args:
        teacher: its figures on `val`.
    """
    front = front_of(records, cfg.objectives)
    numbers = {record["number"] for record in front}
    pq.write_table(_arrow(records, numbers), run.path / TABLE)
    pictures = []
    first, *others = cfg.objectives
    for other in others or (["luts"] if first != "luts" else []):
        picture = front_picture(records, numbers, (other, first), run.schema.name, teacher)
        save(picture, run.path / f"front_{other}.png")
        pictures.append(Picture(png(picture), f"{MEASURES[first].text} against {MEASURES[other].text}, on val"))
    failures = {str(record["number"]): record["error"] for record in records if record["error"]}
    figures = {
        "trials": len(records),
        "complete": len(records) - len(failures),
        "failed": failures,
        "objectives": list(cfg.objectives),
        "split": "val",
        "teacher": dict(teacher),
        "front": [_flat(record) for record in front],
        "seconds": float(sum(record["seconds"] for record in records)),
        "method": ESTIMATE,
        "energy_method": ENERGY,
    }
    run.write("metrics.json", figures)
    _write_page(run, cfg, figures, records, pictures)


def _flat(record: Record) -> dict[str, Any]:
    """A trial as one row: number, settings by their names, figures."""
    settings = {name: _text(value) for name, value in record["settings"].items()}
    return {"number": record["number"], "seed": record["seed"], **settings, **record["figures"]}


def _text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def _arrow(records: Sequence[Record], front: set[int]) -> pa.Table:
    """One row for each trial; a column of settings that are not all numbers is text."""
    rows = [
        {"state": "failed" if r["error"] else "complete", "front": r["number"] in front, **_flat(r)}
        | {"seconds_in_all": r["seconds"], "error": r["error"]}
        for r in records
    ]
    columns = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(name) for row in rows]
        known = [value for value in values if value is not None]
        if not all(isinstance(value, (int, float)) for value in known):
            values = [None if value is None else str(value) for value in values]
        elif any(isinstance(value, float) for value in known):
            values = [None if value is None else float(value) for value in values]
        columns[name] = values
    return pa.table(columns)


def _write_page(
    run: Run, cfg: SearchConfig, figures: Mapping[str, Any], records: Sequence[Record], pictures: Sequence[Picture]
) -> None:
    text = f"{figures['complete']} of {figures['trials']} trials succeeded. All figures are of `val`; the test set was "
    text += f"not looked at. LUTs and latency: {ESTIMATE}. Energy: {ENERGY}."
    if said := ", ".join(f"{name} {value:.4f}" for name, value in figures["teacher"].items()):
        text += f"\n\nThe teacher on the same rows: {said}."
    names, rows = _columns(figures["front"])
    tables = [Table(names, rows, "The front: no other trial is better in one objective and no worse in the others")]
    every = _columns([_flat(record) for record in records if not record["error"]])
    details = [Table(*every, "Every trial that succeeded")]
    if figures["failed"]:
        details.append(
            Table(["trial", "why"], [list(item) for item in figures["failed"].items()], "Trials that failed")
        )
    section = Section("Search", text, tables, pictures, details, command=run.provenance["command"])
    write_report(run.path / "report.html", f"Search: {run.schema.name}", [section], {"folder": str(run.path)})


def _columns(flat: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    names = list(dict.fromkeys(key for row in flat for key in row))
    return names, [[row.get(name) for name in names] for row in flat]


def front_table(run: Run) -> RichTable:
    """The front for the terminal: objectives, the settings that differ, and what it costs."""
    found = run.read("metrics.json")
    front = found["front"]
    title = f"{run.path}: {len(front)} of {found['complete']} trials are on the front ({len(found['failed'])} failed)"
    table = RichTable(title=f"{title}; figures of val", title_justify="left")
    shown = ["number", *found["objectives"]]
    shown += [name for name in ("luts", "latency_ns") if name not in shown]
    settings = [name for name in dict.fromkeys(key for row in front for key in row) if "." in name]
    shown += [name for name in settings if len({row.get(name) for row in front}) > 1]
    for name in shown:
        table.add_column(name.removeprefix("student.").removeprefix("distill."), justify="right")
    for row in front:
        table.add_row(*(format_value(row.get(name)) for name in shown))
    return table
