"""The files of a conifer project: what conifer writes, and beside it the golden model, vectors and a test bench."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import warnings
from pathlib import Path

from distill_to_fpga.conifer_project.model import model
from distill_to_fpga.conifer_project.readme import readme
from distill_to_fpga.estimate import Estimate, estimate
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.containers import Container, container
from distill_to_fpga.hls.project import ap_types
from distill_to_fpga.hls4ml_project.simulate import bench, copy_headers, write_all
from distill_to_fpga.manifest import GRAPH
from distill_to_fpga.project import new_folder, vector_files
from distill_to_fpga.target import Asked


def write_project(graph: FixedPointGraph, root: Path, asked: Asked) -> Estimate:
    """Everything but the manifest.

    Raises:
        RunError: `root` holds something. Nothing is touched then.
        MissingToolError: conifer is not installed, or hls4ml, whose wheel carries the ap_types headers.
        GraphError: the network is not one of trees.
    """
    new_folder(root)
    made = model(graph, root, asked.part, asked.clock_ns)
    declared = f'#include "parameters.h"\n\nvoid {graph.name}(input_arr_t x, score_arr_t score);'
    texts = {GRAPH: graph.to_json(), **vector_files(graph, asked.vectors)}
    texts |= bench(graph, "conifer", firmware(graph), wrapper(graph), declared)
    texts["README.md"] = readme(graph, asked, made, importlib.metadata.version("conifer"))
    ap_types()  # where they are missing nothing is written
    root.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # conifer leaves files open
        made.write()
    settle(graph, root)
    write_all(root, texts)
    copy_headers(root, "hls_stream.h")
    shutil.copyfile(licence(), root / "firmware/LICENSE")
    return estimate(graph, asked.clock_ns)


def firmware(graph: FixedPointGraph) -> list[str]:
    return ["firmware/BDT.cpp", f"firmware/{graph.name}.cpp"]


def settle(graph: FixedPointGraph, root: Path) -> None:
    """Takes out what differs from one export to the next: time, machine, user and path."""
    path = root / f"{graph.name}.json"
    data = json.loads(path.read_text())
    data["metadata"], data["config"]["output_dir"] = [], "."
    path.write_text(json.dumps(data) + "\n")
    bridge = root / "bridge.cpp"
    bridge.write_text(re.sub(r"conifer_bridge_\d+", "conifer_bridge", bridge.read_text()))


def licence() -> Path:
    """conifer's licence file, as it is installed."""
    found = [
        file for file in importlib.metadata.files("conifer") or [] if file.name == "LICENSE" and "dist" in str(file)
    ]
    return Path(str(found[0].locate()))


def wrapper(graph: FixedPointGraph) -> str:
    """C++ between the graph's ports and conifer's one array of features and one of scores: each feature is read in its
    own width."""
    ports = {**{name: name for name in graph.inputs}, **graph.outputs}
    lines = [f"typedef {container(graph.wires[wire]).cpp} {port}_t;" for port, wire in ports.items()]
    arguments = [f"const {name}_t *{name}" for name in graph.inputs] + [f"{port}_t *{port}" for port in graph.outputs]
    lines += ["", f"inline void {graph.name}({', '.join(arguments)}) {{", "  input_arr_t x_;", "  score_arr_t score_;"]
    places = [(name, i) for name in graph.inputs for i in range(graph.wires[name].size)]
    lines += [f"  x_[{k}] = {element(graph, name, i)};" for k, (name, i) in enumerate(places)]
    lines += [f"  ::{graph.name}(x_, score_);"]
    scores = [(port, i) for port, wire in graph.outputs.items() for i in range(graph.wires[wire].size)]
    lines += [f"  {port}[{i}] = score_[{k}];" for k, (port, i) in enumerate(scores)]
    return "\n".join([*lines, "}", ""])


def element(graph: FixedPointGraph, name: str, i: int) -> str:
    wire = graph.wires[name]
    bits = int(wire.bits.reshape(-1)[i])
    return f"{Container(bool(wire.signed.reshape(-1)[i]), bits, bits).cpp}({name}[{i}])" if bits else "0"
