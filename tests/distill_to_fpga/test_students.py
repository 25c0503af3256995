from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_students import LAYOUT, called, examples, jets, scatter_widths, slopes, student

from distill_to_fpga.quantize import ActivationQuantizer
from distill_to_fpga.students import (
    StudentConfig,
    build_student,
    freeze,
    input_scaling,
    load_student,
    predict,
    predict_exact,
    quantize_after_training,
    save_student,
)
from distill_to_fpga.students.layers import Dense, WeightSettings
from foundation.errors import ConfigError, RunError

DEEPSETS = StudentConfig(kind="deepsets", tokens=4, phi=(5, 3), rho=(4,))
MLP = StudentConfig(kind="mlp", tokens=4, hidden=(6,))


@pytest.fixture(scope="module", params=[DEEPSETS, MLP], ids=["deepsets", "mlp"])
def frozen(request):
    return freeze(scatter_widths(student(request.param), seed=1), jets(500))


def quantizers(made):
    return [layer for layer in made.layers if isinstance(layer, ActivationQuantizer)]


def test_outputs_are_classes_then_regressions(frozen):
    assert predict(frozen, jets(500)).shape == (500, 3)
    assert (frozen.classes, frozen.regressions) == (("signal", "background"), ("pt",))


def test_deepsets_is_indifferent_to_the_order_of_tokens_and_mlp_is_not():
    x = jets(500)
    for config, indifferent in ((DEEPSETS, True), (MLP, False)):
        made = freeze(student(config), x)
        assert (predict(made, x) == predict(made, x[:, ::-1])).all() == indifferent


def test_float32_equals_float64_where_widths_allow(frozen):
    assert (predict(frozen, examples()).astype(np.float64) == predict_exact(frozen, examples())).all()


def test_freezing_changes_nothing_on_the_calibration_set():
    """There, no activation saturates, so the training-time forward pass already gave the frozen numbers."""
    x = jets(500)
    trained = scatter_widths(student(DEEPSETS), seed=3)
    before = called(trained, x, "train")
    assert (before == predict(freeze(trained, x), x)).all()


def test_freezing_twice_is_freezing_once(frozen):
    again = freeze(frozen, jets(500))
    for (path, one), (_, two) in zip(nnx.to_flat_state(nnx.state(frozen)), nnx.to_flat_state(nnx.state(again))):
        assert (one[...] == two[...]).all(), path


