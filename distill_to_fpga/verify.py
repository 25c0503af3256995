"""`detfm verify`: prove an exported project bit-exact against its golden model."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser

from distill_to_fpga.graph import FixedPointGraph, run
from distill_to_fpga.hls.containers import container, to_words
from distill_to_fpga.manifest import GRAPH, check_manifest
from distill_to_fpga.project import PROJECT
from distill_to_fpga.rtl.simulate import Timing, timing
from distill_to_fpga.target import Target
from distill_to_fpga.targets import target_of
from distill_to_fpga.vectors import Vectors, make_vectors
from foundation.command import Command
from foundation.errors import DataError, DetfmError
from foundation.progress import console
from foundation.runs import PROVENANCE, Run, write_json

FIRMWARE = "firmware"
RESULT = "verify.json"


class MismatchError(DetfmError):
    """Firmware and golden model differ."""


@dataclass(frozen=True)
class Difference:
    """The first value that differs, in the order of the network.

    Attributes:
        wire: the earliest wire with a difference; the operation of that name is at fault.
        element: index within the wire.
        vector, kind: which vector, and of which kind.
        golden, firmware: the two integers, in units of 2**-fraction.
    """

    wire: str
    element: tuple[int, ...]
    vector: int
    kind: str
    golden: int
    firmware: int
    fraction: int

    def __str__(self) -> str:
        where = f"wire '{self.wire}' element {list(self.element)}, vector {self.vector} ({self.kind})"
        return f"{where}: golden model {self.golden}, firmware {self.firmware} (units of 2^{-self.fraction})"


@dataclass(frozen=True)
class VerifyResult:
    """Outcome of a verification.

    Attributes:
        vectors: how many went through every executor; `kinds` says of which kinds.
        words: output words compared.
        mismatches: executor -> output words that differ from the golden model.
        first: the first difference, None if there is none.
        seconds: stage -> wall time: `compile`, `firmware`, `golden`.
        timing: of an RTL project, with one vector per clock.
    """

    vectors: int
    kinds: dict[str, int]
    words: int
    mismatches: dict[str, int]
    first: Difference | None
    seconds: dict[str, float]
    timing: Timing | None = None

    @property
    def exact(self) -> bool:
        return not any(self.mismatches.values())

    @property
    def passed(self) -> bool:
        """Exact, and the outputs come when the project says they do."""
        return self.exact and (self.timing is None or self.timing.holds)


def verify_export(
    project_dir: str | Path, extra_vectors: Vectors | None = None, count: int = 10_000, seed: int = 1
) -> VerifyResult:
    """Run the golden model and the firmware on the same vectors and compare every output bit.

    The firmware: an HLS project's C++ compiled by g++, an RTL project's Verilog simulated by Verilator with a new
    vector at every clock. The vectors: those shipped in `tb/data` (whose stored outputs are compared too),
    `extra_vectors`, then corners and random ones up to `count` or more. The project itself is not written to.

    Raises:
        RunError: not an exported project.
        DataError: a file of it is missing or changed (each is named).
        ToolError: no C++ compiler or Verilator, or the firmware does not compile.
    """
    root = Path(project_dir)
    manifest = check_manifest(root)
    graph = FixedPointGraph.load(root / GRAPH)
    shipped, stored = read_vectors(root, graph)
    vectors = shipped if extra_vectors is None else shipped + extra_vectors
    vectors = vectors + make_vectors(graph, count=max(count - len(vectors), 0), seed=seed)
    with tempfile.TemporaryDirectory(prefix="detfm-verify-") as build:
        target = target_of(manifest)
        made = target.execute(root, manifest, graph, vectors.inputs, Path(build))
        start = time.perf_counter()
        golden = output_words(graph, vectors)
        seconds = {"compile": made.seconds[0], FIRMWARE: made.seconds[1], "golden": time.perf_counter() - start}
        differs = made.words != golden
        mismatches = {FIRMWARE: int(differs.sum()), "shipped outputs": int((stored != golden[: len(stored)]).sum())}
        first, times = None, None
        if made.stream is not None:
            times = timing(*made.stream, golden, int(manifest["latency_cycles"]))
        if differs.any():
            index = int(np.flatnonzero(differs.any(1))[0])
            first = find_difference(target, root, graph, vectors, index, Path(build))
            first = first or output_difference(graph, vectors, index, golden[index], made.words[index])
    return VerifyResult(len(vectors), vectors.counts(), golden.size, mismatches, first, seconds, times)


def output_words(graph: FixedPointGraph, vectors: Vectors) -> np.ndarray:
    """Bit patterns of all outputs by the golden model, one port after another."""
    outputs = run(graph, vectors.inputs)
    return np.concatenate([to_words(graph.wires[wire], outputs[port]) for port, wire in graph.outputs.items()], axis=1)


def read_vectors(root: Path, graph: FixedPointGraph) -> tuple[Vectors, np.ndarray]:
    """The vectors in `tb/data`, and the output words stored with them."""
    kinds = tuple((root / "tb/data/kinds.txt").read_text().split())
    inputs = {name: table(root, name).reshape(-1, *graph.wires[name].shape) for name in graph.inputs}
    stored = np.concatenate([table(root, port) for port in graph.outputs], axis=1)
    lengths = {len(kinds), len(stored), *(len(values) for values in inputs.values())}
    if len(lengths) > 1:
        raise DataError(f"{root}/tb/data: files of different lengths {sorted(lengths)}; export the project again")
    return Vectors(inputs, kinds), stored


def table(root: Path, port: str) -> np.ndarray:
    return np.loadtxt(root / "tb" / "data" / f"{port}.txt", dtype=np.int64, ndmin=2)


def find_difference(
    target: Target, root: Path, graph: FixedPointGraph, vectors: Vectors, index: int, build: Path
) -> Difference | None:
    """Follow one failing vector through every wire, to the first operation that differs; None where the firmware's
    wires are not the graph's."""
    one = {name: values[index : index + 1] for name, values in vectors.inputs.items()}
    traced = target.trace(root, graph, one, build)
    if traced is None:
        return None
    golden = run(graph, one, keep=True)
    for name, (found,) in traced.items():
        wire = graph.wires[name]
        expected = to_words(wire, golden[name])[0]
        if (found != expected).any():
            element = int(np.flatnonzero(found != expected)[0])
            where = tuple(int(i) for i in np.unravel_index(element, wire.shape))
            values = (int(expected[element]), int(found[element]))
            return Difference(name, where, index, vectors.kinds[index], *values, container(wire).fraction)
    raise DataError(f"{root}: outputs differ but no wire does: the top function's copy to its ports is at fault")


