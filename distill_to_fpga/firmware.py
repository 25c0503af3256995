"""What the compiled firmware of an export run computes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.containers import container
from distill_to_fpga.hls.project import GRAPH
from distill_to_fpga.hls.simulate import simulate
from distill_to_fpga.verify import PROJECT
from foundation.runs import Run


def firmware_outputs(export: Run, integers: Int[np.ndarray, "n K H"]) -> Float[np.ndarray, "n O"]:
    """What the compiled firmware of an export run makes of hardware integers, in real units."""
    project = export.path / PROJECT
    graph = FixedPointGraph.load(project / GRAPH)
    (port,), (wire,) = graph.inputs, graph.outputs.values()
    with tempfile.TemporaryDirectory(prefix="detfm-evaluate-") as build:
        words = simulate(project, graph, {port: integers.astype(np.int64)}, Path(build))
    return words * 2.0 ** -container(graph.wires[wire]).fraction
