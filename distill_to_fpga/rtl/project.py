"""The RTL project of a graph: a folder of Verilog that a trigger group can synthesise without this package."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_to_fpga.devices import CROSSING_NS, crossings, shares
from distill_to_fpga.estimate import Estimate, estimate
from distill_to_fpga.graph import FixedPointGraph, run
from distill_to_fpga.hls.containers import to_words
from distill_to_fpga.hls.sources import namespace
from distill_to_fpga.manifest import GRAPH, RTL, write_manifest
from distill_to_fpga.project import Interface, new_folder, vector_files, write, write_all
from distill_to_fpga.rtl.pipeline import MARGIN, Core, pipelined
from distill_to_fpga.rtl.readme import readme
from distill_to_fpga.rtl.replay import replay
from distill_to_fpga.rtl.verilog import fill, harness, hexadecimal, port_widths, testbench, top
from distill_to_fpga.rtl.yosys import LABEL, Synthesis, synthesize
from distill_to_fpga.vectors import Vectors


@dataclass(frozen=True)
class RtlCost:
    """What an RTL project costs.

    Attributes:
        estimate: of our own adder graph.
        alkaid_luts: alkaid's estimate of its network.
        latency_cycles, register_bits: of the pipeline written, exact.
        stage_ns: alkaid's estimate of the longest stage.
        synthesis: cells that Yosys counts; None where it was not asked.
    """

    estimate: Estimate
    alkaid_luts: float
    latency_cycles: int
    register_bits: int
    stage_ns: float
    synthesis: Synthesis | None

    @property
    def latency_ns(self) -> float:
        return self.latency_cycles * self.estimate.clock_ns

    def line(self) -> str:
        """LUTs and latency, for people."""
        total = self.estimate.summary()
        counted = "" if self.synthesis is None else f", {self.synthesis.luts:,} ({LABEL})"
        return (
            f"{self.estimate.network()}; {total['luts']:,} LUTs (estimate){counted}; {self.latency_cycles} clocks of "
            f"{self.estimate.clock_ns:g} ns = {self.latency_ns:g} ns = {crossings(self.latency_ns):.2f} bunch crossings"
        )

    def to_dict(self) -> dict[str, Any]:
        pipeline = {
            "latency_cycles": self.latency_cycles,
            "latency_ns": self.latency_ns,
            "latency_crossings": crossings(self.latency_ns),
            "crossing_ns": CROSSING_NS,
            "register_bits": self.register_bits,
            "longest_stage_ns (estimate)": self.stage_ns,
        }
        counted = self.synthesis
        used = (
            (self.estimate.total("luts"), self.register_bits) if counted is None else (counted.luts, counted.flip_flops)
        )
        return {
            "estimate": self.estimate.to_dict(),
            "alkaid_luts (estimate)": self.alkaid_luts,
            "pipeline": pipeline,
            "synthesis": None if counted is None else counted.to_dict(),
            "devices": {"of": "estimate" if counted is None else counted.to_dict()["label"], **shares(*used)},
        }


def export_rtl(
    graph: FixedPointGraph,
    out_dir: str | Path,
    *,
    vectors: Vectors,
    clock_ns: float = 5.0,
    part: str = "xcvu13p-flga2577-2-e",
    hardware: Interface | None = None,
    synthesis: bool = False,
) -> RtlCost:
    """Write the RTL project of `graph`; returns its cost.

    Args:
        out_dir: a folder that does not exist yet, or is empty.
        vectors: go into `tb/data` with the golden model's outputs.
        clock_ns: period that pipeline stages are cut for.
        part: the device, for Vivado.
        hardware: what inputs and outputs mean.
        synthesis: count cells with Yosys (a minute for 10,000 LUTs).

    Raises:
        RunError: `out_dir` holds something. Nothing is touched then.
        ToolError: alkaid is not installed (extra `rtl`), or Yosys is not and is asked for.
        GraphError: the graph has an operation or a width that this back end does not take.
    """
    root = Path(out_dir)
    new_folder(root)
    core = pipelined(graph, replay(graph), clock_ns, part)
    licences = {"src/alkaid/LICENSE": library_licence()} if core.library else {}
    write_all(root, texts(graph, core, vectors, clock_ns, part), licences)
    counted = synthesize(sorted((root / "src").rglob("*.v")), namespace(graph)) if synthesis else None
    cost = RtlCost(
        estimate(graph, clock_ns), core.luts, core.latency_cycles, core.register_bits, core.stage_ns, counted
    )
    write(root / "README.md", readme(graph, hardware or Interface(), cost, part, vectors, sorted(core.library)))
    write_manifest(root, graph, RTL, latency_cycles=core.latency_cycles, cost=cost.to_dict())
    return cost


def texts(graph: FixedPointGraph, core: Core, vectors: Vectors, clock_ns: float, part: str) -> dict[str, str]:
    """Relative path -> text of every file but README, licence and manifest."""
    module, kinds = namespace(graph), port_widths(graph)
    settings = {"module": module, "part": part, "clock_ns": f"{clock_ns:g}", "name": graph.name}
    files = {f"src/{name}": text for name, text in core.sources.items()}
    files |= {f"src/alkaid/{name}": text for name, text in core.library.items()}
    files[f"src/{module}.v"] = top(graph, core)
    files[f"constraints/{graph.name}.xdc"] = fill("constraints.xdc", **settings, uncertainty=f"{MARGIN * clock_ns:g}")
    files["build_vivado.tcl"] = fill("build_vivado.tcl", **settings)
    files["Makefile"] = fill("Makefile", **settings)
    files[f"tb/{graph.name}_tb.sv"] = testbench(graph, core, len(vectors))
    files[f"tb/{graph.name}_batch.cpp"] = harness(graph)
    files |= vector_files(graph, vectors)
    outputs = run(graph, vectors.inputs)
    data = {f"in_{name}": vectors.inputs[name].reshape(len(vectors), -1) for name in graph.inputs}
    data |= {f"out_{port}": to_words(graph.wires[wire], outputs[port]) for port, wire in graph.outputs.items()}
    files |= {f"tb/data/{port}.hex": hexadecimal(words, kinds[port][1].width) for port, words in data.items()}
    return {**files, GRAPH: graph.to_json()}


def library_licence() -> Path:
    """alkaid's licence file, as it is installed."""
    found = [file for file in importlib.metadata.files("alkaid") or [] if file.name == "LICENSE"]
    return Path(str(found[0].locate()))
