"""Export, C simulation, verification, interpreter speed: a 16-64-32-32-5 network of 5-bit weights, half of them zero.

python benchmarks/firmware.py [--quick]      `--quick` verifies 10,000 vectors instead of 100,000

`lut_ratio_to_da4ml` (shared adders of ours over da4ml's, same matrices, same cost per adder) needs `pip install da4ml`
and is null without it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from distill_to_fpga.adders import adder_graph
from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, ops, run
from distill_to_fpga.hls import export_graph
from distill_to_fpga.vectors import make_vectors
from distill_to_fpga.verify import verify_export

SIZES = (16, 64, 32, 32, 5)


def network(seed: int = 0) -> FixedPointGraph:
    rng = np.random.default_rng(seed)
    g = GraphBuilder("network")
    x = g.scale(g.input("inputs", SIZES[:1], signed=True, bits=10), shift=-6)
    for layer, (inputs, outputs) in enumerate(pairwise(SIZES)):
        x = g.quantize(x if layer == 0 else g.relu(x), layer == 0, 8, 5, "half_up")
        weight = rng.integers(-16, 16, (inputs, outputs)) * (rng.random((inputs, outputs)) < 0.5)
        x = g.dense(x, weight, 5, rng.integers(-16, 16, outputs), 5)
    g.output(x)
    return g.build()


def seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """Median wall time."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def lut_ratio_to_da4ml(graph: FixedPointGraph) -> float | None:
    if importlib.util.find_spec("da4ml") is None:
        return None
    from da4ml.cmvm import QInterval, solve

    ours = theirs = 0.0
    for node in graph.nodes:
        if isinstance(node.op, ops.Dense):
            (x,) = graph.input_wires(node)
            _, matrix, _, _ = node.op.aligned(x)
            ends = list(zip(x.low.tolist(), x.high.tolist()))
            intervals = [QInterval(float(low), float(high), 1.0) for low, high in ends]
            theirs += solve(matrix.astype(np.float32), qintervals=intervals, adder_size=1, carry_size=-1).cost
            ours += adder_graph(matrix, ends).luts
    return ours / theirs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    count = 10_000 if parser.parse_args().quick else 100_000
    graph = network()
    inputs = {"inputs": np.random.default_rng(1).integers(-512, 512, (500_000, 16))}
    run(graph, {"inputs": inputs["inputs"][:1000]})
    with tempfile.TemporaryDirectory() as folder:
        names = iter(range(10))
        vectors = make_vectors(graph, count=2000)
        exporting = seconds(lambda: export_graph(graph, Path(folder) / str(next(names)), vectors=vectors))
        start = time.perf_counter()
        result = verify_export(Path(folder) / "0", count=count)
        verifying = time.perf_counter() - start
    figures = {
        "export_seconds": exporting,
        "csim_build_seconds": result.seconds["hls build"],
        "verify_seconds": verifying,
        "vectors": result.vectors,
        "mismatches": sum(result.mismatches.values()),
        "lut_ratio_to_da4ml": lut_ratio_to_da4ml(graph),
        "inferences_per_s": len(inputs["inputs"]) / seconds(lambda: run(graph, inputs)),
    }
    for name, value in figures.items():
        print(f"{name:<20} {'-' if value is None else f'{value:,.3g}' if isinstance(value, float) else f'{value:,}'}")
    machine = {"cpus": os.cpu_count(), "processor": platform.processor() or platform.machine()}
    print(json.dumps({"benchmark": "firmware", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
