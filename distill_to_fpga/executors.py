"""What the firmware of an exported project computes: its C++ by g++, or its Verilog by Verilator."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.simulate import compile_batch, run_batch
from distill_to_fpga.manifest import RTL
from distill_to_fpga.rtl import simulate as verilator


@dataclass(frozen=True)
class Executed:
    """Outputs of many vectors.

    Attributes:
        words: bit patterns of all output ports, one after another.
        stream: an RTL project's outputs and `valid_out` after every clock edge, and whether a reset empties it.
        seconds: of the build, and of the run.
    """

    words: Int[np.ndarray, "vectors words"]
    stream: tuple[np.ndarray, np.ndarray, bool] | None
    seconds: tuple[float, float]


def execute(
    project: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, inputs: Mapping[str, np.ndarray], build: Path
) -> Executed:
    """Build a project's firmware in the folder `build` and run it on hardware integers `[V, *shape]` of each input.

    Raises:
        ToolError: a compiler or simulator is missing (the message names the package), or fails.
    """
    given = [np.asarray(inputs[name]) for name in graph.inputs]
    marks, stream = [time.perf_counter()], None
    if manifest["format"] == RTL:
        program = verilator.build(project, graph, build)
        marks.append(time.perf_counter())
        latency = int(manifest["latency_cycles"])
        stream = verilator.simulate(project, graph, given, latency, program)
        words = stream[0][latency - 1 :][: len(given[0])]
    else:
        program = compile_batch(project, graph, build)
        marks.append(time.perf_counter())
        words = run_batch(program, given, sum(graph.wires[wire].size for wire in graph.outputs.values()))
    marks.append(time.perf_counter())
    return Executed(words, stream, (marks[1] - marks[0], marks[2] - marks[1]))
