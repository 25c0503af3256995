"""Outputs of an executor against those of the golden model, and the first wire that differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from distill_to_fpga.graph import FixedPointGraph, as_read, run
from distill_to_fpga.hls.containers import container, to_words
from distill_to_fpga.vectors import Vectors
from foundation.errors import DataError

Words = Int[np.ndarray, "vectors words"]
Trace = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray] | None]


@dataclass(frozen=True)
class Difference:
    """The first value that differs, in the order of the network.

    Attributes:
        executor: whose value.
        wire: the earliest wire with a difference; the operation of that name is at fault.
        element: index within the wire.
        vector, kind: which vector, and of which kind.
        golden, firmware: the two integers, in units of 2**-fraction.
        traced: inner wires were compared; else the outputs only, because the firmware has no such wires inside.
    """

    executor: str
    wire: str
    element: tuple[int, ...]
    vector: int
    kind: str
    golden: int
    firmware: int
    fraction: int
    traced: bool

    def __str__(self) -> str:
        where = f"wire '{self.wire}' element {list(self.element)}, vector {self.vector} ({self.kind})"
        what = f"golden model {self.golden}, {self.executor} {self.firmware} (units of 2^{-self.fraction})"
        return f"{where}: {what}" + ("" if self.traced else "; an output: the wires before it cannot be seen")


def output_words(graph: FixedPointGraph, vectors: Vectors) -> Words:
    """Bit patterns of all outputs by the golden model, one port after another."""
    outputs = run(graph, as_read(graph, vectors.inputs))
    return np.concatenate([to_words(graph.wires[wire], outputs[port]) for port, wire in graph.outputs.items()], axis=1)


def first_difference(
    executor: str, graph: FixedPointGraph, vectors: Vectors, golden: Words, found: Words, trace: Trace, before: int = 0
) -> Difference:
    """Follows the first failing vector through every wire to the first operation that differs, or to the first output
    where the executor's wires are not the graph's.

    Args:
        before: how many vectors went before these.
    """
    index = int(np.flatnonzero((golden != found).any(1))[0])
    one = {name: values[index : index + 1] for name, values in vectors.inputs.items()}
    traced = trace(one)
    if traced is not None:
        pairs = wire_pairs(graph, traced, one)
    else:
        sizes = [graph.wires[wire].size for wire in graph.outputs.values()]
        sides = (np.split(words[index], np.cumsum(sizes)[:-1]) for words in (golden, found))
        pairs = dict(zip(graph.outputs.values(), zip(*sides)))
    for name, (expected, given) in pairs.items():
        if (given != expected).any():
            element = int(np.flatnonzero(given != expected)[0])
            wire = graph.wires[name]
            where = tuple(int(i) for i in np.unravel_index(element, wire.shape))
            values = (int(expected[element]), int(given[element]), container(wire).fraction)
            return Difference(executor, name, where, before + index, vectors.kinds[index], *values, traced is not None)
    raise DataError(f"{executor}: outputs differ but no wire does: the top function's copy to its ports is at fault")


def wire_pairs(
    graph: FixedPointGraph, traced: Mapping[str, np.ndarray], one: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Words of the golden model and of the executor for one vector, wire by wire."""
    golden = run(graph, as_read(graph, one), keep=True)
    return {name: (to_words(graph.wires[name], golden[name])[0], found) for name, (found,) in traced.items()}
