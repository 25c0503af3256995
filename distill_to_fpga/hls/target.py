"""The Vitis HLS back end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill_to_fpga.estimate import Estimate
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.project import export_graph
from distill_to_fpga.hls.simulate import compile_batch, run_batch
from distill_to_fpga.hls.sources import computed
from distill_to_fpga.target import Asked, Target


class HlsTarget(Target):
    """C++ for Vitis HLS, simulated by g++."""

    name = "hls"
    help = "Vitis HLS C++"

    def write(self, graph: FixedPointGraph, project: Path, asked: Asked) -> Estimate:
        return export_graph(
            graph,
            project,
            vectors=asked.vectors,
            clock_ns=asked.clock_ns,
            part=asked.part,
            hardware=asked.meaning,
        )

    def build(self, project: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, folder: Path) -> Path:
        return compile_batch(project, graph, folder)

    def trace(
        self, project: Path, graph: FixedPointGraph, inputs: Mapping[str, np.ndarray], build: Path
    ) -> dict[str, np.ndarray]:
        names = [node.name for node in computed(graph)]
        sizes = [graph.wires[name].size for name in names]
        program = compile_batch(project, graph, build, trace=True)
        reported = run_batch(program, [np.asarray(inputs[name]) for name in graph.inputs], sum(sizes))
        return dict(zip(names, np.split(reported, np.cumsum(sizes)[:-1], axis=1), strict=True))
