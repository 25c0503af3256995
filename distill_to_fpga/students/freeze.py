"""From a trained student to frozen integers: weights on their grid, activations with a calibrated, saturating type."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Int

from distill_to_fpga.quantize import MAX_FRACTION, ActivationQuantizer, integer_bits
from distill_to_fpga.students.layers import Dense, leaves
from distill_to_fpga.students.student import CHUNK, Student, converted, forward


def freeze(student: Student, integers: Int[np.ndarray, "B N F"]) -> Student:
    """A copy with integer types everywhere, ready for `predict`, `predict_exact`, `lower` and `save_student`.

    Weights are replaced by their quantised values; activations get the range that the calibration set needs and
    saturate outside it. All of this happens in float64, hence exactly.

    Args:
        student: trained; it stays as it is.
        integers: calibration set; the whole training set, say.
    """
    with jax.enable_x64(True):
        return snapshot(_calibrated(student, integers))


def snapshot(student: Student) -> Student:
    """A frozen copy of a student in training, its types from the extremes that activations have reached lately."""
    with jax.enable_x64(True):
        exact = converted(student, np.float64)
        for layer in leaves(exact.layers):
            if isinstance(layer, (ActivationQuantizer, Dense)):
                layer.freeze()
        return converted(exact, np.float32)


def quantize_after_training(student: Student, integers: Int[np.ndarray, "B N F"], bits: int = 8) -> Student:
    """The frozen student with every weight and activation at `bits` bits and no further training: the baseline.

    Args:
        student: trained in floating point; it stays as it is.
        integers: calibration set.
        bits: of every number, its sign included; the range of a layer sets where they lie.
    """
    with jax.enable_x64(True):
        fine = converted(student, np.float64)
        for layer in leaves(fine.layers):
            if isinstance(layer, ActivationQuantizer):
                layer.fraction[...] = jnp.full_like(layer.fraction[...], MAX_FRACTION)
            elif isinstance(layer, Dense):
                for values, fraction in ((layer.kernel, layer.kernel_fraction), (layer.bias, layer.bias_fraction)):
                    above = integer_bits(values[...].min(), values[...].max())
                    fraction[...] = jnp.full_like(fraction[...], bits - 1 - above)
        exact = _calibrated(fine, integers)
        for layer in leaves(exact.layers):
            if isinstance(layer, ActivationQuantizer):
                low, high = jnp.asarray(layer.low), jnp.asarray(layer.high)
                places = bits - (low < 0) - integer_bits(low, high)
                layer.fraction[...] = jnp.where(high > low, places, 0).astype(low.dtype)
    frozen = freeze(exact, integers)
    for layer in leaves(frozen.layers):
        if isinstance(layer, ActivationQuantizer):  # rounding up may have opened one more bit at the very top
            layer.bits[...] = jnp.minimum(layer.bits[...], bits)
    return frozen


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
