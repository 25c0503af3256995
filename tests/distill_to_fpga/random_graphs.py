"""Random small fixed-point graphs, and a slow reference evaluator that shares no arithmetic with the interpreter."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, GraphError, ops


def random_graph(seed: int, most_nodes: int = 8, choices: bool = False) -> FixedPointGraph:
    """All operations over two small inputs, with types that vary from element to element.

    Half of the nodes are wiring, comparisons, selections and tables with `choices`, none of them without.
    """
    rng = np.random.default_rng(seed)
    g = GraphBuilder("fuzz", version=int(rng.integers(1, 4)))
    shape = tuple(int(n) for n in rng.integers(1, 5, rng.integers(1, 3)))
    wires = [g.input(f"x{i}", shape, rng.integers(0, 2, shape[-1]), rng.integers(0, 9, shape[-1])) for i in range(2)]
    for _ in range(rng.integers(1, most_nodes, endpoint=True)):
        try:
            wires.append(random_node(g, rng, wires, choices))
        except GraphError as error:
            if "62 is the limit" not in str(error):  # nothing else may refuse a well-formed operation
                raise
    used = {name for node in g.nodes for name in node.inputs}
    for number, wire in enumerate(w for w in g.wires.values() if w.name not in used):
        g.output(wire, f"out{number}")
    return g.build()


def random_node(g: GraphBuilder, rng: np.random.Generator, wires: list, choices: bool):
    x = wires[rng.integers(len(wires))]
    pairs = [w for w in wires if w.shape == x.shape]
    y = pairs[rng.integers(len(pairs))]
    axis = int(rng.integers(-len(x.shape), len(x.shape))) if x.shape else None
    channels = x.shape[-1:]
    kind = rng.choice(["scale", "shift", "quantize", "quantize", "relu", "add", "sub", "mul", "flatten", "concat"])
    if axis is not None:
        kind = rng.choice([kind, kind, "dense", "sum", "max", "argmax", "slice"])
    if choices and rng.random() < 0.5:
        return random_choice(g, rng, x, y)
    if kind == "scale":
        return g.scale(x, rng.integers(-20, 20, channels), rng.integers(-4, 4, channels))
    if kind == "shift":
        return g.shift(x, rng.integers(-5, 5, x.shape))
    if kind == "quantize":
        per = x.shape if rng.random() < 0.5 else ()
        bits, fraction = rng.integers(0, 9, per), rng.integers(-4, 9, per)
        modes = rng.choice(["truncate", "half_up"]), rng.choice(["saturate", "wrap"])
        return g.quantize(x, rng.integers(0, 2, per), bits, fraction, *(str(mode) for mode in modes))
    if kind == "dense":
        outputs = int(rng.integers(1, 4))
        weight = rng.integers(-9, 10, (*channels, outputs)) * (rng.random((*channels, outputs)) < 0.7)
        fraction = rng.integers(-2, 5, weight.shape)
        return g.dense(x, weight, fraction, rng.integers(-9, 9, outputs), rng.integers(-3, 6, outputs))
    if kind in ("sum", "max"):
        return getattr(g, kind)(x, axis)
    if kind == "slice":
        start = int(rng.integers(0, x.shape[axis]))
        return g.slice(x, start, x.shape[axis], int(rng.integers(1, 3)), axis)
    if kind == "concat":
        return g.concat([g.flatten(x), g.flatten(y)])
    return getattr(g, kind)(x, y) if kind in ("add", "sub", "mul") else getattr(g, kind)(x)


def random_choice(g: GraphBuilder, rng: np.random.Generator, x, y):
    kind = rng.choice(["take", "compare", "select", "table"])
    if kind == "take":
        return g.take(x, rng.integers(0, x.size, rng.integers(1, 4, rng.integers(1, 3))))
    if kind == "compare":
        return g.compare(x, rng.integers(x.low, x.high, x.shape, endpoint=True) + 1)
    if kind == "select":
        return g.select(g.compare(x, rng.integers(-3, 4, x.shape)), x, y)
    short = g.quantize(x, rng.integers(0, 2, x.shape), rng.integers(0, 4, x.shape), rng.integers(-2, 4, x.shape))
    return g.table(short, rng.integers(-9, 10, (*x.shape, 20)), -9, rng.integers(-3, 4, x.shape))


def random_inputs(graph: FixedPointGraph, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Uniform over each element's declared range, the extremes always among them."""
    inputs = {}
    for name in graph.inputs:
        wire = graph.wires[name]
        values = rng.integers(wire.low, wire.high, (count, *wire.shape), endpoint=True)
        values[0], values[1] = wire.low, wire.high
        inputs[name] = values
    return inputs


