"""A student: a list of layers from hardware integers to class logits (and regression outputs).

Axes: B examples, N tokens, F features, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from distill_to_fpga.quantize import ActivationQuantizer, Mode
from distill_to_fpga.students.config import StudentConfig
from distill_to_fpga.students.layers import Dense, Flatten, InputScale, Relu, SumTokens

CHUNK = 16384  # examples per call outside training: bounds the memory


class Student(nnx.Module):
    """Base of the students.

    Attributes:
        config: its shape.
        classes, regressions: names of the outputs, in this order.
        layers: the operations, from hardware integers to outputs; the last one is the Dense that makes the outputs.
    """

    def __init__(self, config: StudentConfig, classes: Sequence[str], regressions: Sequence[str], layers: list[Any]):
        self.config = config
        self.classes, self.regressions = tuple(classes), tuple(regressions)
        self.layers = nnx.List(layers)

    def __call__(self, integers: Int[Array, "B N F"], mode: Mode = "fixed") -> Float[Array, "B O"]:
        """Class logits, then regression outputs, from the integers that the trigger board receives."""
        x: Any = integers
        for layer in self.layers:
            x = layer(x, mode)
        return x

    def ebops(self, mode: Mode = "fixed") -> Float[Array, ""]:
        """Effective bit operations of the whole circuit (arXiv:2405.00645)."""
        return size(*nnx.split(self), mode)[0]

    def total_bits(self, mode: Mode = "fixed") -> Float[Array, ""]:
        """Sum of the widths of weights, biases and activations, each counted once."""
        return size(*nnx.split(self), mode)[1]

    def dense(self) -> list[Dense]:
        return [layer for layer in self.layers if isinstance(layer, Dense)]


class MLPStudent(Student):
    """All tokens' features side by side, then dense layers."""

    def __init__(
        self,
        config: StudentConfig,
        scale: InputScale,
        classes: Sequence[str],
        regressions: Sequence[str],
        random: np.random.Generator,
    ):
        builder = _Builder(config, random)
        fractions = np.tile(builder.input_fraction(scale), config.tokens)
        layers = [scale, Flatten(), ActivationQuantizer(fractions.shape, fractions)]
        width = len(fractions)
        for units in config.hidden:
            layers += builder.hidden(width, units)
            width = units
        layers += [builder.dense(width, len(classes) + len(regressions))]
        super().__init__(config, classes, regressions, layers)


class DeepSetsStudent(Student):
    """rho(sum over tokens of phi(token)) (arXiv:1703.06114). Empty slots are tokens of zeros: there is no mask."""

    def __init__(
        self,
        config: StudentConfig,
        scale: InputScale,
        classes: Sequence[str],
        regressions: Sequence[str],
        random: np.random.Generator,
    ):
        builder = _Builder(config, random)
        fractions = builder.input_fraction(scale)
        layers = [scale, ActivationQuantizer(fractions.shape, fractions, config.tokens)]
        width = len(fractions)
        for units in config.phi:
            layers += builder.hidden(width, units, config.tokens)
            width = units
        layers += [SumTokens(config.tokens), builder.quantizer(width)]
        for units in config.rho:
            layers += builder.hidden(width, units)
            width = units
        layers += [builder.dense(width, len(classes) + len(regressions))]
        super().__init__(config, classes, regressions, layers)


class _Builder:
    """Layers with the config's widths and granularities."""

    def __init__(self, config: StudentConfig, random: np.random.Generator):
        self.config, self.random = config, random

    def input_fraction(self, scale: InputScale) -> Float[np.ndarray, " F"]:
        """Initial fractional bits of the inputs: never finer than the integers themselves."""
        return np.minimum(np.asarray(scale.shift[...]), self.config.activation_fraction).astype(np.float32)

    def quantizer(self, width: int, copies: int = 1) -> ActivationQuantizer:
        shape = (width,) if self.config.activation_granularity == "channel" else (1,)
        return ActivationQuantizer(shape, self.config.activation_fraction, copies)

    def dense(self, inputs: int, outputs: int, copies: int = 1) -> Dense:
        config = self.config
        return Dense(inputs, outputs, config.weight_granularity, config.weight_fraction, self.random, copies)

    def hidden(self, inputs: int, outputs: int, copies: int = 1) -> list[nnx.Module]:
        return [self.dense(inputs, outputs, copies), Relu(), self.quantizer(outputs, copies)]


