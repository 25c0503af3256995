"""Students that HGQ-like training must beat: widths that are not learnt."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_students import LAYOUT, adversarial, called, jets, learnable, student

from distill_to_fpga.adders import signed_digits
from distill_to_fpga.distill import distill
from distill_to_fpga.graph import run, to_real
from distill_to_fpga.lower import lower
from distill_to_fpga.objective import DistillConfig
from distill_to_fpga.quantize import ActivationQuantizer, quantize_uniform, uniform_fraction
from distill_to_fpga.students import StudentConfig, freeze, load_student, predict, predict_exact, save_student
from distill_to_fpga.students.settings import InteractionConfig, MixerConfig
from distill_to_fpga.ternary import nearest_power, quantize_binary, quantize_ternary
from foundation.errors import ConfigError

SHAPE = StudentConfig(kind="mlp", tokens=4, hidden=(12,))
BASELINES = {
    "uniform": replace(SHAPE, weight_format="bits", uniform_bits=6),
    "uniform by channel": replace(SHAPE, weight_format="bits", uniform_bits=8, weight_granularity="channel"),
    "ternary": replace(SHAPE, weight_format="ternary", kind="deepsets", phi=(8,), rho=(8,)),
    "binary": replace(SHAPE, weight_format="binary", kind="deepsets", phi=(16,), rho=(16,)),
    "ternary, 8 bits": replace(SHAPE, weight_format="ternary", uniform_bits=8),
}
TRAINING = DistillConfig(steps=300, batch=128)
CLASSES = ("signal", "background")


TRAIN, TEST = learnable(2000, 1), learnable(1000, 2)


def accuracy(made) -> float:
    return (predict_exact(made, TEST.integers).argmax(1) == TEST.labels).mean()


@pytest.fixture(scope="module", params=list(BASELINES))
def trained(request):
    return distill(TRAINING, BASELINES[request.param], TRAIN, CLASSES).student


def test_a_baseline_learns_and_is_exact_everywhere(trained, tmp_path):
    always_the_same = max(TEST.labels.mean(), 1 - TEST.labels.mean())
    assert accuracy(trained) > always_the_same + (0.1 if trained.config.weight_format != "binary" else 0.05)
    x = np.concatenate([jets(200, seed=9), adversarial()])
    exact = predict_exact(trained, x)
    graph = lower(trained, LAYOUT)
    assert (to_real(graph, "outputs", run(graph, {"particles": x})["outputs"]) == exact).all()
    assert (predict(trained, x) == exact).all()
    save_student(tmp_path, trained, LAYOUT)
    assert (predict_exact(load_student(tmp_path)[0], x) == exact).all()


def test_a_baseline_has_the_weights_it_says(trained):
    config = trained.config
    for layer in trained.dense():
        kernel = np.asarray(layer.kernel[...], np.float64)
        if config.weight_format == "bits":
            axes = 0 if config.weight_granularity == "channel" else None
            integers = np.ldexp(kernel, np.asarray(layer.kernel_fraction[...]).astype(int).max(axes))
            most = 2 ** (config.uniform_bits - 1)
            assert (integers == np.round(integers)).all()
            assert -most <= integers.min() < integers.max() < most
            continue
        powers = np.abs(kernel).max(0)
        assert np.isin(kernel, [-powers, 0 * powers, powers]).all()
        assert (np.log2(powers[powers > 0]) % 1 == 0).all()
        assert (kernel != 0).all() == (config.weight_format == "binary")
    if config.uniform_bits:
        quantizers = [layer for layer in trained.layers if isinstance(layer, ActivationQuantizer)]
        assert max(int(layer.bits[...].max()) for layer in quantizers) == config.uniform_bits


def test_the_price_of_three_values_is_an_adder_each():
    made = freeze(student(BASELINES["ternary"]), jets(200))
    for layer in made.dense():
        kernel = np.asarray(layer.kernel[...])
        assert (np.asarray(layer.digits("fixed")) == (kernel != 0)).all()


@given(st.integers(0, 10_000), st.floats(-3, 3))
@settings(deadline=None, max_examples=30)
def test_ternary_and_binary_weights_follow_size_and_sign(seed, size):
    x = jnp.asarray(np.random.default_rng(seed).normal(size=(12, 3)) * 2.0**size, jnp.float32)
    three, two = quantize_ternary(x), quantize_binary(x)
    for q in (three, two):
        assert (np.sign(q) * np.sign(x) >= 0).all()
        assert all(len(list(signed_digits(round(float(v) * 2**16)))) <= 1 for v in np.asarray(q).ravel())
    dropped = np.where(three == 0, np.abs(x), 0).max(0)
    assert (dropped <= 0.7001 * np.abs(x).mean(0)).all()
    np.testing.assert_array_equal(quantize_ternary(4 * x), 4 * three)  # no absolute scale is built in


def test_gradients_pass_straight_through():
    x = jnp.asarray([[0.3, -2.0], [0.01, 0.5]])
    for function in (quantize_ternary, quantize_binary, lambda v: quantize_uniform(v, v.min(), v.max(), 3)):
        _, slope = jax.vjp(function, x)
        np.testing.assert_array_equal(slope(jnp.full_like(x, 3.0))[0], 3)


def test_the_nearest_power_is_the_nearest():
    x = jnp.asarray([1.0, 1.49, 1.51, 0.7, 3.1, 1e-9])
    assert nearest_power(x).tolist() == [1.0, 1.0, 2.0, 0.5, 4.0, 2.0**-16]


@given(st.integers(2, 10), st.integers(0, 10_000), st.booleans())
@settings(deadline=None, max_examples=30)
def test_uniform_numbers_have_their_bits_and_no_more(bits, seed, signed):
    x = np.random.default_rng(seed).normal(size=50) * 3
    x = jnp.asarray(x if signed else np.abs(x), jnp.float32)
    low, high = jnp.minimum(x.min(), 0), x.max()
    q = np.asarray(quantize_uniform(x, low, high, bits), np.float64)
    step = 2.0 ** -int(uniform_fraction(low, high, bits))
    assert (q / step == np.round(q / step)).all()
    assert -(2 ** (bits - 1)) * signed <= (q / step).min()
    assert (q / step).max() < 2 ** (bits - signed)
    assert np.abs(q - x).max() <= 2.0 * max(-float(low), float(high)) * 2.0 ** -(bits - signed)


def test_after_training_few_bits_lose_what_training_with_them_keeps():
    """At four bits; and what comes of it is an ordinary student with firmware."""
    after = distill(replace(TRAINING, quantize_after=4), replace(SHAPE, weight_format="bits"), TRAIN, CLASSES).student
    during = distill(TRAINING, replace(SHAPE, weight_format="bits", uniform_bits=4), TRAIN, CLASSES).student
    fine = distill(replace(TRAINING, quantize_after=12), SHAPE, TRAIN, CLASSES).student
    assert accuracy(fine) > 0.95
    assert accuracy(after) < accuracy(during) < accuracy(fine) + 0.01
    assert after.config.quantized
    graph = lower(after, LAYOUT)
    x = adversarial()
    assert (to_real(graph, "outputs", run(graph, {"particles": x})["outputs"]) == predict_exact(after, x)).all()


FAMILIES = {
    "interaction": replace(SHAPE, kind="interaction", interaction=InteractionConfig((5,), 4, (3,)), rho=(4,)),
    "mixer": replace(SHAPE, kind="mixer", mixer=MixerConfig(width=4, tokens=3, features=5), rho=(4,)),
    "cnn": replace(SHAPE, kind="cnn", image=(2, 2), patch=(1, 2), filters=3, hidden=(4,)),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", [{"weight_format": "bits", "uniform_bits": 6}, {"weight_format": "ternary"}])
def test_baselines_of_other_families_are_exact(family, form):
    made = student(replace(FAMILIES[family], **form))
    called(made, jets(300), "train")
    frozen = freeze(made, jets(500))
    x = np.concatenate([jets(100, seed=9), adversarial()])
    exact = predict_exact(frozen, x)
    assert len(np.unique(exact[:, 0])) > 20
    graph = lower(frozen, LAYOUT)
    assert (to_real(graph, "outputs", run(graph, {"particles": x})["outputs"]) == exact).all()


@pytest.mark.parametrize(
    ("training", "shape", "message"),
    [
        ({"quantize_after": 8}, replace(SHAPE, kind="trees"), "quantize_after: a student of kind trees has no weights"),
        ({"quantize_after": 1}, SHAPE, "quantize_after must be 0 or 2 to 16"),
        ({"quantize_after": 8, "lut_budget": 1000}, SHAPE, "set the budget to null"),
        ({"lut_budget": 1000}, BASELINES["uniform"], "set the budget to null"),
        ({"ebops_budget": 1000}, BASELINES["binary"], "set the budget to null"),
        ({}, replace(SHAPE, uniform_bits=8), "needs student.weight_format bits, ternary or binary"),
        ({}, replace(SHAPE, uniform_bits=40, weight_format="bits"), "uniform_bits must be 0"),
    ],
)
def test_settings_that_do_not_go_together(training, shape, message):
    with pytest.raises(ConfigError, match=message):
        distill(replace(TRAINING, **training), shape, TRAIN, CLASSES)
