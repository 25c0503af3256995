"""A 16-64-32-32-5 network of 5-bit weights, half of them zero, from the graph to verified firmware. See firmware.py."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from distill_to_fpga.estimate import estimate
from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, run
from distill_to_fpga.hls.sources import namespace
from distill_to_fpga.rtl.yosys import synthesize
from distill_to_fpga.target import Asked
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import make_vectors
from distill_to_fpga.verify.result import VerifyResult
from distill_to_fpga.verify.session import examine
from distill_to_fpga.verify.subject import of_projects
from foundation.errors import MissingToolError

SIZES = (16, 64, 32, 32, 5)
SMALL = (16, 16, 8, 5)
TIMED = ("hls", "rtl")  # whose exports have a goal
FIRMWARE = ("hls", "rtl", "emulator", "board", "hls4ml")
Figures = dict[str, float | int | None]


def network(sizes: tuple[int, ...] = SIZES, seed: int = 0) -> FixedPointGraph:
    """Inputs of 10 bits; 8 bits between the layers."""
    rng = np.random.default_rng(seed)
    g = GraphBuilder("network")
    x = g.scale(g.input("inputs", sizes[:1], signed=True, bits=10), shift=-6)
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        x = g.quantize(x if layer == 0 else g.relu(x), layer == 0, 8, 5, "half_up")
        weight = rng.integers(-16, 16, (inputs, outputs)) * (rng.random((inputs, outputs)) < 0.5)
        x = g.dense(x, weight, 5, rng.integers(-16, 16, outputs), 5)
    g.output(x)
    return g.build()


def seconds(work: Callable[[int], Any], repeats: int = 3) -> float:
    """Median wall time; the work is told the number of the repetition."""
    times = []
    for number in range(repeats):
        start = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def through_firmware(sizes: tuple[int, ...], count: int, quick: bool, folder: Path) -> Figures:
    """Times of export, builds and verification; the interpreter's speed; Yosys' count of our RTL."""
    graph = network(sizes)
    asked = Asked(make_vectors(graph, count=2000))
    exporting = {name: exported(name, graph, asked, folder) for name in (TIMED if quick else FIRMWARE)}
    subject = of_projects([folder / f"{name}_0" for name, spent in exporting.items() if spent is not None])
    start = time.perf_counter()
    result = examine(subject, count=count)
    verifying = time.perf_counter() - start
    for line in lines(result):
        print(line)
    rows = np.random.default_rng(1).integers(-512, 512, (500_000, sizes[0]))
    run(graph, {"inputs": rows[:1000]})
    return {
        "export_seconds": exporting["hls"],
        "csim_build_seconds": result.seconds.get("hls build"),
        "rtl_export_seconds": exporting["rtl"],
        "verilator_build_seconds": result.seconds.get("rtl build"),
        "verify_seconds": verifying,
        "vectors": result.vectors,
        "mismatches": sum(result.mismatches.values()),
        "inferences_per_s": len(rows) / seconds(lambda n: run(graph, {"inputs": rows})),
        "luts": estimate(graph).total("luts"),
        "luts_yosys": None if quick else counted(graph, folder / "rtl_0"),
    }


def exported(name: str, graph: FixedPointGraph, asked: Asked, folder: Path) -> float | None:
    """Seconds, the median of three where there is a goal; None, and a line, where something is not installed."""
    try:
        return seconds(lambda n: TARGETS[name].write(graph, folder / f"{name}_{n}", asked), 3 if name in TIMED else 1)
    except MissingToolError as error:
        print(f"  {name}: not exported: {' '.join(str(error).split())}")
        return None


def counted(graph: FixedPointGraph, project: Path) -> int | None:
    """LUTs of an RTL project by Yosys."""
    if shutil.which("yosys") is None or not project.exists():
        print("  the RTL is not counted: apt install yosys")
        return None
    return synthesize(sorted((project / "src").rglob("*.v")), namespace(graph)).luts


def lines(result: VerifyResult) -> list[str]:
    """One for each executor: what differs, and how long it took."""
    found = [
        f"  {name:<16} {result.vectors:,} vectors, {wrong} mismatches; built in "
        f"{result.seconds.get(f'{name} build', 0):.1f} s, run in {result.seconds.get(name, 0):.1f} s"
        for name, wrong in result.mismatches.items()
    ]
    return found + [f"  {name:<16} not run: {' '.join(why.split())}" for name, why in result.not_run.items()]
