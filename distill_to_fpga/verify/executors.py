"""Everything that computes a student's outputs: the JAX student itself, and the firmware of each project."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from distill_to_fpga.graph import FixedPointGraph, as_read
from distill_to_fpga.hls.containers import container
from distill_to_fpga.manifest import GRAPH, check_manifest
from distill_to_fpga.target import Executed
from distill_to_fpga.targets import target_of
from distill_to_fpga.verify.bisect import bisected
from distill_to_fpga.verify.compare import Trace
from distill_to_fpga.verify.subject import STUDENT

NOTHING = np.iinfo(np.int64).min  # no word of an output


@dataclass(frozen=True)
class Executor:
    """One way to compute the outputs.

    Attributes:
        name: `student`, or that of a target.
        execute: outputs of hardware integers.
        trace: every wire of them, None where there are none to see.
        latency: in cycles, as stated; of one that states it exactly.
    """

    name: str
    execute: Callable[[Mapping[str, np.ndarray]], Executed]
    trace: Trace
    latency: int | None = None


def firmware(name: str, root: Path, golden: FixedPointGraph, build: Path) -> Executor:
    """The firmware of a project, built in the folder `build`; its wires, or the first that differs from those of the
    golden model."""
    manifest, graph = check_manifest(root), FixedPointGraph.load(root / GRAPH)
    target = target_of(manifest)
    build.mkdir()

    def trace(one: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        seen = target.trace(root, graph, one, build)
        return seen if seen is not None else bisected(target, root, graph, golden, one, build)

    return Executor(
        name, lambda inputs: target.execute(root, manifest, graph, inputs, build), trace, manifest.get("latency_cycles")
    )


def student(folder: Path, graph: FixedPointGraph) -> Executor:
    """The JAX student in the folder that `save_student` wrote, in float64, which is exact."""
    from distill_to_fpga.students import load_student, predict_exact  # JAX: seconds, which a bare project need not take
    from distill_to_fpga.students.student import CHUNK

    start = time.perf_counter()
    made, _ = load_student(folder)
    (port,), (wire,) = graph.inputs, graph.outputs.values()
    loading = time.perf_counter() - start

    def execute(inputs: Mapping[str, np.ndarray]) -> Executed:
        start = time.perf_counter()
        integers = as_read(graph, inputs)[port].astype(np.int32)
        count = len(integers)
        if count > CHUNK:  # whole chunks only: each other length would be compiled anew
            integers = np.concatenate([integers, np.zeros((-count % CHUNK, *integers.shape[1:]), np.int32)])
        found = on_grid(predict_exact(made, integers)[:count], container(graph.wires[wire]).fraction)
        return Executed(found, (loading, time.perf_counter() - start))

    return Executor(STUDENT, execute, lambda inputs: None)


def on_grid(values: Float[np.ndarray, "n O"], fraction: int) -> Int[np.ndarray, "n O"]:
    """Real outputs as integers in units of 2**-fraction; what lies between two of them equals no word."""
    scaled = np.ldexp(values.astype(np.float64), fraction)
    return np.where(scaled == np.rint(scaled), scaled, NOTHING).astype(np.int64)
