"""Energy of one inference by the 45 nm table that QTools uses, so that students of different work can be compared.

QTools (QKeras, arXiv:2006.10159) takes polynomials through the figures of M. Horowitz, "Computing's energy problem",
ISSCC 2014, pages 10 to 14: an integer addition of 32 bits takes 0.1 pJ, a multiplication of 8 bits 0.2 pJ, of 32 bits
3.1 pJ. These are figures of an ASIC in an old process, without routing: they order designs, and say no more.
"""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from distill_to_fpga.graph import FixedPointGraph, Wire, ops
from distill_to_fpga.graph.types import magnitude_bits, objects

ADD = (0.003125, 0.0)  # pJ of a b-bit addition: 0.003125 b
MULTIPLY = (0.002994791667, 0.001041666667, 0.0)  # pJ of a b-bit multiplication: 0.00299 b^2 + 0.00104 b
METHOD = "45 nm table of Horowitz (ISSCC 2014) as QTools applies it; no memory, no routing"


def energy_pj(graph: FixedPointGraph) -> float:
    """Energy of one inference in pJ.

    As QTools counts: every product by a constant that is not zero takes a multiplication as wide as the wider operand,
    and one addition as wide as its accumulator. A product by a power of two is wiring and takes the addition alone.
    Nothing is read from a memory: weights are part of the circuit.
    """
    wires = graph.wires
    return sum(energy(node.op, wires[node.name], *graph.input_wires(node)) for node in graph.nodes)


@singledispatch
def energy(op: ops.Op, out: Wire, *inputs: Wire) -> float:
    """pJ of an operation; comparisons, look-ups and mere rewiring are not in the table and count nothing."""
    return 0.0


@energy.register
def _(op: ops.Dense, out: Wire, *inputs: Wire) -> float:
    (x,) = inputs
    weights = np.abs(np.asarray(op.weight, np.int64))
    width = np.asarray(magnitude_bits(0, objects(weights)), np.int64) + 1  # with the sign
    tokens = x.bits.reshape(-1, x.shape[-1])
    accumulator = np.broadcast_to(out.bits, out.shape).reshape(len(tokens), -1)
    product = (weights != 0) & (tokens > 0)[..., None]
    wide = np.maximum(tokens[..., None], width)
    times = np.where(product & (weights & (weights - 1) != 0), np.polyval(MULTIPLY, wide), 0.0)
    plus = np.where(product, np.polyval(ADD, accumulator)[:, None, :], 0.0)
    return float(times.sum() + plus.sum())


@energy.register
def _(op: ops.Mul, out: Wire, *inputs: Wire) -> float:
    return float(np.polyval(MULTIPLY, np.maximum(*(each.bits for each in inputs))).sum())


@energy.register(ops.Add)
@energy.register(ops.Sub)
def _(op: ops.Op, out: Wire, *inputs: Wire) -> float:
    return float(np.polyval(ADD, out.bits).sum())


@energy.register
def _(op: ops.Sum, out: Wire, *inputs: Wire) -> float:
    return float(np.polyval(ADD, out.bits).sum() * (inputs[0].size // out.size - 1))
