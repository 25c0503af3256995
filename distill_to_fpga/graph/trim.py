"""What cannot matter leaves the graph: inputs that never change go into biases, and what nothing reads is not computed.

Both look at single elements: a channel of a layer, a feature of a token.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

import numpy as np

from distill_to_fpga.graph import ops
from distill_to_fpga.graph.exact import lowest_terms
from distill_to_fpga.graph.graph import FixedPointGraph, Node
from distill_to_fpga.graph.types import BoolArray, FixedType, Wire, ints, objects


def without_constants(graph: FixedPointGraph) -> FixedPointGraph:
    """Of a dense layer, channels of the input with one value only, the same for all tokens: their products join the
    bias."""
    nodes = tuple(
        replace(node, op=folded(node.op, *graph.input_wires(node))) if isinstance(node.op, ops.Dense) else node
        for node in graph.nodes
    )
    return FixedPointGraph(graph.name, graph.version, nodes, graph.outputs)


def folded(op: ops.Dense, x: Wire) -> ops.Dense:
    """The layer with nothing to multiply where its input is constant."""
    low, high, places = (end.reshape(-1, x.shape[-1]) for end in (x.low, x.high, x.fraction))
    same = (low == low[0]) & (low == high) & ((places == places[0]) | (low == 0))
    constant = same.all(axis=0)
    if not (constant[:, None] & (op.weight != 0)).any():
        return op
    value = np.where(constant, low[0], 0)
    terms, at = lowest_terms(value[:, None] * op.weight, places[0][:, None] + op.weight_fraction)
    bias, bias_at = lowest_terms(op.bias, np.broadcast_to(op.bias_fraction, op.bias.shape))
    all_terms, all_at = np.vstack([terms, bias]), np.vstack([at, bias_at])
    fraction = np.where(all_terms != 0, all_at, np.iinfo(np.int64).min).max(axis=0)
    fraction = np.where((all_terms != 0).any(axis=0), fraction, 0)
    moved = objects(all_terms) << objects(np.where(all_terms != 0, fraction - all_at, 0))
    kept, kept_at = lowest_terms(moved.sum(axis=0).astype(np.int64), fraction)
    weight = ints(np.where(constant[:, None], 0, op.weight))
    return replace(op, weight=weight, bias=ints(kept), bias_fraction=ints(kept_at))


def without_unread(graph: FixedPointGraph) -> FixedPointGraph:
    """Dense layers do not compute, and quantisers give no bits to, what no output depends on."""
    read = {name: np.zeros(wire.shape, bool) for name, wire in graph.wires.items()}
    for wire in graph.outputs.values():
        read[wire][...] = True
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        inputs = graph.input_wires(node)
        op = trimmed(node.op, read[node.name])
        for x, wanted in zip(inputs, reads(op, read[node.name], *inputs)):
            read[x.name][...] |= wanted
        nodes.append(replace(node, op=op))
    return FixedPointGraph(graph.name, graph.version, tuple(reversed(nodes)), graph.outputs)


def trimmed(op: ops.Op, read: BoolArray) -> ops.Op:
    """The operation, for the elements of its result that are read."""
    if read.all():
        return op
    if isinstance(op, ops.Dense):
        channels = read.reshape(-1, read.shape[-1]).any(axis=0)
        return replace(op, weight=ints(np.where(channels, op.weight, 0)), bias=ints(np.where(channels, op.bias, 0)))
    if isinstance(op, ops.Quantize):
        kind = op.type
        bits = np.where(read, np.broadcast_to(kind.bits, read.shape), 0)
        return replace(op, type=FixedType(kind.signed, bits, kind.fraction, kind.rounding, kind.overflow))
    return op


@singledispatch
def reads(op: ops.Op, read: BoolArray, *inputs: Wire) -> list[BoolArray]:
    """Of each input, the elements on which those of the result depend that are read: all, if it is not known better."""
    return [np.broadcast_to(read.any(), x.shape) for x in inputs]


@reads.register(ops.Scale)
@reads.register(ops.Shift)
@reads.register(ops.Relu)
@reads.register(ops.Binary)
def _(op: ops.Op, read: BoolArray, *inputs: Wire) -> list[BoolArray]:
    return [read for _ in inputs]


@reads.register
def _(op: ops.Quantize, read: BoolArray, *inputs: Wire) -> list[BoolArray]:
    return [np.asarray(read & (np.broadcast_to(op.type.bits, read.shape) > 0))]


@reads.register
def _(op: ops.Dense, read: BoolArray, *inputs: Wire) -> list[BoolArray]:
    return [(read[..., None, :] & (op.weight != 0)).any(axis=-1)]


@reads.register
def _(op: ops.Sum, read: BoolArray, *inputs: Wire) -> list[BoolArray]:
    return [np.broadcast_to(np.expand_dims(read, op.axis), inputs[0].shape)]


@reads.register
def _(op: ops.Reshape, read: BoolArray, *inputs: Wire) -> list[BoolArray]:
    return [read.reshape(inputs[0].shape)]


@reads.register(ops.Take)
@reads.register(ops.Slice)
@reads.register(ops.Concat)
def _(op: ops.Take | ops.Slice | ops.Concat, read: BoolArray, *inputs: Wire) -> list[BoolArray]:
    """By numbers that go the way of the elements."""
    ends = np.cumsum([0, *(x.size for x in inputs)])
    numbers = [np.arange(first, first + x.size).reshape(x.shape) for first, x in zip(ends, inputs)]
    match op:
        case ops.Take():
            sources = numbers[0].reshape(-1)[op.index]
        case ops.Slice():
            sources = op.take(numbers[0])
        case _:
            sources = np.concatenate(numbers, op.axis)
    wanted = np.zeros(ends[-1], bool)
    wanted[sources[read]] = True
    return [np.asarray(wanted[number]) for number in numbers]
