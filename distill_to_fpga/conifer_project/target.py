"""The conifer back end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_to_fpga.conifer_project.project import firmware, write_project
from distill_to_fpga.estimate import Estimate
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls4ml_project.simulate import compiled
from distill_to_fpga.manifest import write_manifest
from distill_to_fpga.target import Asked, Target


class ConiferTarget(Target):
    """A project of trees as conifer writes it, simulated by g++."""

    name = "conifer"
    help = "conifer project of trees (extra trees)"

    def write(self, graph: FixedPointGraph, project: Path, asked: Asked) -> Estimate:
        """The cost is the network's, not that of conifer's C++."""
        cost = write_project(graph, project, asked)
        write_manifest(project, graph, self.form, estimate=cost.summary())
        return cost

    def build(self, project: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, folder: Path) -> Path:
        return compiled(project, firmware(graph), graph, folder)