def test_activations_saturate_only_beyond_the_calibration_set():
    x = jets(500)
    narrow = freeze(student(MLP), x // 4)
    wide = freeze(student(MLP), x)
    assert (predict(narrow, x // 4) == predict(wide, x // 4)).all()
    assert (predict(narrow, x) != predict(wide, x)).any()


def test_ebops_by_hand():
    config = StudentConfig(kind="deepsets", tokens=4, phi=(1,), rho=(), weight_format="bits")
    made = build_student(config, np.zeros(2, int), np.zeros(2, int), ("a", "b"))
    phi, rho = made.dense()
    phi.kernel[...] = jnp.asarray([[1.25], [0.001]])  # 101b: 3 bits; pruned
    rho.kernel[...] = jnp.asarray([[0.5, -0.75]])  # 1 and 2 bits
    x = np.zeros((1, 4, 2), np.int32)
    x[0, 0] = [7, 1]  # inputs of 3 bits and 1 bit, unsigned; phi = 8.75 = 100011b / 4
    hidden = 6  # 8.75 in quarters; then the sum over tokens, halved once: 4.375 in eighths
    made = freeze(made, x)
    widths = [layer.width("fixed").tolist() for layer in quantizers(made)]
    assert widths == [[3, 1], [hidden + 3], [hidden + 2]]  # 5 fractional bits and the bits above the point
    assert float(made.ebops()) == 4 * (3 * 3 + 1 * 0) + (hidden + 2) * (1 + 2)
    assert float(made.total_bits()) == 3 + 1 + 9 + 8 + (3 + 0) + (1 + 2)


@pytest.mark.parametrize("weights", ["digits", "bits"])
def test_ebops_have_a_gradient_on_every_width_that_counts(weights):
    made = student(replace(DEEPSETS, weight_format=weights))
    called(made, jets(100), "train")
    flat = slopes(made, lambda m: m.ebops("train"))
    before_the_sum = f"layers/{len(made.layers) - 7}/fraction"  # feeds adders only, which are not counted
    for path, slope in flat.items():
        assert (slope >= 0).all()
        assert (slope > 0).any() != (path.endswith("bias_fraction") or path == before_the_sum), path


def test_a_pruned_weight_may_come_back():
    """With no bits left, q = 0 and delta = w: the loss still has a gradient on the width."""
    dense = Dense(2, 1, WeightSettings("bits", "weight", 2, -6.0), np.random.default_rng(0))
    x = jnp.asarray([[3.0, -1.0]])
    assert float(dense.ebops(jnp.ones(2), "train")) == 0
    slope = slopes(dense, lambda layer: layer(x, "train").sum())["kernel_fraction"]
    expected = np.log(2) * dense.kernel[...] * x.T
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


def test_input_scaling_keeps_zero_unless_the_mean_is_far_from_it():
    random = np.random.default_rng(0)
    x = np.stack([random.normal(0, 16, (500, 4)), random.normal(100, 8, (500, 4)), np.zeros((500, 4))], -1)
    offset, shift = input_scaling(np.round(x).astype(np.int32))
    assert offset[0] == 0
    assert offset[1] == pytest.approx(100, abs=1)
    assert offset[2] == 0
    assert shift.tolist() == [4, 3, 0]


def test_post_training_quantisation_is_close_at_many_bits_and_far_at_few():
    x = jets(500)
    made = student(replace(DEEPSETS, quantized=False))
    reference = predict(made, x)
    rounded = [quantize_after_training(made, x, bits) for bits in (14, 8, 3)]
    errors = [np.abs(predict_exact(each, x) - reference).mean() for each in rounded]
    assert errors[0] < 0.02 * reference.std()
    assert errors[0] < errors[1] < errors[2]
    assert all(int(layer.bits[...].max()) <= 8 for layer in quantizers(rounded[1]))


def test_reloading_gives_the_same_numbers(tmp_path, frozen):
    save_student(tmp_path / "student", frozen, LAYOUT)
    again, layout = load_student(tmp_path / "student")
    assert (layout, again.config) == (LAYOUT, frozen.config)
    assert (predict_exact(again, examples()) == predict_exact(frozen, examples())).all()
    assert (predict(again, examples()) == predict(frozen, examples())).all()
    assert again.ebops() == frozen.ebops()


def test_a_student_whose_weights_shared_widths_reloads_too(tmp_path):
    made = freeze(student(replace(MLP, weight_granularity="tensor", activation_granularity="tensor")), jets(200))
    save_student(tmp_path, made, LAYOUT)
    assert (predict(load_student(tmp_path)[0], jets(20)) == predict(made, jets(20))).all()


def test_a_floating_point_student_reloads_too(tmp_path):
    made = student(replace(MLP, quantized=False, weight_granularity="channel"))
    save_student(tmp_path, made, LAYOUT)
    assert (predict(load_student(tmp_path)[0], jets(20)) == predict(made, jets(20))).all()


def test_damaged_students_are_refused(tmp_path):
    with pytest.raises(RunError, match=r"holds no student: .*student\.json is missing"):
        load_student(tmp_path)
    save_student(tmp_path, student(MLP), LAYOUT)
    (tmp_path / "student.npz").write_bytes((tmp_path / "student.npz").read_bytes()[:300])
    with pytest.raises(RunError, match="is damaged"):
        load_student(tmp_path)
    save_student(tmp_path, student(MLP), LAYOUT)
    text = (tmp_path / "student.json").read_text()
    (tmp_path / "student.json").write_text(text.replace('"kind": "mlp"', '"kind": "deepsets"'))
    with pytest.raises(RunError, match=r"student.npz does not fit student.json"):
        load_student(tmp_path)


def test_impossible_shapes():
    with pytest.raises(ConfigError, match="at least 1"):
        student(replace(MLP, hidden=(0,)))
    with pytest.raises(ConfigError, match="at least one per-token layer"):
        student(replace(DEEPSETS, phi=()))
