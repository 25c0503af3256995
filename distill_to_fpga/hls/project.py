"""The HLS project of a graph: a folder that a trigger group can build without this package."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from distill_to_fpga.estimate import Estimate, estimate
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.readme import readme
from distill_to_fpga.hls.sources import fill, sources
from distill_to_fpga.manifest import GRAPH, HLS, write_manifest
from distill_to_fpga.project import Interface, new_folder, vector_files, write_all
from distill_to_fpga.vectors import Vectors
from foundation.errors import missing_extra

AP_TYPES = (
    *("ap_common.h", "ap_decl.h", "ap_fixed.h", "ap_fixed_base.h", "ap_fixed_ref.h", "ap_fixed_special.h", "ap_int.h"),
    *("ap_int_base.h", "ap_int_ref.h", "ap_int_special.h", "etc/ap_private.h"),
)


def export_graph(
    graph: FixedPointGraph,
    out_dir: str | Path,
    *,
    vectors: Vectors,
    clock_ns: float = 5.0,
    part: str = "xcvu13p-flga2577-2-e",
    hardware: Interface | None = None,
) -> Estimate:
    """Write the Vitis HLS project of `graph`; returns its estimated cost.

    Args:
        out_dir: a folder that does not exist yet, or is empty.
        vectors: go into `tb/data` with the golden model's outputs.
        clock_ns: period that Vitis is asked for.
        part: the device.
        hardware: what inputs and outputs mean.

    Raises:
        RunError: `out_dir` holds something. Nothing is touched then.
        ToolError: the ap_types headers are not installed (extra `fpga`).
        GraphError: a wire has no C++ type of at most 63 bits.
    """
    root = Path(out_dir)
    new_folder(root)
    headers, texts, cost = ap_types(), sources(graph), estimate(graph, clock_ns)
    settings = {"part": part, "clock_ns": f"{clock_ns:g}"}
    texts["build_hls.tcl"] = fill("build_hls.tcl", graph, **settings)
    texts["Makefile"] = fill("Makefile", graph)
    texts["README.md"] = readme(graph, hardware or Interface(), cost, part, vectors)
    texts[GRAPH] = graph.to_json()
    texts |= vector_files(graph, vectors)
    write_all(root, texts, headers)
    write_manifest(root, graph, HLS, estimate=cost.summary())
    return cost


def ap_types() -> dict[str, Path]:
    """Path in the project -> installed file, of the Apache-licensed ap_fixed headers that hls4ml's wheel carries.

    Raises:
        ToolError: hls4ml is not installed; the message is the install command.
    """
    spec = importlib.util.find_spec("hls4ml")  # found, never imported: only its data files are wanted
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra("hls4ml", "fpga", "The C simulation of an HLS project (its ap_fixed headers)")
    folder = Path(spec.submodule_search_locations[0]) / "templates" / "vivado" / "ap_types"
    files = {f"include/ap_types/{name}": folder / name for name in AP_TYPES}
    licences = [f for f in importlib.metadata.files("hls4ml") or [] if f.name == "LICENSE"]
    files |= {"include/ap_types/LICENSE": Path(str(licences[0].locate()))} if licences else {}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing or not licences:
        raise missing_extra("hls4ml>=1.1", "fpga", f"The C simulation of an HLS project: {missing or 'its licence'}")
    return files
