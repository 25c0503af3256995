"""README.md of an exported RTL project: ports, timing, cost with labels, checks, licences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill_to_fpga.devices import CROSSING_NS, crossings, share_table
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.readme import input_section, output_section
from distill_to_fpga.hls.sources import namespace
from distill_to_fpga.rtl.verilog import port_widths
from distill_to_fpga.rtl.yosys import LABEL
from distill_to_fpga.vectors import Vectors

if TYPE_CHECKING:
    from distill_to_fpga.project import Interface
    from distill_to_fpga.rtl.project import RtlCost


def readme(
    graph: FixedPointGraph, hardware: Interface, cost: RtlCost, part: str, vectors: Vectors, library: list[str]
) -> str:
    """Markdown; every figure says whether it is exact, an *estimate* or a *synthesis (Yosys)* count."""
    parts = [
        f"# {graph.name}, version {graph.version}",
        f"A neural network for the trigger, exported by detfm as pipelined Verilog. Top module `{namespace(graph)}`.",
        ports_section(graph, cost),
        *(input_section(graph, name, hardware) for name in graph.inputs),
        *(output_section(graph, port, hardware) for port in graph.outputs),
        cost_section(cost, part),
        check_section(graph, vectors),
        FILES.format(name=graph.name, module=namespace(graph)),
        *([LICENCES.format(files=", ".join(f"`{name}`" for name in library))] if library else []),
    ]
    return "\n\n".join(parts) + "\n"


def ports_section(graph: FixedPointGraph, cost: RtlCost) -> str:
    rows = ["| port | | bits | element |", "| --- | --- | --- | --- |", "| `clk`, `rst`, `valid_in` | in | 1 each | |"]
    for name, (size, kind) in port_widths(graph).items():
        way = name.split("_")[0]
        sign = "two's complement" if kind.signed else "unsigned"
        rows.append(f"| `{name}` | {way} | {size * kind.width} | `[{kind.width} * i +: {kind.width}]`, {sign} |")
    rows.append("| `valid_out` | out | 1 | |")
    return (
        "## Ports and timing\n\n" + "\n".join(rows) + "\n\n"
        f"A new input at every clock (initiation interval 1). Outputs come **{cost.latency_cycles} clock edges**\n"
        f"after their inputs: {cost.latency_ns:g} ns, {crossings(cost.latency_ns):.2f} bunch crossings of "
        f"{CROSSING_NS:g} ns, at a clock of {cost.estimate.clock_ns:g} ns.\n"
        "Registers at the inputs and at the outputs are part of that. `valid_out` is `valid_in`, as much later; `rst`\n"
        "clears what is on its way of it, and nothing else: data registers have no reset."
    )


def cost_section(cost: RtlCost, part: str) -> str:
    total, counted = cost.estimate.summary(), cost.synthesis
    rows = [
        ("weights", f"{total['weights']:,}, of which {total['nonzero_weights']:,} not zero", "exact"),
        ("EBOPs (arXiv:2405.00645)", f"{total['ebops']:,}", "exact"),
        ("latency", f"{cost.latency_cycles} clocks of {cost.estimate.clock_ns:g} ns", "exact"),
        ("pipeline registers", f"{cost.register_bits:,} bits", "exact"),
        ("longest stage", f"{cost.stage_ns:.2f} ns", "*estimate* (alkaid's delays)"),
        ("LUTs of detfm's adder graph", f"{total['luts']:,}", "*estimate*"),
        ("LUTs of alkaid's network", f"{cost.alkaid_luts:,.0f}", "*estimate*"),
    ]
    columns: dict[str, tuple[int, int | None]] = {"*estimate*": (total["luts"], cost.register_bits)}
    if counted is not None:
        label = f"*{LABEL}* {counted.version}, {counted.seconds:.0f} s"
        rows += [("LUTs", f"{counted.luts:,}", label), ("flip-flops", f"{counted.flip_flops:,}", label)]
        rows += [("carry blocks", f"{counted.carries:,}", label)]
        rows += [("shift registers", f"{counted.shift_registers:,}", label)] if counted.shift_registers else []
        columns[f"*{LABEL}*"] = (counted.luts, counted.flip_flops)
    table = "\n".join(["| | | |", "| --- | --- | --- |", *(f"| {a} | {b} | {c} |" for a, b, c in rows)])
    slow = cost.stage_ns > cost.estimate.clock_ns
    warning = (
        "One operation alone takes longer than the clock period: expect timing to fail at this clock.\n" if slow else ""
    )
    note = (
        f"{warning}Only synthesis, placement and routing for {part} give numbers to rely on (`build_vivado.tcl`).\n"
        "Yosys neither places nor routes. Products of two wires are built of LUTs."
    )
    return f"## Cost\n\n{table}\n\n{share_table(columns)}\n\n{note}"


def check_section(graph: FixedPointGraph, vectors: Vectors) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in vectors.counts().items())
    return (
        "## Checks\n\n"
        f"`tb/{graph.name}_tb.sv` sends the {len(vectors)} vectors in `tb/data` ({kinds}),\n"
        "one per clock, and fails if any output bit or the latency differs; `make sim` runs it with Verilator;\n"
        "any simulator with SystemVerilog will do. `detfm verify` runs many more vectors and measures the latency,\n"
        "after comparing every file with `manifest.json`. `graph.json` is the golden model: the network as integers."
    )


FILES = """## Files

| file | |
| --- | --- |
| `src/{module}.v` | the top module |
| `src/{module}_core.v`, `src/{module}_stage*.v` | the pipeline, one file for each stage |
| `src/alkaid/` | small modules that the stages are made of; the same in every such project |
| `constraints/{name}.xdc` | the clock |
| `build_vivado.tcl`, `Makefile` | Vivado out of context; Verilator, Yosys |
| `tb/{name}_tb.sv`, `tb/data/` | test bench; inputs and expected outputs (`.hex` for it, `.txt` to read) |
| `tb/{name}_batch.cpp` | drives the Verilated model with binary integers, for many vectors |"""

LICENCES = """## Licences

`src/alkaid/` ({files}) is part of alkaid, **LGPL-3.0** (`src/alkaid/LICENSE`), copied unchanged from the package that
generated the pipeline. Whoever passes a design on that contains these files must keep to that licence: keep their
notice and pass their source on. All other files are output of detfm and of alkaid and carry no condition of their
authors."""
