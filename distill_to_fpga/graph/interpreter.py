"""The golden model: exact integer evaluation of a graph, vectorised over a batch.

Every wire is held as int64; the graph's intervals prove that none exceeds 62 bits. A matrix product runs in BLAS where
the interval proves that no partial sum leaves the integers that float32 or float64 holds exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, singledispatch

import numpy as np
from jaxtyping import Float, Int

from distill_to_fpga.graph import ops
from distill_to_fpga.graph.graph import FixedPointGraph
from distill_to_fpga.graph.ops import Op
from distill_to_fpga.graph.types import GraphError, Wire, check_width, objects
from foundation.errors import DataError, close_names

Batch = Int[np.ndarray, "batch ..."]
Step = Callable[..., np.ndarray]
CHUNK_WORDS = 1 << 17  # of the widest wire: 1 MiB of int64, so that a chunk's wires stay in the cache


def run(graph: FixedPointGraph, inputs: Mapping[str, np.ndarray], keep: bool = False) -> dict[str, Batch]:
    """Evaluate `graph` on hardware integers `inputs[name][B, *shape]`.

    Returns:
        Each output port's integers `[B, *shape]`, in units of its wire's LSB; with `keep`, those of every wire too.

    Raises:
        DataError: an input is missing, unknown, of the wrong shape or dtype, or outside its declared range.
    """
    batch = check_inputs(graph, inputs)
    steps = compiled(graph)
    widest = max(wire.size for wire in graph.wires.values())
    chunk = max(1, CHUNK_WORDS // widest)
    names = {**{name: name for name in graph.wires if keep}, **graph.outputs}
    result = {name: np.empty((batch, *graph.wires[wire].shape), np.int64) for name, wire in names.items()}
    for start in range(0, batch, chunk):
        part = slice(start, min(start + chunk, batch))
        values = {name: np.asarray(inputs[name][part], dtype=np.int64) for name in graph.inputs}
        for name, step, sources in steps:
            values[name] = step(*(values[source] for source in sources))
        for name, wire in names.items():
            result[name][part] = values[wire]
    return result


def to_real(graph: FixedPointGraph, wire: str, integers: Batch) -> Float[np.ndarray, "batch ..."]:
    """The numbers that integers of a wire (or output port) stand for: `integer * 2**-fraction`, in float64."""
    name = graph.outputs.get(wire, wire)
    if name not in graph.wires:
        raise GraphError(f"no wire or output '{wire}'; {close_names(wire, [*graph.wires, *graph.outputs])}")
    return np.ldexp(integers.astype(np.float64), -graph.wires[name].fraction.astype(np.int32))


def check_inputs(graph: FixedPointGraph, inputs: Mapping[str, np.ndarray]) -> int:
    """The number of examples, once all inputs are what the graph declares."""
    for name in [*graph.inputs, *inputs]:
        if name not in inputs:
            raise DataError(f"graph '{graph.name}' needs the input '{name}'; got {sorted(inputs) or 'none'}")
        if name not in graph.inputs:
            raise DataError(f"graph '{graph.name}' has no input '{name}'; {close_names(name, graph.inputs)}")
        check_input(graph.wires[name], np.asarray(inputs[name]))
    lengths = {name: len(inputs[name]) for name in graph.inputs}
    if len(set(lengths.values())) > 1:
        raise DataError(f"the inputs have different numbers of examples: {lengths}")
    return next(iter(lengths.values()))


def check_input(wire: Wire, values: np.ndarray) -> None:
    if values.dtype.kind not in "iu" or values.shape[1:] != wire.shape:
        found = f"{values.dtype} of shape {values.shape}"
        raise DataError(f"input '{wire.name}' takes integers of shape (batch, {', '.join(map(str, wire.shape))}), got {found}")
    least, most = values.min(0, initial=0), values.max(0, initial=0)
    outside = (least < wire.low) | (most > wire.high)
    if outside.any():
        where = tuple(int(i) for i in np.argwhere(outside)[0])
        raise DataError(
            f"input '{wire.name}' element {list(where)} spans {least[where]} to {most[where]}, but its "
            f"{wire.bits[where]} hardware bits hold {wire.low[where]} to {wire.high[where]}"
        )


@lru_cache(maxsize=16)
def compiled(graph: FixedPointGraph) -> list[tuple[str, Step, tuple[str, ...]]]:
    """One function for each node: constants aligned, shifts and matrix products chosen once."""
    nodes = [node for node in graph.nodes if not isinstance(node.op, ops.Input)]
    return [(n.name, prepare(n.op, graph.wires[n.name], *graph.input_wires(n)), n.inputs) for n in nodes]


def aligner(x: Wire, fraction: np.ndarray) -> Step:
    """Brings the integers of `x` to a finer `fraction` (broadcastable); does nothing where there is nothing to do."""
    shift = np.broadcast_to(fraction, x.shape) - x.fraction
    check_width(x.name, np.where(x.bits > 0, x.bits + shift, 0))
    return (lambda v: v << shift) if shift.any() else (lambda v: v)


@singledispatch
def prepare(op: Op, out: Wire, *inputs: Wire) -> Step:
    """The function from the input wires' integers `[B, *shape]` to the output wire's."""
    raise GraphError(f"the interpreter has no rule for '{op.kind}'")


@prepare.register
def _(op: ops.Scale, out: Wire, *inputs: Wire) -> Step:
    offset = np.where(out.bits > 0, op.offset, np.broadcast_to(op.offset, out.shape))
    return lambda v: v - offset


@prepare.register
def _(op: ops.Shift, out: Wire, *inputs: Wire) -> Step:
    return lambda v: v


@prepare.register
def _(op: ops.Quantize, out: Wire, *inputs: Wire) -> Step:
    (x,) = inputs
    drop = x.fraction - out.fraction
    right, left = np.clip(drop, 0, 63), np.where(x.bits > 0, np.maximum(-drop, 0), 0)
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    low, high, mask = op.type.low, op.type.high, (np.int64(1) << op.type.bits) - 1
    right, left, half = (scalar_if_uniform(a) for a in (right, left, half))

    def quantize(v: np.ndarray) -> np.ndarray:
        v = v + half if op.type.rounding == "half_up" else v
        v = v >> right if np.any(right) else v
        v = v << left if np.any(left) else v
        return np.clip(v, low, high) if op.type.overflow == "saturate" else ((v - low) & mask) + low

    return quantize


def scalar_if_uniform(values: np.ndarray) -> np.ndarray:
    return values.flat[0] if values.size and (values == values.flat[0]).all() else values


@prepare.register
def _(op: ops.Dense, out: Wire, *inputs: Wire) -> Step:
    (x,) = inputs
    align, matrix, bias, _ = op.aligned(x)
    largest = np.maximum(abs(objects(x.low)), abs(objects(x.high))) << objects(align)
    bound = int(np.max(largest @ abs(matrix) + abs(bias)))
    shift = align if align.any() else None
    if bound >= 1 << 63:
        raise GraphError(f"dense '{out.name}': a partial sum may reach 2**{bound.bit_length()}: quantize '{x.name}' first")
    dtype = np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else np.int64
    constant, offset = matrix.astype(dtype), bias.astype(np.int64)

    def dense(v: np.ndarray) -> np.ndarray:
        rows = (v if shift is None else v << shift).reshape(-1, x.shape[-1])
        product = (rows.astype(dtype) @ constant).astype(np.int64)
        product += offset
        return product.reshape(len(v), *out.shape)

    return dense


@prepare.register
def _(op: ops.Relu, out: Wire, *inputs: Wire) -> Step:
    return lambda v: np.maximum(v, 0)


@prepare.register
def _(op: ops.Add, out: Wire, *inputs: Wire) -> Step:
    a, b, fraction = *inputs, np.maximum(*(wire.fraction for wire in inputs))
    left, right = aligner(a, fraction), aligner(b, fraction)
    return lambda v, w: left(v) + right(w)


@prepare.register
def _(op: ops.Sub, out: Wire, *inputs: Wire) -> Step:
    a, b, fraction = *inputs, np.maximum(*(wire.fraction for wire in inputs))
    left, right = aligner(a, fraction), aligner(b, fraction)
    return lambda v, w: left(v) - right(w)


@prepare.register
def _(op: ops.Mul, out: Wire, *inputs: Wire) -> Step:
    return lambda v, w: v * w


@prepare.register
def _(op: ops.Sum, out: Wire, *inputs: Wire) -> Step:
    axis, align = reduction(op.axis, inputs[0])
    return lambda v: align(v).sum(axis)


@prepare.register
def _(op: ops.Max, out: Wire, *inputs: Wire) -> Step:
    axis, align = reduction(op.axis, inputs[0])
    return lambda v: align(v).max(axis)


@prepare.register
def _(op: ops.Argmax, out: Wire, *inputs: Wire) -> Step:
    axis, align = reduction(-1, inputs[0])
    return lambda v: align(v).argmax(axis)


def reduction(axis: int, x: Wire) -> tuple[int, Step]:
    """The axis counted with the batch, and the alignment to the finest LSB along it."""
    return axis % len(x.shape) + 1, aligner(x, np.expand_dims(x.fraction.max(axis), axis))


@prepare.register
def _(op: ops.Reshape, out: Wire, *inputs: Wire) -> Step:
    return lambda v: v.reshape(len(v), *out.shape)


@prepare.register
def _(op: ops.Concat, out: Wire, *inputs: Wire) -> Step:
    axis = op.axis % len(out.shape) + 1
    return lambda *parts: np.concatenate(parts, axis)


@prepare.register
def _(op: ops.Slice, out: Wire, *inputs: Wire) -> Step:
    return lambda v: op.take(v, leading=1)
