"""The C++ that another generator wrote, around which the test bench of the HLS back end is put."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.project import ap_types
from distill_to_fpga.hls.simulate import compiler
from distill_to_fpga.hls.sources import CodeTemplate, call, fill, guard, namespace, ports
from distill_to_fpga.project import write_all
from foundation.errors import ToolError

TEMPLATES = Path(__file__).parent / "templates"
FLAGS = ("-std=c++14", "-w", "-isystem", "firmware/ap_types", "-Ifirmware")


def bench(
    graph: FixedPointGraph, library: str, sources: Sequence[str], types: str, includes: str = ""
) -> dict[str, str]:
    """Relative path -> text of `Makefile` and the programs of `tb`.

    Args:
        library: whose C++ it is.
        sources: C++ files of the firmware, relative to the project.
        types: C++ that gives the ports' types, and the top function in the graph's namespace where it is not there.
        includes: headers besides that of the top function.
    """
    names = {"name": graph.name, "library": library, "GUARD": guard(graph), "namespace": namespace(graph)}
    texts = {"sources": " ".join(sources), "flags": " ".join(FLAGS), "types": types, "includes": includes}
    filled = {
        name: CodeTemplate((TEMPLATES / name).read_text()).substitute({**names, **texts, "body": call(graph)})
        for name in ("run.h", "Makefile")
    }
    return {
        "Makefile": filled["Makefile"],
        "tb/run.h": filled["run.h"],
        "tb/words.h": fill("words.h", graph),
        f"tb/{graph.name}_tb.cpp": fill("testbench.cpp", graph, ports=ports(graph)),
        f"tb/{graph.name}_batch.cpp": fill("batch.cpp", graph, input_words=input_words(graph)),
    }


def input_words(graph: FixedPointGraph) -> int:
    return sum(graph.wires[name].size for name in graph.inputs)


def copy_headers(root: Path, *more: str) -> None:
    """The ap_types headers, and others of that folder, with their licence into `firmware/ap_types`.

    Raises:
        MissingToolError: hls4ml, whose wheel carries them, is not installed.
    """
    headers = {name.replace("include/", "firmware/"): path for name, path in ap_types().items()}
    folder = headers["firmware/ap_types/ap_int.h"].parent
    write_all(root, {}, headers | {f"firmware/ap_types/{name}": folder / name for name in more})


def compiled(project: Path, sources: Sequence[str], graph: FixedPointGraph, build: Path) -> Path:
    """Compiles the batch program into `build`, if it is not there; returns it.

    Raises:
        ToolError: no compiler, or it fails (with the first lines of what it says).
    """
    program = build.resolve() / f"{graph.name}_batch"
    if not program.is_file():
        together = [word for source in sources for word in ("-include", source)]  # so that headers are read once
        command = [compiler(), "-O1", *FLAGS, *together, f"tb/{graph.name}_batch.cpp", "-o", str(program)]
        result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise ToolError(f"{' '.join(command)}\n  failed in {project}:\n{result.stderr[:2000]}")
    return program
