"""Binary trees read back from a graph: what each output element is as a function of the inputs.

Every wire is evaluated on symbols: an element is an input feature, or a sum of trees over features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from distill_to_fpga.graph import FixedPointGraph, GraphError, Wire, ops
from distill_to_fpga.graph.exact import per_element

EXACT_IN_FLOAT = 1 << 53  # conifer takes leaves as float64


@dataclass(frozen=True)
class Feature:
    """Input element `index` of all inputs one after another, which takes integers from `low` to `high`."""

    index: int
    low: int
    high: int


@dataclass(frozen=True)
class Leaf:
    value: float


@dataclass(frozen=True)
class Split:
    """`below` where x[feature] < threshold, else `above`."""

    feature: int
    threshold: int
    below: Tree
    above: Tree


Tree = Leaf | Split
Element = Feature | tuple[Tree, ...]  # a tuple is a sum


def read_trees(graph: FixedPointGraph) -> list[tuple[Tree, ...]]:
    """The trees whose sum is each output element, all ports one after another.

    Raises:
        GraphError: an operation is not one of trees, or a wire is not piecewise constant.
    """
    values: dict[str, np.ndarray] = {}
    first = 0
    for node in graph.nodes:
        wire = graph.wires[node.name]
        if isinstance(node.op, ops.Input):
            values[node.name] = features(wire, first)
            first += wire.size
        else:
            inputs = [(graph.wires[name], values[name]) for name in node.inputs]
            values[node.name] = symbols(node.op, wire, *inputs)
    found = [element for wire in graph.outputs.values() for element in values[wire].reshape(-1)]
    return [summed(element, "output", graph.name) for element in found]


def features(wire: Wire, first: int) -> np.ndarray:
    ends = zip(wire.low.reshape(-1).tolist(), wire.high.reshape(-1).tolist())
    return array(wire.shape, [Feature(first + i, low, high) for i, (low, high) in enumerate(ends)])


def array(shape: tuple[int, ...], elements: list[Element]) -> np.ndarray:
    """NumPy would take tuples for an axis of their own."""
    flat = np.empty(len(elements), dtype=object)
    for i, element in enumerate(elements):
        flat[i] = element
    return flat.reshape(shape)


Symbols = tuple[Wire, np.ndarray]


@singledispatch
def symbols(op: ops.Op, out: Wire, *inputs: Symbols) -> np.ndarray:
    """The elements of a wire."""
    raise GraphError(f"{op.kind} '{out.name}' is not an operation of trees, conifer has none; use --target hls")


@symbols.register
def _(op: ops.Reshape, out: Wire, *inputs: Symbols) -> np.ndarray:
    return inputs[0][1].reshape(out.shape)


@symbols.register
def _(op: ops.Take, out: Wire, *inputs: Symbols) -> np.ndarray:
    return inputs[0][1].reshape(-1)[op.index]


@symbols.register
def _(op: ops.Slice, out: Wire, *inputs: Symbols) -> np.ndarray:
    return op.take(inputs[0][1])


@symbols.register
def _(op: ops.Concat, out: Wire, *inputs: Symbols) -> np.ndarray:
    return np.concatenate([values for _, values in inputs], op.axis)


@symbols.register
def _(op: ops.Compare, out: Wire, *inputs: Symbols) -> np.ndarray:
    ((x, values),) = inputs
    thresholds = per_element(out.name, op.threshold, x.shape).reshape(-1).tolist()
    return array(out.shape, [compared(value, t, out) for value, t in zip(values.reshape(-1), thresholds)])


def compared(value: Element, threshold: int, out: Wire) -> tuple[Tree, ...]:
    if not isinstance(value, Feature):
        raise GraphError(f"compare '{out.name}' is of a sum, conifer compares inputs only; use --target hls")
    if threshold <= value.low or threshold > value.high:
        return (Leaf(float(threshold <= value.low)),)
    return (Split(value.index, threshold, Leaf(0.0), Leaf(1.0)),)


@symbols.register
def _(op: ops.Table, out: Wire, *inputs: Symbols) -> np.ndarray:
    ((x, values),) = inputs
    if np.abs(op.entries).max() >= EXACT_IN_FLOAT:
        raise GraphError(f"table '{out.name}' has entries of more than 53 bits, conifer takes 53; use --target hls")
    first, fraction = (per_element(out.name, each, x.shape).reshape(-1) for each in (op.first, op.fraction))
    entries = np.ldexp(op.entries.reshape(x.size, -1).astype(np.float64), -fraction[:, None])
    rows = zip(values.reshape(-1), entries.tolist(), first.tolist())
    return array(out.shape, [(looked_up(one(value, "table", out), row, start),) for value, row, start in rows])


def looked_up(tree: Tree, row: list[float], first: int) -> Tree:
    return grafted(tree, lambda value: Leaf(row[int(value) - first]))


@symbols.register
def _(op: ops.Select, out: Wire, *inputs: Symbols) -> np.ndarray:
    columns = zip(*(values.reshape(-1) for _, values in inputs))
    chosen = [[one(value, "select", out) for value in column] for column in columns]
    return array(out.shape, [(select(*column),) for column in chosen])


def select(choice: Tree, a: Tree, b: Tree) -> Tree:
    return grafted(choice, lambda value: a if value else b)


@symbols.register
def _(op: ops.Sum, out: Wire, *inputs: Symbols) -> np.ndarray:
    ((_, values),) = inputs
    terms = np.moveaxis(values, op.axis, -1).reshape(out.size, -1)
    return array(out.shape, [sum((summed(term, "sum", out.name) for term in row), ()) for row in terms])


def grafted(tree: Tree, leaf: Callable[[float], Tree]) -> Tree:
    """The tree with others in the place of its leaves; a split with the same on both sides is none."""
    if isinstance(tree, Leaf):
        return leaf(tree.value)
    below, above = grafted(tree.below, leaf), grafted(tree.above, leaf)
    return below if below == above else Split(tree.feature, tree.threshold, below, above)


def summed(value: Element, kind: str, name: str) -> tuple[Tree, ...]:
    if isinstance(value, Feature):
        raise GraphError(f"{kind} '{name}' is of an input itself, conifer only compares inputs; use --target hls")
    return value


def one(value: Element, kind: str, out: Wire) -> Tree:
    trees = summed(value, kind, out.name)
    if len(trees) != 1:
        raise GraphError(f"{kind} '{out.name}' is of a sum of trees, conifer adds last; use --target hls")
    return trees[0]
