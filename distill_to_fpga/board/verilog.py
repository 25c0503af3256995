"""Verilog between words and the network's ports, and around that between links and words."""

from __future__ import annotations

from pathlib import Path

from distill_to_fpga.board.links import WORD, Links, Packing, input_packing, output_packing
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.sources import CodeTemplate, namespace
from distill_to_fpga.rtl.pipeline import Number
from distill_to_fpga.rtl.verilog import ZERO, Ports, bits, port_widths, sides, vector

TEMPLATES = Path(__file__).parent / "templates"


def fill(template: str, **values: object) -> str:
    return CodeTemplate((TEMPLATES / template).read_text()).substitute(values)


def part(graph: FixedPointGraph, name: str) -> FixedPointGraph:
    """The graph under the name `NAME_part`, whose namespace names the Verilog module of that part of the board pack."""
    return FixedPointGraph(f"{graph.name}_{name}", graph.version, graph.nodes, graph.outputs)


def words_module(graph: FixedPointGraph) -> str:
    """`NAME_words`: the network's ports in and out of 64-bit words."""
    kinds = port_widths(graph)
    inputs, outputs = sides(kinds)
    into, out_of = input_packing(graph), output_packing(graph)
    return fill(
        "words.v",
        module=namespace(part(graph, "words")),
        network=namespace(graph),
        top_in=WORD * into.words - 1,
        top_out=WORD * out_of.words - 1,
        wires="\n".join(f"  wire [{vector(kind)}] {name};" for name, kind in kinds.items()),
        moves="\n".join(f"  assign {move};" for move in [*unpacked(into, inputs), *packed(out_of)]),
        ports=",\n".join(f"      .{name}({name})" for name in (*inputs, *outputs)),
    )


def unpacked(into: Packing, inputs: Ports) -> list[str]:
    """Every element of the input ports, from its field; those without a field are zero."""
    fields = {(f"in_{field.port}", field.element): field for field in into.fields}
    moves = []
    for port, (size, kind) in inputs.items():
        for element in range(size):
            field = fields.get((port, element))
            source = Number(0, 0, 0, 0)
            if field:
                sign = int(field.signed)
                source = Number(WORD * field.word + field.low, sign, field.width - sign, 0)
            target = Number(0, int(kind.signed), kind.integer - int(kind.signed), 0)
            moves.append(f"{port}[{kind.width * element} +: {kind.width}] = {bits('words_in', source, target)}")
    return moves


def packed(out_of: Packing) -> list[str]:
    """Every field of the output words, and zeros where there is none."""
    moves, filled = [], 0
    for field in out_of.fields:
        base = WORD * field.word + field.low
        moves += zeros(filled, base)
        source = f"out_{field.port}[{field.width * field.element} +: {field.width}]"
        moves.append(f"words_out[{base} +: {field.width}] = {source}")
        filled = base + field.width
    return moves + zeros(filled, WORD * out_of.words)


def zeros(first: int, end: int) -> list[str]:
    return [f"words_out[{first} +: {end - first}] = {{{end - first}{{{ZERO}}}}}"] if end > first else []


def frames_module(graph: FixedPointGraph) -> str:
    """The modules `collect` and `send`."""
    return fill("frames.v", prefix=namespace(part(graph, "frames")))


def payload_module(graph: FixedPointGraph, given: Links, made: Links, latency: int) -> str:
    """`NAME_payload`: from links to links; `latency` is the network's."""
    return fill(
        "payload.v",
        module=namespace(part(graph, "payload")),
        prefix=namespace(part(graph, "frames")),
        words=namespace(part(graph, "words")),
        frames=given.frames,
        in_links=given.count,
        in_words=given.words,
        out_links=made.count,
        out_words=made.words,
        latency=latency,
    )


def axi_module(graph: FixedPointGraph, given: Packing, made: Packing, latency: int) -> str:
    """`NAME_axi`: from stream to stream."""
    return fill(
        "axi.v",
        module=namespace(part(graph, "axi")),
        prefix=namespace(part(graph, "frames")),
        words=namespace(part(graph, "words")),
        in_words=given.words,
        out_words=made.words,
        latency=latency,
    )
