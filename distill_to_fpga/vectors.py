"""Test vectors: hardware integers that together leave an error nowhere to hide, each labelled by its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from distill_to_fpga.graph import FixedPointGraph, Wire, ops, run
from distill_to_fpga.graph.interpreter import check_inputs

Draw = Callable[[Wire, int, np.random.Generator], np.ndarray]
Integers = dict[str, Int[np.ndarray, "vectors ..."]]
MOST_AIMED = 256  # vectors aimed at quantizers
TRACED_WORDS = 1 << 22  # of all wires in memory


@dataclass(frozen=True)
class Vectors:
    """Inputs of a graph.

    Attributes:
        inputs: input name -> integers `[V, *shape]`.
        kinds: for each vector: `data`, `random`, `extremes`, `zero`, `high`, `low`, `one_hot`, `alternating`,
            `saturating`, `out_of_range`.
    """

    inputs: Integers
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.kinds)

    def __add__(self, other: Vectors) -> Vectors:
        joined = {name: np.concatenate([values, other.inputs[name]]) for name, values in self.inputs.items()}
        return Vectors(joined, self.kinds + other.kinds)

    def head(self, count: int) -> Vectors:
        return Vectors({name: values[:count] for name, values in self.inputs.items()}, self.kinds[:count])

    def counts(self) -> dict[str, int]:
        """Kind -> how many."""
        return {kind: self.kinds.count(kind) for kind in dict.fromkeys(self.kinds)}


def make_vectors(
    graph: FixedPointGraph, data: Mapping[str, np.ndarray] | None = None, count: int = 10_000, seed: int = 0
) -> Vectors:
    """Corners, then the examples in `data`, then random ones up to `count`.

    Args:
        data: real test examples, input name -> integers `[V, *shape]`; at most half of `count` are taken, from the
            first on.
        count: how many in all, though the corners and four random ones are always there.
        seed: of the random ones.

    Raises:
        DataError: `data` is not what the graph's inputs declare.
    """
    vectors = corners(graph)
    if data is not None:
        check_inputs(graph, data)
        kept = {name: np.asarray(data[name][: count // 2], dtype=np.int64) for name in graph.inputs}
        vectors = vectors + Vectors(kept, ("data",) * len(kept[graph.inputs[0]]))
    return vectors + random_vectors(graph, max(count - len(vectors), 4), seed)


def random_vectors(graph: FixedPointGraph, count: int, seed: int) -> Vectors:
    """Uniform ones, and a quarter of them with every element at one end of its range, which drives sums to their
    widest."""
    rng, ends = np.random.default_rng(seed), count // 4
    uniform = labelled(graph, "random", count - ends, rng, within)
    return uniform + labelled(graph, "extremes", ends, rng, at_ends)


def out_of_range(graph: FixedPointGraph, count: int, seed: int = 0) -> Vectors:
    """Integers of up to three bits more than the inputs declare, of either sign: no board should send them, and every
    executor must read the same of them (`as_read`)."""
    return labelled(graph, "out_of_range", count, np.random.default_rng(seed), beyond)


def labelled(graph: FixedPointGraph, kind: str, count: int, rng: np.random.Generator, draw: Draw) -> Vectors:
    return Vectors({name: draw(graph.wires[name], count, rng) for name in graph.inputs}, (kind,) * count)


def within(wire: Wire, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(wire.low, wire.high, (count, *wire.shape), endpoint=True)


def at_ends(wire: Wire, count: int, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.integers(0, 2, (count, *wire.shape)), wire.high, wire.low)


def beyond(wire: Wire, count: int, rng: np.random.Generator) -> np.ndarray:
    most = np.int64(8) << wire.bits
    return rng.integers(-most, most, (count, *wire.shape))


def corners(graph: FixedPointGraph) -> Vectors:
    """All zero; all at either end; alternating; each element of each input alone at either end; saturating."""
    wires = {name: graph.wires[name] for name in graph.inputs}
    found = [Vectors({name: np.zeros((1, *w.shape), np.int64) for name, w in wires.items()}, ("zero",))]
    found += [Vectors({name: w.high[None] for name, w in wires.items()}, ("high",))]
    found += [Vectors({name: w.low[None] for name, w in wires.items()}, ("low",))]
    found += [Vectors({name: alternating(w) for name, w in wires.items()}, ("alternating",) * 2)]
    found += [one_hot(graph), saturating(graph)]
    return sum(found[1:], found[0])


def alternating(wire: Wire) -> np.ndarray:
    odd = (np.arange(wire.size) % 2).reshape(wire.shape).astype(bool)
    return np.stack([np.where(odd, wire.low, wire.high), np.where(odd, wire.high, wire.low)])


def one_hot(graph: FixedPointGraph) -> Vectors:
    """Each element alone at its upper end, then each that can be negative alone at its lower end."""
    ends = [np.concatenate([getattr(graph.wires[n], end).reshape(-1) for n in graph.inputs]) for end in ("high", "low")]
    rows = np.concatenate([np.diag(ends[0]), np.diag(ends[1])[ends[1] < 0]])
    return Vectors(split(graph, rows), ("one_hot",) * len(rows))


def saturating(graph: FixedPointGraph) -> Vectors:
    """For elements that go into a quantizer, or out, what pushes them furthest up and down; 256 vectors at most.

    Each input element is tried alone at either end, and takes the end that pushes: the very extremes of a first layer's
    sums, a guess for those of the layers behind it.
    """
    rows = joined(graph, one_hot(graph).inputs)
    pushed = values_of(graph, rows) - values_of(graph, np.zeros_like(rows[:1]))
    element = np.argmax(rows != 0, axis=1)  # which one each row moves; a row of zeros moves none
    aimed = []
    for sign in (1, -1):
        best = np.zeros((pushed.shape[1], rows.shape[1]), np.int64)
        strongest = np.zeros_like(best)
        for row, at, push in zip(rows, element, sign * pushed):
            better = push > strongest[:, at]
            best[better, at], strongest[better, at] = row[at], push[better]
        aimed.append(best)
    found = np.unique(np.concatenate(aimed), axis=0)
    return Vectors(split(graph, found), ("saturating",) * len(found))


def values_of(graph: FixedPointGraph, rows: Int[np.ndarray, "vectors words"]) -> Int[np.ndarray, "vectors chosen"]:
    """Of what quantizers read and what goes out, before a ReLU cut it: elements evenly chosen, an equal share of each
    wire."""
    uncut = {node.name: node.inputs[0] for node in graph.nodes if isinstance(node.op, ops.Relu)}
    ends = [node.inputs[0] for node in graph.nodes if isinstance(node.op, ops.Quantize)] + [*graph.outputs.values()]
    wires = list(dict.fromkeys(uncut.get(name, name) for name in ends))
    most = max(MOST_AIMED // 2 // len(wires), 1)
    step = max(TRACED_WORDS // sum(wire.size for wire in graph.wires.values()), 1)
    parts = []
    for start in range(0, len(rows), step):
        values = run(graph, split(graph, rows[start : start + step]), keep=True)
        flat = (values[name].reshape(len(values[name]), -1) for name in wires)
        parts.append(np.concatenate([each[:, :: -(-each.shape[1] // most)] for each in flat], axis=1))
    return np.concatenate(parts)


def joined(graph: FixedPointGraph, inputs: Integers) -> Int[np.ndarray, "vectors words"]:
    """All inputs of a vector one after another."""
    return np.concatenate([inputs[name].reshape(len(inputs[name]), -1) for name in graph.inputs], axis=1)


def split(graph: FixedPointGraph, rows: Int[np.ndarray, "vectors words"]) -> Integers:
    """The inputs again."""
    sizes = [graph.wires[name].size for name in graph.inputs]
    parts = np.split(rows, np.cumsum(sizes)[:-1], axis=1)
    return {name: part.reshape(-1, *graph.wires[name].shape) for name, part in zip(graph.inputs, parts)}
