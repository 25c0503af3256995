"""README.md of an hls4ml project."""

from __future__ import annotations

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.readme import input_section, output_section
from distill_to_fpga.hls.sources import namespace
from distill_to_fpga.hls4ml_project.model import Settings
from distill_to_fpga.target import Asked


def readme(graph: FixedPointGraph, asked: Asked, settings: Settings, version: str) -> str:
    """Markdown."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in asked.vectors.counts().items())
    names = {"name": graph.name, "namespace": namespace(graph), "version": version}
    parts = [
        f"# {graph.name}, version {graph.version}: hls4ml project",
        HEAD.format(**names, backend=settings.backend, reuse=settings.reuse),
        *(input_section(graph, name, asked.meaning) for name in graph.inputs),
        *(output_section(graph, port, asked.meaning) for port in graph.outputs),
        (CHECKS if settings.runs else EMITTED).format(**names, kinds=kinds, count=len(asked.vectors)),
        *([FILES.format(**names)] if settings.runs else []),
        LICENCES.format(**names),
    ]
    return "\n\n".join(parts) + "\n"


HEAD = """Written by hls4ml {version} for its {backend} back end, from the golden model `graph.json`; reuse factor
{reuse}. Top function `{namespace}::{name}`. Every array and accumulator has the type that holds it exactly, so
that nothing is rounded but in the quantizers. Whether hls4ml pipelines the top function or makes it a dataflow is its
own choice (`firmware/{name}.cpp`): the interval is 1 only if synthesis says so."""

CHECKS = """## Checks

`make csim` compiles the firmware with g++ and runs the {count} vectors in `tb/data`
({kinds}); it fails if any bit differs from the golden model. `detfm verify` does the same with many more.
`{name}_test.cpp` is hls4ml's own test bench: it reads the same vectors from `tb_data`.
Not run here: Vitis HLS, so neither resources nor latency of this project are known."""

EMITTED = """## Checks

None: this back end's C++ was written and **not compiled** here. `tb_data` and `tb/data` hold vectors to check it with.
hls4ml gives two bits to elements of one bit in oneAPI, so that what saturates there is another number. The same network
for Vitis is verified bit for bit by `detfm verify`."""

FILES = """## Files

| file | |
| --- | --- |
| `firmware/` | top function, types, weights; `nnet_utils` is hls4ml's library |
| `build_prj.tcl`, `build_opt.tcl`, `project.tcl` | synthesis: `vitis-run --mode hls --tcl build_prj.tcl` |
| `hls4ml_config.yml` | what hls4ml was asked for |
| `tb/`, `tb/data/`, `Makefile` | detfm's test bench; hardware integers in, bit patterns out, one vector per line |
| `tb_data/` | the same as real numbers |"""

LICENCES = """## Licences

`nnet_utils`, `ap_types` (by Xilinx, Inc.) and the scripts are of hls4ml {version}, Apache-2.0 (`LICENSE` in these
folders). All other files are output of hls4ml and detfm and carry no condition of detfm's
authors."""
