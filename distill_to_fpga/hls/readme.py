"""README.md of an exported project: what an integrator must know about its ports, cost and checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from distill_to_fpga.devices import crossings, share_table
from distill_to_fpga.estimate import Estimate
from distill_to_fpga.graph import FixedPointGraph, Wire, ops
from distill_to_fpga.hls.containers import container
from distill_to_fpga.hls.sources import namespace, shape, signature
from distill_to_fpga.vectors import Vectors

if TYPE_CHECKING:
    from distill_to_fpga.project import Interface


def readme(graph: FixedPointGraph, hardware: Interface, cost: Estimate, part: str, vectors: Vectors) -> str:
    """Markdown; figures that are not measured are labelled *estimate*."""
    parts = [
        f"# {graph.name}, version {graph.version}",
        f"A neural network for the trigger, exported by detfm. Namespace `{namespace(graph)}`, top function\n\n"
        f"```cpp\n{signature(graph)};\n```",
        "Initiation interval 1, fixed latency; arrays are flat, row-major and completely partitioned.",
        *(input_section(graph, name, hardware) for name in graph.inputs),
        *(output_section(graph, port, hardware) for port in graph.outputs),
        cost_section(cost, part),
        check_section(graph, vectors),
        FILES.format(name=graph.name),
        LICENCES,
    ]
    return "\n\n".join(parts) + "\n"


def input_section(graph: FixedPointGraph, name: str, hardware: Interface) -> str:
    wire = graph.wires[name]
    features = hardware.inputs.get(name, ())
    text = [f"## Input `{name}{shape(wire)}`", f"Hardware integers, `{container(wire).cpp}` for all of them.", BEYOND]
    if len(wire.shape) > 1:
        text.append(
            f"{wire.shape[0]} objects in the order in which the trigger sends them; absent objects are all zeros. "
            f"Element `{wire.shape[-1]} * object + column`."
        )
    steps = input_scaling(graph, name)
    if steps:
        text.append("The scaling is part of the firmware: `(integer - offset) * 2^shift`.")
    rows = ["| column | name | bits | one count is | offset | shift |", "| --- | --- | --- | --- | --- | --- |"]
    for column in range(wire.shape[-1] if wire.shape else 1):
        first = (*(0,) * (len(wire.shape) - 1), column) if wire.shape else ()
        feature = features[column] if column < len(features) else None
        meaning = f"{feature.lsb:g} {feature.unit}".strip() if feature else ""
        sign = "signed" if wire.signed[first] else "unsigned"
        offset, shift = (by_object(field, column) for field in steps) if steps else ("", "")
        title = feature.name if feature else ""
        rows.append(f"| {column} | {title} | {wire.bits[first]} {sign} | {meaning} | {offset} | {shift} |")
    return "\n\n".join([*text, "\n".join(rows)])


def by_object(field: np.ndarray, column: int) -> str:
    """A column's value; of each object where they differ, or their range where there are many."""
    values = field.reshape(-1, field.shape[-1] if field.shape else 1)[:, column]
    if (values == values[0]).all():
        return str(values[0])
    return ", ".join(map(str, values)) if len(values) <= 16 else f"{values.min()} to {values.max()}"


def input_scaling(graph: FixedPointGraph, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Offset and shift of the one `scale` that an input goes into, per element."""
    users = [node for node in graph.nodes if name in node.inputs]
    if len(users) != 1 or not isinstance(users[0].op, ops.Scale):
        return None
    size = graph.wires[name].shape
    return np.broadcast_to(users[0].op.offset, size), np.broadcast_to(users[0].op.shift, size)


def output_section(graph: FixedPointGraph, port: str, hardware: Interface) -> str:
    wire = graph.wires[graph.outputs[port]]
    kind = container(wire)
    names = hardware.outputs.get(port, ())
    text = [
        f"## Output `{port}{shape(wire)}`",
        f"`{kind.cpp}`: value = integer * 2^{-kind.fraction}, exact, unrounded.",
    ]
    low, high = bounds(wire)
    rows = ["| element | meaning | range |", "| --- | --- | --- |"]
    for element in range(wire.size):
        meaning = names[element] if element < len(names) else ""
        rows.append(f"| {element} | {meaning} | {low[element]:g} to {high[element]:g} |")
    return "\n\n".join([*text, "\n".join(rows)])


def bounds(wire: Wire) -> tuple[np.ndarray, np.ndarray]:
    low, high = (np.ldexp(end.astype(np.float64), -wire.fraction.astype(np.int32)) for end in (wire.low, wire.high))
    return low.reshape(-1), high.reshape(-1)


def cost_section(cost: Estimate, part: str) -> str:
    total = cost.summary()
    in_crossings = f", {crossings(total['latency_ns']):.2f} bunch crossings"
    rows = [
        ("weights", f"{total['weights']:,}, of which {total['nonzero_weights']:,} not zero", "exact"),
        ("bits of weights", f"{total['weight_bits']:,}", "exact"),
        ("EBOPs (arXiv:2405.00645)", f"{total['ebops']:,}", "exact"),
        ("adders", f"{total['adders']:,}", "*estimate*"),
        ("LUTs", f"{total['luts']:,}", "*estimate*"),
        ("latency", f"{total['latency_cycles']} clocks of {cost.clock_ns:g} ns{in_crossings}", "*estimate*"),
    ]
    table = "\n".join(["| | | |", "| --- | --- | --- |", *(f"| {a} | {b} | {c} |" for a, b, c in rows)])
    note = (
        f"Adders, LUTs and latency are an {cost.method}.\n"
        "Vitis HLS shares fewer subexpressions and may use DSPs for some products; only synthesis and timing closure\n"
        f"for {part} give numbers to rely on (`build_hls.tcl`)."
    )
    return f"## Cost\n\n{table}\n\n{share_table({'*estimate*': (total['luts'], None)})}\n\n{note}"


def check_section(graph: FixedPointGraph, vectors: Vectors) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in vectors.counts().items())
    return (
        "## Checks\n\n"
        f"`make csim` compiles the firmware with g++ and runs the {len(vectors)} vectors in `tb/data`\n"
        f"({kinds}); it fails if any bit differs from the golden model.\n"
        "`detfm verify` does the same with many more vectors, after comparing every file with `manifest.json`.\n"
        "`graph.json` is the golden model: the network as exact integer arithmetic."
    )


BEYOND = (
    "**Out of range:** whoever makes the integers saturates them: `round(value / one count)`, then clipped to what its "
    "bits hold. Of an integer beyond that range the firmware reads the low bits, as many as the table gives (two's "
    "complement where signed), and none above them; so does every simulation of it."
)
FILES = """## Files

| file | |
| --- | --- |
| `src/{name}.h`, `src/{name}.cpp` | the top function |
| `src/types.h` | the type of every array |
| `src/weights.h` | constants, as integers |
| `src/layers.h` | the arithmetic, as small templates |
| `tb/{name}_tb.cpp`, `tb/data/` | test bench; inputs and expected outputs, one vector per line |
| `tb/{name}_batch.cpp` | reads and writes binary integers, for many vectors |
| `build_hls.tcl`, `Makefile` | Vitis HLS; g++ |
| `include/ap_types/` | the headers that stand in for those of Vitis when g++ compiles; Vitis ignores them |"""

LICENCES = """## Licences

`include/ap_types/` is by Xilinx, Inc., Apache-2.0, copied from the hls4ml package (`include/ap_types/LICENSE`). All
other files are output of detfm and carry no condition of its authors."""
