"""README.md of an emulator package: what the `std::any` hold, how CMS software is given the shared object."""

from __future__ import annotations

from distill_to_fpga.emulator.sources import PHYSICAL, PLAIN, input_types, library, output_types
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.readme import LICENCES, input_section, output_section
from distill_to_fpga.hls.sources import namespace
from distill_to_fpga.project import Interface
from distill_to_fpga.vectors import Vectors


def readme(graph: FixedPointGraph, meaning: Interface, vectors: Vectors) -> str:
    """Markdown."""
    parts = [
        f"# {graph.name}, version {graph.version}: emulator",
        HEAD.format(library=library(graph), namespace=namespace(graph)),
        interface_section(graph),
        BUILD.format(library=library(graph)),
        *(input_section(graph, name, meaning) for name in graph.inputs),
        *(output_section(graph, port, meaning) for port in graph.outputs),
        check_section(graph, vectors),
        FILES.format(name=graph.name),
        LICENCES,
    ]
    return "\n\n".join(parts) + "\n"


def interface_section(graph: FixedPointGraph) -> str:
    inputs = sum(graph.wires[name].size for name in graph.inputs)
    outputs = sum(graph.wires[wire].size for wire in graph.outputs.values())
    rows = ["| call | the `std::any` holds | |", "| --- | --- | --- |"]
    for kind in input_types(graph):
        rows.append(f"| `prepare_input` | `{kind}` | {', then '.join(graph.inputs)}, in the firmware's types |")
    rows.append(f"| `prepare_input` | `{PLAIN}` | {inputs} hardware integers, all inputs one after another |")
    rows.append(f"| `prepare_input` | `{PHYSICAL}` | {inputs} physical values, which are divided by their LSBs |")
    for kind in output_types(graph):
        rows.append(f"| `read_result` | `{kind} *` | {', then '.join(graph.outputs)}, in the firmware's types |")
    rows.append(f"| `read_result` | `{PLAIN} *` | the {outputs} output integers, all outputs one after another |")
    return INTERFACE.format(rows="\n".join(rows))


def check_section(graph: FixedPointGraph, vectors: Vectors) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in vectors.counts().items())
    return (
        "## Checks\n\n"
        f"`make check` loads the shared object as CMS software does and runs the {len(vectors)} vectors in `tb/data`\n"
        f"({kinds}) through it; it fails if any bit differs from the golden model, `graph.json`.\n"
        "`detfm verify` does the same with many more vectors, after comparing every file with `manifest.json`."
    )


HEAD = """The firmware for CMS software, exported by detfm: `{library}.so`, a `hls4mlEmulator::Model`. What it computes
is the C++ of the firmware itself, in the namespace `{namespace}`. Only `create_model` and
`destroy_model` are visible, so that any number of models, and of versions of one, live in a process."""

INTERFACE = """## Interface

```cpp
extern "C" hls4mlEmulator::Model *create_model();
extern "C" void destroy_model(hls4mlEmulator::Model *);
```

{rows}

A pointer is to the first element of an array, as `prepare_input(array)` and `read_result(array)` hand it over; it is
read or written during the call only. Types must be these very ones (`ap_int<12>` is not `ap_int<13>`); anything else
is a `std::invalid_argument` that names what is taken. Physical values are rounded half up and saturated, as whoever
makes the integers for the board does. A model serves one thread at a time; create one for each."""

BUILD = """## Build

    make                  # build/{library}.so
    make check
    make EMULATOR_INTERFACE=$EXTRAS/include AP_TYPES=$AP_TYPES    # with the headers of a CMSSW release

`EMULATOR_INTERFACE` is a folder with `hls4ml/emulator.h`; the one here, in `include`, is a minimal declaration of the
same interface. In CMSSW put the shared object on `LD_LIBRARY_PATH`, then

```cpp
hls4mlEmulator::ModelLoader loader("{library}");
std::shared_ptr<hls4mlEmulator::Model> model = loader.load_model();
```"""

FILES = """## Files

| file | |
| --- | --- |
| `src/{name}_emulator.cpp` | the model behind the interface |
| `src/{name}.h`, `src/{name}.cpp`, `src/types.h`, `src/weights.h`, `src/layers.h` | the firmware |
| `src/scales.h`, `scales.json` | ranges, LSBs, offsets and shifts of the inputs, binary places of the outputs |
| `Makefile`, `exports.map` | g++ |
| `include/hls4ml/emulator.h` | the interface |
| `tb/run.h` | opens the shared object; `tb/{name}_tb.cpp` and `tb/{name}_batch.cpp` use it |
| `tb/data/` | inputs and expected outputs, one vector per line |"""
