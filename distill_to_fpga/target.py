"""What every back end offers."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.simulate import run_parts
from distill_to_fpga.manifest import form_of
from distill_to_fpga.project import Interface
from distill_to_fpga.vectors import Vectors


@dataclass(frozen=True)
class Asked:
    """What an export asks of a back end, besides the graph.

    Attributes:
        vectors: go into the project with the golden model's outputs.
        clock_ns: the period that the firmware is made for.
        part: the FPGA.
        meaning: of inputs and outputs.
        synthesis: whether cells are counted by synthesis, where the back end can.
    """

    vectors: Vectors
    clock_ns: float = 5.0
    part: str = "xcvu13p-flga2577-2-e"
    meaning: Interface = field(default_factory=Interface)
    synthesis: bool = False


@runtime_checkable
class Cost(Protocol):
    """What a project costs."""

    def to_dict(self) -> dict[str, Any]:
        """For `metrics.json`."""
        ...

    def line(self) -> str:
        """For people."""
        ...


Stream = tuple[np.ndarray, np.ndarray, bool]


@dataclass(frozen=True)
class Executed:
    """Outputs of many vectors.

    Attributes:
        words: bit patterns of all output ports, one after another.
        seconds: of the build, and of the run.
        stream: of a back end with a clock: outputs and `valid_out` after every clock edge, and whether a reset
            empties the pipeline.
    """

    words: Int[np.ndarray, "vectors words"]
    seconds: tuple[float, float]
    stream: Stream | None = None


class Target(ABC):
    """A back end.

    Attributes:
        name: of `detfm export --target`.
        form: what the manifests of its projects say.
        help: one line.
    """

    name: str
    help: str

    @property
    def form(self) -> str:
        return form_of(self.name)

    @abstractmethod
    def write(self, graph: FixedPointGraph, project: Path, asked: Asked) -> Cost:
        """Writes a project into a folder that does not exist yet, or is empty.

        Raises:
            RunError: it holds something. Nothing is touched then.
            ToolError: something is not installed; the message is the install command.
            GraphError: the graph has an operation or a width that this back end does not take.
        """

    @abstractmethod
    def build(self, project: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, folder: Path) -> Path:
        """Builds a project's firmware in a folder, never in the project; what is built there already is taken. Returns
        the program.

        Raises:
            ToolError: a compiler or simulator is missing (the message names the package), or fails.
        """

    def run(
        self, program: Path, manifest: Mapping[str, Any], graph: FixedPointGraph, inputs: Sequence[np.ndarray]
    ) -> tuple[Int[np.ndarray, "vectors words"], Stream | None]:
        """Outputs of a program on hardware integers `[V, *shape]` of each input; see `Executed`.

        Raises:
            ToolError: it fails, or reports too little.
        """
        return run_parts(program, inputs, sum(graph.wires[wire].size for wire in graph.outputs.values())), None

    def execute(
        self,
        project: Path,
        manifest: Mapping[str, Any],
        graph: FixedPointGraph,
        inputs: Mapping[str, np.ndarray],
        folder: Path,
    ) -> Executed:
        """`build`, then `run`, timed."""
        start = time.perf_counter()
        program = self.build(project, manifest, graph, folder)
        built = time.perf_counter()
        words, stream = self.run(program, manifest, graph, [np.asarray(inputs[name]) for name in graph.inputs])
        return Executed(words, (built - start, time.perf_counter() - built), stream)

    def trace(
        self, project: Path, graph: FixedPointGraph, inputs: Mapping[str, np.ndarray], build: Path
    ) -> dict[str, np.ndarray] | None:
        """Wire -> bit patterns `[V, size]` of every computed wire, in the order of the network; None where the
        firmware's wires are no longer those of the graph."""
        return None
