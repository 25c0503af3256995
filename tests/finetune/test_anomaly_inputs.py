"""What an anomaly method sees: places, angles, the board's integers, images."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from toy_crossings import changed, crossings, toy_store

from distill_to_fpga.inputs import hardware_layout, to_hardware
from finetune.anomaly.inputs import HardwareFeatures, RawConfig, RawInputs
from foundation.batch import TokenBatch, Tokens
from foundation.embedding import input_statistics
from foundation.errors import ConfigError
from foundation.hardware_inputs import edges, input_scaling, to_counts
from foundation.models.saved import blank_statistics
from foundation.schema import DetectorSchema, Hardware

SCHEMA = changed(dict)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("inputs"), crossings())


def batch_of(values, mask, met=0.0):
    values, mask = np.asarray(values, np.float32), np.asarray(mask, bool)
    none = Tokens(np.zeros((len(values), 1, 3), np.float32), np.zeros((len(values), 1), bool))
    rows = len(values)
    return TokenBatch({"jets": Tokens(values, mask), "muons": none}, np.full((rows, 1), met, np.float32), {},
                      np.ones(rows, np.float32), np.arange(rows, dtype=np.int32))  # fmt: skip


def test_objects_lie_in_their_places_and_absent_ones_are_zeros(store):
    inputs = RawInputs(SCHEMA, input_statistics(store), RawConfig())
    assert inputs.shape == (4 * 3 + 2 * 3 + 1,)
    assert inputs.names[0] == "jets[0].pt"
    assert inputs.names[-1] == "globals[0].met"
    x = np.asarray(inputs(batch_of([[[50, 1, 1]]], [[True]])))[0]
    assert (x[:3] != 0).all()
    np.testing.assert_array_equal(x[3:18], 0)
    fewer = RawInputs(SCHEMA, input_statistics(store), RawConfig(places={"jets": 1}, globals=False))
    np.testing.assert_array_equal(np.asarray(fewer(batch_of([[[50, 1, 1], [9, 0, 0]]], [[True, True]])))[0], x[:3])


def test_an_angle_as_sine_and_cosine_has_no_seam(store):
    inputs = RawInputs(SCHEMA, input_statistics(store), RawConfig(places={"jets": 2}, angles="sincos", globals=False))
    assert inputs.names[:4] == ["jets[0].pt", "jets[0].eta", "jets[0].sin(phi)", "jets[0].cos(phi)"]
    turn = [[[50, 1, 0.001]], [[50, 1, 2 * np.pi - 0.001]]]
    x = np.asarray(inputs(batch_of(turn, [[True], [True]])))
    np.testing.assert_allclose(x[0], x[1], atol=0.003)
    np.testing.assert_array_equal(x[:, 4:], 0)


def test_hardware_inputs_are_those_of_a_student_of_the_same_integers(store):
    """distill_to_fpga's rule for the integers, and for their offset and shift, empty slots included."""
    rows = np.arange(store.length("train"))
    batch = store.read("train", rows)
    layout = hardware_layout(SCHEMA, "jets", tokens=4)
    integers, _ = to_hardware(batch.modalities["jets"], layout)
    offset, shift = input_scaling(integers)
    expected = ((integers - offset) * 2.0**-shift).reshape(len(rows), -1)
    inputs = RawInputs(
        SCHEMA, blank_statistics(SCHEMA), RawConfig(places={"jets": 4}, scaling="hardware", globals=False)
    )
    fitted = inputs.fit(np.asarray(inputs.counts(batch)))
    np.testing.assert_array_equal(fitted, expected.astype(np.float32))
    np.testing.assert_array_equal(np.asarray(inputs(batch)), fitted)


def test_hardware_integers_saturate_at_the_declared_bits():
    jets = HardwareFeatures(SCHEMA.modalities["jets"].features)
    values = np.array([[[1e6, 99.0, 1.0], [-3.0, -99.0, 0.0]]], np.float32)
    counts = np.asarray(jets.counts(values, np.array([[True, True]])))
    np.testing.assert_array_equal(counts[0, :, :2], [[511, 63], [0, -64]])
    assert np.isfinite(np.asarray(jets(jnp.asarray(values), np.array([[True, False]])))).all()


