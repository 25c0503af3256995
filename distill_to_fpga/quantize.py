"""Fixed-point quantisers whose widths are learnt by gradient descent, and what the widths cost (HGQ, arXiv:2405.00645).

A number is rounded to f fractional bits, q(x, f) = floor(x 2^f + 1/2) 2^-f. Its error delta = x - q shrinks by half
per bit, |delta| ~ 2^-f, hence the surrogate gradient d q / d f = ln 2 * delta. The integer bits follow from the range
of the values. A number left with no bits at all is the constant zero: quantisation and pruning are one thing.

Quantised values are floats that lie exactly on their grid, so sums and products of them are exact as long as they fit
the float's mantissa (24 bits in float32); `distill_to_fpga.lower` says where they do not.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int

Mode = Literal["float", "train", "calibrate", "fixed"]
"""`float`: no quantisation. `train`: quantised, unbounded range, extremes recorded with a memory of some 100 steps.
`calibrate`: the same, nothing forgotten. `fixed`: as in the firmware, saturating outside the calibrated range."""

PEAK_DECAY = 0.99  # per training step: an extreme that the current weights no longer reach is forgotten in ~100 steps
NO_BITS = -128  # integer bits of a range that holds only zero: no fraction makes its width positive
MAX_FRACTION = 20


class Width(nnx.Param):
    """Learnable fractional bits, kept as a float and rounded when used."""


class Extreme(nnx.Variable):
    """The lowest or highest value that reached a quantiser; zero is always within the range."""


class Calibrated(nnx.Variable):
    """The integer type an activation was given after calibration: bits (with the sign bit) and sign."""


def power_of_two(exponent: Array | int) -> Array:
    """2^exponent for exponents -126 to 127, exact: it writes the exponent's bits (`exp2` is not exact everywhere)."""
    real = jnp.result_type(float)
    bits, bias, whole = (52, 1023, jnp.int64) if real == jnp.float64 else (23, 127, jnp.int32)
    return jax.lax.bitcast_convert_type((jnp.asarray(exponent, whole) + bias) << bits, real)


def round_half_up(x: Float[Array, ...]) -> Float[Array, ...]:
    """floor(x + 1/2) as if computed without rounding error: in floats, 0.5 - 2^-25 + 0.5 is 1."""
    low = jnp.floor(x)
    return low + (x - low >= 0.5)


def rounded_fraction(fraction: Float[Array, ...]) -> Float[Array, ...]:
    """Whole fractional bits, with the gradient of the identity."""
    still = stop_gradient(fraction)
    return jnp.clip(round_half_up(still), -MAX_FRACTION, MAX_FRACTION) + (fraction - still)


def quantize(x: Float[Array, ...], fraction: Float[Array, ...]) -> Float[Array, ...]:
    """x rounded half up to `fraction` binary places (rounded to whole bits; broadcast against x).

    Gradients: d q / d x = 1 (straight-through) and d q / d f = ln 2 * (x - q), arXiv:2405.00645 section 3.
    """
    f = rounded_fraction(fraction)
    whole = stop_gradient(f).astype(jnp.int32)
    still = stop_gradient(x)
    q = round_half_up(still * power_of_two(whole)) * power_of_two(-whole)
    delta = still - q
    # The last two terms are exactly zero in the forward pass, so that q stays on its grid.
    return q + (x - still) + math.log(2) * delta * (f - stop_gradient(f))


def quantize_uniform(
    x: Float[Array, ...], low: Float[Array, ...], high: Float[Array, ...], bits: int
) -> Float[Array, ...]:
    """x as a number of `bits` bits, its sign included, whose range holds [low, high]; saturates; straight-through.

    Nothing is learnt of the format: where the point stands follows from the range.
    """
    low, high = stop_gradient(low), stop_gradient(high)
    fraction = uniform_fraction(low, high, bits)
    magnitude = power_of_two(bits - (low < 0))
    integers = round_half_up(stop_gradient(x) * power_of_two(fraction))
    q = jnp.clip(integers, jnp.where(low < 0, -magnitude, 0), magnitude - 1) * power_of_two(-fraction)
    return q + (x - stop_gradient(x))


def uniform_fraction(low: Float[Array, ...], high: Float[Array, ...], bits: int) -> Int[Array, ...]:
    """Fractional bits of numbers of `bits` bits, the sign included, whose range holds [low, high]."""
    return jnp.minimum(bits - (low < 0) - integer_bits(low, high), MAX_FRACTION)


def integer_bits(low: Float[Array, ...], high: Float[Array, ...]) -> Int[Array, ...]:
    """Bits above the binary point that hold [low, high], the sign bit not counted.

    max(floor(log2 high) + 1, ceil(log2 -low)), arXiv:2405.00645; may be negative. `NO_BITS` for a range of zero alone.
    """
    _, above = jnp.frexp(high)
    mantissa, below = jnp.frexp(-low)
    below = below - (mantissa == 0.5)
    return jnp.maximum(jnp.where(high > 0, above, NO_BITS), jnp.where(low < 0, below, NO_BITS)).astype(jnp.int32)


def bit_width(low: Array, high: Array, fraction: Float[Array, ...], group: int = 1) -> Float[Array, ...]:
    """Width max(i' + f, 0) of quantised values within [low, high]; the sign bit is not counted.

    Args:
        low, high: extremes of the values on the grid.
        fraction: fractional bits.
        group: how many numbers share this width. The gradient is divided by sqrt(group), because the loss' own gradient
            on a shared width, a sum of random signs, grows only with that root (arXiv:2405.00645).
    """
    bits = jax.nn.relu(stop_gradient(integer_bits(low, high)) + rounded_fraction(fraction))
    return stop_gradient(bits) + (bits - stop_gradient(bits)) / math.sqrt(group)


