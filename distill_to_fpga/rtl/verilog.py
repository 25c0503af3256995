"""Our own Verilog around the pipeline: a top module with the ports of the graph, a self-checking test bench."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.containers import Container, container
from distill_to_fpga.hls.sources import CodeTemplate, namespace
from distill_to_fpga.rtl.pipeline import Core, Number

Ports = dict[str, tuple[int, Container]]
ZERO = "1'b0"
TEMPLATES = Path(__file__).parent / "templates"


def fill(template: str, **values: object) -> str:
    return CodeTemplate((TEMPLATES / template).read_text()).substitute(values)


def port_widths(graph: FixedPointGraph) -> Ports:
    """Port -> number of elements and the type of each: the same words as in the HLS project.

    Ports are `in_NAME` and `out_NAME`, since the graph's own names may be words of Verilog.
    """
    inputs = {f"in_{name}": graph.wires[name] for name in graph.inputs}
    outputs = {f"out_{port}": graph.wires[wire] for port, wire in graph.outputs.items()}
    return {name: (wire.size, container(wire)) for name, wire in {**inputs, **outputs}.items()}


def top(graph: FixedPointGraph, core: Core) -> str:
    """`NAME.v`: element i of a port is bits `[width * i +: width]`, two's complement if it is signed."""
    kinds = port_widths(graph)
    inputs, outputs = sides(kinds)
    into, out_of = words(inputs), words(outputs)
    moves = [
        f"core_in[{n.base} +: {n.width}] = {bits(port, w, n)}" for (port, w), n in zip(into, core.inputs) if n.width
    ]
    moves += [f"{port}[{w.base} +: {w.width}] = {bits('core_out', n, w)}" for (port, w), n in zip(out_of, core.outputs)]
    return fill(
        "top.v",
        module=namespace(graph),
        core=core.module,
        latency=core.latency_cycles,
        inputs="\n".join(f"    input [{vector(kind)}] {name}," for name, kind in inputs.items()),
        outputs="\n".join(f"    output [{vector(kind)}] {name}," for name, kind in outputs.items()),
        core_in=sum(n.width for n in core.inputs) - 1,
        core_out=sum(n.width for n in core.outputs) - 1,
        moves="\n".join(f"  assign {move};" for move in moves),
    )


def sides(kinds: Ports) -> tuple[Ports, Ports]:
    inputs = {name: kind for name, kind in kinds.items() if name.startswith("in_")}
    return inputs, {name: kind for name, kind in kinds.items() if name not in inputs}


def vector(kind: tuple[int, Container]) -> str:
    return f"{kind[0] * kind[1].width - 1}:0"


def words(kinds: Ports) -> list[tuple[str, Number]]:
    """Every element of the ports, and where it lies in its port."""
    found = []
    for port, (size, kind) in kinds.items():
        sign = int(kind.signed)
        found += [(port, Number(i * kind.width, sign, kind.integer - sign, kind.fraction)) for i in range(size)]
    return found


def bits(name: str, source: Number, target: Number) -> str:
    """The bits of `source`, a number in the vector `name`, in the layout of `target`: extended, padded or cut."""
    if not source.width:
        return f"{{{target.width}{{{ZERO}}}}}"
    low = source.fraction - target.fraction  # the lowest bit wanted, counted from the lowest there is
    high = low + target.width
    first, last = max(low, 0), min(high, source.width)
    filler = f"{name}[{source.base + source.width - 1}]" if source.sign else ZERO
    if first >= last:
        return f"{{{target.width}{{{filler if low >= source.width else ZERO}}}}}"
    parts = [f"{{{high - last}{{{filler}}}}}"] if high > last else []
    parts += [f"{name}[{source.base + first} +: {last - first}]"]
    parts += [f"{first - low}'b0"] if first > low else []
    return f"{{{', '.join(parts)}}}" if len(parts) > 1 else parts[0]


def testbench(graph: FixedPointGraph, core: Core, count: int) -> str:
    """`tb/NAME_tb.sv`: one vector per clock from `tb/data`, outputs and latency compared."""
    kinds = port_widths(graph)
    inputs, outputs = sides(kinds)
    signals = [f"  reg [{vector(kind)}] {name} = 0;" for name, kind in inputs.items()]
    signals += [f"  wire [{vector(kind)}] {name};" for name, kind in outputs.items()]
    memories = [f"  reg [{vector(kind)}] data_{name}[0:VECTORS - 1];" for name, kind in kinds.items()]
    return fill(
        "testbench.sv",
        module=namespace(graph),
        vectors=count,
        latency=core.latency_cycles,
        declarations="\n".join(signals + memories),
        read="\n".join(f'    $readmemh({{DATA, "/{name}.hex"}}, data_{name});' for name in kinds),
        ports=", ".join(f".{name}({name})" for name in kinds),
        drive="\n".join(f"      {name} <= data_{name}[sent];" for name in inputs),
        differs=" || ".join(f"{port} !== data_{port}[received]" for port in outputs),
        show="\n".join(
            f'          $display("  {port}: expected %h, got %h", data_{port}[received], {port});' for port in outputs
        ),
    )


def hexadecimal(words: np.ndarray, width: int) -> str:
    """One vector per line, element 0 lowest, for `$readmemh`."""
    mask = (1 << width) - 1
    lines = []
    for row in words.tolist():
        value = 0
        for element in reversed(row):
            value = value << width | element & mask
        lines.append(f"{value:0{-(-width * len(row) // 4)}x}")
    return "\n".join(lines) + "\n"


def harness(graph: FixedPointGraph) -> str:
    """`tb/NAME_batch.cpp`: drives the Verilated model with binary vectors, one per clock, and notes every output."""
    inputs, outputs = sides(port_widths(graph))
    return fill(
        "batch.cpp",
        module=namespace(graph),
        input_words=sum(size for size, _ in inputs.values()),
        write="\n".join(
            f"  for (int i = 0; i < {size}; i++) set(top.{name}, {kind.width} * i, {kind.width}, *word++);"
            for name, (size, kind) in inputs.items()
        ),
        read="\n".join(
            f"  for (int i = 0; i < {size}; i++) found.push_back("
            f"get(top.{name}, {kind.width} * i, {kind.width}, {str(kind.signed).lower()}));"
            for name, (size, kind) in outputs.items()
        ),
    )
