"""What the firmware costs, every figure with where it comes from: exact, *estimate*, or *synthesis (Yosys)*."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from distill_to_fpga.devices import share_table
from distill_to_fpga.estimate import Estimate
from distill_to_fpga.target import Cost
from foundation.page import format_value
from pretrain.model_card import table

Row = tuple[str, Any, str]
COUNTED = ("weights", "nonzero_weights", "weight_bits", "ebops", "clock_ns")  # of an estimate's figures, those counted
HIDDEN = ("label", "method", "layers", "devices", "version", "estimate")
ESTIMATE = "estimate"


def report(network: Estimate, costs: Mapping[str, Cost], part: str) -> str:
    """Markdown: the network's estimate, what each target says of its own project, shares of the trigger's FPGAs."""
    whole = network.to_dict()
    parts = ["# Resources and latency", f"Device {part}, clock {network.clock_ns:g} ns, a new input at every clock."]
    parts += ["## The network", rows_table(figures(whole)), f"*estimate*: {network.method}."]
    for name, cost in costs.items():
        rows = list(figures(cost.to_dict()))
        same = not rows or cost.to_dict() == whole
        parts += [f"## Target `{name}`", "The network's estimate is all there is." if same else rows_table(rows)]
    parts += ["## Shares of devices", share_table(columns(whole, costs)), NOTE]
    return "\n\n".join(parts) + "\n"


def figures(values: Mapping[str, Any], source: str = "exact", prefix: str = "") -> Iterator[Row]:
    """Every number of a target's cost, and where it comes from."""
    source = ESTIMATE if "method" in values else str(values.get("label", source))
    for key, value in values.items():
        if isinstance(value, Mapping) and key not in HIDDEN:
            yield from figures(value, source, f"{prefix}{key.replace('_', ' ')}: ")
        elif isinstance(value, (int, float)) and key not in HIDDEN:
            name = key.removesuffix(f" ({ESTIMATE})")
            exact = source == ESTIMATE and key in COUNTED
            yield prefix + name.replace("_", " "), value, "exact" if exact else source if name == key else ESTIMATE


def rows_table(rows: Any) -> str:
    return table(["figure", "value", "source"], [[name, format_value(value), f"*{of}*"] for name, value, of in rows])


def columns(whole: Mapping[str, Any], costs: Mapping[str, Cost]) -> dict[str, tuple[int, int | None]]:
    """LUTs and flip-flops, by their source: the estimate's, and those of a target that has been synthesised."""
    found: dict[str, tuple[int, int | None]] = {f"*{ESTIMATE}*": (whole["luts"], None)}
    for name, cost in costs.items():
        counted = cost.to_dict().get("synthesis")
        if counted:
            found[f"`{name}`, *{counted['label']}*"] = (counted["luts"], counted["flip_flops"])
    return found


NOTE = """An *estimate* is computed from the graph; *synthesis (Yosys)* are cells after logic synthesis, without
placement or timing. Only Vivado's own reports, after routing, are numbers to rely on. Latencies marked *exact* are
those of the pipeline as written; `detfm verify` measures them in simulation."""
