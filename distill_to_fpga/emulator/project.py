"""The emulator package of a graph: sources that build into `NAME_vVERSION.so` without this package."""

from __future__ import annotations

from pathlib import Path

from distill_to_fpga.emulator.readme import readme
from distill_to_fpga.emulator.scales import input_scales, scales_json
from distill_to_fpga.emulator.sources import fill, loader, model, scales_header
from distill_to_fpga.estimate import Estimate, estimate
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.project import ap_types
from distill_to_fpga.hls.sources import sources
from distill_to_fpga.manifest import GRAPH
from distill_to_fpga.project import new_folder, vector_files, write_all
from distill_to_fpga.target import Asked


def write_package(graph: FixedPointGraph, root: Path, asked: Asked) -> Estimate:
    """Everything but the manifest; the firmware's C++ is that of the HLS back end, unchanged.

    Raises:
        RunError: `root` holds something. Nothing is touched then.
        ToolError: the ap_types headers are not installed (extra `fpga`).
        GraphError: a wire has no C++ type of at most 63 bits.
    """
    new_folder(root)
    headers, cost = ap_types(), estimate(graph, asked.clock_ns)
    scales = {port: input_scales(graph, port, asked.meaning) for port in graph.inputs}
    texts = sources(graph) | {
        f"src/{graph.name}_emulator.cpp": model(graph),
        "src/scales.h": scales_header(graph, [scale for port in scales.values() for scale in port]),
        "scales.json": scales_json(graph, scales, asked.meaning),
        "tb/run.h": loader(graph),
        "include/hls4ml/emulator.h": fill("emulator.h", graph),
        "Makefile": fill("Makefile", graph),
        "exports.map": fill("exports.map", graph),
        "README.md": readme(graph, asked.meaning, asked.vectors),
        GRAPH: graph.to_json(),
    }
    write_all(root, texts | vector_files(graph, asked.vectors), headers)
    return cost
