"""What every report of every tool is brought to: one kind of figure, one unit, one label."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from foundation.errors import DataError

VITIS, SYNTHESIS, PLACED, ROUTED = "synthesis (Vitis)", "synthesis (Vivado)", "placed (Vivado)", "post-route (Vivado)"
FIGURES = {
    "luts": "LUTs",
    "flip_flops": "flip-flops",
    "dsps": "DSPs",
    "block_rams": "block RAMs (36 kb)",
    "ultra_rams": "ultra RAMs",
    "latency_cycles": "latency (clocks)",
    "interval": "initiation interval (clocks)",
    "clock_ns": "clock period asked (ns)",
    "slack_ns": "worst negative slack (ns)",
    "failing": "failing endpoints",
    "least_clock_ns": "least clock period (ns)",
}


@dataclass(frozen=True)
class Reported:
    """What a tool says of a design.

    Attributes:
        label: of which step, one of the four above.
        design: its top.
        figures: of `FIGURES`.
        files: that it was read from.
        device, tool: as the reports name them.
    """

    label: str
    design: str
    figures: Mapping[str, float]
    files: tuple[Path, ...]
    device: str = ""
    tool: str = ""
    notes: tuple[str, ...] = field(default=())


def number(path: Path, name: str, text: str) -> float | None:
    """A number in a report; None where the tool has none to give.

    Raises:
        DataError: it is something else.
    """
    bare = text.replace(",", "").strip()
    if bare.lower() in ("-", "", "na", "n/a", "undef", "?", "inf"):
        return None
    found = re.fullmatch(r"(-?\d+(?:\.\d+)?)(?: *\(.*\))?", bare)
    if found is None:
        raise DataError(
            f"{path}: '{name}' is {text.strip()!r}; a number is expected: the report is cut short or edited"
        )
    value = float(found[1])
    return int(value) if value.is_integer() else value


def known(figures: Mapping[str, float | None]) -> dict[str, float]:
    """Without those that the tool does not give."""
    return {name: value for name, value in figures.items() if value is not None}


def cells(line: str) -> list[str]:
    """Of a row of a table drawn with bars; empty for any other line."""
    bare = line.strip()
    return [cell.strip() for cell in bare[1:-1].split("|")] if bare.startswith("|") and bare.endswith("|") else []


def rows(lines: Sequence[str]) -> Iterator[list[str]]:
    """Of all tables drawn with bars."""
    return (found for line in lines if len(found := cells(line)) > 1)


def merged(found: Sequence[Reported]) -> list[Reported]:
    """Utilisation and timing of the same step of the same design as one.

    Raises:
        DataError: two files give the same figure of it.
    """
    together: dict[tuple[str, str], Reported] = {}
    for each in found:
        old = together.get((each.label, each.design))
        if old is None:
            together[each.label, each.design] = each
            continue
        twice = [name for name in FIGURES if name in old.figures and name in each.figures]
        if twice:
            files = " and ".join(map(str, (*old.files, *each.files)))
            raise DataError(
                f"{files} both give {FIGURES[twice[0]]} of '{each.design}', {each.label}: leave one of them"
            )
        together[each.label, each.design] = Reported(
            each.label, each.design, {**old.figures, **each.figures}, (*old.files, *each.files), old.device, old.tool,
            (*old.notes, *each.notes),
        )  # fmt: skip
    order = (VITIS, SYNTHESIS, PLACED, ROUTED)
    return sorted(together.values(), key=lambda each: (each.design, order.index(each.label)))
