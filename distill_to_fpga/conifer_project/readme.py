"""README.md of a conifer project."""

from __future__ import annotations

from typing import Any

from distill_to_fpga.conifer_project.model import input_type, score_type
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.readme import input_section, output_section
from distill_to_fpga.target import Asked


def readme(graph: FixedPointGraph, asked: Asked, made: Any, version: str) -> str:
    """Markdown; `made` is conifer's model."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in asked.vectors.counts().items())
    types = {"input": input_type(graph).cpp, "score": score_type(graph).cpp}
    names = {"name": graph.name, "version": version, "count": len(asked.vectors), "kinds": kinds, **types}
    sizes = {"trees": made.n_trees, "nodes": made.n_nodes(), "leaves": made.n_leaves(), "depth": made.max_depth}
    scores = sum(graph.wires[wire].size for wire in graph.outputs.values())
    parts = [
        f"# {graph.name}, version {graph.version}: conifer project",
        HEAD.format(**names, **sizes),
        *([THIRD] if scores == 2 else []),
        *(input_section(graph, name, asked.meaning) for name in graph.inputs),
        WIDTHS.format(**names),
        *(output_section(graph, port, asked.meaning) for port in graph.outputs),
        CHECKS.format(**names),
        FILES.format(**names),
        LICENCES.format(**names),
    ]
    return "\n\n".join(parts) + "\n"


HEAD = """Written by conifer {version} for its Vitis HLS back end, unrolled, from the golden model `graph.json`: {trees}
trees for each score, {nodes} nodes of which {leaves} are leaves, depth {depth}. Top function `{name}`. Features are the
hardware integers, thresholds are integers, scores and leaves are `{score}`: the same integers in every executor."""

THIRD = """conifer takes two classes for one score. This model has two scores and is given a third, `score[2]`, of empty
trees: always 0, and nothing in hardware."""

WIDTHS = """conifer has one type for all features, `{input}`. Whoever drives the top function extends each feature to
it, by the sign where it is signed; the test bench does so from the bits that the table gives."""

CHECKS = """## Checks

`make csim` compiles the firmware with g++ and runs the {count} vectors in `tb/data`
({kinds}); it fails if any bit differs from the golden model. `detfm verify` does the same with many more.
Not run here: Vitis HLS, so neither resources nor latency of this project are known."""

FILES = """## Files

| file | |
| --- | --- |
| `firmware/` | top function, trees (`parameters.h`), conifer's library (`BDT.h`) |
| `{name}.json` | the model, for `conifer.model.load_model` |
| `build_hls.tcl`, `hls_parameters.tcl`, `vivado_synth.tcl` | synthesis |
| `bridge.cpp`, `{name}_test.cpp` | conifer's own emulation and test bench |
| `tb/`, `tb/data/`, `Makefile` | detfm's test bench; hardware integers in, bit patterns out, one vector per line |"""

LICENCES = """## Licences

`firmware` and the scripts come from conifer {version}, Apache-2.0 (`firmware/LICENSE`); `firmware/ap_types` is by
Xilinx, Inc., Apache-2.0, copied from the hls4ml package (`firmware/ap_types/LICENSE`). All other files are output
of detfm and carry no condition of its authors."""
