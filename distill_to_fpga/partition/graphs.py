"""A fixed-point graph as layers of hardware: costs, delays and widths are the graph's own, by the estimator.

The circuit of a graph takes a whole example in every clock, so each layer takes all of its tokens at once. Token groups
and slices of channels are parts of that circuit, each of which costs its share.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from distill_to_fpga.estimate import Estimate, LayerEstimate, estimate
from distill_to_fpga.graph import FixedPointGraph, Wire, ops
from distill_to_fpga.graph.graph import Node
from distill_to_fpga.partition.network import Layer, Network, Resources, Source

ELEMENTWISE = (
    ops.Scale, ops.Shift, ops.Quantize, ops.Relu, ops.Add, ops.Sub, ops.Mul, ops.Compare, ops.Select, ops.Table,
)  # fmt: skip


def graph_network(graph: FixedPointGraph, clock_ns: float) -> Network:
    """Each operation of a graph as a layer; wires of two axes are tokens, all others one token."""
    found = estimate(graph, clock_ns)
    depths = _depths(found)
    layers = []
    for node, cost, depth in zip(graph.nodes, found.layers, depths, strict=True):
        wire = graph.wires[node.name]
        tokens = _tokens(wire)
        sources = tuple(_source(node, wire, graph.wires[name]) for name in node.inputs)
        bits = -(-int(wire.bits.sum()) // tokens)
        lane = Resources.logic(cost.luts / tokens)
        layers.append(
            Layer(node.name, tokens, bits, sources, lane, depth=depth, cuts=_cuts(node, wire), constants=cost.weights)
        )
    outputs = tuple(dict.fromkeys(graph.outputs.values()))
    return Network(graph.name, tuple(layers), outputs, method=found.method, unrolled=True)


def _depths(found: Estimate) -> list[int]:
    """Clocks of each layer: what it adds to the registers in series of all before it; the first has the input's."""
    clocks, before = [], 0
    for end in range(1, len(found.layers) + 1):
        upto = replace(found, layers=found.layers[:end]).latency_cycles - 1
        clocks.append(upto - before)
        before = upto
    return _inputs_are_free(found.layers, clocks)


def _inputs_are_free(layers: tuple[LayerEstimate, ...], clocks: list[int]) -> list[int]:
    """Moves the clocks of inputs, which are not on a chip, to the first layer."""
    owed, found = 0, []
    for layer, own in zip(layers, clocks, strict=True):
        found.append(0 if layer.op == ops.Input.kind else own + owed)
        owed = owed + own if layer.op == ops.Input.kind else 0
    return found


def _tokens(wire: Wire) -> int:
    return wire.shape[0] if len(wire.shape) == 2 else 1


def _cuts(node: Node, wire: Wire) -> int:
    """Channels that can be computed apart."""
    if isinstance(node.op, (*ELEMENTWISE, ops.Dense)):
        return max(int(np.prod(wire.shape, dtype=np.int64)) // _tokens(wire), 1)
    return 1


def _source(node: Node, wire: Wire, before: Wire) -> Source:
    apart = isinstance(node.op, (*ELEMENTWISE, ops.Dense)) and len(wire.shape) == 2 and _tokens(before) == _tokens(wire)
    same = isinstance(node.op, ELEMENTWISE) and wire.shape == before.shape
    return Source(before.name, "own" if apart else "all", "own" if same else "all")