def test_values_on_the_grid_are_their_integers():
    kind = Hardware(0.01090830782496456, 10, False)
    integers = np.arange(577)
    values = (integers * kind.lsb).astype(np.float32)[:, None]
    np.testing.assert_array_equal(to_counts(values, [kind])[:, 0], integers)
    np.testing.assert_array_equal(np.asarray(to_counts(jnp.asarray(values), [kind], jnp))[:, 0], integers)


def test_an_energy_is_saturated_at_its_largest_integer_and_an_angle_beyond():
    low, high = edges([Hardware(0.5, 9, False), Hardware(0.1, 7), None], ["GeV", "", ""])
    assert 255.0 < high[0] < 255.5
    assert high[1] > 6.3
    assert low[0] < 0
    assert low[1] < -6.4
    assert np.isinf(high[2])


def test_a_grid_of_one_feature_is_an_image_and_any_other_a_vector():
    def image(shape, features):
        named = {name: {"expression": name, "hardware": {"bits": 10, "signed": False}} for name in features}
        grid = {"shape": shape, "row": "r", "column": "c"}
        return DetectorSchema.load(
            {"modalities": {"image": {"max_tokens": shape[0] * shape[1], "grid": grid, "features": named}}}
        )

    regions = image([3, 2], ["et"])
    inputs = RawInputs(regions, blank_statistics(regions), RawConfig())
    assert inputs.shape == (3, 2)
    batch = TokenBatch({"image": Tokens(np.arange(6, dtype=np.float32).reshape(1, 6, 1), np.ones((1, 6), bool))},
                       np.zeros((1, 0), np.float32), {}, np.ones(1, np.float32), np.zeros(1, np.int32))  # fmt: skip
    np.testing.assert_array_equal(np.asarray(inputs(batch))[0], [[0, 1], [2, 3], [4, 5]])
    integers = RawInputs(regions, blank_statistics(regions), RawConfig(scaling="hardware"))
    assert integers.fit(np.asarray(integers.counts(batch))).shape == (1, 3, 2)
    column = image([19, 1], ["pt", "eta", "phi"])
    assert RawInputs(column, blank_statistics(column), RawConfig()).shape == (57,)


@pytest.mark.parametrize("preset", ["data/l1events_axol1tl", "data/axol1tl"])
def test_the_two_layouts_of_the_19_objects_give_one_vector(preset):
    schema = DetectorSchema.load(preset)
    values = np.random.default_rng(0).random((2, 19, 3)).astype(np.float32)
    batch = TokenBatch({"objects": Tokens(values, np.ones((2, 19), bool))}, np.zeros((2, 0), np.float32), {},
                       np.ones(2, np.float32), np.arange(2, dtype=np.int32))  # fmt: skip
    for scaling in ("standard", "hardware"):
        inputs = RawInputs(schema, blank_statistics(schema), RawConfig(scaling=scaling))
        assert inputs.shape == (57,)
        axol1tl = DetectorSchema.load("data/axol1tl")
        other = RawInputs(axol1tl, blank_statistics(axol1tl), RawConfig(scaling=scaling))
        np.testing.assert_array_equal(np.asarray(inputs(batch)), np.asarray(other(batch)))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (RawConfig(places={"jetz": 1}), "no modality 'jetz'"),
        (RawConfig(places={"jets": 5}), "1 to 4 objects"),
        (RawConfig(scaling="hardware", angles="sincos"), "no integer of the board"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(config, words):
    with pytest.raises(ConfigError, match=words):
        RawInputs(SCHEMA, blank_statistics(SCHEMA), config)


def test_features_without_a_hardware_type_are_left_out_and_named():
    schema = changed(lambda s: s["modalities"]["jets"]["features"]["eta"].pop("hardware"))
    inputs = RawInputs(schema, blank_statistics(schema), RawConfig(scaling="hardware"))
    assert inputs.left_out == ("jets.eta",)
    assert "jets[0].eta" not in inputs.names
