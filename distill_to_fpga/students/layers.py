"""The layers a student is made of. Each is one operation of the fixed-point graph, so lowering is a walk over them.

Axes: B examples, N tokens, F features, I inputs and O outputs of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from distill_to_fpga.digits import count_digits, quantize_digits, whole_digits
from distill_to_fpga.quantize import (
    MAX_FRACTION,
    Calibrated,
    Mode,
    Width,
    constant_width,
    power_of_two,
    quantize,
    quantize_uniform,
    round_half_up,
)
from distill_to_fpga.ternary import quantize_binary, quantize_ternary

SPAN_BITS = 5  # a score spans 2^5 = 32 standard deviations of what the teacher says
ADDER_OVERHEAD = 1.5  # bits by which an adder of a product is wider than its input, on average of adder graphs
BITS_PER_DIGIT = 2.0  # what a further digit adds to the width of a weight
DIGITS_PER_BIT = 1 / 3  # digits of a random number of many bits (Avizienis 1961)
Granularity = Literal["weight", "channel", "tensor"]
WeightFormat = Literal["digits", "bits", "ternary", "binary"]


@dataclass(frozen=True)
class WeightSettings:
    """How weights are quantised: see `StudentConfig`."""

    format: WeightFormat
    granularity: Granularity
    digits: float
    fraction: float


class Constant(nnx.Variable):
    """Integers that training does not change."""


class InputScale(nnx.Module):
    """Hardware integers to numbers around one: subtract an integer, shift by a power of two (free in hardware)."""

    def __init__(self, offset: Int[np.ndarray, "... F"], shift: Int[np.ndarray, "... F"]):
        self.offset = Constant(jnp.asarray(offset, jnp.int32))
        self.shift = Constant(jnp.asarray(shift, jnp.int32))

    @property
    def features(self) -> int:
        """Of a token."""
        return int(self.offset.shape[-1])

    def __call__(self, x: Int[Array, "B N F"], mode: Mode) -> Float[Array, "B N F"]:
        return (x - self.offset[...]).astype(jnp.result_type(float)) * power_of_two(-self.shift[...])


class Flatten(nnx.Module):
    """Tokens side by side."""

    def __call__(self, x: Float[Array, "B N F"], mode: Mode) -> Float[Array, "B NF"]:
        return x.reshape(x.shape[0], -1)


class Relu(nnx.Module):
    def __call__(self, x: Float[Array, B * shape], mode: Mode) -> Float[Array, B * shape]:
        return jax.nn.relu(x)


class SumTokens(nnx.Module):
    """Sum over tokens: what makes a DeepSets student indifferent to their order (arXiv:1703.06114).

    The sum is halved `shift` times, about sqrt(N) for N tokens, which keeps its size that of one token's features
    (training is several times faster for it) and only moves the binary point.
    """

    def __init__(self, tokens: int):
        self.shift = round(math.log2(tokens) / 2)

    def __call__(self, x: Float[Array, "B N F"], mode: Mode) -> Float[Array, "B F"]:
        return x.sum(axis=1) * 2.0**-self.shift


class Patches(nnx.Module):
    """The pixels of an image, row by row, as tokens of patches that do not overlap: a matter of wiring.

    Attributes:
        image, patch: rows and columns.
        count: number of patches.
        size: pixels in each.
    """

    def __init__(self, image: tuple[int, int], patch: tuple[int, int]):
        self.image, self.patch = tuple(image), tuple(patch)
        self.size = patch[0] * patch[1]
        self.count = image[0] * image[1] // self.size

    def __call__(self, x: Float[Array, "B N F"], mode: Mode) -> Float[Array, "B P PF"]:
        (height, width), (rows, columns) = self.image, self.patch
        x = x.reshape(len(x), height // rows, rows, width // columns, columns * x.shape[-1])
        return x.swapaxes(2, 3).reshape(len(x), self.count, -1)


class Residual(nnx.Module):
    """x - f(x): what layers f fail to restore."""

    def __init__(self, layers: list[Any]):
        self.layers = nnx.List(layers)

    def __call__(self, x: Float[Array, "B F"], mode: Mode) -> Float[Array, "B F"]:
        restored: Any = x
        for layer in self.layers:
            restored = layer(restored, mode)
        return x - restored

    def inner(self) -> Iterable[Any]:
        return self.layers


class SumOfSquares(nnx.Module):
    """The sum of the squares of all features: one output."""

    def __call__(self, x: Float[Array, "B F"], mode: Mode) -> Float[Array, "B 1"]:
        return jnp.square(x).sum(axis=-1, keepdims=True)

    def ebops(self, input_width: Float[Array, " F"]) -> Float[Array, ""]:
        """Bits times bits of each product (arXiv:2405.00645)."""
        return jnp.square(input_width).sum()


class ScoreOutput(nnx.Module):
    """An unsigned score of fixed type, rounded half up, saturating; 2^SPAN_BITS of its input fill the whole range.

    Gradients pass as if nothing were rounded or clipped.

    Attributes:
        bits, fraction: of the score.
        shift: power of two by which the score is larger than the input.
    """

    def __init__(self, bits: int, integer: int):
        self.bits, self.fraction, self.shift = bits, bits - integer, integer - SPAN_BITS

    def __call__(self, x: Float[Array, "B 1"], mode: Mode) -> Float[Array, "B 1"]:
        x = x * 2.0**self.shift
        if mode == "float":
            return x
        integers = jnp.clip(round_half_up(x * 2.0**self.fraction), 0, 2.0**self.bits - 1)
        return jax.lax.stop_gradient(integers * 2.0**-self.fraction) + (x - jax.lax.stop_gradient(x))


def leaves(layers: Iterable[Any]) -> Iterator[Any]:
    """The layers in the order in which they act, those inside others in their place."""
    for layer in layers:
        if hasattr(layer, "inner"):
            yield from leaves(layer.inner())
        else:
            yield layer


class Dense(nnx.Module):
    """x W + b with quantised W and b.

    Attributes:
        kernel, bias: the weights; on their grid once frozen.
        kernel_digits: learnt number of signed digits of each weight (format `digits`).
        kernel_fraction: learnt fractional bits, broadcastable to kernel (format `bits`); of a frozen layer those of its
            grid.
        bias_fraction: the same of the bias.
        uniform: 0, or bits of every bias and, in format `bits`, of every weight: then no fraction is learnt.
        copies: how many times the layer stands in the circuit (once per token where tokens share it).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        settings: WeightSettings,
        random: np.random.Generator,
        copies: int = 1,
    ):
        self.copies, self.format, self.uniform = copies, settings.format, 0
        self.granularity = granularity = settings.granularity
        shape = {"weight": (inputs, outputs), "channel": (1, outputs), "tensor": (1, 1)}[granularity]
        kernel = random.normal(0.0, math.sqrt(2 / inputs), (inputs, outputs))  # arXiv:1502.01852
        self.kernel = nnx.Param(jnp.asarray(kernel, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs))
        if settings.format == "digits":
            self.kernel_digits = Width(jnp.full(shape, settings.digits, jnp.float32))
        if settings.format == "bits":
            self.kernel_fraction: nnx.Variable = Width(jnp.full(shape, settings.fraction, jnp.float32))
        else:
            self.kernel_fraction = Calibrated(jnp.zeros(kernel.shape))
        self.bias_fraction: nnx.Variable = Width(
            jnp.full(outputs if granularity != "tensor" else 1, settings.fraction, jnp.float32)
        )

    def __call__(self, x: Float[Array, "B *N I"], mode: Mode) -> Float[Array, "B *N O"]:
        kernel, bias = self.kernel[...], self.bias[...]
        if mode != "float":
            kernel, bias = self.quantized(mode), self.quantized_bias(mode)
        # The default precision of a GPU or TPU would round the products.
        return jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST) + bias

    def quantized(self, mode: Mode) -> Float[Array, "I O"]:
        """The kernel as the circuit has it."""
        kernel = self.kernel[...]
        if self.learns_bits:
            return quantize(kernel, self.kernel_fraction[...])
        if mode == "fixed":
            return kernel  # frozen
        if self.format == "bits":
            axes = 0 if self.granularity == "channel" else None
            return quantize_uniform(kernel, kernel.min(axes), kernel.max(axes), self.uniform)
        if self.format in FEW_VALUES:
            return FEW_VALUES[self.format](kernel)
        return quantize_digits(self.kernel[...], jnp.broadcast_to(self.kernel_digits[...], self.kernel.shape))

    def quantized_bias(self, mode: Mode) -> Float[Array, " O"]:
        """The bias as the circuit has it."""
        bias = self.bias[...]
        if not self.uniform:
            return quantize(bias, self.bias_fraction[...])
        return bias if mode == "fixed" else quantize_uniform(bias, bias.min(), bias.max(), self.uniform)

    @property
    def learns_bits(self) -> bool:
        """Whether each weight learns how many bits it has."""
        return self.format == "bits" and not self.uniform

    def make_uniform(self, bits: int) -> None:
        """Every bias gets `bits` bits and, unless weights are ternary or binary, every weight too."""
        self.uniform = bits
        if self.format == "digits":
            self.format = "bits"
            del self.kernel_digits
        self.kernel_fraction = Calibrated(jnp.zeros_like(self.kernel[...]))
        self.bias_fraction = Calibrated(jnp.zeros_like(self.bias[...]))

    @property
    def weight_width(self) -> nnx.Variable:
        """What each weight learns beside its value: a number of digits, or of bits."""
        return self.kernel_digits if self.format == "digits" else self.kernel_fraction

    def widths(self, mode: Mode) -> tuple[Float[Array, "I O"], Float[Array, " O"]]:
        """Bits of every weight and of every bias, from the first to the last non-zero one; signs not counted."""
        if self.uniform:
            bias = _bits_of(self.quantized_bias(mode))
        else:
            bias = constant_width(self.bias[...], self.bias_fraction[...])
        if self.learns_bits:
            return constant_width(self.kernel[...], self.kernel_fraction[...]), bias
        bits = _bits_of(self.quantized(mode))
        return bits + BITS_PER_DIGIT * self._digits_slope() if self.format == "digits" else bits, bias

    def digits(self, mode: Mode) -> Float[Array, "I O"]:
        """Signed digits of every weight: the adders of its product."""
        quantized = jax.lax.stop_gradient(self.quantized(mode))
        actual = count_digits((quantized * 2.0**MAX_FRACTION).astype(jnp.int32))
        if self.format == "digits":
            return actual + self._digits_slope()
        if not self.learns_bits:
            return actual
        bits, _ = self.widths(mode)
        slope = jnp.where(jax.lax.stop_gradient(bits) <= 1, 1.0, DIGITS_PER_BIT)
        return actual + slope * (bits - jax.lax.stop_gradient(bits))

    def _digits_slope(self) -> Float[Array, "I O"]:
        """Zero, with the gradient of the learnt numbers of digits (those shared are divided as in `bit_width`)."""
        learnt = jnp.broadcast_to(whole_digits(self.kernel_digits[...]), self.kernel.shape)
        shared = self.kernel.size // self.kernel_digits.size
        return (learnt - jax.lax.stop_gradient(learnt)) / math.sqrt(shared)

    def ebops(self, input_width: Float[Array, ...], mode: Mode) -> Float[Array, ""]:
        """Effective bit operations: sum over multiplications of weight bits times input bits (arXiv:2405.00645)."""
        kernel, _ = self.widths(mode)
        rows = self._rows(input_width)
        return self.copies / len(rows) * (rows.sum(0)[:, None] * kernel).sum()

    def luts(self, input_width: Float[Array, ...], mode: Mode) -> Float[Array, ""]:
        """About the LUTs of its adders: for each digit of each weight one, a little wider than the input.

        Inputs without bits cost nothing. `distill_to_fpga.estimate` has the adder graph itself.
        """
        rows = self._rows(input_width)
        cells = (rows + ADDER_OVERHEAD) * (jax.lax.stop_gradient(rows) > 0)
        return self.copies / len(rows) * (self.digits(mode) * cells.sum(0)[:, None]).sum()

    def _rows(self, input_width: Float[Array, "..."]) -> Float[Array, "R I"]:
        """Widths of the inputs; more than one row where they differ from one copy of the layer to the next."""
        rows = input_width.reshape(-1, input_width.shape[-1])
        return jnp.broadcast_to(rows, (len(rows), len(self.kernel[...])))

    def freeze(self) -> None:
        """Replaces weights by their quantised values; each gets a fraction of its own, the least that holds it."""
        kernel, bias = _constants(*nnx.split(self))
        for quantized, values, fraction in (
            (kernel, self.kernel, self.kernel_fraction),
            (bias, self.bias, self.bias_fraction),
        ):
            exact = np.asarray(quantized, np.float64)
            whole = np.full(exact.shape, float(MAX_FRACTION))
            values[...] = jnp.asarray(exact, jnp.float32)
            fraction.set_value(jnp.asarray(_least_fraction(exact * 2.0**whole, whole), jnp.float32))


@partial(jax.jit, static_argnums=0)
def _constants(graphdef: Any, state: Any) -> tuple[Float[Array, "I O"], Float[Array, " O"]]:
    """Kernel and bias of a layer as the circuit has them: compiled, or each operation would be on its own."""
    layer = nnx.merge(graphdef, state, copy=True)
    return layer.quantized("calibrate"), layer.quantized_bias("calibrate")


FEW_VALUES = {"ternary": quantize_ternary, "binary": quantize_binary}


def _bits_of(quantized: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Bits of constants as they are, without a gradient."""
    constants = jax.lax.stop_gradient(quantized)
    return jax.lax.stop_gradient(constant_width(constants, jnp.full((1,) * constants.ndim, float(MAX_FRACTION))))


def _least_fraction(integers: Float[np.ndarray, "..."], fraction: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Fewest fractional bits that hold integers 2^-fraction; negative for multiples of 2, 4, ...; 0 for zero."""
    whole = integers.astype(np.int64)
    trailing_zeros = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    return np.where(whole != 0, fraction - trailing_zeros, 0)
