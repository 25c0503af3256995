"""The golden model: exact integer evaluation of a graph, vectorised over a batch.

Words are int32 where the graph's intervals prove that every value on the way fits, else int64. A matrix product runs
in BLAS where the intervals prove that no partial sum leaves the integers that float32 or float64 holds exactly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, singledispatch
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import ThreadpoolController

from distill_to_fpga.graph import ops
from distill_to_fpga.graph.exact import alignment, finest_along, finest_of, rounded
from distill_to_fpga.graph.graph import FixedPointGraph, Node
from distill_to_fpga.graph.ops import Op
from distill_to_fpga.graph.types import GraphError, Ints, Wire, compressed, magnitude_bits, objects
from foundation.errors import DataError, close_names

Batch = Int[np.ndarray, "batch ..."]
Step = Callable[..., np.ndarray]
CHUNK_WORDS = 1 << 15  # of the widest wire: 128 KiB of int32, so that a chunk stays in a core's cache


def run(graph: FixedPointGraph, inputs: Mapping[str, np.ndarray], keep: bool = False) -> dict[str, Batch]:
    """Evaluate `graph` on hardware integers `inputs[name][B, *shape]`.

    Returns:
        Each output port's integers `[B, *shape]`, in units of its wire's LSB; with `keep`, those of every wire too.

    Raises:
        DataError: an input is missing, unknown, of the wrong shape or dtype, or outside its declared range.
    """
    batch = check_inputs(graph, inputs)
    steps = compiled(graph)
    chunk = max(1, CHUNK_WORDS // max(wire.size for wire in graph.wires.values()))
    names = {**{name: name for name in graph.wires if keep}, **graph.outputs}
    result = {name: np.empty((batch, *graph.wires[wire].shape), np.int64) for name, wire in names.items()}

    def evaluate(start: int) -> None:
        part = slice(start, min(start + chunk, batch))
        values: dict[str, np.ndarray] = {}
        for name, step, sources in steps:
            arguments = [values[source] for source in sources] or [np.asarray(inputs[name][part])]
            values[name] = step(*arguments)
        for name, wire in names.items():
            result[name][part] = values[wire]

    # One thread per core, on chunks that stay in its cache; BLAS's own threads on such small products only spin.
    with libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(evaluate, range(0, batch, chunk)))
    return result


@lru_cache(maxsize=1)
def libraries() -> ThreadpoolController:
    return ThreadpoolController()


def to_real(graph: FixedPointGraph, wire: str, integers: Batch) -> Float[np.ndarray, "batch ..."]:
    """The numbers that integers of a wire (or output port) stand for: `integer * 2**-fraction`, in float64."""
    name = graph.outputs.get(wire, wire)
    if name not in graph.wires:
        raise GraphError(f"no wire or output '{wire}'; {close_names(wire, [*graph.wires, *graph.outputs])}")
    return np.ldexp(integers.astype(np.float64), -graph.wires[name].fraction.astype(np.int32))


def as_read(graph: FixedPointGraph, inputs: Mapping[str, np.ndarray]) -> dict[str, Batch]:
    """What the firmware reads of integers that may lie beyond their declared range: of each element the low bits, as
    many as its type has, two's complement where it is signed. Bits above those are not wired."""
    read = {}
    for name in graph.inputs:
        kind = graph.wires[name].type
        mask = (np.int64(1) << kind.bits) - 1
        read[name] = ((np.asarray(inputs[name], dtype=np.int64) - kind.low) & mask) + kind.low
    return read


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
        shape = f"(batch, {', '.join(map(str, wire.shape))})"
        found = f"{values.dtype} of shape {values.shape}"
        raise DataError(f"input '{wire.name}' takes integers of shape {shape}, got {found}")
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
    """One function for each node, constants aligned and matrix products chosen: in int32 if all fits, else int64."""
    try:
        return [(n.name, prepared(graph, n, np.dtype(np.int32)), n.inputs) for n in graph.nodes]
    except TooWide:
        return [(n.name, prepared(graph, n, np.dtype(np.int64)), n.inputs) for n in graph.nodes]


class TooWide(GraphError):
    """A value on the way may not fit the words chosen."""


def prepared(graph: FixedPointGraph, node: Node, word: np.dtype) -> Step:
    out = graph.wires[node.name]
    check_fits(out, out.bits, word)
    return prepare(node.op, word, out, *graph.input_wires(node))


def check_fits(wire: Wire, bits: Ints, word: np.dtype) -> None:
    """Two bits to spare: one for the sign, one for the half that a rounding adds."""
    if np.max(bits) > 8 * word.itemsize - 2:
        raise TooWide(f"wire '{wire.name}' needs {np.max(bits)} bits on the way, more than exact evaluation has")


def aligner(x: Wire, fraction: Ints, word: np.dtype) -> Step:
    """Brings the integers of `x` to a finer `fraction`; does nothing where there is nothing to do."""
    shift = alignment(x, fraction)
    check_fits(x, x.bits + shift, word)
    return (lambda v: v << constant(shift, word)) if shift.any() else (lambda v: v)


def constant(values: Ints, word: np.dtype) -> np.ndarray:
    """In the graph's word, as one scalar where all elements agree."""
    return compressed(values).astype(word)


