"""The C++ of a graph: types.h, weights.h, NAME.h, NAME.cpp, and the two test-bench programs."""

from __future__ import annotations

import textwrap
from pathlib import Path
from string import Template

from distill_to_fpga.graph import FixedPointGraph, Wire, ops
from distill_to_fpga.hls.containers import container
from distill_to_fpga.hls.layers import Constant, Layer, layer

TEMPLATES = Path(__file__).parent / "templates"
WIDTH = 120


class CodeTemplate(Template):
    """`@{name}` is replaced; `$`, which Make and Tcl use themselves, is not special."""

    delimiter = "@"


def namespace(graph: FixedPointGraph) -> str:
    return f"detfm_{graph.name}_v{graph.version}"


def fill(template: str, graph: FixedPointGraph, **values: object) -> str:
    """A file of `templates/` with the graph's names filled in."""
    names = {"name": graph.name, "version": graph.version, "namespace": namespace(graph), "GUARD": guard(graph)}
    return CodeTemplate((TEMPLATES / template).read_text()).substitute({**names, **values})


def guard(graph: FixedPointGraph) -> str:
    return f"{graph.name}_V{graph.version}".upper()


def sources(graph: FixedPointGraph) -> dict[str, str]:
    """Relative path -> text of every C++ file of the project."""
    layers = {n.name: layer(n.op, graph.wires[n.name]) for n in graph.nodes if isinstance(n.op, ops.Input)}
    layers = {name: read for name, read in layers.items() if read.statements}
    layers |= {n.name: layer(n.op, graph.wires[n.name], *(stored(graph, w) for w in n.inputs)) for n in computed(graph)}
    name, constants = graph.name, [constant for made in layers.values() for constant in made.constants]
    return {
        f"src/{name}.h": header(graph, "", f"{comment(graph)}\n{signature(graph)};", '"types.h"'),
        f"src/{name}.cpp": top_function(graph, layers),
        "src/types.h": header(graph, "TYPES", "\n".join(types(graph, layers)), '"ap_fixed.h"', '"ap_int.h"'),
        "src/weights.h": header(graph, "WEIGHTS", "\n".join(map(array, constants)).rstrip()),
        "src/layers.h": fill("layers.h", graph),
        "src/trace.h": fill("trace.h", graph),
        "tb/words.h": fill("words.h", graph),
        "tb/run.h": fill("run.h", graph, body=call(graph)),
        f"tb/{name}_tb.cpp": fill("testbench.cpp", graph, ports=ports(graph)),
        f"tb/{name}_batch.cpp": fill("batch.cpp", graph, input_words=sum(graph.wires[n].size for n in graph.inputs)),
    }


def computed(graph: FixedPointGraph) -> list:
    """The nodes that become C++ statements: neither ports nor mere changes of shape."""
    return [node for node in graph.nodes if not isinstance(node.op, (ops.Input, ops.Reshape))]


def stored(graph: FixedPointGraph, name: str) -> Wire:
    """The wire under the name of the array that holds it: a reshaped one is the array it was made from; `x_` holds what
    is read of a port `x` that is wider than some of its elements."""
    wire, nodes = graph.wires[name], {node.name: node for node in graph.nodes}
    while isinstance(nodes[name].op, ops.Reshape):
        (name,) = nodes[name].inputs
    if isinstance(nodes[name].op, ops.Input) and layer(nodes[name].op, graph.wires[name]).statements:
        name += "_"
    return Wire(name, wire.shape, wire.type, wire.low, wire.high)


def header(graph: FixedPointGraph, part: str, body: str, *includes: str) -> str:
    """A header with its guard, its body inside the namespace."""
    mark = "_".join(filter(None, ["DETFM", guard(graph), part, "H"]))
    included = "".join(f"#include {file}\n" for file in includes) + ("\n" if includes else "")
    space = f"namespace {namespace(graph)}"
    return f"#ifndef {mark}\n#define {mark}\n\n{included}{space} {{\n\n{body}\n\n}} // {space}\n\n#endif\n"


def shape(wire: Wire) -> str:
    return "".join(f"[{n}]" for n in wire.shape) or "[1]"


def types(graph: FixedPointGraph, layers: dict[str, Layer]) -> list[str]:
    lines = []
    for node in graph.nodes:
        wire = graph.wires[node.name]
        if node.name in layers or isinstance(node.op, ops.Input):
            lines.append(typedef(container(wire).cpp, f"{node.name}_t", f"{node.op.kind} {shape(wire)}: {wire.type}"))
        lines += [typedef(cpp, name) for name, cpp in layers.get(node.name, Layer([])).types.items()]
    lines += [""]
    for port, name in graph.outputs.items():
        kind = f"{stored(graph, name).name.removesuffix('_')}_t"
        lines.append(typedef(kind, f"{port}_t", f"output {shape(graph.wires[name])}"))
    return lines


