"""GraphBuilder: write a fixed-point graph the way one writes the network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill_to_fpga.graph import ops
from distill_to_fpga.graph.exact import per_element
from distill_to_fpga.graph.graph import FixedPointGraph, Node, derive
from distill_to_fpga.graph.types import FixedType, GraphError, Ints, Overflow, Rounding, Wire, ints


class GraphBuilder:
    """Adds operations one by one; each call returns the wire made, with its exact type.

    Wires are named after their operation (`dense_1`, `relu_2`) unless `name` is given.

    Example:
        >>> g = GraphBuilder("tagger", version=1)
        >>> x = g.input("particles", shape=(16, 20), signed=True, bits=12)
        >>> x = g.quantize(x, True, 8, 4)
        >>> x = g.relu(g.dense(x, weight, 4, bias, 6))
        >>> g.output(g.sum(x, axis=0))
        >>> graph = g.build()
    """

    def __init__(self, name: str, version: int = 1):
        self.name, self.version = name, version
        self.nodes: list[Node] = []
        self.wires: dict[str, Wire] = {}
        self.outputs: dict[str, str] = {}
        self.counts: dict[str, int] = {}

    def add_node(self, op: ops.Op, *inputs: Wire, name: str | None = None) -> Wire:
        """Append `op`; the named operations below are all this.

        Raises:
            GraphError: shapes do not fit, the name is taken, or the result needs more than 62 bits.
        """
        self.counts[op.kind] = self.counts.get(op.kind, 0) + 1
        node = Node(name or f"{op.kind}_{self.counts[op.kind]}", op, tuple(wire.name for wire in inputs))
        if node.name in self.wires:
            raise GraphError(f"the name '{node.name}' is used twice")
        self.wires[node.name] = derive(node, self.wires)
        self.nodes.append(node)
        return self.wires[node.name]

    def input(self, name: str, shape: Sequence[int], signed: Ints, bits: Ints) -> Wire:
        """Hardware integers; `signed` and `bits` broadcast to `shape` (per feature = last axis)."""
        sign = ints(np.asarray(signed).astype(np.int64))
        return self.add_node(ops.Input(tuple(int(n) for n in shape), sign, ints(bits)), name=name)

    def scale(self, x: Wire, offset: Ints = 0, shift: Ints = 0, name: str | None = None) -> Wire:
        """`(x - offset) * 2**shift`, `offset` in units of x's LSB; both broadcast to x's shape."""
        return self.add_node(ops.Scale(ints(offset), ints(shift)), x, name=name)

    def shift(self, x: Wire, shift: Ints, name: str | None = None) -> Wire:
        """`x * 2**shift`."""
        return self.add_node(ops.Shift(ints(shift)), x, name=name)

    def quantize(
        self,
        x: Wire,
        signed: Ints,
        bits: Ints,
        fraction: Ints,
        rounding: Rounding = "truncate",
        overflow: Overflow = "saturate",
        name: str | None = None,
    ) -> Wire:
        """To the given type; the fields broadcast to x's shape."""
        return self.add_node(ops.Quantize(FixedType(signed, bits, fraction, rounding, overflow)), x, name=name)

    def dense(
        self,
        x: Wire,
        weight: Ints,
        weight_fraction: Ints,
        bias: Ints | None = None,
        bias_fraction: Ints = 0,
        name: str | None = None,
    ) -> Wire:
        """`x @ weight + bias` on the last axis; `weight[in, out]`, `bias[out]` in units of `2**-fraction`."""
        matrix = ints(weight)
        if matrix.ndim != 2:
            raise GraphError(f"dense: a weight has axes [in, out], got shape {matrix.shape}")
        vector = ints(np.zeros(matrix.shape[1], dtype=np.int64) if bias is None else bias)
        fractions = per_element("weight", weight_fraction, matrix.shape)
        if vector.shape != matrix.shape[1:]:
            raise GraphError(f"dense: the weight has {matrix.shape[1]} outputs, the bias shape {vector.shape}")
        bias_fractions = per_element("bias", bias_fraction, vector.shape)
        return self.add_node(ops.Dense(matrix, ints(fractions), vector, ints(bias_fractions)), x, name=name)

    def relu(self, x: Wire, name: str | None = None) -> Wire:
        return self.add_node(ops.Relu(), x, name=name)

    def add(self, a: Wire, b: Wire, name: str | None = None) -> Wire:
        return self.add_node(ops.Add(), a, b, name=name)

    def sub(self, a: Wire, b: Wire, name: str | None = None) -> Wire:
        return self.add_node(ops.Sub(), a, b, name=name)

    def mul(self, a: Wire, b: Wire, name: str | None = None) -> Wire:
        """Elementwise product; `g.mul(x, x)` is the square."""
        return self.add_node(ops.Mul(), a, b, name=name)

    def sum(self, x: Wire, axis: int = 0, name: str | None = None) -> Wire:
        return self.add_node(ops.Sum(axis), x, name=name)

    def max(self, x: Wire, axis: int = 0, name: str | None = None) -> Wire:
        return self.add_node(ops.Max(axis), x, name=name)

    def argmax(self, x: Wire, name: str | None = None) -> Wire:
        """Index of the largest element of the last axis; the first of equals."""
        return self.add_node(ops.Argmax(), x, name=name)

    def reshape(self, x: Wire, shape: Sequence[int], name: str | None = None) -> Wire:
        return self.add_node(ops.Reshape(tuple(int(n) for n in shape)), x, name=name)

    def flatten(self, x: Wire, name: str | None = None) -> Wire:
        """To one axis, row-major."""
        return self.reshape(x, (x.size,), name=name)

    def concat(self, wires: Sequence[Wire], axis: int = -1, name: str | None = None) -> Wire:
        return self.add_node(ops.Concat(axis), *wires, name=name)

    def slice(self, x: Wire, start: int, stop: int, step: int = 1, axis: int = -1, name: str | None = None) -> Wire:
        return self.add_node(ops.Slice(axis, start, stop, step), x, name=name)

    def take(self, x: Wire, index: Ints, name: str | None = None) -> Wire:
        """Elements by their index in the flattened wire; the result has the shape of `index`."""
        return self.add_node(ops.Take(ints(index)), x, name=name)

    def compare(self, x: Wire, threshold: Ints, name: str | None = None) -> Wire:
        """1 where `x >= threshold` (in units of x's LSB; broadcasts to x's shape), else 0."""
        return self.add_node(ops.Compare(ints(threshold)), x, name=name)

    def select(self, choice: Wire, a: Wire, b: Wire, name: str | None = None) -> Wire:
        """`a` where `choice` is 1, `b` where it is 0."""
        return self.add_node(ops.Select(), choice, a, b, name=name)

    def table(self, x: Wire, entries: Ints, first: Ints, fraction: Ints, name: str | None = None) -> Wire:
        """`entries[..., x - first]` in units of `2**-fraction`, element by element."""
        return self.add_node(ops.Table(ints(entries), ints(first), ints(fraction)), x, name=name)

    def output(self, x: Wire, name: str = "output") -> None:
        """Make `x` an output port of the firmware."""
        if name in self.outputs:
            raise GraphError(f"the output '{name}' is used twice")
        self.outputs[name] = x.name

    def build(self) -> FixedPointGraph:
        return FixedPointGraph(self.name, self.version, tuple(self.nodes), self.outputs)
