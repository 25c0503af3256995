"""Back ends without a compiler: what they write is a copy of the graph, which they interpret."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill_to_fpga.estimate import Estimate, estimate
from distill_to_fpga.graph import FixedPointGraph, as_read, run
from distill_to_fpga.hls.containers import to_words
from distill_to_fpga.manifest import GRAPH, write_manifest
from distill_to_fpga.project import new_folder, vector_files, write
from distill_to_fpga.target import Asked, Target
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import Vectors
from distill_to_fpga.verify import output_words
from foundation.errors import MissingToolError

FIRMWARE = "src/firmware.json"


interpreted = lru_cache(maxsize=8)(FixedPointGraph.from_json)


class PaperTarget(Target):
    """`traces`: whether its wires can be seen; `reads`: which file it interprets."""

    help = "nothing to build"

    def __init__(self, name: str, traces: bool = True, reads: str = FIRMWARE):
        self.name, self.traces, self.reads = name, traces, reads

    def write(self, graph: FixedPointGraph, project: Path, asked: Asked) -> Estimate:
        new_folder(project)
        for name, text in vector_files(graph, asked.vectors).items():
            write(project / name, text)
        write(project / FIRMWARE, graph.to_json())
        write(project / GRAPH, graph.to_json())
        write(project / "LICENSE", "Permission is hereby granted, free of charge, ...")
        cost = estimate(graph, asked.clock_ns)
        write_manifest(project, graph, self.form)
        return cost

    def build(self, project: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, folder: Path) -> Path:
        return project / self.reads

    def run(
        self, program: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, inputs: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, None]:
        vectors = Vectors(dict(zip(graph.inputs, inputs, strict=True)), ("",) * len(inputs[0]))
        return output_words(interpreted(program.read_text()), vectors), None

    def trace(
        self, project: Path, graph: FixedPointGraph, inputs: Mapping[str, np.ndarray], build: Path
    ) -> dict[str, np.ndarray] | None:
        firmware = interpreted((project / self.reads).read_text())
        found = run(firmware, as_read(firmware, inputs), keep=True)
        return {name: to_words(wire, found[name]) for name, wire in firmware.wires.items()} if self.traces else None


class ToollessTarget(PaperTarget):
    """Its simulator, or its generator, is not installed here."""

    def __init__(self, name: str, writes: bool = True):
        super().__init__(name)
        self.writes = writes

    def write(self, graph: FixedPointGraph, project: Path, asked: Asked) -> Estimate:
        cost = super().write(graph, project, asked)
        if not self.writes:
            raise MissingToolError(f"{self.name} needs a generator.\n  pip install generator")
        return cost

    def build(self, *args: Any) -> Path:
        raise MissingToolError(f"{self.name} needs a simulator.\n  apt install simulator")


def only(monkeypatch: pytest.MonkeyPatch, *targets: Target) -> None:
    """These back ends and no others."""
    for name in tuple(TARGETS):
        monkeypatch.delitem(TARGETS, name)
    for target in targets:
        monkeypatch.setitem(TARGETS, target.name, target)


def spoil(project: Path, old: str, new: str) -> None:
    """Changes the firmware, and makes the manifest agree, as a fault in the back end itself would."""
    path = project / FIRMWARE
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    sign_again(project)


def sign_again(project: Path) -> None:
    form = json.loads((project / "manifest.json").read_text())["format"]
    write_manifest(project, FixedPointGraph.load(project / GRAPH), form)
