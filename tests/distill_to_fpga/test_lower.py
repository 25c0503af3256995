import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_students import LAYOUT, adversarial, jets, scatter_widths, student

from distill_to_fpga.graph import FixedPointGraph, run, to_real
from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.lower import inexact_in_float32, lower
from distill_to_fpga.students import StudentConfig, build_student, freeze, predict, predict_exact
from foundation.errors import ConfigError
from foundation.schema import Hardware

WIDTHS = st.lists(st.integers(1, 5), min_size=1, max_size=2).map(tuple)
GRANULARITY = st.sampled_from(["weight", "channel", "tensor"])


def interpreted(graph: FixedPointGraph, x: np.ndarray) -> np.ndarray:
    return to_real(graph, "outputs", run(graph, {"particles": x})["outputs"])


def examples() -> np.ndarray:
    return np.concatenate([jets(200, seed=9), adversarial()])


@pytest.mark.slow
@given(
    kind=st.sampled_from(["deepsets", "mlp"]),
    widths=WIDTHS,
    weights=GRANULARITY,
    form=st.sampled_from(["digits", "bits"]),
    activations=st.sampled_from(["channel", "tensor"]),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=8)
def test_graph_student_and_float64_give_identical_numbers(kind, widths, weights, form, activations, seed):
    config = StudentConfig(
        kind=kind,
        tokens=4,
        phi=widths,
        rho=widths[1:],
        hidden=widths,
        weight_granularity=weights,
        weight_format=form,
        activation_granularity=activations,
    )
    made = freeze(scatter_widths(student(config, seed), seed), jets(200, seed))
    graph = lower(made, LAYOUT)
    x = examples()
    exact = predict_exact(made, x)
    assert (interpreted(graph, x) == exact).all()
    if not inexact_in_float32(graph):
        assert (predict(made, x) == exact).all()


def test_the_numbers_are_not_trivial():
    made = freeze(student(StudentConfig(tokens=4, phi=(5, 3), rho=(4,)), seed=3), jets(200))
    outputs = interpreted(lower(made, LAYOUT), examples())
    assert all(len(np.unique(column)) > 50 for column in outputs.T)


def test_offsets_are_part_of_the_firmware():
    x = jets(200) + np.array([300, 0, 0], np.int32)
    made = build_student(StudentConfig(tokens=4), np.array([300, -7, 0]), np.array([4, 2, -1]), ("a", "b"))
    frozen = freeze(made, x)
    graph = lower(frozen, LAYOUT)
    assert (interpreted(graph, x) == predict_exact(frozen, x)).all()
    shifted = freeze(build_student(StudentConfig(tokens=4), np.zeros(3, int), np.array([4, 2, -1]), ("a", "b")), x)
    assert (interpreted(lower(shifted, LAYOUT), x) != predict_exact(frozen, x)).any()


@pytest.mark.parametrize("weights", ["digits", "bits"])
def test_weights_without_bits_are_zeros_of_the_graph(weights):
    made = student(StudentConfig(tokens=4, phi=(5, 3), rho=(4,), weight_format=weights))
    first = made.dense()[0]
    width = first.kernel_digits if weights == "digits" else first.kernel_fraction
    width[...] = width[...].at[0].set(-8.0)
    graph = lower(freeze(made, jets(200)), LAYOUT)
    weight = next(node.op for node in graph.nodes if node.op.kind == "dense").weight
    assert (weight[0] == 0).all()
    assert (weight[1:] != 0).any()


def test_what_float32_cannot_hold_is_named():
    """Inputs of 31 bits kept to the last bit: float32 differs, float64 and the graph do not."""
    layout = HardwareLayout("particles", 4, {"wide": Hardware(1.0, 31, False)}, (0,))
    config = StudentConfig(kind="mlp", tokens=4, hidden=(3,), activation_fraction=20, weight_fraction=6)
    x = np.random.default_rng(0).integers(0, 2**31 - 1, (300, 4, 1)).astype(np.int32)
    made = freeze(build_student(config, np.zeros(1, int), np.array([20]), ("a", "b")), x)
    graph = lower(made, layout)
    assert "particles" in inexact_in_float32(graph)
    assert (interpreted(graph, x) == predict_exact(made, x)).all()
    assert (predict(made, x) != predict_exact(made, x)).any()
    assert inexact_in_float32(lower(freeze(student(StudentConfig(tokens=4)), jets(100)), LAYOUT)) == {}


def test_refusals():
    made = freeze(student(StudentConfig(tokens=4)), jets(100))
    with pytest.raises(ConfigError, match="takes 4 tokens of 3 features, the layout has 4 of 1"):
        lower(made, HardwareLayout("particles", 4, {"pt": Hardware()}, (0,)))
    with pytest.raises(ConfigError, match="floating-point student has no firmware"):
        lower(student(StudentConfig(tokens=4, quantized=False)), LAYOUT)
