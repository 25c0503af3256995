"""The C++ of an exported project as an executor: compiled once with g++, then fed many vectors."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Int

from distill_to_fpga.graph import FixedPointGraph
from foundation.errors import MissingToolError, ToolError

LEAST = 1000  # vectors in a part


def compiler() -> str:
    """The C++ compiler: `$CXX`, else g++.

    Raises:
        MissingToolError: it is not installed; says what to install.
    """
    name = os.environ.get("CXX", "g++")
    found = shutil.which(name)
    if found is None:
        raise MissingToolError(
            f"the C simulation needs the C++ compiler '{name}', which is not on PATH.\n"
            "  Debian, Ubuntu: apt install g++    Alma, Fedora: dnf install gcc-c++    or set CXX to another compiler"
        )
    return found


def compile_batch(project: Path, graph: FixedPointGraph, build: Path, trace: bool = False) -> Path:
    """Compile `tb/NAME_batch.cpp` with the firmware's own sources; returns the program.

    Args:
        build: folder to write into; never the project itself. What is there and newer than the sources is taken.
        trace: report every wire instead of the outputs.

    Raises:
        ToolError: no compiler, or it fails (with the first lines of what it says).
    """
    program = build / (f"{graph.name}_trace" if trace else f"{graph.name}_batch")
    if program.is_file() and program.stat().st_mtime_ns > newest(project):
        return program
    files = [f"src/{graph.name}.cpp", f"tb/{graph.name}_batch.cpp"]
    flags = ["-O1", "-std=c++14", "-w", "-isystem", "include/ap_types", "-Isrc", *(["-DDETFM_TRACE"] if trace else [])]
    command = [compiler(), *flags, *files, "-o", str(program.resolve())]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ToolError(f"{' '.join(command)}\n  failed in {project}:\n{result.stderr[:2000]}")
    return program


def newest(project: Path) -> int:
    """When a source of the project was last written, in ns."""
    return max(path.stat().st_mtime_ns for folder in ("src", "tb") for path in (project / folder).glob("*.*"))


def run_parts(
    program: Path, inputs: Sequence[Int[np.ndarray, "vectors ..."]], columns: int
) -> Int[np.ndarray, "vectors columns"]:
    """`run_batch` of a program to which every vector is the first: a part of them on each core.

    Raises:
        ToolError: as `run_batch`.
    """
    cores = min(len(os.sched_getaffinity(0)), len(inputs[0]) // LEAST or 1)
    ends = np.linspace(0, len(inputs[0]), cores + 1).astype(int)

    def run(part: int) -> np.ndarray:
        chosen = slice(ends[part], ends[part + 1])
        return run_batch(program, [values[chosen] for values in inputs], columns, part=part)

    with ThreadPoolExecutor(cores) as pool:
        return np.concatenate(list(pool.map(run, range(cores))))


def run_batch(
    program: Path,
    inputs: Sequence[Int[np.ndarray, "vectors ..."]],
    columns: int,
    *settings: str,
    rows: int | None = None,
    part: int = 0,
) -> Int[np.ndarray, "rows columns"]:
    """Feed integers to a compiled project; bit patterns of what it reports.

    Args:
        columns: words in a row.
        settings: further arguments of the program.
        rows: that it reports; default: one for each vector.
        part: names the files that are exchanged; runs at one time need different ones.

    Raises:
        ToolError: the program fails or reports too little.
    """
    count = len(inputs[0])
    rows = count if rows is None else rows
    given, reported = program.with_suffix(f".in{part}"), program.with_suffix(f".out{part}")
    np.concatenate([values.reshape(count, -1) for values in inputs], axis=1).astype("<i8").tofile(given)
    command = [str(program.resolve()), str(given), str(reported), *settings]
    result = subprocess.run(command, capture_output=True, check=False)
    words = np.fromfile(reported, dtype="<i8") if reported.exists() else np.zeros(0, np.int64)
    if result.returncode != 0 or words.size != rows * columns:
        found = f"status {result.returncode}, {words.size} of {rows * columns} words"
        raise ToolError(f"{program} did not report all it should: {found}")
    return words.astype(np.int64).reshape(rows, columns)


def simulate(
    project: Path, graph: FixedPointGraph, inputs: Mapping[str, np.ndarray], build: Path
) -> Int[np.ndarray, "vectors words"]:
    """Bit patterns of all outputs, one port after another, from the compiled firmware."""
    program = compile_batch(project, graph, build)
    columns = sum(graph.wires[wire].size for wire in graph.outputs.values())
    return run_parts(program, [np.asarray(inputs[name]) for name in graph.inputs], columns)
