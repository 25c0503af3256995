"""What a graph will cost in an FPGA, before any synthesis: EBOPs, an adder count, LUTs, latency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from distill_to_fpga.adders import AdderGraph, Interval, adder_graph, combine
from distill_to_fpga.devices import crossings, shares
from distill_to_fpga.graph import FixedPointGraph, Wire, ops
from distill_to_fpga.graph.exact import finest_along, lowest_terms, rounded
from distill_to_fpga.graph.types import BoolArray, IntArray, magnitude_bits, objects

METHOD = (
    "estimate from the adder graph (canonical signed digits, shared two-term subexpressions; one LUT per adder cell), "
    "calibrated against Yosys"
)
ADDER_NS, CARRY_NS, LOGIC_NS = 1.09, 0.0254, 0.5  # an adder, each place of its carry, a LUT; with routing: alkaid's
PRODUCT_LUTS = 1.42  # for each pair of bits: 115 LUTs of a 9 x 9 product in AMD DS255; Yosys builds twice as many
MARGIN = 0.1  # of the clock period: its uncertainty
NOTHING = AdderGraph(0, 0, 0)


@dataclass(frozen=True)
class LayerEstimate:
    """Cost of one operation; all tokens together.

    Attributes:
        weights, nonzero_weights: constants of a dense layer, each counted once however many tokens share it.
        weight_bits: sum over the weights of the bits from the first to the last that is not zero, without the sign.
        ebops: effective bit operations.
        adders, luts, depth: see `AdderGraph`.
        delays_ns: of what is in series on its longest path.
    """

    name: str
    op: str
    weights: int
    nonzero_weights: int
    weight_bits: int
    ebops: int
    adders: int
    luts: int
    depth: int
    delays_ns: tuple[float, ...]


@dataclass(frozen=True)
class Estimate:
    """Cost of a graph: the sum over its layers, and the latency at a clock."""

    layers: tuple[LayerEstimate, ...]
    clock_ns: float
    method: str = METHOD

    def total(self, field: str) -> int:
        return sum(getattr(layer, field) for layer in self.layers)

    @property
    def latency_cycles(self) -> int:
        """Registers in series from input to output of a pipeline: the longest path of each layer after that of the one
        before, cut wherever the next element does not fit the period; registers at inputs and outputs."""
        stages, used = 1, 0.0
        for delay in (delay for layer in self.layers for delay in layer.delays_ns):
            if used and used + delay > self.clock_ns * (1 - MARGIN):
                stages, used = stages + 1, 0.0
            used += delay
        return stages + 1

    def summary(self) -> dict[str, Any]:
        """Plain numbers for reports."""
        fields = ("weights", "nonzero_weights", "weight_bits", "ebops", "adders", "luts")
        totals: dict[str, Any] = {f: self.total(f) for f in fields}
        latency = {"latency_cycles": self.latency_cycles, "latency_ns": self.latency_cycles * self.clock_ns}
        return {**totals, **latency, "clock_ns": self.clock_ns, "method": self.method}

    def network(self) -> str:
        """Its size, for people."""
        weights, left, ebops = (self.total(name) for name in ("weights", "nonzero_weights", "ebops"))
        return f"{left:,} of {weights:,} weights not zero, {ebops:,} EBOPs"

    def line(self) -> str:
        """LUTs and latency, for people."""
        latency = self.latency_cycles * self.clock_ns
        return f"{self.network()}; {self.total('luts'):,} LUTs, {latency:g} ns ({self.method})"

    def to_dict(self) -> dict[str, Any]:
        summary = self.summary()
        budget = {"devices": shares(summary["luts"]), "latency_crossings": crossings(summary["latency_ns"])}
        return {**summary, **budget, "layers": [asdict(layer) for layer in self.layers]}


def estimate(graph: FixedPointGraph, clock_ns: float = 5.0) -> Estimate:
    """Estimated cost of a graph at a clock period."""
    layers = []
    for node in graph.nodes:
        inputs = graph.input_wires(node)
        weights = enclosed_bits(node.op.weight) if isinstance(node.op, ops.Dense) else np.zeros(0, np.int64)
        adders = cost(node.op, graph.wires[node.name], *inputs)
        counts = (weights.size, int(np.count_nonzero(weights)), int(weights.sum()), ebops(node.op, *inputs))
        delays = series(node.op, graph.wires[node.name], adders.depth, *inputs)
        layers.append(LayerEstimate(node.name, node.op.kind, *counts, adders.adders, adders.luts, adders.depth, delays))
    return Estimate(tuple(layers), clock_ns)


def ebops(op: ops.Op, *inputs: Wire) -> int:
    """Effective bit operations (arXiv:2405.00645, eq. 5): over all multiplications, the product of the operands' bits.

    A constant counts the bits from its first to its last that is not zero, without sign; a variable its width, sign
    included. Additions count nothing.
    """
    if isinstance(op, ops.Dense):
        (x,) = inputs
        return int((x.bits.reshape(-1, x.shape[-1]) @ enclosed_bits(op.weight)).sum())
    if isinstance(op, ops.Mul):
        return int((inputs[0].bits * inputs[1].bits).sum())
    return 0


def enclosed_bits(integers: IntArray) -> IntArray:
    """Bits from the most to the least significant that is not zero, of the magnitudes: 4 for 0b0010110000 (22 * 8)."""
    odd, _ = lowest_terms(np.abs(integers), np.zeros((), np.int64))
    return np.asarray(magnitude_bits(0, objects(odd)), dtype=np.int64)


def series(op: ops.Op, out: Wire, depth: int, *inputs: Wire) -> tuple[float, ...]:
    """Delays on the longest path of an operation: its adders, and LUTs that choose or cut."""
    bits = max([int(wire.bits.max(initial=0)) for wire in (out, *inputs)])
    adder = ADDER_NS + CARRY_NS * max(bits - 1, 0)
    match op:
        case ops.Relu():
            return (LOGIC_NS,) if np.any(inputs[0].low < 0) else ()
        case ops.Quantize():
            return (adder,) * depth + (LOGIC_NS,) * bool(np.any(saturating(op, out, inputs[0])))
        case ops.Compare() | ops.Select() | ops.Table():
            return (LOGIC_NS,) * depth
        case ops.Max() | ops.Argmax():
            return (adder, LOGIC_NS) * depth
        case ops.Mul():  # rows of carries, one under the other
            rows = min(int(wire.bits.max(initial=0)) for wire in inputs)
            return (ADDER_NS + CARRY_NS * rows * max(bits - 1, 0),) if rows else ()
    return (adder,) * depth


@singledispatch
def cost(op: ops.Op, out: Wire, *inputs: Wire) -> AdderGraph:
    """Adders, LUTs and depth of an operation. Ports and mere rewiring cost nothing."""
    return NOTHING


@cost.register
def _(op: ops.Dense, out: Wire, *inputs: Wire) -> AdderGraph:
    (x,) = inputs
    align, matrix, bias, _ = op.aligned(x)
    ends = ((objects(end) << objects(align)).reshape(-1, x.shape[-1]).tolist() for end in (x.low, x.high))
    tokens = Counter(tuple(zip(low, high)) for low, high in zip(*ends))  # those with the same types cost the same
    made = {token: adder_graph(without_zeros(matrix, token), token, bias) for token in tokens}
    adders, luts = (sum(n * getattr(made[t], f) for t, n in tokens.items()) for f in ("adders", "luts"))
    return AdderGraph(adders, luts, max(each.depth for each in made.values()))


def without_zeros(matrix: np.ndarray, inputs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The matrix without the weights of inputs that are zero always."""
    return np.where(np.array([low < 0 or high > 0 for low, high in inputs])[:, None], matrix, 0)


