"""`detfm report`: runs -> one HTML page; with `--import`, reports of Vivado and Vitis HLS beside our estimates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser
from rich.table import Table as RichTable

from distill_to_fpga.imported.figures import FIGURES, Reported
from distill_to_fpga.imported.read import read_reports
from foundation import report as pages
from foundation.command import Command
from foundation.errors import RunError
from foundation.page import Section, Table, format_value
from foundation.progress import console
from foundation.runs import Run

ESTIMATE, EXACT = "estimate", "exact (RTL as written)"
Column = Mapping[str, Any]


def beside(run: Run, found: Sequence[Reported]) -> dict[str, Column]:
    """Label -> figures: what an export run says of itself, then what the tools say of it."""
    columns = dict(_own(run.read("metrics.json")))
    several = len({each.design for each in found}) > 1
    for each in found:
        label = f"{each.label}: {each.design}" if several else each.label
        columns[label] = {**each.figures, "design": each.design, "device": each.device, "tool": each.tool}
    return columns


def _own(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Column]]:
    """The network's estimate; of the first target that has them, its pipeline and its synthesis by Yosys."""
    yield ESTIMATE, {name: metrics[name] for name in ("luts", "latency_cycles", "clock_ns") if name in metrics}
    targets = list(metrics.get("targets", {}).values())
    for pipeline in [target["pipeline"] for target in targets if "pipeline" in target][:1]:
        yield (
            EXACT,
            {"flip_flops": pipeline["register_bits"], "latency_cycles": pipeline["latency_cycles"], "interval": 1},
        )
    for counted in [target["synthesis"] for target in targets if target.get("synthesis")][:1]:
        names = ("luts", "flip_flops", "dsps", "block_rams")
        yield counted["label"], {**{name: counted[name] for name in names}, "tool": f"Yosys {counted['version']}"}


def comparison(columns: Mapping[str, Column]) -> Table:
    """A row for each figure that any of them has; LUTs against the estimate, too."""
    names = [name for name in FIGURES if any(name in column for column in columns.values())]
    rows: list[list[Any]] = [[FIGURES[name], *(column.get(name) for column in columns.values())] for name in names]
    ours = columns[ESTIMATE].get("luts")
    if ours:
        ratios = [round(column["luts"] / ours, 3) if "luts" in column else None for column in columns.values()]
        rows.insert(1, ["LUTs, of the estimate", *ratios])
    for name in ("design", "device", "tool"):
        rows.append([name, *(column.get(name) for column in columns.values())])
    return Table(["", *columns], rows)


def section(run: Run, found: Sequence[Reported]) -> Section:
    notes = [note for each in found for note in each.notes]
    files = ", ".join(str(path) for each in found for path in each.files)
    text = "Every column says where its figures come from. Only those after routing are to be relied on."
    text += "".join(f"\n\nNote: {note}." for note in notes) + f"\n\nRead from {files}."
    return Section(f"Imported: {run.path.name}", text, [comparison(beside(run, found))], short="imported")


def exported(runs: Sequence[Run], found: Sequence[Reported]) -> Run:
    """The export run that the reports are of: the only one there is, else the one of that name.

    Raises:
        RunError: there is none, or none or several have the design's name.
    """
    exports = [run for run in runs if run.stage == "export"]
    if len(exports) == 1:
        return exports[0]
    designs = sorted({each.design for each in found})
    fitting = [run for run in exports if all(_named(run, design) for design in designs)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(str(run.path) for run in exports) or "none"
    raise RunError(f"the reports are of {', '.join(designs)}; name the one export run that they belong to, not {names}")


def _named(run: Run, design: str) -> bool:
    """Whether a design has the name of an exported firmware, or that of a module of it."""
    settings = yaml.safe_load((run.path / "config.yaml").read_text())
    name, version = settings["name"], settings["version"]
    return design == name or f"{design}_".startswith(f"detfm_{name}_v{version}_")


def on_terminal(table: Table) -> RichTable:
    shown = RichTable()
    for name in table.header:
        shown.add_column(name, justify="right" if name else "left")
    for first, *rest in table.rows:
        shown.add_row(first, *map(format_value, rest))
    return shown


def report(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    title: str = "",
    imported: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """`foundation.report.report`, with the reports below `imported` first.

    Raises:
        RunError, DataError: see `foundation.report.report`, `read_reports`, `exported`.
    """
    lead: list[Section] = []
    if imported is not None:
        found = read_reports(imported)
        run = exported(pages.runs_of(paths), found)
        lead = [section(run, found)]
    made = pages.report(paths, out, title=title, lead=lead, overwrite=overwrite)
    if imported is not None:
        console.print(on_terminal(comparison(beside(run, found))))
    return made


def _arguments(parser: ArgumentParser) -> None:
    pages.arguments(parser)
    parser.add_argument(
        "--import", help="folder of reports of Vivado or Vitis HLS on an exported project, shown beside its estimates"
    )


def _run(args: Any) -> None:
    imported = getattr(args, "import")
    report(args.runs, args.out, title=args.title, imported=imported, overwrite=args.overwrite)


COMMAND = Command(
    run=_run,
    arguments=_arguments,
    description="Puts runs, and the runs they were made from, on one self-contained HTML page. "
    "Example: detfm report runs/firmware runs/evaluate --import runs/firmware/project/reports --out report.html",
)
