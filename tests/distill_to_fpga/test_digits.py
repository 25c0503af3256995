"""Weights of few signed powers of two."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_students import slopes

from distill_to_fpga.adders import signed_digits
from distill_to_fpga.digits import FINEST, MOST_DIGITS, count_digits, nearest_powers, quantize_digits
from distill_to_fpga.students.layers import Dense, WeightSettings

WEIGHTS = st.floats(-8, 8, width=32)
POWERS = [sign * 2.0**e for e in range(-FINEST, 5) for sign in (-1, 1)]


def quantized(x: float, digits: float) -> float:
    return float(quantize_digits(jnp.asarray([x]), jnp.asarray([float(digits)]))[0])


@given(WEIGHTS)
@settings(deadline=None)
def test_one_digit_is_the_nearest_power_of_two(x):
    q = quantized(x, 1)
    best = min(POWERS, key=lambda power: abs(power - x))
    assert abs(x - q) <= abs(x - best) * (1 + 1e-6) or abs(x) < 2.0**-FINEST


@given(WEIGHTS)
@settings(deadline=None)
def test_each_digit_leaves_at_most_a_third_unless_the_finest_is_reached(x):
    errors = [abs(x - quantized(x, digits)) for digits in range(MOST_DIGITS + 1)]
    assert errors[0] == pytest.approx(abs(x))
    for before, after in itertools.pairwise(errors):
        assert after <= max(before / 3 * (1 + 1e-5), 2.0**-FINEST)


@given(WEIGHTS, st.integers(0, MOST_DIGITS))
@settings(deadline=None)
def test_no_more_digits_than_asked_for_and_the_sign_does_not_matter(x, digits):
    q = quantized(x, digits)
    assert len(list(signed_digits(round(q * 2**FINEST)))) <= digits
    assert quantized(-x, digits) == -q


@given(st.integers(-(2**20), 2**20))
@settings(deadline=None)
def test_counted_digits_are_those_of_the_canonical_form(n):
    assert int(count_digits(jnp.asarray([n]))[0]) == len(list(signed_digits(abs(n))))


def test_gradients_are_those_of_the_docstring():
    x, digits = jnp.asarray([0.7, -0.3, 0.05]), jnp.asarray([1.0, 0.0, 2.0])
    slope_x, slope_digits = jax.grad(lambda *both: quantize_digits(*both).sum(), argnums=(0, 1))(x, digits)
    np.testing.assert_array_equal(slope_x, 1)
    np.testing.assert_allclose(slope_digits, np.log(3) * (x - quantize_digits(x, digits)), rtol=1e-6)


def test_what_is_small_has_no_digit_and_extremes_are_finite():
    assert quantized(2.0**-FINEST / 4, 3) == 0
    assert quantized(0.0, 3) == 0
    assert np.isfinite(quantized(1e30, 3))
    assert sum(float(d[0]) for d in nearest_powers(jnp.asarray([0.4375]))) == 0.4375


def test_a_pruned_weight_costs_nothing_and_may_come_back():
    dense = Dense(2, 1, WeightSettings("digits", "weight", 0, 4.0), np.random.default_rng(0))
    x = jnp.asarray([[3.0, -1.0]])
    assert float(dense.luts(jnp.ones(2), "train")) == float(dense.ebops(jnp.ones(2), "train")) == 0
    slope = slopes(dense, lambda layer: layer(x, "train").sum())["kernel_digits"]
    np.testing.assert_allclose(slope, np.log(3) * dense.kernel[...] * x.T, rtol=1e-5)


def test_the_price_of_a_digit_is_an_adder_as_wide_as_the_input():
    dense = Dense(3, 2, WeightSettings("digits", "weight", 1, 4.0), np.random.default_rng(0))
    dense.kernel[...] = jnp.asarray([[1.0, -0.5], [0.25, 2.0], [4.0, 1.0]])
    assert float(dense.luts(jnp.asarray([4.0, 0.0, 6.0]), "train")) == 2 * (4 + 1.5) + 2 * (6 + 1.5)


def test_freezing_keeps_the_numbers_of_training():
    dense = Dense(4, 3, WeightSettings("digits", "weight", 2, 4.0), np.random.default_rng(1))
    x = jnp.asarray(np.random.default_rng(2).normal(size=(20, 4)), jnp.float32)
    dense.bias[...] = jnp.asarray([0.3, -1.2, 0.0])
    before = np.asarray(dense(x, "train"))
    dense.freeze()
    np.testing.assert_array_equal(dense(x, "fixed"), before)
    integers = np.ldexp(np.asarray(dense.kernel[...], np.float64), np.asarray(dense.kernel_fraction[...]).astype(int))
    assert (integers == np.round(integers)).all()
    assert ((integers.astype(int) & 1) | (integers == 0)).all()