def constant_width(values: Float[Array, ...], fraction: Float[Array, ...]) -> Float[Array, ...]:
    """Bits of each constant once quantised, from its first to its last non-zero one (001100 counts 2); no sign bit.

    The gradient on the fraction is that of the upper bound max(i' + f, 0), with i' from the largest constant that
    shares the fraction (arXiv:2405.00645: EBOPs, and their bound during training).
    """
    q = stop_gradient(quantize(values, fraction))
    shared = tuple(axis for axis, size in enumerate(fraction.shape) if size < q.shape[axis])
    low, high = q.min(shared, keepdims=True), q.max(shared, keepdims=True)
    bound = bit_width(low, high, fraction, group=q.size // low.size)
    integers = jnp.abs(q * power_of_two(stop_gradient(rounded_fraction(fraction)).astype(jnp.int32))).astype(jnp.int32)
    _, first = jnp.frexp(integers.astype(q.dtype))
    _, last = jnp.frexp((integers & -integers).astype(q.dtype))
    return jnp.where(integers > 0, first - last + 1, 0) + (bound - stop_gradient(bound))


class ActivationQuantizer(nnx.Module):
    """Rounds activations to learnt fractional bits; the range comes from what it sees.

    Attributes:
        fraction: fractional bits, of shape `shape`.
        uniform: 0, or bits of every value, the sign included: then the fraction is not learnt but follows the range.
        low, high: extremes seen, same shape.
        bits, signed: the integer type set by calibration, same shape; outside its range, values saturate.
        copies: in how many places of the circuit each of these widths occurs (tokens that share a network).
    """

    def __init__(self, shape: tuple[int, ...], fraction: Any, copies: int = 1):
        self.copies, self.uniform = copies, 0
        self.fraction: nnx.Variable = Width(jnp.broadcast_to(jnp.asarray(fraction, jnp.float32), shape))
        self.low, self.high = Extreme(jnp.zeros(shape)), Extreme(jnp.zeros(shape))
        self.bits = Calibrated(jnp.zeros(shape, jnp.int32))
        self.signed = Calibrated(jnp.zeros(shape, jnp.int32))

    def __call__(self, x: Float[Array, B * shape], mode: Mode) -> Float[Array, B * shape]:
        if mode == "float":
            return x
        if mode != "fixed":
            self._record(stop_gradient(x), mode)
            if self.uniform and mode == "train":
                return quantize_uniform(x, self.low[...], self.high[...], self.uniform)
            return quantize(x, self.fraction[...])
        fraction = self.fraction[...].astype(jnp.int32)
        magnitude = power_of_two(self.bits[...] - self.signed[...])
        integers = round_half_up(x * power_of_two(fraction))
        return jnp.clip(integers, -magnitude * self.signed[...], magnitude - 1) * power_of_two(-fraction)

    def _record(self, x: Float[Array, B * shape], mode: Mode) -> None:
        shape, memory = self.fraction.shape, PEAK_DECAY if mode == "train" else 1.0
        lead = x.ndim - len(shape)
        axes = (*range(lead), *(lead + i for i, size in enumerate(shape) if size == 1))
        self.low[...] = jnp.minimum(memory * self.low[...], x.min(axes).reshape(shape))
        self.high[...] = jnp.maximum(memory * self.high[...], x.max(axes).reshape(shape))

    def width(self, mode: Mode) -> Float[Array, "*shape"]:
        """Bits per element, the sign bit not counted."""
        if mode == "fixed":
            return (self.bits[...] - self.signed[...]).astype(jnp.float32)
        if self.uniform:
            return self.uniform - (self.low[...] < 0).astype(jnp.float32)
        fraction = self.fraction[...]
        low, high = (quantize(v[...], stop_gradient(fraction)) for v in (self.low, self.high))
        return bit_width(low, high, fraction, group=self.copies)

    def luts(self, width: Float[Array, "*shape"]) -> Float[Array, ""]:
        """About the LUTs that rounding and saturation take: one and a half for each bit."""
        return 1.5 * self.copies * width.sum()

    def make_uniform(self, bits: int) -> None:
        """Every value gets `bits` bits; until `settle`, calibration sees the values as fine as can be."""
        self.uniform = bits
        self.fraction = Calibrated(jnp.full(self.fraction.shape, float(MAX_FRACTION), self.low.dtype))

    def settle(self) -> None:
        """Sets a uniform quantiser's fraction by the recorded extremes."""
        low, high = self.low[...], self.high[...]
        self.fraction[...] = jnp.where(high > low, uniform_fraction(low, high, self.uniform), 0).astype(low.dtype)

    def freeze(self) -> None:
        """Sets the integer type from the recorded extremes; the fraction becomes whole."""
        fraction = whole_fraction(self.fraction)
        low, high = (on_grid(extreme, fraction) for extreme in (self.low, self.high))
        signed = low < 0
        bits = np.maximum(np.frexp(np.maximum(high, 0))[1], np.frexp(np.maximum(-low - 1, 0))[1]) + signed
        bits = np.minimum(bits, self.uniform or bits)
        self.bits[...], self.signed[...] = jnp.asarray(bits, jnp.int32), jnp.asarray(signed, jnp.int32)
        self.fraction[...] = jnp.asarray(fraction)


def whole_fraction(fraction: Any) -> Float[np.ndarray, "..."]:
    """The whole number of fractional bits that a learnt width stands for."""
    return np.clip(np.floor(np.asarray(fraction) + 0.5), -MAX_FRACTION, MAX_FRACTION)


def on_grid(values: Any, fraction: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The integers, as float64, to which `quantize` rounds float32 values: q(x, f) 2^f, computed without rounding."""
    return np.floor(np.asarray(values, np.float64) * 2.0**fraction + 0.5)
