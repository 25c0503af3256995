"""Layers of look-up tables: a learnt function of one variable for each connection, enumerated for the hardware.

An input of at most six bits is the address of a LUT, so any function of it costs one LUT for each bit of its result,
however crooked it is; a product with a constant costs more and is straight. What all functions of one output say is
added up (Kolmogorov-Arnold networks on FPGAs: KANELÉ, arXiv:2512.12850). While it is trained each function is a small
perceptron of its own, as in HGQ-LUT: smooth, and defined wherever the addresses come to lie. Its table is what counts,
also in training: the examples look their values up.

Axes: B examples, I inputs and O outputs of a layer, H hidden units of a function, D entries of a table.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int

from distill_to_fpga.graph import GraphBuilder, Wire
from distill_to_fpga.quantize import (
    MAX_FRACTION,
    ActivationQuantizer,
    Extreme,
    Mode,
    Width,
    bit_width,
    integer_bits,
    on_grid,
    power_of_two,
    quantize,
    rounded_fraction,
    whole_fraction,
)
from distill_to_fpga.students.builder import Builder
from distill_to_fpga.students.layers import ADDER_OVERHEAD, Flatten, InputScale

TAILS = 4.0  # standard deviations from the mean; what lies beyond saturates, so that addresses are not spent on it
SLOPE, WEIGHT = 0.3, 1.0  # of a function before training: nearly straight
LUT_INPUTS = 6


class Entries(nnx.Variable):
    """The tables of a frozen layer."""


class AddressQuantizer(ActivationQuantizer):
    """A quantiser whose values take `most` bits at most, the sign included: as fine as its range then allows."""

    def __init__(self, width: int, fraction: Any, most: int):
        super().__init__((width,), fraction)
        self.most = most

    def __call__(self, x: Float[Array, "B I"], mode: Mode) -> Float[Array, "B I"]:
        if mode in ("float", "fixed"):
            return super().__call__(x, mode)
        mean, far = stop_gradient(x.mean(axis=0)), TAILS * stop_gradient(x.std(axis=0))
        self._record(jnp.clip(stop_gradient(x), mean - far, mean + far), mode)
        lowest, highest = self._ends(mode)
        # Not `clip`, whose gradient vanishes at the ends, too: what is always zero would remain so.
        within = jnp.where((x < lowest) | (x > highest), stop_gradient(jnp.clip(x, lowest, highest)), x)
        return quantize(within, self.possible_fraction())

    def _ends(self, mode: Mode) -> tuple[Float[Array, " I"], Float[Array, " I"]]:
        """Where values will saturate once the type is frozen."""
        whole = self._whole(mode)
        low, high = self._extremes(mode)
        limit = power_of_two(jnp.clip(integer_bits(low, high), -MAX_FRACTION, self.most - (low < 0) - whole))
        return jnp.where(low < 0, -limit, 0), jnp.maximum(limit - power_of_two(-whole), 0)

    def _extremes(self, mode: Mode) -> list[Float[Array, " I"]]:
        """On the grid."""
        return [quantize(end[...], self._whole(mode).astype(end.dtype)) for end in (self.low, self.high)]

    def possible_fraction(self) -> Float[Array, " I"]:
        """The learnt fractional bits, or as many as there is room for; straight-through."""
        fraction, low = self.fraction[...], self.low[...]
        finest = self.most - (low < 0) - jnp.maximum(integer_bits(low, self.high[...]), -MAX_FRACTION)
        return fraction + stop_gradient(jnp.minimum(fraction, finest) - fraction)

    def _whole(self, mode: Mode) -> Int[Array, " I"]:
        fraction = self.fraction[...] if mode == "fixed" else stop_gradient(rounded_fraction(self.possible_fraction()))
        return fraction.astype(jnp.int32)

    def addresses(self, x: Float[Array, "B I"], mode: Mode) -> Int[Array, "B I"]:
        """The entries that values on the grid point at: their integers modulo 2^most."""
        integers = (stop_gradient(x) * power_of_two(self._whole(mode))).astype(jnp.int32)
        return integers & (2**self.most - 1)

    def points(self, mode: Mode) -> Float[Array, "I D"]:
        """The value that each address stands for; of one that never occurs, the nearest that does."""
        low, high = (end[:, None] for end in self._extremes(mode))
        address = jnp.arange(2**self.most)
        integers = address - 2**self.most * ((low < 0) & (address >= 2 ** (self.most - 1)))
        return jnp.clip(integers * power_of_two(-self._whole(mode))[:, None], low, high)

    def width(self, mode: Mode) -> Float[Array, " I"]:
        if mode == "fixed":
            return super().width(mode)
        low, high = self.low[...], self.high[...]
        return jnp.minimum(bit_width(low, high, self.possible_fraction()), self.most - (low < 0))

    def freeze(self) -> None:
        self.fraction[...] = jnp.asarray(whole_fraction(self.possible_fraction()))
        super().freeze()
        self.bits[...] = jnp.minimum(self.bits[...], self.most)  # the upper end may round to one more


@jax.custom_vjp
def looked_up(
    tables: Float[Array, "I D O"], slopes: Float[Array, "I D O"], addresses: Int[Array, "B I"], x: Float[Array, "B I"]
) -> Float[Array, "B O"]:
    """The sum over the inputs of the entries that they point at; towards x its gradient has the slopes there."""
    return tables[jnp.arange(tables.shape[0]), addresses].sum(axis=1)


def _forward(tables: Any, slopes: Any, addresses: Any, x: Any) -> Any:
    return looked_up(tables, slopes, addresses, x), (slopes, addresses)


def _backward(kept: Any, gradient: Any) -> Any:
    """A product with the one-hot addresses, not a scattered sum: its order of summation, hence its result, is fixed."""
    slopes, addresses = kept
    inputs, depth, _ = slopes.shape
    pointed = (addresses[..., None] == jnp.arange(depth)).astype(gradient.dtype).reshape(len(addresses), -1)
    along = (slopes[jnp.arange(inputs), addresses] * gradient[:, None]).sum(axis=-1)
    return (pointed.T @ gradient).reshape(slopes.shape), jnp.zeros_like(slopes), None, along


looked_up.defvjp(_forward, _backward)


class EdgeTables(nnx.Module):
    """y_o = sum over i of f_io(x_i), every f_io a perceptron tabulated and rounded to binary places of its own.

    Attributes:
        address: the quantiser before it.
        slope, shift, weight, offset: of the functions, offset + sum over h of weight_h tanh(slope_h x + shift_h).
        fraction: learnt fractional bits of each function's result; one left without bits is pruned.
        low, high: of each function's entries.
        entries: once frozen, what is in the tables.
    """

    def __init__(
        self, address: AddressQuantizer, outputs: int, units: int, fraction: float, random: np.random.Generator
    ):
        self.address = address
        (inputs,) = address.fraction.shape
        slope, weight = random.uniform(-1.0, 1.0, (2, inputs, outputs, units))
        self.slope = nnx.Param(jnp.asarray(SLOPE * slope, jnp.float32))
        self.weight = nnx.Param(jnp.asarray(WEIGHT * math.sqrt(6 / (inputs + outputs)) * weight, jnp.float32))
        self.shift, self.offset = (nnx.Param(jnp.zeros(shape)) for shape in (weight.shape, weight.shape[:-1]))
        self.fraction = Width(jnp.full((inputs, outputs), fraction, jnp.float32))
        self.low, self.high = Extreme(jnp.zeros((inputs, outputs))), Extreme(jnp.zeros((inputs, outputs)))
        self.entries = Entries(jnp.zeros((inputs, 2**address.most, outputs)))

    def __call__(self, x: Float[Array, "B I"], mode: Mode) -> Float[Array, "B O"]:
        if mode == "float":
            return self.functions(x)[0].sum(axis=1)
        addresses = self.address.addresses(x, mode)
        if mode == "fixed":
            return looked_up(self.entries[...], jnp.zeros_like(self.entries[...]), addresses, x)
        tables, slopes = self.tables(mode)
        self._record(tables)
        return looked_up(tables, slopes, addresses, x)

    def functions(self, x: Float[Array, "N I"]) -> tuple[Float[Array, "N I O"], Float[Array, "N I O"]]:
        """What every function says, and how steep it is: in float32 always, so that what is frozen is what was
        trained."""
        constants = (self.slope, self.shift, self.weight, self.offset)
        slope, shift, weight, offset = (each[...].astype(jnp.float32) for each in constants)
        bent = jnp.tanh(x.astype(jnp.float32)[..., None, None] * slope + shift)
        said, steep = offset + (bent * weight).sum(axis=-1), ((1 - bent**2) * weight * slope).sum(axis=-1)
        return said.astype(x.dtype), steep.astype(x.dtype)

    def tables(self, mode: Mode) -> tuple[Float[Array, "I D O"], Float[Array, "I D O"]]:
        """The functions at all addresses, rounded, and how steep they are there."""
        said, steep = self.functions(self.address.points(mode).T)
        return quantize(said, self.fraction[...]).swapaxes(0, 1), stop_gradient(steep).swapaxes(0, 1)

    def _record(self, tables: Float[Array, "I D O"]) -> None:
        self.low[...], self.high[...] = (stop_gradient(end) for end in (tables.min(axis=1), tables.max(axis=1)))

    @property
    def weight_width(self) -> nnx.Variable:
        """What each function learns beside its shape."""
        return self.fraction

    def widths(self) -> Float[Array, "I O"]:
        """Bits of every function's result, the sign not counted."""
        return bit_width(self.low[...], self.high[...], self.fraction[...])

    def ebops(self, input_width: Float[Array, " I"]) -> Float[Array, ""]:
        """Bits in times bits out of every function, as if it were a product."""
        return (input_width[:, None] * self.widths()).sum()

    def luts(self, input_width: Float[Array, " I"]) -> Float[Array, ""]:
        """About one LUT for each bit of a result, twice as many for each bit of the address beyond six, and one for
        adding it."""
        alive = stop_gradient(input_width > 0)[:, None]
        each = 2.0 ** jnp.maximum(input_width + 1 - LUT_INPUTS, 0)[:, None]  # with the sign
        bits = self.widths()
        return (((each + 1) * bits + ADDER_OVERHEAD * stop_gradient(bits > 0)) * alive).sum()

    def freeze(self) -> None:
        """Tables for the addresses as they are from now on."""
        self.fraction[...] = jnp.asarray(whole_fraction(self.fraction[...]))
        self.entries[...] = self.tables("fixed")[0]
        self._record(self.entries[...])

    def lower(self, g: GraphBuilder, x: Wire) -> Wire:
        """One table for each connection, over all integers that its input takes; then the sum over inputs, which begins
        with results of like places: where one has no digits yet, adding costs nothing."""
        inputs, outputs = self.fraction.shape
        depth, fraction = int((x.high - x.low).max()) + 1, whole_fraction(self.fraction[...])
        integers = np.minimum(x.low + np.arange(depth)[:, None], x.high) & (2**self.address.most - 1)
        entries = on_grid(self.entries[...], fraction[:, None]).astype(np.int64)[np.arange(inputs), integers]
        span = entries.max(axis=0) - entries.min(axis=0)
        order = np.lexsort((span, np.where(span > 0, fraction, np.inf)), axis=0)
        found, places = entries[:, order, np.arange(outputs)], np.take_along_axis(fraction, order, axis=0)
        tables = g.table(g.take(x, order), np.moveaxis(found, 0, -1), x.low[order], places.astype(np.int64))
        return g.sum(tables, axis=0)


def lut(builder: Builder, scale: InputScale, outputs: int) -> list[Any]:
    """All tokens' features side by side, then layers of tables; no other function lies between them."""
    config, shape = builder.config, builder.config.tables
    fractions = builder.place_fraction(scale).reshape(-1)
    layers: list[Any] = [scale, Flatten()]
    width: Any = len(fractions)
    for units in (*shape.hidden, outputs):
        address = AddressQuantizer(width, fractions, shape.bits)
        layers += [address, EdgeTables(address, units, shape.units, config.weight_fraction, builder.random)]
        width, fractions = units, np.full(units, config.activation_fraction)
    return layers + builder.score()
