"""Faults put into a graph on purpose: one bit of one weight flipped, so that a check can show that it would notice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from distill_to_fpga.graph import FixedPointGraph, GraphError, Node, ops
from distill_to_fpga.hls.containers import container

CONSTANTS: tuple[tuple[type[ops.Op], str], ...] = (
    (ops.Dense, "weight"),
    (ops.Table, "entries"),
    (ops.Compare, "threshold"),
)


@dataclass(frozen=True)
class Flip:
    """One flipped bit.

    Attributes:
        wire: of the operation that has the constant.
        constant, index: which constant, and which element of it.
        bit: counted from the lowest.
        before, after: the integer.
    """

    wire: str
    constant: str
    index: tuple[int, ...]
    bit: int
    before: int
    after: int

    def __str__(self) -> str:
        return f"bit {self.bit} of {self.constant} {list(self.index)} of '{self.wire}' ({self.before} -> {self.after})"


def mutants(graph: FixedPointGraph, seed: int) -> Iterator[tuple[Flip, FixedPointGraph]]:
    """Copies of a graph with one bit flipped, in random order: of a weight that is not zero; of a look-up table's entry
    or a threshold in a graph without weights. The units of all wires stay as they are, so that their integers can be
    compared."""
    rng = np.random.default_rng(seed)
    places = weights(graph)
    for place in rng.permutation(len(places)):
        node, constant, index = places[place]
        values = np.array(getattr(node.op, constant))
        before = int(values[index])
        bit = int(rng.integers(max(abs(before).bit_length(), 1)))
        values[index] = before ^ (1 << bit)
        try:
            changed = dataclasses.replace(node, op=dataclasses.replace(node.op, **{constant: values}))
            nodes = tuple(changed if each is node else each for each in graph.nodes)
            mutant = FixedPointGraph(graph.name, graph.version, nodes, graph.outputs)
            if same_units(graph, mutant):
                yield Flip(node.name, constant, index, bit, before, int(values[index])), mutant
        except GraphError:  # too wide, or an index without an entry: no network
            continue


def weights(graph: FixedPointGraph) -> list[tuple[Node, str, tuple[int, ...]]]:
    """Node, constant and index of everything that counts as a weight of this graph."""
    for kind, constant in CONSTANTS:
        found = [
            (node, constant, tuple(int(i) for i in index))
            for node in graph.nodes
            if isinstance(node.op, kind)
            for index in np.argwhere(getattr(node.op, constant) != 0)
        ]
        if found:
            return found
    return []


def same_units(graph: FixedPointGraph, mutant: FixedPointGraph) -> bool:
    return all(container(wire).fraction == container(mutant.wires[name]).fraction for name, wire in graph.wires.items())
