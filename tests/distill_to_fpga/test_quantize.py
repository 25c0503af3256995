import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_to_fpga.quantize import (
    ActivationQuantizer,
    bit_width,
    constant_width,
    integer_bits,
    power_of_two,
    quantize,
    round_half_up,
)

FRACTIONS = st.integers(-6, 12)
NUMBERS = st.floats(-100, 100, width=32)


def q(x, fraction):
    return np.asarray(quantize(jnp.asarray(x, jnp.float32), jnp.asarray(fraction, jnp.float32)), np.float64)


@given(st.lists(NUMBERS, min_size=1, max_size=20), FRACTIONS)
@settings(deadline=None, max_examples=50)
def test_quantised_values_are_the_nearest_grid_points(values, fraction):
    x = np.array(values, np.float32).astype(np.float64)
    got = q(x, fraction)
    assert (got == np.floor(x * 2.0**fraction + 0.5) * 2.0**-fraction).all()  # in float64: no rounding error
    assert (q(got, fraction) == got).all()  # idempotent
    assert (q(got, fraction + 1) == got).all()  # a finer grid contains the coarser one
    assert (np.diff(q(np.sort(x), fraction)) >= 0).all()  # monotonic


def test_halves_go_up_even_next_to_the_limit_of_float32():
    below = np.nextafter(np.float32(0.5), np.float32(0))  # below + 0.5 rounds to 1 in float32
    x = jnp.asarray([below, 0.5, -0.5, -1.5, 2.5, 2.0**23 - 0.5, 2.0**23 + 1], jnp.float32)
    assert round_half_up(x).tolist() == [0, 1, 0, -1, 3, 2.0**23, 2.0**23 + 1]


def test_powers_of_two_are_exact_in_both_precisions():
    exponents = np.arange(-126, 128)
    assert (np.asarray(power_of_two(jnp.asarray(exponents))) == np.ldexp(np.float32(1), exponents)).all()
    with jax.enable_x64(True):
        assert (np.asarray(power_of_two(jnp.asarray(exponents))) == np.ldexp(1.0, exponents)).all()


def test_gradient_of_x_is_straight_through_and_that_of_f_is_ln2_delta():
    x, f = jnp.asarray([0.3, -1.24, 5.0]), jnp.asarray([1.0, 2.0, 0.0])
    slope_x, slope_f = jax.grad(lambda x, f: (jnp.asarray([1.0, 2.0, 3.0]) * quantize(x, f)).sum(), (0, 1))(x, f)
    assert slope_x.tolist() == [1, 2, 3]
    delta = np.asarray(x) - q(x, f)
    np.testing.assert_allclose(slope_f, np.log(2) * delta * [1, 2, 3], rtol=1e-6)


def test_gradient_of_f_predicts_how_the_error_shrinks():
    """One bit more quarters E[delta^2]: the surrogate, d E[delta^2] / df = -2 ln2 E[delta^2], says so."""
    x = jnp.asarray(np.random.default_rng(0).uniform(-4, 4, 200_000), jnp.float32)

    def error(f):
        return ((x - quantize(x, f)) ** 2).mean()

    surrogate = jax.grad(error)(jnp.asarray(4.0)) / error(jnp.asarray(4.0))
    finite = (np.log(error(jnp.asarray(5.0))) - np.log(error(jnp.asarray(3.0)))) / 2
    assert surrogate == pytest.approx(finite, rel=0.02)
    assert finite == pytest.approx(-2 * np.log(2), rel=0.02)


@pytest.mark.parametrize(
    ("low", "high", "bits"),
    [(0, 1, 1), (0, 0.75, 0), (0, 3.5, 2), (0, 4, 3), (-4, 0, 2), (-4.5, 0, 3), (-1, 0.25, 0), (0, 0.125, -2)],
)
def test_integer_bits(low, high, bits):
    got = integer_bits(jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32))
    assert got == bits
    assert -(2.0**bits) <= low
    assert high < 2.0**bits  # and they do hold the range


def test_a_range_of_zero_has_no_bits_and_pulls_on_no_width():
    zero = jnp.zeros(())
    value, slope = jax.value_and_grad(lambda f: bit_width(zero, zero, f))(jnp.asarray(8.0))
    assert (value, slope) == (0, 0)


def test_shared_widths_are_pulled_with_the_root_of_their_number():
    one, f = jnp.ones(()), jnp.asarray(3.0)
    value, slope = jax.value_and_grad(lambda f: bit_width(-one, one, f, group=16))(f)
    assert value == 4
    assert slope == 0.25


def test_constant_width_counts_from_first_to_last_bit():
    constants = jnp.asarray([[0.75, 3.0], [0.0, -0.5], [0.01, 1.25]])
    per_weight = constant_width(constants, jnp.full((3, 2), 4.0))
    assert per_weight.tolist() == [[2, 2], [0, 1], [0, 3]]  # 0.11, 11, 0, 0.1, rounds to 0, 1.01
    assert constant_width(constants, jnp.full((1, 2), 0.0)).tolist() == [[1, 2], [0, 0], [0, 1]]  # -0.5 rounds up to 0


def test_saturation_after_freezing():
    quantizer = ActivationQuantizer((2,), 1.0)
    seen = jnp.asarray([[1.2, -3.0], [2.9, 0.5]])
    quantizer(seen, "calibrate")
    quantizer.freeze()
    assert quantizer.bits[...].tolist() == [3, 4]  # 2.9 rounds to 3.0 = 110b in halves; -3 = -6 halves
    assert quantizer.signed[...].tolist() == [0, 1]
    got = quantizer(jnp.asarray([[100.0, 100.0], [-100.0, -100.0], [2.9, -3.0]]), "fixed")
    assert got.tolist() == [[3.5, 3.5], [0, -4], [3, -3]]


def test_extremes_are_forgotten_in_training_and_kept_in_calibration():
    kept, fading = ActivationQuantizer((1,), 4.0), ActivationQuantizer((1,), 4.0)
    for value in (8.0, *[1.0] * 500):
        x = jnp.asarray([[value]])
        kept(x, "calibrate")
        fading(x, "train")
    assert kept.high[...].tolist() == [8]
    assert fading.high[...].tolist() == [1]
    assert fading.width("train").tolist() == [5]