def typedef(cpp: str, name: str, note: str = "") -> str:
    return f"typedef {cpp} {name};" + (f" // {note}" if note else "")


def array(constant: Constant) -> str:
    """A constant array, one row of a matrix per line (wrapped where longer)."""
    size = " * ".join(map(str, constant.values.shape))
    start = f"// {constant.comment}\nstatic const {constant.cpp_type} {constant.name}[{size}] = {{"
    if constant.values.ndim == 1 and constant.values.size <= 16:
        return f"{start}{', '.join(map(str, constant.values.tolist()))}}};\n"
    rows = constant.values.reshape(-1, constant.values.shape[-1]).tolist()
    wide = max(len(str(value)) for row in rows for value in row)
    per_line = (WIDTH - 4) // (wide + 2)
    text = [
        "    " + ", ".join(f"{value:{wide}d}" for value in row[k : k + per_line])
        for row in rows
        for k in range(0, len(row), per_line)
    ]
    return "\n".join([start, ",\n".join(text), "};", ""])


def comment(graph: FixedPointGraph) -> str:
    lines = ["One inference per clock. Arrays are flat and row-major."]
    lines += [f"  {name}{shape(graph.wires[name])}: hardware integers" for name in graph.inputs]
    for port, name in graph.outputs.items():
        lines.append(f"  {port}{shape(graph.wires[name])}: units of 2^{-container(graph.wires[name]).fraction}")
    return "\n".join(f"// {line}" for line in lines)


def signature(graph: FixedPointGraph) -> str:
    inputs = [f"const {name}_t {name}[{graph.wires[name].size}]" for name in graph.inputs]
    outputs = [f"{port}_t {port}[{graph.wires[name].size}]" for port, name in graph.outputs.items()]
    return f"void {graph.name}({', '.join([*inputs, *outputs])})"


def top_function(graph: FixedPointGraph, layers: dict[str, Layer]) -> str:
    lines = [f"// {graph.name}, version {graph.version}: exported by detfm from the golden model in ../graph.json."]
    lines += [f'#include "{graph.name}.h"', "", '#include "layers.h"', '#include "trace.h"', '#include "weights.h"', ""]
    lines += [f"namespace {namespace(graph)} {{", "", f"{signature(graph)} {{"]
    lines += [f"#pragma HLS ARRAY_PARTITION variable={port} complete" for port in (*graph.inputs, *graph.outputs)]
    lines += [f"#pragma HLS INTERFACE ap_vld port={','.join((*graph.inputs, *graph.outputs))}"]
    lines += ["#pragma HLS PIPELINE II=1", ""]
    for name, made in layers.items():
        wire, array = graph.wires[name], f"{name}_" if name in graph.inputs else name
        lines += [f"  {name}_t {array}[{wire.size}]; // {shape(wire)}"]
        lines += [f"#pragma HLS ARRAY_PARTITION variable={array} complete"]
        lines += [wrapped(f"layers::{statement}") for statement in made.statements]
        lines += [""] if name in graph.inputs else [f"  TRACE({name});", ""]
    for port, name in graph.outputs.items():
        wire = stored(graph, name)
        lines.append(f"  layers::place<1, {wire.size}, {wire.size}, 0>({wire.name}, {port});")
    return "\n".join([*lines, "}", "", f"}} // namespace {namespace(graph)}", ""])


def wrapped(statement: str) -> str:
    return textwrap.fill(statement, WIDTH, initial_indent="  ", subsequent_indent="      ", break_long_words=False)


def call(graph: FixedPointGraph) -> str:
    """Test-bench statements: integers of `input_` to the arguments, run, bit patterns of the results to `output_`."""
    lines, offset = [], 0
    for name in graph.inputs:
        size = graph.wires[name].size
        lines += [f"{name}_t {name}[{size}];"]
        lines += [f"for (int i_ = 0; i_ < {size}; i_++) {name}[i_] = input_[{f'{offset} + ' * (offset > 0)}i_];"]
        offset += size
    lines += [f"{port}_t {port}[{graph.wires[name].size}];" for port, name in graph.outputs.items()]
    lines += [f"{namespace(graph)}::{graph.name}({', '.join([*graph.inputs, *graph.outputs])});"]
    lines += [f"words::append({port}, {graph.wires[name].size}, output_);" for port, name in graph.outputs.items()]
    return textwrap.indent("\n".join(lines), "  ")


def ports(graph: FixedPointGraph) -> str:
    """Test-bench statements that open the vector file of each port."""
    sides = {"inputs": dict.fromkeys(graph.inputs), "outputs": graph.outputs}
    lines = [
        f'  {side}.emplace_back(data + "/{port}.txt", {graph.wires[wire or port].size});'
        for side, names in sides.items()
        for port, wire in names.items()
    ]
    return "\n".join(lines)
