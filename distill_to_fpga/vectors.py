"""Test vectors: hardware integers that together leave an error nowhere to hide, each labelled by its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from distill_to_fpga.graph import FixedPointGraph, Wire
from distill_to_fpga.graph.interpreter import check_inputs

Draw = Callable[[Wire, int, np.random.Generator], np.ndarray]
Integers = dict[str, Int[np.ndarray, "vectors ..."]]


@dataclass(frozen=True)
class Vectors:
    """Inputs of a graph.

    Attributes:
        inputs: input name -> integers `[V, *shape]`.
        kinds: for each vector: `data`, `random`, `extremes`, `zero`, `high`, `low`, `one_hot`, `alternating`.
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

    A quarter of the random vectors are extremes: every element at one end of its range, which drives sums to their
    widest and quantizers into saturation.

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
    missing = max(count - len(vectors), 4)
    rng = np.random.default_rng(seed)
    uniform, ends = missing - missing // 4, missing // 4
    return vectors + labelled(graph, "random", uniform, rng, within) + labelled(graph, "extremes", ends, rng, at_ends)


def labelled(graph: FixedPointGraph, kind: str, count: int, rng: np.random.Generator, draw: Draw) -> Vectors:
    return Vectors({name: draw(graph.wires[name], count, rng) for name in graph.inputs}, (kind,) * count)


def within(wire: Wire, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(wire.low, wire.high, (count, *wire.shape), endpoint=True)


def at_ends(wire: Wire, count: int, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.integers(0, 2, (count, *wire.shape)), wire.high, wire.low)


def corners(graph: FixedPointGraph) -> Vectors:
    """All zero; all at either end; alternating; each element of each input alone at its upper end."""
    wires = {name: graph.wires[name] for name in graph.inputs}
    found = [Vectors({name: np.zeros((1, *w.shape), np.int64) for name, w in wires.items()}, ("zero",))]
    found += [Vectors({name: w.high[None] for name, w in wires.items()}, ("high",))]
    found += [Vectors({name: w.low[None] for name, w in wires.items()}, ("low",))]
    found += [Vectors({name: alternating(w) for name, w in wires.items()}, ("alternating",) * 2)]
    for hot, wire in wires.items():
        zeros = {name: np.zeros((wire.size, *w.shape), np.int64) for name, w in wires.items()}
        one = np.diag(wire.high.reshape(-1)).reshape(wire.size, *wire.shape)
        found += [Vectors({**zeros, hot: one}, ("one_hot",) * wire.size)]
    return sum(found[1:], found[0])


def alternating(wire: Wire) -> np.ndarray:
    odd = (np.arange(wire.size) % 2).reshape(wire.shape).astype(bool)
    return np.stack([np.where(odd, wire.low, wire.high), np.where(odd, wire.high, wire.low)])
