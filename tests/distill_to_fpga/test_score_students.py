"""Students with one score: training = reload = integer interpreter = compiled C++, for every shape that has one."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_students import LAYOUT, called, examples, jets, scatter_widths, slopes

from distill_to_fpga.estimate import estimate
from distill_to_fpga.graph import run, to_real
from distill_to_fpga.hls import export_graph
from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.lower import inexact_in_float32, lower
from distill_to_fpga.students import (
    SCORE,
    Student,
    StudentConfig,
    build_student,
    freeze,
    load_student,
    predict,
    predict_exact,
    quantize_after_training,
    save_student,
    scaling_of,
)
from distill_to_fpga.students.layers import Dense, Patches, ScoreOutput, SumOfSquares
from distill_to_fpga.vectors import make_vectors
from distill_to_fpga.verify import verify_export
from foundation.errors import ConfigError
from foundation.schema import Hardware

PIXELS = HardwareLayout("particles", 24, {"et": Hardware(0.5, 6, False)}, (0,))
COMMON = {"tokens": 4, "score_bits": 12, "score_integer": 8}
SHAPES = {
    "mlp": StudentConfig(kind="mlp", hidden=(6, 4), scaling="place", **COMMON),
    "deepsets": StudentConfig(kind="deepsets", phi=(5, 3), rho=(4,), **COMMON),
    "vae_encoder": StudentConfig(kind="vae_encoder", hidden=(6,), latent=3, scaling="place", **COMMON),
    "embedding_autoencoder": StudentConfig(
        kind="embedding_autoencoder", embedding=(6, 4), bottleneck=(3, 2, 3), **COMMON
    ),
    "cnn": StudentConfig(
        kind="cnn", hidden=(3,), filters=2, image=(6, 4), patch=(2, 2), scaling="place", **(COMMON | {"tokens": 24})
    ),
}


def layout_of(config: StudentConfig) -> HardwareLayout:
    return PIXELS if config.kind == "cnn" else LAYOUT


def inputs(config: StudentConfig, count: int = 500, seed: int = 0) -> np.ndarray:
    return jets(count, seed, layout_of(config))


def made(config: StudentConfig, seed: int = 0) -> Student:
    """Untrained, but for a bias that brings scores into their range."""
    student = build_student(config, *scaling_of(config, inputs(config, 500)), (), (SCORE,), seed)
    if isinstance(student.layers[-2], Dense):
        student.layers[-2].bias[...] = jnp.full(1, 4.0)
    return student


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES)
def frozen(request) -> Student:
    return freeze(scatter_widths(made(request.param), seed=2, low=1.0), inputs(request.param, 500))


def test_training_reload_and_interpreter_give_identical_numbers(frozen, tmp_path):
    x, layout = examples(layout_of(frozen.config)), layout_of(frozen.config)
    exact, graph = predict_exact(frozen, x), lower(frozen, layout)
    assert exact.shape == (len(x), 1)
    assert len(np.unique(exact)) > 6
    assert (to_real(graph, "outputs", run(graph, {"particles": x})["outputs"]) == exact).all()
    if not inexact_in_float32(graph):
        assert (predict(frozen, x) == exact).all()
    save_student(tmp_path, frozen, layout)
    again, read = load_student(tmp_path)
    assert (read, again.config) == (layout, frozen.config)
    assert (predict_exact(again, x) == exact).all()
    calibration = inputs(frozen.config, 500)
    assert (called(frozen, calibration, "fixed") == predict_exact(frozen, calibration)).all()


def test_the_score_is_unsigned_of_its_type_and_saturates(frozen):
    graph = lower(frozen, layout_of(frozen.config))
    wire = graph.wires[graph.outputs["outputs"]]
    assert (wire.bits.tolist(), wire.fraction.tolist(), wire.signed.tolist()) == ([12], [4], [False])
    scores = predict_exact(frozen, examples(layout_of(frozen.config)))
    assert scores.min() >= 0
    assert scores.max() <= 2**8 - 2**-4
    assert (scores * 2**4 == np.round(scores * 2**4)).all()


@pytest.mark.slow
def test_compiled_cpp_gives_identical_numbers(frozen, tmp_path):
    graph = lower(frozen, layout_of(frozen.config))
    export_graph(graph, tmp_path / "project", vectors=make_vectors(graph, count=60))
    result = verify_export(tmp_path / "project", count=3000)
    assert (result.exact, result.first) == (True, None)


def test_cost_of_training_and_of_the_graph_agree(frozen, monkeypatch):
    """The student leaves signs out and the graph counts them: the former is the smaller, by little."""
    after = estimate(lower(frozen, layout_of(frozen.config))).summary()
    monkeypatch.setattr("distill_to_fpga.lower.simplify", lambda graph: graph)
    found = estimate(lower(frozen, layout_of(frozen.config))).summary()
    assert found["weights"] == sum(layer.kernel.size for layer in frozen.dense())
    assert 0 < float(frozen.ebops()) <= found["ebops"] < 2 * float(frozen.ebops())
    assert 0 < after["luts"] <= found["luts"]
    assert after["ebops"] <= found["ebops"]


def test_ebops_have_a_gradient_on_the_widths_of_what_is_squared():
    config = SHAPES["vae_encoder"]
    student = made(config)
    called(student, inputs(config), "train")
    squared = len(student.layers) - 3
    assert isinstance(student.layers[squared + 1], SumOfSquares)
    slope = slopes(student, lambda m: m.ebops("train"))[f"layers/{squared}/fraction"]
    assert (slope == 2 * student.layers[squared].width("train")).all()


def test_a_squarer_is_cheaper_than_a_product():
    from distill_to_fpga.graph import GraphBuilder

    def luts(same: bool) -> int:
        g = GraphBuilder("square")
        x, y = (g.input(name, (1,), True, 8) for name in ("x", "y"))
        g.output(g.mul(x, x if same else y), "out")
        g.output(g.relu(y), "other")
        return estimate(g.build()).total("luts")

    relu = 7  # one for each bit but the sign
    assert luts(same=False) - relu == 91  # 1.42 for each pair of bits
    assert luts(same=True) - relu == 64  # a table of eight bits


def test_a_cnn_sees_each_patch_alone():
    """Before the dense layers a pixel changes the outputs of its own patch only, and those by the shared weights."""
    patches = Patches((6, 4), (2, 2))
    image = jnp.arange(24.0).reshape(1, 24, 1)
    cut = np.asarray(patches(image, "float"))[0]
    assert cut.shape == (6, 4)
    assert cut[0].tolist() == [0, 1, 4, 5]
    assert cut[1].tolist() == [2, 3, 6, 7]
    assert cut[5].tolist() == [18, 19, 22, 23]


def test_gradients_pass_a_score_that_saturates():
    output = ScoreOutput(12, 8)
    x = jnp.asarray([[-3.0], [2.3], [99.0]])
    assert output(x, "train").ravel().tolist() == [0.0, round(2.3 * 2**7) / 2**4, 2**8 - 2**-4]
    slope = jax.grad(lambda v: output(v, "train").sum())(x)
    assert (slope == 2.0**3).all()


def test_post_training_quantisation_of_a_nested_student():
    config = SHAPES["embedding_autoencoder"]
    floating = made(replace(config, quantized=False))
    x = inputs(config, 500)
    reference = predict(floating, x)[:, 0]
    kept = (reference > 0) & (reference < 250)
    errors = [np.abs(predict_exact(quantize_after_training(floating, x, b), x)[:, 0] - reference) for b in (14, 5)]
    assert errors[0][kept].mean() < errors[1][kept].mean()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "vae_encoder", "score_bits": 0}, "a vae_encoder makes one score and no classes"),
        ({"kind": "mlp", "score_integer": 13}, "score_integer <= score_bits"),
        ({"kind": "embedding_autoencoder", "bottleneck": ()}, r"set student\.embedding and student\.bottleneck"),
        ({"kind": "cnn"}, "an image of 18 x 14 pixels has 252 tokens, not 4"),
        ({"kind": "cnn", "image": (2, 2), "patch": (2, 3)}, "patches of 2 x 3 do not divide"),
    ],
)
def test_shapes_that_make_no_score(change, message):
    with pytest.raises(ConfigError, match=message):
        made(replace(SHAPES["mlp"], **change))


def test_a_score_is_the_only_output():
    config = SHAPES["mlp"]
    with pytest.raises(ConfigError, match="the one output is a score"):
        build_student(config, np.zeros(3, int), np.zeros(3, int), ("a", "b"), (SCORE,))