def reference(graph: FixedPointGraph, inputs: dict[str, np.ndarray], example: int) -> dict[str, np.ndarray]:
    """Every wire of one example as exact rational numbers, straight from the definition of each operation."""
    values: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        if isinstance(node.op, ops.Input):
            values[node.name] = rationals(inputs[node.name][example])
        else:
            lsb = power(-graph.wires[node.inputs[0]].fraction)
            result = evaluate(node.op, lsb, *(values[name] for name in node.inputs))
            values[node.name] = np.asarray(result, dtype=object)  # numpy turns an array of no axes into its element
    return values


def rationals(integers: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda n: Fraction(int(n)), otypes=[object])(integers)


def power(exponent: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda n: Fraction(2) ** int(n), otypes=[object])(exponent)


def evaluate(op: ops.Op, lsb: np.ndarray, *values: np.ndarray) -> np.ndarray:
    x = values[0]
    match op:
        case ops.Scale():
            return np.asarray((x - op.offset * lsb) * power(op.shift))
        case ops.Shift():
            return np.asarray(x * power(op.shift))
        case ops.Quantize():
            kind = op.type
            fields = np.broadcast_arrays(x, kind.signed, kind.bits, kind.fraction)
            rule = lambda v, s, b, f: quantize(v, bool(s), int(b), int(f), kind.rounding, kind.overflow)  # noqa: E731
            return np.vectorize(rule, otypes=[object])(*fields)
        case ops.Dense():
            weight = rationals(op.weight) * power(-op.weight_fraction)
            return x @ weight + rationals(op.bias) * power(-op.bias_fraction)
        case ops.Relu():
            return np.asarray(np.maximum(x, Fraction(0)))
        case ops.Add():
            return x + values[1]
        case ops.Sub():
            return x - values[1]
        case ops.Mul():
            return x * values[1]
        case ops.Sum():
            return np.asarray(x.sum(op.axis), dtype=object)
        case ops.Max():
            return np.asarray(x.max(op.axis), dtype=object)
        case ops.Argmax():
            return rationals(np.apply_along_axis(lambda row: list(row).index(max(row)), -1, x))
        case ops.Reshape():
            return x.reshape(op.shape)
        case ops.Concat():
            return np.concatenate(values, op.axis)
        case ops.Slice():
            return np.moveaxis(np.moveaxis(x, op.axis, 0)[op.start : op.stop : op.step], 0, op.axis)
        case ops.Take():
            return x.reshape(-1)[op.index]
        case ops.Compare():
            return rationals(np.asarray(x >= op.threshold * lsb).astype(int))
        case ops.Select():
            return np.where(np.asarray(x == 1, bool), values[1], values[2])
        case ops.Table():
            at = np.vectorize(int, otypes=[int])(x / lsb) - op.first
            return rationals(np.take_along_axis(op.entries, at[..., None], -1)[..., 0]) * power(-op.fraction)
    raise AssertionError(op)


def quantize(value: Fraction, signed: bool, bits: int, fraction: int, rounding: str, overflow: str) -> Fraction:
    """ap_fixed's conversion by its definition: AP_TRN or AP_RND, then AP_SAT or AP_WRAP."""
    if bits == 0:
        return Fraction(0)
    scaled = value * Fraction(2) ** fraction
    integer = math.floor(scaled + Fraction(1, 2)) if rounding == "half_up" else math.floor(scaled)
    low = -(2 ** (bits - 1)) if signed else 0
    high = low + 2**bits - 1
    if overflow == "saturate":
        integer = min(max(integer, low), high)
    else:
        integer = (integer - low) % 2**bits + low
    return Fraction(integer) / Fraction(2) ** fraction
