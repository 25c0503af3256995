"""The C++ around the firmware's own: the model behind the interface, its scales, the program that loads it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

from distill_to_fpga.emulator.scales import InputScale, output_fractions
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls.containers import container
from distill_to_fpga.hls.sources import CodeTemplate, guard, namespace

TEMPLATES = Path(__file__).parent / "templates"
PLAIN = "std::vector<long long>"
PHYSICAL = "std::vector<double>"
Port = tuple[str, str, int]  # name, C++ type of an element, number of elements


def library(graph: FixedPointGraph) -> str:
    """What CMS software opens, without `.so`."""
    return f"{graph.name}_v{graph.version}"


def fill(template: str, graph: FixedPointGraph, **values: object) -> str:
    names = {"name": graph.name, "version": graph.version, "namespace": namespace(graph), "GUARD": guard(graph)}
    text = (TEMPLATES / template).read_text()
    return CodeTemplate(text).substitute({**names, "library": library(graph), **values})


def ports(graph: FixedPointGraph) -> tuple[list[Port], list[Port]]:
    """Inputs and outputs, in the order of the firmware's arguments."""
    inputs = {name: graph.wires[name] for name in graph.inputs}
    outputs = {port: graph.wires[wire] for port, wire in graph.outputs.items()}
    given, made = ([(name, container(w).cpp, w.size) for name, w in side.items()] for side in (inputs, outputs))
    return given, made


def input_types(graph: FixedPointGraph) -> dict[str, list[str]]:
    """C++ type that `prepare_input` takes -> where the elements of each port begin; plain numbers are besides."""
    given, _ = ports(graph)
    if len(given) == 1:
        ((_, kind, size),) = given
        pointers = {f"{kind} *": ["*given_"], f"const {kind} *": ["*given_"]}
        return {**pointers, f"std::array<{kind}, {size}>": ["given_->data()"]}
    parts = [f"std::get<{i}>(*given_)" for i in range(len(given))]
    return {f"std::tuple<{', '.join(f'{const}{kind} *' for _, kind, _ in given)}>": parts for const in ("", "const ")}


def output_types(graph: FixedPointGraph) -> dict[str, list[str]]:
    """C++ type that `read_result` fills through a pointer -> where the elements of each port begin."""
    _, made = ports(graph)
    if len(made) == 1:
        ((_, kind, size),) = made
        return {kind: ["*to_"], f"std::array<{kind}, {size}>": ["(*to_)->data()"]}
    parts = [f"std::get<{i}>(**to_).data()" for i in range(len(made))]
    return {result_type(graph): parts}


def result_type(graph: FixedPointGraph) -> str:
    """What holds all outputs."""
    _, made = ports(graph)
    arrays = [f"std::array<{kind}, {size}>" for _, kind, size in made]
    if len(arrays) == 1:
        return arrays[0]
    return f"std::{'pair' if len(arrays) == 2 else 'tuple'}<{', '.join(arrays)}>"


def model(graph: FixedPointGraph) -> str:
    """`src/NAME_emulator.cpp`."""
    given, made = ports(graph)
    members = [(name, size) for name, _, size in [*given, *made]]
    copies = [f"std::copy_n(integers_.data() + {first}, {n}, {p}_);" for (p, _, n), first in zip(given, starts(given))]
    return fill(
        "emulator.cpp",
        graph,
        prepare="\n".join(taken(kind, parts, given) for kind, parts in input_types(graph).items()),
        accepted=alternatives([*input_types(graph), PLAIN, PHYSICAL]),
        call=f"{namespace(graph)}::{graph.name}({', '.join(f'{name}_' for name, _ in members)});",
        read="\n".join(filled(kind, parts, made) for kind, parts in output_types(graph).items()),
        filled=alternatives([f"{kind} *" for kind in [*output_types(graph), PLAIN]]),
        append=indented([f"words::append({name}_, {size}, **to_);" for name, _, size in made], 6),
        copy=indented(copies, 4),
        members=indented([f"{name}_t {name}_[{size}] = {{}};" for name, size in members], 2),
    )


def starts(given: list[Port]) -> list[int]:
    """Where each input begins, of all numbers one after another."""
    sizes = [size for _, _, size in given]
    return [sum(sizes[:i]) for i in range(len(sizes))]


def taken(kind: str, parts: list[str], given: list[Port]) -> str:
    lines = [f"std::copy_n({part}, {size}, {name}_);" for part, (name, _, size) in zip(parts, given)]
    return case(f"if (const auto *given_ = std::any_cast<{kind}>(&any_)) {{", lines)


def filled(kind: str, parts: list[str], made: list[Port]) -> str:
    lines = [f"std::copy_n({name}_, {size}, {part});" for part, (name, _, size) in zip(parts, made)]
    return case(f"if (auto *const *to_ = std::any_cast<{kind} *>(&any_)) {{", lines)


def alternatives(kinds: list[str]) -> str:
    """One string literal for each type, side by side."""
    commas = [", " if kind != kinds[-1] else "" for kind in kinds]
    return indented([f'"{kind}{comma}"' for kind, comma in zip(kinds, commas)], 24)


def case(condition: str, lines: list[str]) -> str:
    return "\n".join([f"    {condition}", indented([*lines, "return;"], 6), "    }"])


def indented(lines: list[str], by: int) -> str:
    return textwrap.indent("\n".join(lines), " " * by)


def loader(graph: FixedPointGraph) -> str:
    """`tb/run.h`: takes the place of that of an HLS project, whose test bench and batch program include it."""
    given, made = ports(graph)
    lines = []
    for (name, kind, size), first in zip(given, starts(given)):
        lines += [f"{kind} {name}[{size}];"]
        lines += [f"for (int i_ = 0; i_ < {size}; i_++) {name}[i_] = input_[{f'{first} + ' * (first > 0)}i_];"]
    names = ", ".join(name for name, _, _ in given)
    lines += [f"loaded_.model->prepare_input({names if len(given) == 1 else f'std::make_tuple({names})'});"]
    lines += ["loaded_.model->predict();", f"{result_type(graph)} result_;", "loaded_.model->read_result(&result_);"]
    parts = ["result_"] if len(made) == 1 else [f"std::get<{i}>(result_)" for i in range(len(made))]
    lines += [f"words::append({part}.data(), {size}, output_);" for part, (_, _, size) in zip(parts, made)]
    return fill("run.h", graph, body=indented(lines, 2))


def scales_header(graph: FixedPointGraph, inputs: list[InputScale]) -> str:
    """`src/scales.h`."""
    columns = {field: [getattr(scale, field) for scale in inputs] for field in ("low", "high", "offset", "shift")}
    fractions = output_fractions(graph)
    lists = {field: listed(map(str, values)) for field, values in columns.items()}
    lists |= {"lsb": listed(repr(float(scale.lsb)) for scale in inputs), "fraction": listed(map(str, fractions))}
    return fill("scales.h", graph, inputs=len(inputs), outputs=len(fractions), **lists)


def listed(values: Iterable[str]) -> str:
    text = ", ".join(values)
    return text if len(text) < 80 else "\n" + textwrap.fill(text, 116, initial_indent="    ", subsequent_indent="    ")
