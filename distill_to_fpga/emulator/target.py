"""The CMS emulator back end."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill_to_fpga.emulator.project import write_package
from distill_to_fpga.emulator.sources import library
from distill_to_fpga.estimate import Estimate
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.simulate import compiler
from distill_to_fpga.hls.sources import sources
from distill_to_fpga.hls.target import HlsTarget
from distill_to_fpga.manifest import write_manifest
from distill_to_fpga.project import write
from distill_to_fpga.rtl.tools import tool
from distill_to_fpga.target import Asked, Target
from foundation.errors import ToolError


class EmulatorTarget(Target):
    """A shared object behind `hls4mlEmulator::Model`, built by its own Makefile and asked by a program that opens it by
    name and knows nothing of it but the types at its ports."""

    name = "emulator"
    help = "C++ for CMS software"

    def write(self, graph: FixedPointGraph, project: Path, asked: Asked) -> Estimate:
        cost = write_package(graph, project, asked)
        write_manifest(project, graph, self.form, library=f"{library(graph)}.so", estimate=cost.summary())
        return cost

    def build(self, project: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, folder: Path) -> Path:
        folder = folder.resolve()
        program = folder / f"{graph.name}_batch"
        make(project, folder, folder / f"{library(graph)}.so", program)
        return program

    def trace(
        self, project: Path, graph: FixedPointGraph, inputs: Mapping[str, np.ndarray], build: Path
    ) -> dict[str, np.ndarray]:
        """By the test bench of an HLS project around the same sources."""
        bench = build / "hls"
        for folder in ("src", "include"):
            shutil.copytree(project / folder, bench / folder, dirs_exist_ok=True)
        for name, text in sources(graph).items():
            if name.startswith("tb/"):
                write(bench / name, text)
        return HlsTarget().trace(bench, graph, inputs, build)


def make(project: Path, build: Path, *targets: Path) -> None:
    """Raises ToolError: no make or compiler, or it fails (with the first lines of what it says)."""
    command = [tool("make", "make", "The emulator"), "-C", str(project.resolve()), f"BUILD={build}"]
    command += [f"CXX={compiler()}", "CXXFLAGS=-O1", *map(str, targets)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ToolError(f"{' '.join(command)}\n  failed:\n{result.stderr[:2000]}")
