"""Each operation of the graph as a call of one template of `layers.h`, with its constants and types."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatch

import numpy as np

from distill_to_fpga.graph import ops
from distill_to_fpga.graph.exact import lowest_terms
from distill_to_fpga.graph.types import GraphError, Wire
from distill_to_fpga.hls.containers import Container, constants, container, literal, union


@dataclass(frozen=True)
class Constant:
    """An array of `weights.h`: one row per line."""

    name: str
    values: np.ndarray
    comment: str

    @property
    def cpp_type(self) -> str:
        return literal(self.values)


@dataclass(frozen=True)
class Layer:
    """The C++ of one operation: statements of the top function, constants, and types beyond the wire's own."""

    statements: list[str]
    constants: list[Constant] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)


@singledispatch
def layer(op: ops.Op, out: Wire, *inputs: Wire) -> Layer:
    """C++ of an operation; array arguments are named after their wires."""
    raise GraphError(f"the HLS back end has no template for '{op.kind}'")


@layer.register
def _(op: ops.Input, out: Wire, *inputs: Wire) -> Layer:
    """Of elements narrower than their port, the bits that they declare."""
    port = container(out)
    channels, (sign, bits) = by_channel(out, out.type.signed, out.type.bits)
    if (sign == port.signed).all() and (bits == port.width).all():
        return Layer([])
    n = out.name
    made = [Constant(f"{n}_bits", bits, "declared width"), Constant(f"{n}_sign", sign, "1: two's complement")]
    return Layer([f"low_bits<{out.size // channels}, {channels}>({n}, {n}_bits, {n}_sign, {n}_);"], made)


@layer.register
def _(op: ops.Scale, out: Wire, *inputs: Wire) -> Layer:
    return scaled(op.offset, op.shift, out, *inputs)


@layer.register
def _(op: ops.Shift, out: Wire, *inputs: Wire) -> Layer:
    return scaled(np.zeros((), np.int64), op.shift, out, *inputs)


def scaled(offset: np.ndarray, shift: np.ndarray, out: Wire, *inputs: Wire) -> Layer:
    (x,) = inputs
    channels, fields = by_channel(x, offset, shift, x.type.fraction)
    tokens = x.size // channels
    offset_type, words = constants(fields[0], fields[2])
    difference = union(container(x), offset_type)
    integer = difference.integer + 2 + max(0, int(fields[1].max()))
    wide = Container(True, integer + max(difference.fraction, container(out).fraction), integer)
    n = out.name
    call = f"scale<{tokens}, {channels}, {n}_wide_t, {n}_offset_t>({x.name}, {n}_offset, {n}_shift, {n});"
    made = [Constant(f"{n}_offset", words, lsb(offset_type)), Constant(f"{n}_shift", fields[1], "powers of two")]
    return Layer([call], made, {f"{n}_offset_t": offset_type.cpp, f"{n}_wide_t": fixed(wide)})


@layer.register
def _(op: ops.Quantize, out: Wire, *inputs: Wire) -> Layer:
    (x,) = inputs
    channels, fields = by_channel(x, op.type.signed, op.type.bits, op.type.fraction)
    tokens = x.size // channels
    rows = np.stack(fields, 1)
    kinds = [(bool(s), int(b), int(f)) for s, b, f in np.unique(rows, axis=0)]
    pruned = np.flatnonzero(rows[:, 1] == 0)
    result = Layer([])
    for sign, bits, fraction in (kind for kind in kinds if kind[1] > 0):
        target = Container(sign, bits, bits - fraction).with_modes(op.type.rounding, op.type.overflow)
        members = np.flatnonzero((rows == (sign, bits, fraction)).all(1))
        if len(members) == channels:
            result.statements.append(f"quantize<{target}, {x.size}>({x.name}, {out.name});")
            continue
        index = f"{out.name}_{'s' if sign else 'u'}{bits}_{fraction}".replace("-", "m")
        result.constants.append(Constant(index, members, f"channels of type {target}"))
        sizes = f"{tokens}, {channels}, {len(members)}"
        result.statements.append(f"quantize<{target}, {sizes}>({x.name}, {index}, {out.name});")
    if len(pruned):
        result.constants.append(Constant(f"{out.name}_pruned", pruned, "channels that the training removed"))
        result.statements.append(f"prune<{tokens}, {channels}, {len(pruned)}>({out.name}_pruned, {out.name});")
    return result


@layer.register
def _(op: ops.Dense, out: Wire, *inputs: Wire) -> Layer:
    (x,) = inputs
    channels, outputs = op.weight.shape
    live = np.any(x.bits.reshape(-1, channels) > 0, 0)
    weight, weight_fraction = lowest_terms(np.where(live[:, None], op.weight, 0), op.weight_fraction)
    bias, bias_fraction = lowest_terms(op.bias, op.bias_fraction)
    weight_type, weight_words = constants(weight, weight_fraction)
    bias_type, bias_words = constants(bias, bias_fraction)
    after = container(out)
    fraction = max(container(x).fraction + weight_type.fraction, bias_type.fraction, after.fraction)
    total = Container(after.signed, after.integer + fraction, after.integer)
    n = out.name
    types = {f"{n}_weight_t": fixed(weight_type), f"{n}_bias_t": fixed(bias_type), f"{n}_sum_t": fixed(total)}
    sizes = f"{x.size // channels}, {channels}, {outputs}, {', '.join(types)}"
    nonzero = f"{np.count_nonzero(weight)} of {weight.size} are not zero"
    made = [
        Constant(f"{n}_weight", weight_words, f"one row per input; {lsb(weight_type)}; {nonzero}"),
        Constant(f"{n}_bias", bias_words, lsb(bias_type)),
    ]
    return Layer([f"dense<{sizes}>({x.name}, {n}_weight, {n}_bias, {n});"], made, types)


