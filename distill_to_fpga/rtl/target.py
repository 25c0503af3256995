"""The Verilog back end."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.rtl.project import RtlCost, export_rtl
from distill_to_fpga.rtl.simulate import build as verilate
from distill_to_fpga.rtl.simulate import simulate
from distill_to_fpga.target import Asked, Stream, Target
from foundation.progress import console


class RtlTarget(Target):
    """Verilog through alkaid, simulated by Verilator, counted by Yosys."""

    name = "rtl"
    help = "Verilog (extra rtl)"

    def write(self, graph: FixedPointGraph, project: Path, asked: Asked) -> RtlCost:
        count = asked.synthesis and shutil.which("yosys") is not None
        if asked.synthesis and not count:
            console.print("cells are not counted: Yosys is not installed (Debian, Ubuntu: apt install yosys)")
        return export_rtl(
            graph,
            project,
            vectors=asked.vectors,
            clock_ns=asked.clock_ns,
            part=asked.part,
            hardware=asked.meaning,
            synthesis=count,
        )

    def build(self, project: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, folder: Path) -> Path:
        return verilate(project, graph, folder)

    def run(
        self, program: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, inputs: Sequence[np.ndarray]
    ) -> tuple[Int[np.ndarray, "vectors words"], Stream]:
        latency = int(manifest["latency_cycles"])
        stream = simulate(program, graph, inputs, latency)
        return stream[0][latency - 1 :][: len(inputs[0])], stream