@singledispatch
def prepare(op: Op, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    """The function from the input wires' integers `[B, *shape]`, of dtype `word`, to the output wire's."""
    raise GraphError(f"the interpreter has no rule for '{op.kind}'")


@prepare.register
def _(op: ops.Input, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    return lambda v: v.astype(word)


@prepare.register
def _(op: ops.Scale, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    check_fits(out, magnitude_bits(objects(op.offset), objects(op.offset)), word)
    offset = constant(op.offset, word)
    return lambda v: v - offset


@prepare.register(ops.Shift)
@prepare.register(ops.Reshape)
def _(op: Op, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    return lambda v: v.reshape(len(v), *out.shape)


@prepare.register
def _(op: ops.Quantize, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    """Shift right with the rounding half added, or left; then clip, where the interval says that it can matter."""
    (x,) = inputs
    drop = np.where(x.bits > 0, x.fraction - out.fraction, 0)
    round_up = op.type.rounding == "half_up"
    right, left = np.clip(drop, 0, 8 * word.itemsize - 1), np.maximum(-drop, 0)
    check_fits(x, x.bits + left, word)
    half = constant(np.where((right > 0) & round_up, np.int64(1) << np.maximum(right - 1, 0), 0), word)
    least, most = (rounded(end, drop, round_up) for end in (x.low, x.high))
    below, above = np.any(least < op.type.low), np.any(most > op.type.high)
    right, left = constant(right, word), constant(left, word)
    low, high = constant(op.type.low, word), constant(op.type.high, word)
    mask = constant((np.int64(1) << op.type.bits) - 1, word)

    def quantize(v: np.ndarray) -> np.ndarray:
        v = v + half
        v >>= right
        if left.any():
            v <<= left
        if op.type.overflow == "wrap" and (below or above):
            return ((v - low) & mask) + low
        if below:
            np.maximum(v, low, out=v)
        return np.minimum(v, high, out=v) if above else v

    return quantize


@prepare.register
def _(op: ops.Dense, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    (x,) = inputs
    align, matrix, bias, _ = op.aligned(x)
    largest = np.maximum(abs(objects(x.low)), abs(objects(x.high))) << objects(align)
    bound = int(np.max(largest @ abs(matrix) + abs(bias)))
    if bound >= 1 << 62:
        raise TooWide(f"a partial sum of dense '{out.name}' may need {bound.bit_length()} bits; quantize '{x.name}'")
    check_fits(x, x.bits + align, word)
    shift = constant(align, word)
    real: Any = np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else np.int64
    weight, offset = np.asarray(matrix, dtype=real), np.asarray(bias, dtype=real)

    def dense(v: np.ndarray) -> np.ndarray:
        rows = (v << shift if shift.any() else v).reshape(-1, x.shape[-1])
        product = rows.astype(real) @ weight
        product += offset
        return product.astype(word).reshape(len(v), *out.shape)

    return dense


@prepare.register
def _(op: ops.Relu, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    return lambda v: np.maximum(v, 0)


def pair_rule(operation: Callable) -> Callable[..., Step]:
    def prepare_pair(op: Op, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
        left, right = (aligner(wire, finest_of(*inputs), word) for wire in inputs)
        return lambda v, w: operation(left(v), right(w))

    return prepare_pair


def axis_rule(reduction: Callable) -> Callable[..., Step]:
    def prepare_axis(op: Op, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
        (x,) = inputs
        axis = getattr(op, "axis", -1) % len(x.shape)
        align = aligner(x, np.expand_dims(finest_along(axis, x), axis), word)
        return lambda v: reduction(align(v), axis + 1).astype(word, copy=False)

    return prepare_axis


prepare.register(ops.Add, pair_rule(np.add))
prepare.register(ops.Sub, pair_rule(np.subtract))
prepare.register(ops.Sum, axis_rule(np.sum))
prepare.register(ops.Max, axis_rule(np.max))
prepare.register(ops.Argmax, axis_rule(np.argmax))


@prepare.register
def _(op: ops.Mul, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    return lambda v, w: v * w


@prepare.register
def _(op: ops.Concat, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    return lambda *parts: np.concatenate(parts, op.axis % len(out.shape) + 1)


@prepare.register
def _(op: ops.Slice, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    return lambda v: op.take(v, leading=1)


@prepare.register
def _(op: ops.Take, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    return lambda v: v.reshape(len(v), -1)[:, op.index]


@prepare.register
def _(op: ops.Compare, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    (x,) = inputs
    threshold = constant(np.clip(np.broadcast_to(op.threshold, x.shape), x.low, x.high + 1), word)
    return lambda v: (v >= threshold).astype(word)


@prepare.register
def _(op: ops.Select, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    _, *values = inputs
    left, right = (aligner(wire, finest_of(*values), word) for wire in values)
    return lambda choice, v, w: np.where(choice != 0, left(v), right(w))


@prepare.register
def _(op: ops.Table, word: np.dtype, out: Wire, *inputs: Wire) -> Step:
    depth = op.entries.shape[-1]
    # Entries that no input reaches may not fit the word.
    entries = np.clip(op.entries, out.low[..., None], out.high[..., None]).astype(word).reshape(-1)
    start = (np.arange(out.size) * depth).reshape(out.shape) - op.first
    return lambda v: entries[v + start]