@cost.register(ops.Add)
@cost.register(ops.Sub)
def _(op: ops.Op, out: Wire, *inputs: Wire) -> AdderGraph:
    widest = np.maximum(*(wire.bits - wire.fraction for wire in inputs)) + np.maximum(*(w.fraction for w in inputs))
    return AdderGraph(out.size, int(np.minimum(widest, out.bits).sum()), 1)


@cost.register
def _(op: ops.Scale, out: Wire, *inputs: Wire) -> AdderGraph:
    """Adders with a constant: carry chains without LUTs."""
    moved = np.broadcast_to(op.offset != 0, out.shape)
    return AdderGraph(int(moved.sum()), 0, int(moved.any()))


@cost.register
def _(op: ops.Mul, out: Wire, *inputs: Wire) -> AdderGraph:
    """An array multiplier. A narrow square is a table: of up to six bits one LUT for each bit of the result, twice as
    many for each bit more."""
    rows = np.minimum(inputs[0].bits, inputs[1].bits)
    cells = np.ceil(PRODUCT_LUTS * inputs[0].bits * inputs[1].bits).astype(np.int64)
    if inputs[0].name == inputs[1].name:
        cells = np.minimum(2 * rows << np.clip(rows - 6, 0, 16), cells)
    return AdderGraph(int(np.maximum(rows - 1, 0).sum()), int(cells.sum()), depth_of_tree(int(rows.max(initial=0))))


@cost.register
def _(op: ops.Sum, out: Wire, *inputs: Wire) -> AdderGraph:
    (x,) = inputs
    zeros = np.where(x.bits > 0, np.expand_dims(finest_along(op.axis, x), op.axis) - x.fraction, 0)
    operands = [np.moveaxis(each, op.axis, 0).reshape(x.shape[op.axis], -1).T for each in (x.low, x.high, zeros)]
    costs = [
        tree([((low, high), zero) for low, high, zero in zip(*each)]) for each in zip(*(o.tolist() for o in operands))
    ]
    return AdderGraph(sum(c.adders for c in costs), sum(c.luts for c in costs), max(c.depth for c in costs))


