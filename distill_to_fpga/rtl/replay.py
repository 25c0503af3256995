"""A graph once more in alkaid's symbols, which become an optimised network of adders, multiplexers and multipliers."""

from __future__ import annotations

import math
from functools import singledispatch
from typing import Any

import numpy as np

from distill_to_fpga.graph import FixedPointGraph, Wire, ops, run
from distill_to_fpga.graph.exact import lowest_terms
from distill_to_fpga.graph.ops import Op
from distill_to_fpga.graph.types import FixedType, GraphError
from distill_to_fpga.vectors import make_vectors
from foundation.errors import missing_extra

MAX_BITS = 50  # of a wire: alkaid keeps ranges in float64
CONSTANT_BITS = 24  # of a weight: it keeps matrices in float32
BIAS_BITS = 31
ADDER = (1, 1, -1)  # alkaid's HWConfig: an adder costs its cells, its delay grows with each bit of the carry


def library() -> Any:
    """The package alkaid.

    Raises:
        ToolError: it is not installed; the message is the install command.
    """
    try:
        import alkaid.codegen
        import alkaid.trace
    except ImportError as error:
        raise missing_extra("alkaid", "rtl", "The RTL back end") from error
    return alkaid


def replay(graph: FixedPointGraph) -> Any:
    """alkaid's combinational logic (`CombLogic`) of a graph; all inputs side by side, then all outputs.

    Its own interpreter has given the graph's outputs on corners and random inputs.

    Raises:
        GraphError: an operation that has no rule, a wire or constant too wide for alkaid, or a result that differs.
        ToolError: alkaid is not installed.
    """
    trace = library().trace
    values: dict[str, Any] = {}
    for node in graph.nodes:
        wire = graph.wires[node.name]
        if wire.bits.max(initial=0) > MAX_BITS:
            raise GraphError(f"wire '{wire.name}' has {wire.bits.max()} bits; the RTL back end takes {MAX_BITS}")
        made = symbols(node.op, wire, graph.input_wires(node), [values[name] for name in node.inputs])
        values[node.name] = trace.FVArray(np.asarray(made).reshape(wire.shape), hwconf=ADDER)
    first = [np.asarray(values[name]).reshape(-1) for name in graph.inputs]
    last = [np.asarray(values[wire]).reshape(-1) for wire in graph.outputs.values()]
    logic = trace.trace(np.concatenate(first), np.concatenate(last), keep_dead_inputs=True)
    check(graph, logic)
    return logic


def check(graph: FixedPointGraph, logic: Any) -> None:
    """Raises GraphError where alkaid's interpreter and ours differ."""
    inputs = make_vectors(graph, count=300).inputs
    golden = run(graph, inputs)
    flat = [inputs[name].reshape(len(inputs[name]), -1) for name in graph.inputs]
    got = logic.predict(np.concatenate(flat, axis=1).astype(np.float64), n_threads=1)
    for port, name in graph.outputs.items():
        wire = graph.wires[name]
        found, got = got[:, : wire.size], got[:, wire.size :]
        expected = np.ldexp(golden[port].reshape(len(found), -1).astype(np.float64), -wire.fraction.reshape(-1))
        if (found != expected).any():
            row, column = np.argwhere(found != expected)[0]
            raise GraphError(
                f"alkaid's logic of '{graph.name}' differs from the golden model: output '{port}' element {column} is "
                f"{found[row, column]:g}, not {expected[row, column]:g}; use --target hls"
            )