def build_student(
    config: StudentConfig,
    offset: Int[np.ndarray, " F"],
    shift: Int[np.ndarray, " F"],
    classes: Sequence[str],
    regressions: Sequence[str] = (),
    seed: int = 0,
) -> Student:
    """An untrained student.

    Args:
        config: its shape.
        offset, shift: of the inputs, see `input_scaling`.
        classes, regressions: names of the outputs.
        seed: of the initial weights.

    Raises:
        ConfigError: the sizes make no network.
    """
    config.check()
    kind = {"mlp": MLPStudent, "deepsets": DeepSetsStudent}[config.kind]
    return kind(config, InputScale(offset, shift), classes, regressions, np.random.default_rng(seed))


def input_scaling(integers: Int[np.ndarray, "B N F"]) -> tuple[Int[np.ndarray, " F"], Int[np.ndarray, " F"]]:
    """Integer offset and power-of-two shift per feature, so that (x - offset) 2^-shift is of order one.

    The statistics are over every slot, empty ones included, because that is what the board receives. A feature keeps
    its zero (offset 0) unless its mean is more than two deviations away from it.
    """
    values = np.asarray(integers, np.float64).reshape(-1, integers.shape[-1])
    mean, deviation = values.mean(0), values.std(0)
    offset = np.where(np.abs(mean) > 2 * deviation, np.round(mean), 0)
    shift = np.round(np.log2(np.where(deviation > 0, deviation, 1)))
    return offset.astype(np.int64), shift.astype(np.int64)


@partial(jax.jit, static_argnums=(0, 3))
def forward(graphdef: Any, state: Any, integers: Any, mode: Mode) -> tuple[Any, Any]:
    """Outputs, and the state after the call (recorded extremes in mode `train`)."""
    student = nnx.merge(graphdef, state, copy=True)
    outputs = student(integers, mode)
    return outputs, nnx.state(student)


@partial(jax.jit, static_argnums=(0, 2))
def size(graphdef: Any, state: Any, mode: Mode) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """EBOPs and total bits; compiled, because outside a training step every small operation would be on its own."""
    ebops, total, width = jnp.zeros(()), jnp.zeros(()), jnp.zeros(1)
    for layer in nnx.merge(graphdef, state, copy=True).layers:
        if isinstance(layer, ActivationQuantizer):
            width = layer.width(mode)
            total += width.sum()
        elif isinstance(layer, Dense):
            ebops += layer.ebops(width)
            total += sum(bits.sum() for bits in layer.widths())
    return ebops, total


def predict(student: Student, integers: Int[np.ndarray, "B N F"]) -> Float[np.ndarray, "B O"]:
    """Outputs as in training, in float32; a student that was not quantised is evaluated without quantisation."""
    mode: Mode = "fixed" if student.config.quantized else "float"
    graphdef, state = nnx.split(student)
    starts = range(0, max(len(integers), 1), CHUNK)
    return np.concatenate([np.asarray(forward(graphdef, state, integers[i : i + CHUNK], mode)[0]) for i in starts])


def predict_exact(student: Student, integers: Int[np.ndarray, "B N F"]) -> Float[np.ndarray, "B O"]:
    """Outputs of a frozen student in float64: exact, as every number in it lies on a grid of far less than 53 bits."""
    with jax.enable_x64(True):
        graphdef, state = nnx.split(converted(student, np.float64))
        starts = range(0, max(len(integers), 1), CHUNK)
        outputs = [forward(graphdef, state, integers[i : i + CHUNK], "fixed")[0] for i in starts]
        return np.concatenate([np.asarray(o) for o in outputs])


def converted(student: Student, dtype: Any) -> Student:
    """A copy whose floats are of `dtype`; float64 needs `jax.enable_x64`."""

    def convert(leaf: Any) -> Array:
        array = np.asarray(leaf)
        return jnp.asarray(array.astype(dtype) if array.dtype.kind == "f" else array)

    graphdef, state = nnx.split(student)
    return nnx.merge(graphdef, jax.tree.map(convert, state))
