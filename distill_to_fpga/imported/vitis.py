"""Vitis HLS's estimates after C synthesis: csynth.xml, TOP_csynth.rpt, csynth.rpt."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from distill_to_fpga.imported.figures import VITIS, Reported, cells, known, number
from foundation.errors import DataError

ONE = re.compile(r"== (?:Vitis|Vivado) HLS Report for '(.+)'")
ALL = re.compile(r"== Synthesis Summary Report of '(.+)'")
RESOURCES = {"luts": "LUT", "flip_flops": "FF", "dsps": "DSP", "block_rams": "BRAM_18K", "ultra_rams": "URAM"}
SUMMARY = {"latency_cycles": 3, "interval": 6, "block_rams": 9, "dsps": 10, "flip_flops": 11, "luts": 12}


def read_xml(path: Path, text: str) -> Reported:
    """
    Raises:
        DataError: it is not XML, or not of a synthesis.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(f"{path} is not XML: {error}; the report is cut short or edited") from error
    area = root.find("AreaEstimates/Resources")
    if area is None:
        raise DataError(f"{path}: no AreaEstimates/Resources; a csynth.xml of Vitis HLS has it")
    times, latency = "PerformanceEstimates/SummaryOfTimingAnalysis", "PerformanceEstimates/SummaryOfOverallLatency"
    figures = {name: _text(path, area, tag) for name, tag in RESOURCES.items()}
    figures["dsps"] = figures["dsps"] if figures["dsps"] is not None else _text(path, area, "DSP48E")
    figures |= {
        "latency_cycles": _text(path, root, f"{latency}/Worst-caseLatency"),
        "interval": _text(path, root, f"{latency}/Interval-max"),
        "clock_ns": _text(path, root, "UserAssignments/TargetClockPeriod"),
        "least_clock_ns": _text(path, root, f"{times}/EstimatedClockPeriod"),
    }
    design = root.findtext("UserAssignments/TopModelName", "")
    return _reported(path, design, figures, root.findtext("UserAssignments/Part", ""), _version(root))


def is_text(text: str) -> bool:
    return ONE.search(text) is not None or ALL.search(text) is not None


def read_text(path: Path, text: str) -> Reported:
    """
    Raises:
        DataError: a table is missing.
    """
    one, version = ONE.search(text), re.search(r"\* Version: +(\S+)", text)
    design, figures = _one(path, text, one[1]) if one else _all(path, text)
    device = re.search(r"Target device: +(\S+)", text)
    return _reported(path, design, figures, device[1] if device else "", version[1] if version else "")


def _one(path: Path, text: str, design: str) -> tuple[str, dict[str, float | None]]:
    """TOP_csynth.rpt: a section for times, one for resources."""
    lines = text.splitlines()
    latency = _after(path, lines, ["min", "max"], "+ Latency:")
    clock = _after(path, lines, ["Clock", "Target"], "+ Timing:")
    names = _header(path, lines, "BRAM_18K")
    total = next((row for line in lines if (row := cells(line)) and row[0] == "Total"), None)
    if total is None or len(total) != len(names):
        raise DataError(f"{path}: no row 'Total' of resources; the report is cut short or edited")
    values = dict(zip(names, total, strict=True))
    found = {name: number(path, tag, values.get(tag, "-")) for name, tag in RESOURCES.items()}
    if "DSP48E" in values:
        found["dsps"] = number(path, "DSP48E", values["DSP48E"])
    found |= {"latency_cycles": number(path, "latency", latency[1]), "interval": number(path, "interval", latency[5])}
    target, estimated = (number(path, "clock", cell.removesuffix("ns")) for cell in clock[1:3])
    return design, found | {"clock_ns": target, "least_clock_ns": estimated}


def _all(path: Path, text: str) -> tuple[str, dict[str, float | None]]:
    """csynth.rpt: one table of modules and loops, the top first."""
    top = next((row for line in text.splitlines() if (row := cells(line)) and row[0].startswith("+")), None)
    if top is None or len(top) < 13:
        raise DataError(f"{path}: no module in the table 'Performance & Resource Estimates'")
    design = ALL.search(text)
    assert design is not None
    return design[1], {name: number(path, name, top[column]) for name, column in SUMMARY.items()}


def _after(path: Path, lines: list[str], header: list[str], section: str) -> list[str]:
    """The row below a header, in a section."""
    start = next((i for i, line in enumerate(lines) if line.strip() == section), len(lines))
    found = [row for line in lines[start:] if (row := cells(line))]
    at = next((i for i, row in enumerate(found) if row[: len(header)] == header), len(found))
    if at + 1 >= len(found) or len(found[at + 1]) < 4:
        raise DataError(f"{path}: no table in the section '{section}'; the report is cut short or edited")
    return found[at + 1]


def _header(path: Path, lines: list[str], name: str) -> list[str]:
    found = next((row for line in lines if name in (row := cells(line))), None)
    if found is None:
        raise DataError(f"{path}: no table with a column {name}; the report is cut short or edited")
    return found


def _text(path: Path, node: ElementTree.Element, tag: str) -> float | None:
    return number(path, tag, node.findtext(tag, "-"))


def _version(root: ElementTree.Element) -> str:
    return root.findtext("ReportVersion/Version", "")


def _reported(path: Path, design: str, figures: dict[str, float | None], device: str, version: str) -> Reported:
    """In our units: Vitis counts halves of block RAMs."""
    if not design:
        raise DataError(f"{path} does not name its top function")
    if (halves := figures.get("block_rams")) is not None:
        figures["block_rams"] = halves / 2
    return Reported(VITIS, design, known(figures), (path,), device, f"Vitis HLS {version}".strip())
