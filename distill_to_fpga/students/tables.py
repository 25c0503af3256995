"""Layers of look-up tables: a learnt function of one variable for each connection, enumerated for the hardware.

An input of at most six bits is the address of a LUT, so any function of it costs one LUT for each bit of its result,
however crooked it is; a product with a constant costs more and is straight. What all functions of one output say is
added up (Kolmogorov-Arnold networks on FPGAs: KANELÉ, arXiv:2512.12850; HGQ-LUT).

Axes: B examples, I inputs and O outputs of a layer, K knots, D entries of a table.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from distill_to_fpga.graph import GraphBuilder, Wire
from distill_to_fpga.quantize import (
    ActivationQuantizer,
    Mode,
    Width,
    bit_width,
    power_of_two,
    quantize,
    whole_fraction,
)
from distill_to_fpga.students.builder import Builder
from distill_to_fpga.students.layers import ADDER_OVERHEAD, Flatten, InputScale
from distill_to_fpga.students.settings import TablesConfig

KNOT_FRACTION, KNOT_LIMIT = 10, 32.0  # of a function's values: 16 bits, so that float32 interpolates them exactly


class AddressQuantizer(ActivationQuantizer):
    """A quantiser whose values stay within [-2^span, 2^span) and take no more than `most` bits, the sign included."""

    def __init__(self, width: int, fraction: Any, most: int, span: int):
        super().__init__((width,), fraction)
        self.span, self.finest = span, most - 1 - span

    def __call__(self, x: Float[Array, "B I"], mode: Mode) -> Float[Array, "B I"]:
        limit = 2.0**self.span
        if mode in ("train", "calibrate"):
            fraction = self.fraction[...]
            fraction = fraction + stop_gradient(jnp.minimum(fraction, self.finest) - fraction)
            self.fraction[...] = fraction
            lsb = power_of_two(-stop_gradient(jnp.floor(fraction + 0.5)).astype(jnp.int32))
            x = jnp.clip(x, -limit, jnp.maximum(limit - lsb, 0.0))
        return super().__call__(jnp.clip(x, -limit, limit), mode)


class EdgeTables(nnx.Module):
    """y_o = sum over i of f_io(x_i), every f_io linear between knots and rounded to binary places of its own.

    Attributes:
        values: of the functions at the knots, which lie evenly from -2^span to 2^span.
        fraction: learnt fractional bits of each function's result; one left without bits is pruned.
    """

    def __init__(self, inputs: int, outputs: int, shape: TablesConfig, fraction: float, random: np.random.Generator):
        self.span = shape.span
        knots = np.linspace(-1.0, 1.0, shape.pieces + 1)
        slope, bend = random.normal(0.0, 1 / math.sqrt(inputs), (2, inputs, outputs, 1))
        values = 2.0**shape.span * (slope * knots + bend * (np.abs(knots) - 0.5))
        self.values = nnx.Param(jnp.asarray(values, jnp.float32))
        self.fraction = Width(jnp.full((inputs, outputs), fraction, jnp.float32))

    def __call__(self, x: Float[Array, "B I"], mode: Mode) -> Float[Array, "B O"]:
        return self.edges(x, mode).sum(axis=1)

    def edges(self, x: Float[Array, "B I"], mode: Mode) -> Float[Array, "B I O"]:
        """What every function says."""
        values = self.values[...]
        pieces = values.shape[-1] - 1
        if mode != "float":
            values = self.rounded_values()
        knots = (jnp.arange(pieces + 1) * (2 / pieces) - 1) * 2.0**self.span
        nearness = jnp.maximum(1 - jnp.abs(x[..., None] - knots.astype(x.dtype)) * (pieces / 2.0 ** (self.span + 1)), 0)
        # The default precision of a GPU or TPU would round the products.
        said = jnp.einsum("bik,iok->bio", nearness, values, precision=jax.lax.Precision.HIGHEST)
        return said if mode == "float" else quantize(said, self.fraction[...])

    def rounded_values(self) -> Float[Array, "I O K"]:
        """The values at the knots on their grid; straight-through."""
        values = self.values[...]
        clipped = values + stop_gradient(jnp.clip(values, -KNOT_LIMIT, KNOT_LIMIT) - values)
        return quantize(clipped, stop_gradient(jnp.full((1, 1, 1), float(KNOT_FRACTION), values.dtype)))

    @property
    def weight_width(self) -> nnx.Variable:
        """What each function learns beside its values."""
        return self.fraction

    def widths(self) -> Float[Array, "I O"]:
        """Bits of every function's result, the sign not counted."""
        fraction = self.fraction[...]
        results = quantize(stop_gradient(self.rounded_values()), stop_gradient(fraction[..., None]))
        return bit_width(results.min(-1), results.max(-1), fraction)

    def ebops(self, input_width: Float[Array, " I"]) -> Float[Array, ""]:
        """Bits in times bits out of every function, as if it were a product."""
        return (input_width[:, None] * self.widths()).sum()

    def luts(self, input_width: Float[Array, " I"]) -> Float[Array, ""]:
        """About one LUT for each bit of a result, and one for adding it."""
        alive = stop_gradient(input_width > 0)[:, None]
        bits = self.widths()
        return ((2 * bits + ADDER_OVERHEAD * stop_gradient(bits > 0)) * alive).sum()

    def freeze(self) -> None:
        """Values on their grid, whole fractions."""
        self.values[...] = self.rounded_values()
        self.fraction[...] = jnp.asarray(whole_fraction(self.fraction[...]))

    def lower(self, g: GraphBuilder, x: Wire) -> Wire:
        """One table for each connection, over all integers that its input takes; then the sum over inputs."""
        outputs, depth = self.fraction.shape[1], int((x.high - x.low).max()) + 1
        integers = np.minimum(x.low + np.arange(depth)[:, None], x.high)
        with jax.enable_x64(True):
            said = np.asarray(self.edges(jnp.asarray(integers * 2.0**-x.fraction), "fixed"), np.float64)
        fraction = np.asarray(self.fraction[...]).astype(np.int64)
        entries = np.ldexp(said, fraction.astype(np.int32)).astype(np.int64)
        wide = g.take(x, np.broadcast_to(np.arange(x.size)[:, None], (x.size, outputs)))
        first = np.broadcast_to(x.low[:, None], (x.size, outputs))
        return g.sum(g.table(wide, np.moveaxis(entries, 0, -1), first, fraction), axis=0)


def lut(builder: Builder, scale: InputScale, outputs: int) -> list[Any]:
    """All tokens' features side by side, then layers of tables; no other function lies between them."""
    config, shape = builder.config, builder.config.tables
    fractions = builder.place_fraction(scale).reshape(-1)
    layers: list[Any] = [scale, Flatten()]
    width: Any = len(fractions)
    for units in (*shape.hidden, outputs):
        layers += [AddressQuantizer(width, fractions, shape.bits, shape.span)]
        layers += [EdgeTables(width, units, shape, config.weight_fraction, builder.random)]
        width, fractions = units, np.full(units, config.activation_fraction)
    return layers + builder.score()
