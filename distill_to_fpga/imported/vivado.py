"""Vivado's `report_utilization` and `report_timing_summary`, as text."""

from __future__ import annotations

import re
from pathlib import Path

from distill_to_fpga.imported.figures import PLACED, ROUTED, SYNTHESIS, Reported, known, number, rows
from foundation.errors import DataError

SITES = {
    "luts": ("CLB LUTs", "Slice LUTs"),
    "flip_flops": ("CLB Registers", "Slice Registers"),
    "block_rams": ("Block RAM Tile",),
    "dsps": ("DSPs",),
    "ultra_rams": ("URAM",),
}
STATES = (("route", ROUTED), ("plac", PLACED), ("synth", SYNTHESIS), ("optimized", SYNTHESIS))
FILE_NAMES = (("rout", ROUTED), ("impl", ROUTED), ("plac", PLACED), ("syn", SYNTHESIS))


def is_utilization(text: str) -> bool:
    return "report_utilization" in text[:4000] or "Utilization Design Information" in text[:8000]


def is_timing(text: str) -> bool:
    return "report_timing_summary" in text[:4000] or "Design Timing Summary" in text


def read_utilization(path: Path, text: str) -> Reported:
    """
    Raises:
        DataError: it has no table of LUTs (as with `-hierarchical`), or does not say of which step it is.
    """
    if "Utilization by Hierarchy" in text:
        raise DataError(f"{path} is hierarchical; report_utilization without -hierarchical gives the totals")
    used: dict[str, str] = {}
    for site, count, *_ in rows(text.splitlines()):
        used.setdefault(site.rstrip("*").strip(), count)  # the totals come first, the dies of a large device later
    figures = {name: number(path, site, used[site]) for name, sites in SITES.items() for site in sites if site in used}
    if "luts" not in figures:
        raise DataError(
            f"{path}: no row '{SITES['luts'][0]}' or '{SITES['luts'][1]}'; a whole report_utilization has one"
        )
    return Reported(_label(path, text), *_head(path, text, known(figures)))


def read_timing(path: Path, text: str) -> Reported:
    """
    Raises:
        DataError: it has no design timing summary, or does not say of which step it is.
    """
    found = re.search(r"^ *WNS\(ns\) .*\n[ -]+\n(.*)$", text, re.MULTILINE)
    if found is None or len(values := found[1].split()) < 3:
        raise DataError(f"{path}: no row below 'WNS(ns) TNS(ns) ...'; a whole report_timing_summary has one")
    slack, _, failing = (number(path, "design timing summary", value) for value in values[:3])
    periods = _periods(path, text)
    figures = {"slack_ns": slack, "failing": failing}
    if len(periods) == 1 and slack is not None:
        figures |= {"clock_ns": periods[0], "least_clock_ns": round(periods[0] - slack, 3)}
    notes = ("no path is constrained: the slack says nothing",) if slack is None else ()
    return Reported(_label(path, text), *_head(path, text, known(figures)), notes)


def _periods(path: Path, text: str) -> list[float]:
    """Of all clocks, from the table `Clock Summary`."""
    found = re.search(r"^Clock +Waveform\(ns\).*\n[ -]+\n((?:.*\S.*\n)*)", text, re.MULTILINE)
    lines = found[1].splitlines() if found else []
    values = [re.search(r"\} +(\S+)", line) for line in lines]
    return [period for value in values if value and (period := number(path, "Period(ns)", value[1])) is not None]


def _head(path: Path, text: str, figures: dict[str, float]) -> tuple[str, dict[str, float], tuple[Path, ...], str, str]:
    design = _entry(text, "Design")
    if not design:
        raise DataError(f"{path}: no line '| Design : NAME' at its head; it is not a whole report of Vivado")
    version = re.search(r"\bv\.?(\d\S*)", _entry(text, "Tool Version"))
    return design, figures, (path,), _entry(text, "Device"), f"Vivado {version[1]}" if version else "Vivado"


def _entry(text: str, name: str) -> str:
    found = re.search(rf"^\| {name} *: *(.*?) *\|?$", text, re.MULTILINE)
    return found[1] if found else ""


def _label(path: Path, text: str) -> str:
    """Of which step: `Design State` says it; without one, as in the timing of older versions, the file's name."""
    state = _entry(text, "Design State").lower()
    pairs, said = (STATES, state) if state else (FILE_NAMES, path.name.lower())
    found = next((label for part, label in pairs if part in said), None)
    if found is None:
        raise DataError(
            f"{path} does not say whether it is of synthesis or routing (Design State: {state or 'missing'}): name the "
            "file with synth, place or route"
        )
    return found
