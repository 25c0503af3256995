"""The same function from less logic: every rewriting here leaves each output as it was, to the last bit.

- A ReLU before a saturating quantiser without negative values is what the quantiser does anyway.
- Rounding half up is truncation after half an LSB has been added; behind a dense layer its bias, an operand of the
  adder tree already, brings that half along.
- A channel of a dense layer that a quantiser leaves no bits is not computed.
- What is constant, and what nothing reads: see `trim`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from distill_to_fpga.graph import ops
from distill_to_fpga.graph.graph import FixedPointGraph, Node
from distill_to_fpga.graph.trim import without_constants, without_unread
from distill_to_fpga.graph.types import IntArray, ints


def simplify(graph: FixedPointGraph) -> FixedPointGraph:
    """The graph with all rewritings applied; its ports, and the values at them, stay."""
    for rewrite in (without_constants, without_unread, without_relu, rounded_by_bias):
        graph = rewrite(graph)
    return graph


def without_relu(graph: FixedPointGraph) -> FixedPointGraph:
    """Quantisers read what a ReLU reads, where they saturate and have no sign."""
    nodes = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        before = nodes[node.inputs[0]] if isinstance(node.op, ops.Quantize) else node
        if isinstance(node.op, ops.Quantize) and isinstance(before.op, ops.Relu):
            kind = node.op.type
            if kind.overflow == "saturate" and not np.any(kind.signed & (kind.bits > 0)):
                nodes[node.name] = replace(node, inputs=before.inputs)
    return _used(graph, nodes)


def rounded_by_bias(graph: FixedPointGraph) -> FixedPointGraph:
    """Dense layers that one quantiser alone reads: half an LSB of the quantiser in the bias, no weights where it has no
    bits; the quantiser truncates."""
    nodes, uses = {node.name: node for node in graph.nodes}, _uses(graph)
    for node in graph.nodes:
        if not isinstance(node.op, ops.Quantize):
            continue
        before = nodes[node.inputs[0]]
        if not isinstance(before.op, ops.Dense) or uses[before.name] > 1:
            continue
        wire = graph.wires[node.name]
        bits, fraction = _per_channel(wire.bits), _per_channel(node.op.type.fraction, wire.shape)
        if fraction is None or bits is None:
            continue
        half_up = node.op.type.rounding == "half_up"
        nodes[before.name] = replace(before, op=_with_halves(before.op, fraction, bits > 0, half_up))
        nodes[node.name] = replace(node, op=replace(node.op, type=replace(node.op.type, rounding="truncate")))
    return _used(graph, nodes)


def _with_halves(op: ops.Dense, fraction: IntArray, alive: np.ndarray, half_up: bool) -> ops.Dense:
    """The layer with 2^-(fraction + 1) added to each output that is alive, and nothing in the others."""
    places = np.maximum(op.bias_fraction, fraction + 1) if half_up else op.bias_fraction
    bias = op.bias << (places - op.bias_fraction)
    if half_up:
        bias = bias + (np.int64(1) << (places - fraction - 1))
    return replace(
        op,
        weight=ints(np.where(alive, op.weight, 0)),
        bias=ints(np.where(alive, bias, 0)),
        bias_fraction=ints(np.where(alive, places, 0)),
    )


def _per_channel(values: IntArray, shape: tuple[int, ...] | None = None) -> IntArray | None:
    """Values of the last axis, if they are the same wherever else they stand."""
    whole = np.broadcast_to(values, values.shape if shape is None else shape)
    rows = whole.reshape(-1, whole.shape[-1])
    return rows[0] if (rows == rows[0]).all() else None


def _uses(graph: FixedPointGraph) -> Counter[str]:
    return Counter([name for node in graph.nodes for name in node.inputs] + list(graph.outputs.values()))


def _used(graph: FixedPointGraph, nodes: dict[str, Node]) -> FixedPointGraph:
    """The graph of these nodes, without those that nothing reads any more; inputs stay."""
    wanted = set(graph.outputs.values())
    for node in reversed(graph.nodes):
        if node.name in wanted or isinstance(node.op, ops.Input):
            wanted |= {node.name, *nodes[node.name].inputs}
    kept = tuple(nodes[node.name] for node in graph.nodes if node.name in wanted)
    return FixedPointGraph(graph.name, graph.version, kept, graph.outputs)
