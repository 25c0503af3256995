"""What the layers of an encoder will cost once quantised, for which there is no graph yet.

Every number is the calibrated estimator's (`distill_to_fpga.estimate`) on circuits of the stated widths: a constant
matrix costs so many LUTs for each of its weights as small random ones do, sums are trees of adders, exp, 1/x, 1/sqrt
and GELU are tables. Products of two variables are counted apart: a chip has DSPs for them.

Axes: T tokens, D width, H heads, K width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from distill_to_fpga.adders import adder_graph
from distill_to_fpga.estimate import (
    ADDER_NS,
    CARRY_NS,
    LOGIC_NS,
    PRODUCT_LUTS,
    Estimate,
    LayerEstimate,
    depth_of_tree,
    tree,
)
from distill_to_fpga.partition.config import NumbersConfig
from distill_to_fpga.partition.network import Resources

SIDE = 32  # of the random matrix; one of 128 x 128 costs 7% less for each weight
PRODUCT_CLOCKS = 3  # registers of a DSP
RECIPROCAL_BITS = 10  # that 1/x and 1/sqrt(x) are looked up by
PAIR_SQUARES, PAIR_SUMS, PAIR_TABLES = 2, 6, 4  # of ln deltaR, ln kT, ln z, ln m^2 from eta, phi and ln pt

Logic = tuple[Resources, int]  # one token in each clock, and clocks from its entering to its leaving


@lru_cache(maxsize=32)
def dense_sample(weight_bits: int, activation_bits: int, zeros: float) -> tuple[float, int]:
    """LUTs per weight, zeros counted as weights, and adders in series, of a random constant matrix.

    Weights are zero with probability `zeros`, else uniform among the other integers of their width.
    """
    top, rng = 2 ** (weight_bits - 1), np.random.default_rng(0)
    ends = (-(2 ** (activation_bits - 1)), 2 ** (activation_bits - 1) - 1)
    magnitude, sign = rng.integers(1, top, (SIDE, SIDE)), rng.choice([-1, 1], (SIDE, SIDE))
    kept = rng.random((SIDE, SIDE)) >= zeros
    found = adder_graph((magnitude * sign * kept).astype(object), [ends] * SIDE)
    return found.luts / SIDE**2, found.depth


def stages(delays_ns: Sequence[float], clock_ns: float) -> int:
    """Clocks that a pipeline takes for delays in series, cut as `Estimate` cuts them."""
    alone = LayerEstimate("", "", 0, 0, 0, 0, 0, 0, 0, tuple(delays_ns))
    return Estimate((alone,), clock_ns).latency_cycles - 1


@dataclass(frozen=True)
class Costs:
    """Costs of layers at the widths of `numbers` and a clock."""

    numbers: NumbersConfig
    clock_ns: float

    @property
    def bits(self) -> int:
        return self.numbers.activation_bits

    @property
    def luts_per_weight(self) -> float:
        return dense_sample(self.numbers.weight_bits, self.bits, self.numbers.zeros)[0]

    @property
    def method(self) -> str:
        """For reports."""
        n = self.numbers
        return (
            f"estimate: {self.luts_per_weight:.2f} LUTs per weight, those of a random {SIDE} x {SIDE} matrix of "
            f"{n.weight_bits}-bit weights, {n.zeros:.0%} of them zero, on {self.bits}-bit activations in the "
            "adder-graph estimator (docs/estimates.md); sums as adder trees, functions as tables; products of two "
            f"activations in DSPs, then at {PRODUCT_LUTS * self.bits**2:.0f} LUTs each"
        )

    def dense(
        self, inputs: int, outputs: int, *, table: bool = False, relu: bool = False, residual: bool = False
    ) -> Logic:
        """A constant matrix, saturation of its outputs, and what follows: a table, a ReLU, a residual sum."""
        _, sampled = dense_sample(self.numbers.weight_bits, self.bits, self.numbers.zeros)
        depth = sampled + depth_of_tree(inputs) - depth_of_tree(SIDE)
        delays = [self._adder(self.bits + self.numbers.weight_bits)] * (max(depth, 1) + residual)
        delays += [LOGIC_NS] * (1 + table + relu)
        each = self.bits * (1 + relu + residual) + table * self.table(self.bits)
        luts = self.luts_per_weight * inputs * outputs + each * outputs
        return Resources.logic(luts), stages(delays, self.clock_ns)

    def norm(self, width: int) -> Logic:
        """Layer normalisation: sums of the values and their squares, 1/sqrt by table, a product for each channel. Scale
        and offset are part of the next layer's constants."""
        squares = width * min(2 * self.bits << max(self.bits - 6, 0), round(PRODUCT_LUTS * self.bits**2))
        sums = self._sum(width, self.bits).luts + self._sum(width, 2 * self.bits).luts
        luts = squares + sums + self.table(RECIPROCAL_BITS) + 2 * width * self.bits
        delays = [LOGIC_NS, *[self._adder(2 * self.bits)] * (depth_of_tree(width) + 2), LOGIC_NS]
        return Resources.logic(luts, products=width), stages(delays, self.clock_ns) + PRODUCT_CLOCKS

    def attention(self, tokens: int, width: int, heads: int) -> Logic:
        """One query against the keys and values of all tokens in every clock: T D products for the logits, exp by
        table (saturating: no maximum is subtracted), T D products with the values, normalised at the end."""
        logits = tokens * heads
        luts = logits * (self._sum(width // heads, 2 * self.bits).luts + self.bits + self.table(self.bits))
        luts += heads * (self._sum(tokens, self.bits).luts + self.table(RECIPROCAL_BITS))
        luts += width * (self._sum(tokens, 2 * self.bits).luts + self.bits)
        adders = depth_of_tree(width // heads) + depth_of_tree(tokens) + 1
        clocks = stages([self._adder(2 * self.bits + 8)] * adders + [LOGIC_NS] * 4, self.clock_ns)
        return Resources.logic(luts, products=2 * tokens * width + width), clocks + 3 * PRODUCT_CLOCKS

    def pool(self, width: int) -> Resources:
        """Adding one token to a sum in every clock."""
        return Resources.logic(2 * self.bits * width)

    def table(self, address_bits: int) -> int:
        """LUTs of a function of so many bits to `bits` bits, as `estimate` counts them."""
        return self.bits << max(address_bits - 6, 0)

    def pairs(self, tokens: int, hidden: int, heads: int) -> tuple[Resources, Resources]:
        """The bias of the logits from pair features, of one query with all tokens in every clock: what all heads share,
        and their own."""
        features = (
            PAIR_SQUARES * 2 * self.table(self.bits) + PAIR_SUMS * self.bits + PAIR_TABLES * self.table(self.bits)
        )
        common = features + hidden * (self.luts_per_weight * PAIR_TABLES + self.bits + self.table(self.bits))
        own = heads * (self.luts_per_weight * hidden + 2 * self.bits)
        return Resources.logic(tokens * common), Resources.logic(tokens * own)

    def _sum(self, operands: int, bits: int):
        return tree([((-(1 << (bits - 1)), (1 << (bits - 1)) - 1), 0)] * operands)

    def _adder(self, bits: int) -> float:
        return ADDER_NS + CARRY_NS * (bits - 1)
