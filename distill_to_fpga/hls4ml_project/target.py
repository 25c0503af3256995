"""The hls4ml back end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_to_fpga.estimate import Estimate
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls4ml_project.model import Settings
from distill_to_fpga.hls4ml_project.project import firmware, write_project
from distill_to_fpga.hls4ml_project.simulate import compiled
from distill_to_fpga.manifest import write_manifest
from distill_to_fpga.target import Asked, Target
from foundation.errors import MissingToolError

DEFAULT = Settings()


class Hls4mlTarget(Target):
    """A project as hls4ml writes it, simulated by g++.

    Attributes:
        settings: back end and reuse factor.
    """

    name = "hls4ml"
    help = "hls4ml project for Vitis or oneAPI (extra hls4ml; --cfg.hls4ml.*)"

    def __init__(self, settings: Settings = DEFAULT):
        self.settings = settings

    def write(self, graph: FixedPointGraph, project: Path, asked: Asked) -> Estimate:
        """The cost is the network's, not that of hls4ml's C++."""
        cost = write_project(graph, project, asked, self.settings)
        facts = {"backend": self.settings.backend, "reuse": self.settings.reuse, "estimate": cost.summary()}
        write_manifest(project, graph, self.form, **facts)
        return cost

    def build(self, project: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, folder: Path) -> Path:
        if not Settings(manifest["backend"]).runs:
            raise MissingToolError(f"{project} is for {manifest['backend']}, which detfm does not compile")
        return compiled(project, firmware(graph), graph, folder)