@cost.register(ops.Max)
@cost.register(ops.Argmax)
def _(op: ops.Max | ops.Argmax, out: Wire, *inputs: Wire) -> AdderGraph:
    """A tournament: each match compares (a carry chain) and selects, bit by bit; the last need not select the value
    where only the index is asked for."""
    (x,) = inputs
    axis = op.axis if isinstance(op, ops.Max) else -1
    matches, bits = x.size - out.size, int(x.bits.max())
    selected = matches * bits
    if isinstance(op, ops.Argmax):
        selected += matches * int(out.bits.max()) - out.size * bits
    return AdderGraph(matches, matches * bits + max(selected, 0), depth_of_tree(x.shape[axis]))


@cost.register
def _(op: ops.Relu, out: Wire, *inputs: Wire) -> AdderGraph:
    """Each bit and not the sign; nothing where the input is never negative."""
    return AdderGraph(0, int(np.where(inputs[0].low < 0, out.bits, 0).sum()), 0)


@cost.register
def _(op: ops.Compare, out: Wire, *inputs: Wire) -> AdderGraph:
    """A chain of LUTs, each of which takes five bits and what the one before it found; the zeros at the end of a
    threshold do not matter, and one bit is its own answer."""
    (x,) = inputs
    _, zeros = lowest_terms(np.broadcast_to(op.threshold, x.shape), np.zeros((), np.int64))
    undecided = (out.low < out.high) & (x.bits + zeros > 1)
    luts = np.where(undecided, np.ceil((x.bits + zeros - 1) / 5), 0)
    return AdderGraph(0, int(luts.sum()), int(luts.max(initial=0)))


@cost.register
def _(op: ops.Select, out: Wire, *inputs: Wire) -> AdderGraph:
    """One LUT per bit."""
    varies = np.where((inputs[0].low < inputs[0].high) & (out.low < out.high), out.bits, 0)
    return AdderGraph(0, int(varies.sum()), int(varies.any()))


@cost.register
def _(op: ops.Table, out: Wire, *inputs: Wire) -> AdderGraph:
    """One LUT per bit of up to six inputs, 2^(k - 6) of k > 6; what one bit chooses is wiring."""
    (x,) = inputs
    bits = np.where(out.low < out.high, out.bits, 0)
    luts = np.where(x.bits > 1, bits << np.maximum(x.bits - 6, 0), 0)
    return AdderGraph(0, int(luts.sum()), int(luts.any()))


@cost.register
def _(op: ops.Quantize, out: Wire, *inputs: Wire) -> AdderGraph:
    """Rounding adds a constant; saturation is one LUT per bit, of itself, the sign and up to four bits that fall off,
    whose test takes LUTs of its own where there are more."""
    (x,) = inputs
    drop = np.where(x.bits > 0, x.fraction - out.fraction, 0)
    rounding = (drop > 0) & (out.bits > 0) & (op.type.rounding == "half_up")
    beyond = np.maximum(x.bits - drop - out.bits, 0)
    luts = np.where(saturating(op, out, x), out.bits + np.ceil(np.maximum(beyond - 4, 0) / 5), 0)
    return AdderGraph(int(rounding.sum()), int(luts.sum()), int(rounding.any()))


def saturating(op: ops.Quantize, out: Wire, x: Wire) -> BoolArray:
    """Elements whose values before the overflow step may lie beyond the type."""
    drop = np.where(x.bits > 0, x.fraction - out.fraction, 0)
    low, high = (rounded(end, drop, op.type.rounding == "half_up") for end in (x.low, x.high))
    beyond = np.asarray((low < op.type.low) | (high > op.type.high), dtype=bool)
    return np.asarray(beyond & (out.bits > 0) & (op.type.overflow == "saturate"))


def tree(operands: list[tuple[Interval, int]]) -> AdderGraph:
    """A balanced tree of adders; an operand is an interval in units of its own LSB, and the zeros that it is shifted
    by."""
    adders = luts = depth = 0
    while len(operands) > 1:
        pairs = [(*combine(a, b, zb - za, 1), min(za, zb)) for (a, za), (b, zb) in zip(operands[::2], operands[1::2])]
        adders, luts, depth = adders + len(pairs), luts + sum(cells for _, cells, _ in pairs), depth + 1
        operands = [(interval, zeros) for interval, _, zeros in pairs] + operands[2 * len(pairs) :]
    return AdderGraph(adders, luts, depth)


def depth_of_tree(operands: int) -> int:
    return max(operands - 1, 0).bit_length()