@layer.register
def _(op: ops.Relu, out: Wire, *inputs: Wire) -> Layer:
    return Layer([f"relu<{out.size}>({inputs[0].name}, {out.name});"])


@layer.register
def _(op: ops.Binary, out: Wire, *inputs: Wire) -> Layer:
    template = {"add": "add", "sub": "subtract", "mul": "multiply"}[op.kind]
    a, b = inputs
    return Layer([f"{template}<{out.size}>({a.name}, {b.name}, {out.name});"])


@layer.register(ops.Sum)
@layer.register(ops.Max)
def _(op: ops.Sum | ops.Max, out: Wire, *inputs: Wire) -> Layer:
    (x,) = inputs
    template = {"sum": "sum", "max": "maximum"}[op.kind]
    outer, count, inner = around(op.axis, x)
    return Layer([f"{template}<{outer}, {count}, {inner}>({x.name}, {out.name});"])


@layer.register
def _(op: ops.Argmax, out: Wire, *inputs: Wire) -> Layer:
    (x,) = inputs
    return Layer([f"argmax<{out.size}, {x.shape[-1]}>({x.name}, {out.name});"])


@layer.register
def _(op: ops.Concat, out: Wire, *inputs: Wire) -> Layer:
    outer, count, inner = around(op.axis, out)
    statements, offset = [], 0
    for x in inputs:
        length = x.size // outer
        statements.append(f"place<{outer}, {length}, {count * inner}, {offset}>({x.name}, {out.name});")
        offset += length
    return Layer(statements)


@layer.register
def _(op: ops.Slice, out: Wire, *inputs: Wire) -> Layer:
    (x,) = inputs
    outer, count, inner = around(op.axis, x)
    sizes = f"{outer}, {count}, {inner}, {op.start}, {op.step}, {out.shape[op.axis]}"
    return Layer([f"slice<{sizes}>({x.name}, {out.name});"])


@layer.register
def _(op: ops.Take, out: Wire, *inputs: Wire) -> Layer:
    (x,) = inputs
    index = Constant(f"{out.name}_index", op.index.reshape(-1), "elements")
    return Layer([f"take<{x.size}, {out.size}>({x.name}, {out.name}_index, {out.name});"], [index])


@layer.register
def _(op: ops.Compare, out: Wire, *inputs: Wire) -> Layer:
    (x,) = inputs
    threshold = np.clip(np.broadcast_to(op.threshold, x.shape), x.low, x.high + 1)
    kind, words = constants(*lowest_terms(threshold, x.fraction))
    n = out.name
    made = Constant(f"{n}_threshold", words.reshape(-1), lsb(kind))
    call = f"compare<{x.size}, {n}_threshold_t>({x.name}, {n}_threshold, {n});"
    return Layer([call], [made], {f"{n}_threshold_t": fixed(kind)})


@layer.register
def _(op: ops.Select, out: Wire, *inputs: Wire) -> Layer:
    return Layer([f"select<{out.size}>({', '.join(x.name for x in inputs)}, {out.name});"])


@layer.register
def _(op: ops.Table, out: Wire, *inputs: Wire) -> Layer:
    (x,) = inputs
    places = np.where(x.bits > 0, x.fraction, 0)
    integer = container(x).integer + 1 + max(0, int(places.max()))
    wide = Container(True, integer + max(container(x).fraction, 0), integer)
    reachable = np.clip(op.entries, out.low[..., None], out.high[..., None])
    words = reachable << np.where(out.bits > 0, container(out).fraction - out.fraction, 0)[..., None]
    n, depth = out.name, op.entries.shape[-1]
    made = [
        Constant(f"{n}_places", places.reshape(-1), "fractional bits of the inputs"),
        Constant(f"{n}_first", np.broadcast_to(op.first, x.shape).reshape(-1), "integer of the first entry"),
        Constant(f"{n}_entries", words.reshape(-1, depth), f"one table per row; {lsb(container(out))}"),
    ]
    call = f"look_up<{x.size}, {depth}, {n}_wide_t>({x.name}, {n}_places, {n}_first, {n}_entries, {n});"
    return Layer([call], made, {f"{n}_wide_t": fixed(wide)})


def around(axis: int, wire: Wire) -> tuple[int, int, int]:
    """Numbers of elements before, along and after an axis."""
    axis %= len(wire.shape)
    sizes = (wire.shape[:axis], wire.shape[axis : axis + 1], wire.shape[axis + 1 :])
    outer, count, inner = (int(np.prod(size, dtype=np.int64)) for size in sizes)
    return outer, count, inner


def by_channel(wire: Wire, *fields: np.ndarray) -> tuple[int, list[np.ndarray]]:
    """Fields as one value per channel if they are the same for all tokens, else one per element; and how many."""
    per_token = any(np.ndim(f) > 1 and np.prod(np.shape(f)[:-1]) > 1 for f in fields)
    channels = wire.size if per_token or not wire.shape else wire.shape[-1]
    whole = (np.broadcast_to(f, wire.shape).reshape(-1)[:channels] for f in fields)
    return channels, [np.asarray(f, dtype=np.int64) for f in whole]


def fixed(kind: Container) -> str:
    """Spelled `ap_fixed` even without fraction bits, so that products and shifts are those of fixed-point numbers."""
    return f"ap_{'' if kind.signed else 'u'}fixed<{kind.width}, {kind.integer}>"


def lsb(kind: Container) -> str:
    return f"in units of 2^{-kind.fraction}" if kind.fraction else "integers"
