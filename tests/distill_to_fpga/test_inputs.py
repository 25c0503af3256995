import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_students import LAYOUT, adversarial

from distill_to_fpga.inputs import from_hardware, hardware_layout, to_hardware
from foundation.batch import Tokens
from foundation.errors import DataError, SchemaError
from foundation.schema import DetectorSchema, Feature, Hardware, Modality

SCHEMA = DetectorSchema(
    modalities={
        "particles": Modality(
            features={
                "energy": Feature("energy", "GeV"),
                "pt": Feature("pt", "GeV", hardware=Hardware(0.25, 4, False)),
                "deta": Feature("deta", hardware=Hardware(0.5, 3, True)),
            }
        ),
        "towers": Modality(features={"et": Feature("et", "GeV")}),
    }
)


def tokens(*rows):
    values = np.array(rows, np.float32)
    return Tokens(values, np.ones(values.shape[:2], bool))


def test_layout_takes_features_with_hardware_types():
    layout = hardware_layout(SCHEMA, "particles", tokens=8)
    assert list(layout.features) == ["pt", "deta"]
    assert layout.columns == (1, 2)
    assert (layout.low.tolist(), layout.high.tolist()) == ([0, -4], [15, 3])
    assert hardware_layout(SCHEMA, "particles", ["deta"], 8).columns == (2,)


@pytest.mark.parametrize(
    ("modality", "features", "message"),
    [
        ("particle", None, "did you mean 'particles'"),
        ("particles", ["energy"], "'energy' .* has no hardware type"),
        ("particles", ["ptt"], "'ptt' .* does not exist; did you mean 'pt'"),
        ("towers", None, "the trigger sees none of it"),
    ],
)
def test_layout_refuses_what_the_trigger_does_not_see(modality, features, message):
    with pytest.raises(SchemaError, match=message):
        hardware_layout(SCHEMA, modality, features)


def test_half_up_saturation_and_its_count():
    layout = hardware_layout(SCHEMA, "particles", tokens=3)
    given_tokens = tokens([[9, 1.125, -0.25], [9, 100.0, 1.5], [9, -1.0, -9.0]])
    integers, saturated = to_hardware(given_tokens, layout)
    assert integers.tolist() == [[[5, 0], [15, 3], [0, -4]]]
    assert integers.dtype == np.int32
    assert saturated.tolist() == [2, 1]


def test_absent_tokens_are_zeros_whatever_their_values():
    layout = hardware_layout(SCHEMA, "particles", tokens=3)
    values = np.full((1, 2, 3), 1.0, np.float32)
    values[0, 1] = np.nan
    integers, _ = to_hardware(Tokens(values, np.array([[True, False]])), layout)
    assert integers.tolist() == [[[4, 2], [0, 0], [0, 0]]]
    first, _ = to_hardware(tokens([[0, 1, 0]] * 5), layout)
    assert first.shape == (1, 3, 2)


def test_not_a_number_is_refused_by_name():
    with pytest.raises(DataError, match="'deta' of modality 'particles' is NaN"):
        to_hardware(tokens([[0, 1, np.nan]]), hardware_layout(SCHEMA, "particles"))


def test_too_few_columns():
    with pytest.raises(DataError, match="column 2 of tokens with 2 features"):
        to_hardware(tokens([[0, 1]]), hardware_layout(SCHEMA, "particles"))


@given(st.integers(0, 2**16))
@settings(deadline=None, max_examples=20)
def test_integers_survive_the_way_through_physical_values(seed):
    integers = np.random.default_rng(seed).permutation(adversarial())
    values = from_hardware(integers, LAYOUT)
    again, saturated = to_hardware(Tokens(values, np.ones(values.shape[:2], bool)), LAYOUT)
    assert (again == integers).all()
    assert not saturated.any()