@singledispatch
def symbols(op: Op, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    """The symbols that an operation yields from those of its inputs."""
    raise GraphError(f"the RTL back end has no rule for '{op.kind}' ('{out.name}'); use --target hls")


@symbols.register
def _(op: ops.Input, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    sign = out.signed.astype(int)
    return library().trace.FVArray.from_kif(sign, out.bits - sign, np.zeros_like(out.bits), ADDER)


@symbols.register
def _(op: ops.Scale, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    offset = np.broadcast_to(op.offset, out.shape) * power(-wires[0].fraction)
    return (values[0] - offset if np.any(offset) else values[0]) * power(np.broadcast_to(op.shift, out.shape))


@symbols.register
def _(op: ops.Shift, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    return values[0] * power(np.broadcast_to(op.shift, out.shape))


@symbols.register
def _(op: ops.Quantize, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    parts = (np.asarray(values[0]), out.signed, out.bits, out.fraction, op.type.low, op.type.high)
    columns = [array.reshape(-1).tolist() for array in np.broadcast_arrays(*parts)]
    quantized = [quantizer(op.type, *element) for element in zip(*columns)]
    return np.array(quantized, dtype=object)


def quantizer(kind: FixedType, x: Any, signed: bool, bits: int, fraction: int, low: int, high: int) -> Any:
    """One element to its type. alkaid saturates by comparing and choosing twice; testing the bits that fall off takes
    half the logic and no carry."""
    if not bits:
        return constant(0.0)
    half_up = kind.rounding == "half_up"
    if x.low == x.high:
        return constant(quantized_constant(kind, x.low, low, high, fraction))
    if half_up and x.kif[2] > fraction:
        x = x + 2.0 ** (-fraction - 1)
    sign, integer, _ = x.kif
    room = bits - fraction - signed  # places before the binary point
    if kind.overflow == "wrap" or (integer <= room and sign <= signed):
        x = part(x, room, fraction) if bits == 1 and not signed else x
        return x.quantize(int(signed), room, fraction, "WRAP", "TRN")
    beyond = x.bits[: sign + integer - room] if integer > room else None
    return saturated(x.msb() if sign else None, beyond, part(x, room, fraction), signed, room, fraction)


def part(x: Any, room: int, fraction: int) -> Any:
    """The bits of `x` from `room` down to `fraction`, without a sign. Two steps to a single bit: alkaid mistakes one of
    a scaled number for its top bit where their places agree before the scaling."""
    if x.low < x.high and room + fraction == 1:
        x = x.quantize(0, room + 1, fraction, "WRAP", "TRN")
    if x.low == x.high:  # alkaid wraps constants to twice the range of an unsigned type
        return constant(math.ldexp(math.floor(math.ldexp(x.low, fraction)) % (1 << room + fraction), -fraction))
    return x.quantize(0, room, fraction, "WRAP", "TRN")


def saturated(negative: Any, beyond: Any, kept: Any, signed: bool, room: int, fraction: int) -> Any:
    """`kept` has the bits that fit; `beyond` those above them, the sign `negative` the first."""
    if beyond is not None:
        full = beyond.unary_bit_op("any")
        full = full if negative is None or not signed else full & ~negative
        kept = part(kept | everywhere(full, fraction), room, fraction)
    if negative is None:
        return kept
    if not signed:
        return kept & everywhere(~negative, fraction)
    if beyond is not None:
        kept = kept & everywhere(~(negative & ~beyond.unary_bit_op("all")), fraction)
    return kept | -negative * 2.0**room


def everywhere(bit: Any, fraction: int) -> Any:
    """A bit in all places down to `fraction`: minus one LSB, or nothing."""
    return -bit * 2.0**-fraction


def quantized_constant(kind: FixedType, value: float, low: int, high: int, fraction: int) -> float:
    half = 0.5 if kind.rounding == "half_up" else 0.0
    integer = math.floor(math.ldexp(value, fraction) + half)
    integer = min(max(integer, low), high) if kind.overflow == "saturate" else (integer - low) % (high - low + 1) + low
    return math.ldexp(integer, -fraction)


def constant(value: float) -> Any:
    return library().trace.FVariable.from_const(float(value), hwconf=ADDER)


@symbols.register
def _(op: ops.Dense, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    for what, integers, fraction, most in (
        ("weight", op.weight, op.weight_fraction, CONSTANT_BITS),
        ("bias", op.bias, op.bias_fraction, BIAS_BITS),
    ):
        odd, _ = lowest_terms(np.abs(integers), fraction)
        if np.any(odd >> most):
            raise GraphError(f"a {what} of '{out.name}' has more than {most} bits; the RTL back end takes no more")
    weight, bias = op.weight * power(-op.weight_fraction), op.bias * power(-op.bias_fraction)
    tokens = np.asarray(values[0]).reshape(-1, len(weight))
    return np.array([product(token, weight, bias) for token in tokens], dtype=object)


def product(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """`x @ weight + bias`; alkaid fails where an input is a constant and nothing else is left."""
    varies = np.array([value.low < value.high for value in x])
    fixed = np.array([value.low for value in x[~varies]]) @ weight[~varies] + bias
    if not np.any(weight[varies]):
        return np.array([constant(value) for value in fixed], dtype=object)
    return np.asarray(library().trace.FVArray(x[varies], hwconf=ADDER) @ weight[varies] + fixed)


@symbols.register
def _(op: ops.Relu, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    return values[0].relu()


@symbols.register
def _(op: ops.Add, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    return values[0] + values[1]


@symbols.register
def _(op: ops.Sub, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    return values[0] - values[1]


@symbols.register
def _(op: ops.Mul, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    return values[0] * values[1]


@symbols.register
def _(op: ops.Sum, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    return np.sum(values[0], axis=op.axis)


@symbols.register
def _(op: ops.Max, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    rows = np.moveaxis(np.asarray(values[0]), op.axis, -1).reshape(-1, wires[0].shape[op.axis])
    return np.array([tournament([(value,) for value in row])[0] for row in rows], dtype=object)


@symbols.register
def _(op: ops.Argmax, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    rows = np.asarray(values[0]).reshape(-1, wires[0].shape[-1])
    players = [[(value, constant(i)) for i, value in enumerate(row)] for row in rows]
    return np.array([tournament(each)[1] for each in players], dtype=object)


def tournament(players: list[tuple]) -> tuple:
    """The player with the largest first entry; neighbours meet, so that the first of equals wins as in the graph."""
    while len(players) > 1:
        matches = [winner(a, b) for a, b in zip(players[::2], players[1::2])]
        players = matches + players[2 * len(matches) :]
    return players[0]


def winner(a: tuple, b: tuple) -> tuple:
    """alkaid's own comparison takes the top bit for a sign even where the difference cannot be negative."""
    difference = a[0] - b[0]
    if difference.low >= 0 or difference.high < 0:
        return a if difference.low >= 0 else b
    return tuple(difference.msb_mux(y, x) for x, y in zip(a, b))


@symbols.register
def _(op: ops.Reshape, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    return values[0]


@symbols.register
def _(op: ops.Concat, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    return np.concatenate([np.asarray(value) for value in values], axis=op.axis)


@symbols.register
def _(op: ops.Slice, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    return op.take(np.asarray(values[0]))


@symbols.register
def _(op: ops.Take, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    return np.asarray(values[0]).reshape(-1)[op.index]


@symbols.register
def _(op: ops.Compare, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    thresholds = op.threshold * power(-wires[0].fraction)
    pairs = zip(np.asarray(values[0]).reshape(-1), np.broadcast_to(thresholds, out.shape).reshape(-1))
    return np.array([winner((x, constant(1)), (constant(t), constant(0)))[1] for x, t in pairs], dtype=object)


@symbols.register
def _(op: ops.Select, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    choices, a, b = (np.asarray(value).reshape(-1) for value in values)
    return np.array([chosen(*each) for each in zip(choices, a, b)], dtype=object)


def chosen(choice: Any, a: Any, b: Any) -> Any:
    if choice.low == choice.high:
        return a if choice.low else b
    return choice.msb_mux(a, b)


@symbols.register
def _(op: ops.Table, out: Wire, wires: list[Wire], values: list[Any]) -> Any:
    (x,) = wires
    entries = np.clip(op.entries, out.low[..., None], out.high[..., None]) * power(-out.fraction)[..., None]
    first = np.broadcast_to(op.first, x.shape).reshape(-1)
    rows = zip(np.asarray(values[0]).reshape(-1), entries.reshape(x.size, -1), first, x.fraction.reshape(-1))
    return np.array([looked_up(*row) for row in rows], dtype=object)


def looked_up(x: Any, entries: np.ndarray, first: np.integer, fraction: np.integer) -> Any:
    """alkaid's tables start at the lowest value that it knows the input to have."""
    steps = 1 if x.low == x.high else round((x.high - x.low) / x.step) + 1
    integers = np.floor((float(x.low) + np.arange(steps) * float(x.step)) * 2.0 ** int(fraction)).astype(np.int64)
    found = entries[np.clip(integers - first, 0, len(entries) - 1)]
    return constant(found[0]) if (found == found[0]).all() else x.lookup(found)


def power(exponent: np.ndarray | np.integer) -> np.ndarray:
    return np.asarray(2.0 ** np.asarray(exponent, dtype=np.float64))
