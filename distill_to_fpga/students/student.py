"""A student: a list of layers from hardware integers to class logits (and regression outputs).

Axes: B examples, N tokens, F features, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from distill_to_fpga.quantize import ActivationQuantizer, Mode
from distill_to_fpga.students.attention import attention
from distill_to_fpga.students.builder import Builder
from distill_to_fpga.students.cnn import cnn
from distill_to_fpga.students.config import SCORE, StudentConfig
from distill_to_fpga.students.cost import Size, cost
from distill_to_fpga.students.deepsets import deepsets
from distill_to_fpga.students.distances import embedding_autoencoder, vae_encoder
from distill_to_fpga.students.interaction import interaction
from distill_to_fpga.students.layers import SPAN_BITS, Dense, InputScale, leaves
from distill_to_fpga.students.mixer import mixer
from distill_to_fpga.students.mlp import mlp
from distill_to_fpga.students.tables import EdgeTables, lut
from distill_to_fpga.students.trees import trees
from foundation.errors import ConfigError
from foundation.hardware_inputs import input_scaling

CHUNK = 16384  # examples per call outside training: bounds the memory
FAMILIES: dict[str, Callable[[Builder, InputScale, int], list[Any]]] = {
    "deepsets": deepsets,
    "mlp": mlp,
    "vae_encoder": vae_encoder,
    "embedding_autoencoder": embedding_autoencoder,
    "cnn": cnn,
    "interaction": interaction,
    "mixer": mixer,
    "trees": trees,
    "lut": lut,
    "attention": attention,
}


class Student(nnx.Module):
    """A student of any kind.

    Attributes:
        config: its shape.
        classes, regressions: names of the outputs, in this order; a score is a regression of that name.
        layers: the operations, from hardware integers to outputs.
    """

    def __init__(self, config: StudentConfig, classes: Sequence[str], regressions: Sequence[str], layers: list[Any]):
        self.config = config
        self.classes, self.regressions = tuple(classes), tuple(regressions)
        self.layers = nnx.List(layers)

    def __call__(self, integers: Int[Array, "B N F"], mode: Mode = "fixed") -> Float[Array, "B O"]:
        """Class logits, then regression outputs, from the integers that the trigger board receives."""
        return self.with_hidden(integers, mode)[0]

    def with_hidden(self, integers: Int[Array, "B N F"], mode: Mode) -> tuple[Float[Array, "B O"], Any]:
        """The outputs, and what the last layer with weights makes them of, one row for each example."""
        x: Any = integers
        last = max((i for i, layer in enumerate(self.layers) if isinstance(layer, (Dense, EdgeTables))), default=0)
        hidden = x
        for i, layer in enumerate(self.layers):
            hidden = x if i == last else hidden
            x = layer(x, mode)
        return x, hidden.reshape(len(hidden), -1)

    def ebops(self, mode: Mode = "fixed") -> Float[Array, ""]:
        """Effective bit operations of the whole circuit (arXiv:2405.00645)."""
        return size(*nnx.split(self), mode).ebops

    def luts(self, mode: Mode = "fixed") -> Float[Array, ""]:
        """Roughly; `distill_to_fpga.estimate` counts the adders one by one."""
        return size(*nnx.split(self), mode).luts

    def total_bits(self, mode: Mode = "fixed") -> Float[Array, ""]:
        """Sum of the widths of weights, biases and activations, each counted once."""
        return size(*nnx.split(self), mode).bits

    def dense(self) -> list[Dense]:
        return [layer for layer in leaves(self.layers) if isinstance(layer, Dense)]

    def weighted(self) -> list[Dense | EdgeTables]:
        """All layers whose constants learn their widths."""
        return [layer for layer in leaves(self.layers) if isinstance(layer, (Dense, EdgeTables))]

    @property
    def unit(self) -> float:
        """What is 1 where the student is trained: of a score, one standard deviation of the teacher's."""
        return 2.0 ** (self.config.score_integer - SPAN_BITS) if self.config.score_bits else 1.0


def build_student(
    config: StudentConfig,
    offset: Int[np.ndarray, "... F"],
    shift: Int[np.ndarray, "... F"],
    classes: Sequence[str],
    regressions: Sequence[str] = (),
    seed: int = 0,
) -> Student:
    """An untrained student.

    Args:
        config: its shape.
        offset, shift: of the inputs, see `scaling_of`.
        classes, regressions: names of the outputs.
        seed: of the initial weights.

    Raises:
        ConfigError: the sizes make no network, or the outputs are not the score that the config says.
    """
    config.check()
    if config.score_bits and (tuple(classes), tuple(regressions)) != ((), (SCORE,)):
        raise ConfigError(f"score_bits {config.score_bits}: the one output is a score, not {[*classes, *regressions]}")
    builder = Builder(config, np.random.default_rng(seed))
    layers = FAMILIES[config.kind](builder, InputScale(offset, shift), len(classes) + len(regressions))
    if config.uniform_bits:
        for layer in leaves(layers):
            if isinstance(layer, (ActivationQuantizer, Dense)):
                layer.make_uniform(config.uniform_bits)
    return Student(config, classes, regressions, layers)


def scaling_of(
    config: StudentConfig, integers: Int[np.ndarray, "B N F"]
) -> tuple[Int[np.ndarray, "... F"], Int[np.ndarray, "... F"]]:
    """`input_scaling` of the features [F], or of each feature in each place [N, F]."""
    if config.scaling == "feature":
        return input_scaling(integers)
    offset, shift = input_scaling(integers.reshape(len(integers), 1, -1))
    return offset.reshape(integers.shape[1:]), shift.reshape(integers.shape[1:])


@partial(jax.jit, static_argnums=(0, 3))
def forward(graphdef: Any, state: Any, integers: Any, mode: Mode) -> tuple[Any, Any]:
    """Outputs, and the state after the call (recorded extremes in mode `train`)."""
    student = nnx.merge(graphdef, state, copy=True)
    outputs = student(integers, mode)
    return outputs, nnx.state(student)


@partial(jax.jit, static_argnums=(0, 2))
def size(graphdef: Any, state: Any, mode: Mode) -> Size:
    """Compiled, because outside a training step every small operation would be on its own."""
    found, _ = cost(nnx.merge(graphdef, state, copy=True).layers, jnp.zeros(1), mode)
    return found


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
