"""What the compiled firmware of an export run computes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.containers import container
from distill_to_fpga.manifest import GRAPH, check_manifest
from distill_to_fpga.project import PROJECT
from distill_to_fpga.targets import target_of
from foundation.runs import Run


def firmware_outputs(export: Run, integers: Int[np.ndarray, "n K H"]) -> Float[np.ndarray, "n O"]:
    """What the compiled or simulated firmware of an export run makes of hardware integers, in real units."""
    project = export.path / PROJECT
    graph = FixedPointGraph.load(project / GRAPH)
    (port,), (wire,) = graph.inputs, graph.outputs.values()
    with tempfile.TemporaryDirectory(prefix="detfm-evaluate-") as build:
        given = {port: integers.astype(np.int64)}
        manifest = check_manifest(project)
        words = target_of(manifest).execute(project, manifest, graph, given, Path(build)).words
    return words * 2.0 ** -container(graph.wires[wire]).fraction
