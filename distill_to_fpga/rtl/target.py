"""The Verilog back end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.rtl.project import RtlCost, export_rtl
from distill_to_fpga.rtl.simulate import build as verilate
from distill_to_fpga.rtl.simulate import simulate
from distill_to_fpga.target import Asked, Executed, Target
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

    def execute(
        self,
        project: Path,
        manifest: Mapping[str, Any],
        graph: FixedPointGraph,
        inputs: Mapping[str, np.ndarray],
        build: Path,
    ) -> Executed:
        start = time.perf_counter()
        program = verilate(project, graph, build)
        built = time.perf_counter()
        given, latency = [np.asarray(inputs[name]) for name in graph.inputs], int(manifest["latency_cycles"])
        stream = simulate(project, graph, given, latency, program)
        words = stream[0][latency - 1 :][: len(given[0])]
        return Executed(words, (built - start, time.perf_counter() - built), stream)