def output_difference(
    graph: FixedPointGraph, vectors: Vectors, index: int, golden: np.ndarray, found: np.ndarray
) -> Difference:
    """The first output that differs; inside the RTL the wires are no longer those of the graph."""
    element = int(np.flatnonzero(golden != found)[0])
    values = (int(golden[element]), int(found[element]))
    for name in graph.outputs.values():
        wire = graph.wires[name]
        if element < wire.size:
            break
        element -= wire.size
    where = tuple(int(i) for i in np.unravel_index(element, wire.shape))
    return Difference(name, where, index, vectors.kinds[index], *values, container(wire).fraction)


def verify(path: str | Path, count: int = 10_000, seed: int = 1) -> VerifyResult:
    """Verify an export run (or a bare project folder) and print the outcome; an export run keeps it as `verify.json`.

    Raises:
        MismatchError: a bit differs (names the first wire where), or the latency is not the one stated.
        RunError, DataError, ToolError: as `verify_export`.
    """
    folder = Path(path)
    is_run = (folder / PROVENANCE).is_file()
    if is_run:
        Run.open(folder, "export")
    result = verify_export(folder / PROJECT if is_run else folder, count=count, seed=seed)
    if is_run:
        write_json(folder / RESULT, describe(result))
    if not result.exact:
        counts = ", ".join(f"{number} in {name}" for name, number in result.mismatches.items())
        raise MismatchError(f"{folder} is NOT bit-exact: words that differ: {counts}.\n  first: {result.first}")
    if not result.passed:
        raise MismatchError(f"{folder} computes the right numbers at the wrong time: {result.timing}")
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in result.kinds.items())
    rates = [f"{name} {result.vectors / result.seconds[name]:,.0f}/s" for name in (FIRMWARE, "golden")]
    console.print(
        f"{folder}: bit-exact, 0 mismatches in {result.vectors:,} vectors ({kinds}); "
        f"compiled in {result.seconds['compile']:.0f} s, {', '.join(rates)}"
    )
    if result.timing is not None:
        console.print(f"  latency {result.timing.measured} clocks as stated, one vector per clock, reset clears")
    return result


def describe(result: VerifyResult) -> dict[str, Any]:
    return {**asdict(result), "exact": result.exact, "passed": result.passed}


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("path", help="an export run, or a project folder")
    parser.add_argument("--count", type=int, default=10_000, help="vectors at least")
    parser.add_argument("--seed", type=int, default=1, help="of the random vectors")


COMMAND = Command(
    run=lambda args: verify(args.path, count=args.count, seed=args.seed),
    arguments=arguments,
    description="Compiles the exported firmware (HLS: g++, RTL: Verilator) and compares it with the golden model, bit "
    "for bit, on the shipped, corner and random vectors. Example: detfm verify runs/firmware --count 100000",
)
