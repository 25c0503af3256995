"""The layers a student is made of. Each is one operation of the fixed-point graph, so lowering is a walk over them.

Axes: B examples, N tokens, F features, I inputs and O outputs of a layer.
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from distill_to_fpga.quantize import Mode, Width, constant_width, on_grid, power_of_two, quantize, whole_fraction

Granularity = Literal["weight", "channel", "tensor"]


class Constant(nnx.Variable):
    """Integers that training does not change."""


class InputScale(nnx.Module):
    """Hardware integers to numbers around one: subtract an integer, shift by a power of two (free in hardware)."""

    def __init__(self, offset: Int[np.ndarray, " F"], shift: Int[np.ndarray, " F"]):
        self.offset = Constant(jnp.asarray(offset, jnp.int32))
        self.shift = Constant(jnp.asarray(shift, jnp.int32))

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


class Dense(nnx.Module):
    """x W + b with quantised W and b.

    Attributes:
        kernel, bias: the weights; on their grid once frozen.
        kernel_fraction, bias_fraction: learnt fractional bits; broadcastable to kernel and bias.
        copies: how many times the layer stands in the circuit (once per token where tokens share it).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        granularity: Granularity,
        fraction: float,
        random: np.random.Generator,
        copies: int = 1,
    ):
        self.copies = copies
        shape = {"weight": (inputs, outputs), "channel": (1, outputs), "tensor": (1, 1)}[granularity]
        kernel = random.normal(0.0, math.sqrt(2 / inputs), (inputs, outputs))  # arXiv:1502.01852
        self.kernel = nnx.Param(jnp.asarray(kernel, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.kernel_fraction = Width(jnp.full(shape, fraction, jnp.float32))
        self.bias_fraction = Width(jnp.full(outputs if granularity != "tensor" else 1, fraction, jnp.float32))

    def __call__(self, x: Float[Array, "B *N I"], mode: Mode) -> Float[Array, "B *N O"]:
        kernel, bias = self.kernel[...], self.bias[...]
        if mode != "float":
            kernel, bias = quantize(kernel, self.kernel_fraction[...]), quantize(bias, self.bias_fraction[...])
        # The default precision of a GPU or TPU would round the products.
        return jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST) + bias

    def widths(self) -> tuple[Float[Array, "I O"], Float[Array, " O"]]:
        """Bits of every weight and of every bias, from the first to the last non-zero one; signs not counted."""
        kernel = constant_width(self.kernel[...], self.kernel_fraction[...])
        return kernel, constant_width(self.bias[...], self.bias_fraction[...])

    def ebops(self, input_width: Float[Array, ...]) -> Float[Array, ""]:
        """Effective bit operations: sum over multiplications of weight bits times input bits (arXiv:2405.00645)."""
        kernel, _ = self.widths()
        return self.copies * (jnp.broadcast_to(input_width.reshape(-1, 1), kernel.shape) * kernel).sum()

    def freeze(self) -> None:
        """Replaces weights by their quantised values; each gets a fraction of its own, the least that holds it."""
        for values, fraction in ((self.kernel, self.kernel_fraction), (self.bias, self.bias_fraction)):
            whole = whole_fraction(fraction)
            integers = on_grid(values, whole)
            values[...] = jnp.asarray(integers * 2.0**-whole, jnp.float32)
            fraction.set_value(jnp.asarray(_least_fraction(integers, whole), jnp.float32))


def _least_fraction(integers: Float[np.ndarray, "..."], fraction: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Fewest fractional bits that hold integers 2^-fraction; negative for multiples of 2, 4, ...; 0 for zero."""
    whole = integers.astype(np.int64)
    trailing_zeros = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    return np.where(whole != 0, fraction - trailing_zeros, 0)
