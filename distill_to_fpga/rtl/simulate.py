"""The Verilog of an exported project as an executor: built once with Verilator, then fed one vector per clock."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.simulate import compiler, run_batch
from distill_to_fpga.hls.sources import namespace
from distill_to_fpga.rtl.tools import tool
from foundation.errors import ToolError

EXTRA_CYCLES = 8  # watched beyond the stated latency
FUTURE = "-Wfuture-WIDTHTRUNC"  # a lint code in alkaid's files that Verilator before 5.010 does not know
COMPARED = 2000  # vectors that a lag must explain to be the latency
# Every file reads a header with all signals, which takes g++ a second: few files, of functions that it takes quickly.
FILES = ("--output-split", "30000", "--output-split-cfuncs", "4000")
# Verilator's own setting is -Os; what runs once, the slow copy of all logic, is not worth optimising.
LEVELS = "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0"


@dataclass(frozen=True)
class Timing:
    """What the simulation says about time.

    Attributes:
        stated: latency that the project states, in cycles.
        measured: lag at which the outputs follow the inputs; None if there is none, or more than one.
        valid_as_stated: `valid_out` is high exactly where an output belongs, with one input per clock.
        reset_clears: a reset with the pipeline full lets no `valid_out` through.
    """

    stated: int
    measured: int | None
    valid_as_stated: bool
    reset_clears: bool

    @property
    def holds(self) -> bool:
        return self.measured == self.stated and self.valid_as_stated and self.reset_clears


def build(project: Path, graph: FixedPointGraph, folder: Path) -> Path:
    """Verilate and compile the project with its own harness; returns the program.

    Raises:
        ToolError: no Verilator or C++ compiler, or one of them fails.
    """
    top = namespace(graph)
    verilator, out = tool("verilator", "verilator", "The RTL simulation"), folder.resolve()
    sources = sorted(str(path) for path in (project / "src").resolve().rglob("*.v"))
    harness = str((project / "tb" / f"{graph.name}_batch.cpp").resolve())
    command = [verilator, "--cc", "--exe", "--build", "-j", str(len(os.sched_getaffinity(0))), "-Wno-fatal"]
    command += ["-Wno-lint", FUTURE, "-O3", "--x-assign", "0", *FILES, "-MAKEFLAGS", LEVELS]
    command += ["--top-module", top, "--Mdir", str(out), "-o", "simulate"]
    command += [*sources, harness]
    environment = {**os.environ, "CXX": compiler()}
    result = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False, env=environment)
    if result.returncode != 0:
        raise ToolError(f"verilator failed on {project}:\n{(result.stderr or result.stdout)[:2000]}")
    return out / "simulate"


def simulate(
    program: Path, graph: FixedPointGraph, inputs: Sequence[Int[np.ndarray, "vectors ..."]], latency: int
) -> tuple[Int[np.ndarray, "cycles words"], Int[np.ndarray, " cycles"], bool]:
    """Outputs and `valid_out` after every clock edge from the first input on; whether a reset empties the pipeline.

    Raises:
        ToolError: the program fails or reports too little.
    """
    count, after = len(inputs[0]), latency + EXTRA_CYCLES
    columns = 1 + sum(graph.wires[wire].size for wire in graph.outputs.values())
    words = run_batch(program, inputs, columns, str(after), rows=count + 2 * after)
    stream, reset = words[: count + after], words[count + after :]
    return stream[:, 1:], stream[:, 0], not reset[:, 0].any()


def timing(
    outputs: Int[np.ndarray, "cycles words"],
    valid: Int[np.ndarray, " cycles"],
    reset_clears: bool,
    golden: Int[np.ndarray, "vectors words"],
    stated: int,
) -> Timing:
    """Latency by comparison: the lag at which the stream of outputs is the golden model's."""
    sample = golden[:COMPARED]
    lags = [lag for lag in range(1, stated + EXTRA_CYCLES + 1) if (outputs[lag - 1 :][: len(sample)] == sample).all()]
    expected = np.zeros(len(valid), bool)
    expected[stated - 1 :][: len(golden)] = True
    return Timing(stated, lags[0] if len(lags) == 1 else None, bool((valid == expected).all()), reset_clears)
