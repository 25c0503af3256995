"""The files of an hls4ml project: what hls4ml writes, and beside it the golden model, vectors and a test bench."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from distill_to_fpga.estimate import Estimate, estimate
from distill_to_fpga.graph import FixedPointGraph, GraphError, run
from distill_to_fpga.hls.project import ap_types
from distill_to_fpga.hls4ml_project.model import Settings, converted
from distill_to_fpga.hls4ml_project.readme import readme
from distill_to_fpga.hls4ml_project.simulate import bench, copy_headers, write_all
from distill_to_fpga.manifest import GRAPH
from distill_to_fpga.project import lines, new_folder, vector_files, write
from distill_to_fpga.target import Asked
from distill_to_fpga.vectors import Vectors

CONFIG = "hls4ml_config.yml"


def write_project(graph: FixedPointGraph, root: Path, asked: Asked, settings: Settings) -> Estimate:
    """Everything but the manifest.

    Raises:
        RunError: `root` holds something. Nothing is touched then.
        MissingToolError: hls4ml is not installed.
        GraphError: an operation that hls4ml does not compute exactly.
    """
    new_folder(root)
    model = converted(graph, root, asked.part, asked.clock_ns, settings)
    licence = ap_types()["include/ap_types/LICENSE"]
    texts = {GRAPH: graph.to_json(), **vector_files(graph, asked.vectors), **tb_data(graph, asked.vectors)}
    if settings.runs:
        texts |= bench(graph, "hls4ml", firmware(graph), port_types(graph, model))
    texts["README.md"] = readme(graph, asked, settings, version("hls4ml"))
    root.mkdir(parents=True, exist_ok=True)
    model.write()
    settle(graph, root, str(model.config.get_config_value("Stamp")))
    write_all(root, texts)
    if settings.runs:
        copy_headers(root)
    for library in root.rglob("nnet_utils"):
        shutil.copyfile(licence, library / "LICENSE")
    return estimate(graph, asked.clock_ns)


def firmware(graph: FixedPointGraph) -> list[str]:
    return [f"firmware/{graph.name}.cpp"]


def settle(graph: FixedPointGraph, root: Path, stamp: str) -> None:
    """Takes out what differs from one export to the next: hls4ml's random stamp, and the path of this folder."""
    config = yaml.safe_load((root / CONFIG).read_text())
    (root / CONFIG).write_text(yaml.safe_dump(config | {"OutputDir": ".", "Stamp": f"v{graph.version}"}))
    for name in ("build_lib.sh", "CMakeLists.txt"):
        if (root / name).is_file():
            write(root / name, (root / name).read_text().replace(stamp, f"v{graph.version}"))


def port_types(graph: FixedPointGraph, model: Any) -> str:
    """The types of ports under the names by which the test bench knows them."""
    names = dict(zip(graph.inputs, model.get_input_variables()))
    wires = list(graph.outputs.values())
    if len(set(wires)) < len(wires):
        raise GraphError(f"two outputs of '{graph.name}' are one wire, which hls4ml does not; use --target hls")
    names |= dict(zip(graph.outputs, model.get_output_variables()))
    return "".join(f"typedef {variable.type.name} {port}_t;\n" for port, variable in names.items())


def tb_data(graph: FixedPointGraph, vectors: Vectors) -> dict[str, str]:
    """Inputs and expected outputs in the form that hls4ml's own test bench reads: real numbers, one vector a line."""
    outputs = run(graph, vectors.inputs)
    given = [vectors.inputs[name].reshape(len(vectors), -1) for name in graph.inputs]
    expected = [
        np.ldexp(outputs[port].astype(np.float64), -graph.wires[wire].fraction).reshape(len(vectors), -1)
        for port, wire in graph.outputs.items()
    ]
    return {
        "tb_data/tb_input_features.dat": lines(np.concatenate(given, axis=1)),
        "tb_data/tb_output_predictions.dat": lines(np.concatenate(expected, axis=1)),
    }
