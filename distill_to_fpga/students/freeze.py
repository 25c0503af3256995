"""From a trained student to frozen integers: weights on their grid, activations with a calibrated, saturating type."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from flax import nnx
from jaxtyping import Int

from distill_to_fpga.quantize import ActivationQuantizer
from distill_to_fpga.students.config import WEIGHTLESS
from distill_to_fpga.students.layers import Dense, leaves
from distill_to_fpga.students.student import CHUNK, Student, converted, forward
from distill_to_fpga.students.tables import EdgeTables
from foundation.errors import ConfigError


def freeze(student: Student, integers: Int[np.ndarray, "B N F"]) -> Student:
    """A copy with integer types everywhere, ready for `predict`, `predict_exact`, `lower` and `save_student`.

    Weights are replaced by their quantised values; activations get the range that the calibration set needs and
    saturate outside it. All of this happens in float64, hence exactly.

    Args:
        student: trained; it stays as it is.
        integers: calibration set; the whole training set, say.
    """
    with jax.enable_x64(True):
        exact = converted(student, np.float64)
        for layer in leaves(exact.layers):
            if isinstance(layer, ActivationQuantizer) and layer.uniform:
                layer.settle()
        exact = _calibrated(exact, integers)
        for layer in leaves(exact.layers):
            if isinstance(layer, (ActivationQuantizer, Dense, EdgeTables)):
                layer.freeze()
        return converted(exact, np.float32)


def quantize_after_training(student: Student, integers: Int[np.ndarray, "B N F"], bits: int = 8) -> Student:
    """The frozen student with every weight and activation at `bits` bits and no further training: the baseline.

    Args:
        student: trained in floating point; it stays as it is.
        integers: calibration set.
        bits: of every number, its sign included; the range of a layer sets where they lie.

    Raises:
        ConfigError: it has no weights.
    """
    if student.config.kind in WEIGHTLESS:
        raise ConfigError(f"a student of kind {student.config.kind} has no weights to round after training")
    with jax.enable_x64(True):
        rounded = converted(student, np.float64)
        rounded.config = dataclasses.replace(student.config, quantized=True, weight_format="bits", uniform_bits=bits)
        for layer in leaves(rounded.layers):
            if isinstance(layer, (ActivationQuantizer, Dense)):
                layer.make_uniform(bits)
        return freeze(_calibrated(rounded, integers), integers)


def _calibrated(student: Student, integers: Int[np.ndarray, "B N F"]) -> Student:
    """A copy in float64 whose quantisers hold the extremes over `integers`."""
    exact = converted(student, np.float64)
    for layer in leaves(exact.layers):
        if isinstance(layer, ActivationQuantizer):
            layer.low[...], layer.high[...] = 0 * layer.low[...], 0 * layer.high[...]
    graphdef, state = nnx.split(exact)
    for start in range(0, len(integers), CHUNK):
        _, state = forward(graphdef, state, integers[start : start + CHUNK], "calibrate")
    return nnx.merge(graphdef, state)
