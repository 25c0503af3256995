"""Which operation a back end translates wrongly, where its firmware shows no wire inside: the network is cut in half.

Everything up to a cut, with all that crosses it as outputs, is written and run by the same back end. Outputs that
differ mean that something before the cut is wrong, since what comes behind it knows nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from distill_to_fpga.graph import FixedPointGraph, as_read, ops, run
from distill_to_fpga.hls.containers import to_words
from distill_to_fpga.manifest import check_manifest
from distill_to_fpga.target import Asked, Target
from distill_to_fpga.vectors import Vectors

Inputs = Mapping[str, np.ndarray]
SOURCES = ("src/", "firmware/")  # folders of a project


def bisected(
    target: Target, root: Path, graph: FixedPointGraph, golden: FixedPointGraph, one: Inputs, build: Path
) -> dict[str, np.ndarray] | None:
    """The first wire that differs from the golden model's for one vector, and its words `[1, size]`.

    None where the project is not what the back end writes of its graph today: then its files are at fault, or older,
    and no cut would show it.

    Args:
        graph: of the firmware; wires of the same name have the same units in both.
        one: hardware integers `[1, *shape]`.
        build: folder for the parts.
    """
    clock = float(found(check_manifest(root), "clock_ns") or Asked.clock_ns)
    if not same_files(root, written(target, graph, one, clock, build / "whole")):
        return None
    values = run(golden, as_read(golden, one), keep=True)
    places = [i for i, node in enumerate(graph.nodes) if not isinstance(node.op, (ops.Input, ops.Reshape))]

    @cache
    def cut(place: int) -> dict[str, np.ndarray]:
        part = prefix(graph, place)
        project, folder = written(target, part, one, clock, build / f"cut_{place}"), build / f"build_{place}"
        folder.mkdir()
        made = target.execute(project, check_manifest(project), part, {n: one[n] for n in part.inputs}, folder)
        sizes = [part.wires[wire].size for wire in part.outputs.values()]
        return dict(zip(part.outputs.values(), np.split(made.words, np.cumsum(sizes)[:-1], axis=1)))

    first, last = 0, len(places) - 1
    while first < last:
        middle = (first + last) // 2
        wrong = any((words != to_words(golden.wires[n], values[n])).any() for n, words in cut(places[middle]).items())
        first, last = (first, middle) if wrong else (middle + 1, last)
    name = graph.nodes[places[first]].name
    return {name: cut(places[first])[name]}


def prefix(graph: FixedPointGraph, place: int) -> FixedPointGraph:
    """The network up to the node at `place`; outputs are the wires that are used behind it."""
    nodes, rest = graph.nodes[: place + 1], graph.nodes[place + 1 :]
    needed = {wire for node in rest for wire in node.inputs} | set(graph.outputs.values())
    used = {wire for node in nodes for wire in node.inputs}
    kept = tuple(node for node in nodes if node.name in used or not isinstance(node.op, ops.Input))
    crossing = [node.name for node in kept if node.name in needed and not isinstance(node.op, ops.Input)]
    return FixedPointGraph(graph.name, graph.version, kept, {f"cut_{name}": name for name in crossing})


def written(target: Target, graph: FixedPointGraph, one: Inputs, clock_ns: float, project: Path) -> Path:
    vector = Vectors({name: as_read(graph, one)[name] for name in graph.inputs}, ("data",))
    target.write(graph, project, Asked(vector, clock_ns))
    return project


def same_files(root: Path, again: Path) -> bool:
    """Whether two projects have the same sources."""
    sums = [check_manifest(project)["sha256"] for project in (root, again)]
    first, second = ({name: each[name] for name in each if name.startswith(SOURCES)} for each in sums)
    return first == second


def found(values: Any, key: str) -> Any:
    """The value of a key, however deep."""
    if not isinstance(values, Mapping):
        return None
    inner = (found(value, key) for value in values.values())
    return values[key] if key in values else next((value for value in inner if value is not None), None)
