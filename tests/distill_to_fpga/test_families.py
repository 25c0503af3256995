"""Every further family: training = reload = float64 = integer interpreter = compiled C++, and it learns."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from small_students import LAYOUT, called, examples, jets, learnable, scatter_widths, slopes, student

from distill_to_fpga.distill import distill
from distill_to_fpga.estimate import estimate
from distill_to_fpga.graph import run, to_real
from distill_to_fpga.hls import export_graph
from distill_to_fpga.inputs import layout_of
from distill_to_fpga.lower import count_luts, inexact_in_float32, lower
from distill_to_fpga.objective import DistillConfig
from distill_to_fpga.quantize import ActivationQuantizer
from distill_to_fpga.students import (
    SCORE,
    Student,
    StudentConfig,
    build_student,
    freeze,
    load_student,
    predict,
    predict_exact,
    save_student,
    scaling_of,
)
from distill_to_fpga.students.settings import AttentionConfig, InteractionConfig, MixerConfig, TablesConfig
from distill_to_fpga.vectors import make_vectors
from distill_to_fpga.verify import verify_export
from foundation.errors import ConfigError

COMMON = {"tokens": 4, "rho": (4,)}
INTERACTION = StudentConfig(kind="interaction", interaction=InteractionConfig((5,), 4, (3,)), **COMMON)
ATTENTION = StudentConfig(kind="attention", attention=AttentionConfig(4, 1, 2, 3, 3), **COMMON)
SHAPES = {
    "interaction": INTERACTION,
    "interaction by position": replace(INTERACTION, interaction=InteractionConfig((5,), 4, (3,), "position")),
    "interaction by place": replace(INTERACTION, scaling="place", activation_granularity="tensor"),
    "mixer": StudentConfig(kind="mixer", mixer=MixerConfig(width=4, tokens=3, features=5), **COMMON),
    "mixer of two blocks": StudentConfig(
        kind="mixer", mixer=MixerConfig(3, 2, 3, 4), weight_format="bits", activation_granularity="tensor", **COMMON
    ),
    "lut": StudentConfig(kind="lut", tokens=4, tables=TablesConfig((3,), units=4), weight_fraction=4),
    "attention": ATTENTION,
    "attention not normalised": replace(
        ATTENTION, attention=AttentionConfig(4, 1, 3, 2, 3, "none"), weight_format="bits"
    ),
    "lut of one layer": StudentConfig(kind="lut", tokens=4, tables=TablesConfig((), 4, 16), weight_fraction=4),
}


def made(config: StudentConfig, seed: int = 0) -> Student:
    if config.scaling == "place":
        offset, shift = scaling_of(config, jets(500))
        return build_student(config, offset, shift, ("signal", "background"), ("pt",), seed)
    return student(config, seed)


@cache
def frozen_student(name: str) -> Student:
    return freeze(scatter_widths(made(SHAPES[name]), seed=2, low=0.0), jets(500))


@pytest.fixture(scope="module", params=SHAPES)
def frozen(request) -> Student:
    return frozen_student(request.param)


def test_training_reload_and_interpreter_give_identical_numbers(frozen, tmp_path):
    x = examples()
    exact, graph = predict_exact(frozen, x), lower(frozen, LAYOUT)
    assert exact.shape == (len(x), 3)
    assert all(len(np.unique(column)) > 10 for column in exact.T)
    assert (to_real(graph, "outputs", run(graph, {"particles": x})["outputs"]) == exact).all()
    assert inexact_in_float32(graph) == {}
    assert (predict(frozen, x) == exact).all()
    save_student(tmp_path, frozen, LAYOUT)
    again, read = load_student(tmp_path)
    assert (read, again.config) == (LAYOUT, frozen.config)
    assert (predict_exact(again, x) == exact).all()
    assert again.ebops() == frozen.ebops()


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_freezing_changes_nothing_on_the_calibration_set(config):
    x = jets(500)
    trained = scatter_widths(made(config), seed=3, low=0.0)
    before = called(trained, x, "train")
    assert (before == predict(freeze(trained, x), x)).all()


@pytest.mark.slow
def test_compiled_cpp_gives_identical_numbers(frozen, tmp_path):
    graph = lower(frozen, LAYOUT)
    export_graph(graph, tmp_path / "project", vectors=make_vectors(graph, count=60))
    result = verify_export(tmp_path / "project", count=3000)
    assert (result.exact, result.first) == (True, None)


def test_cost_of_training_and_of_the_graph_agree(frozen, monkeypatch):
    """The student leaves signs and, in LUTs, sums over tokens out; what no output reads is left to the rewriting."""
    after = estimate(lower(frozen, LAYOUT)).summary()
    monkeypatch.setattr("distill_to_fpga.lower.simplify", lambda graph: graph)
    found = estimate(lower(frozen, LAYOUT)).summary()
    assert found["weights"] == sum(layer.kernel.size for layer in frozen.dense())
    if frozen.config.kind != "lut":  # tables multiply nothing
        assert 0 < float(frozen.ebops()) <= found["ebops"] < 2 * float(frozen.ebops())
    assert 0 < after["luts"] <= found["luts"]
    assert after["ebops"] <= found["ebops"]


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_luts_have_a_gradient_on_widths(config):
    trained = made(config)
    called(trained, jets(500), "train")
    flat = slopes(trained, lambda m: m.luts("train"))
    assert all((slope >= 0).all() for slope in flat.values())
    assert all((slope > 0).any() for path, slope in flat.items() if not path.endswith("bias_fraction"))


def test_students_with_shared_widths_are_indifferent_to_the_order_of_tokens():
    x = jets(500)
    for name, indifferent in (("interaction", True), ("interaction by position", False), ("attention", True)):
        found = frozen_student(name)
        assert (predict(found, x) == predict(found, x[:, ::-1])).all() == indifferent


def test_a_token_hears_of_the_others_before_the_sum():
    """Unlike DeepSets': the change that one token makes depends on what another one is."""
    x = np.zeros((4, 4, 3), np.int32)
    x[1, 0], x[2, 1] = [300, 20, 1], [100, -30, 0]
    x[3] = x[1] + x[2]
    listening = replace(INTERACTION, quantized=False, interaction=InteractionConfig((5,), 4, ()), rho=())
    asking = replace(ATTENTION, quantized=False, rho=())
    for config in (listening, asking):
        said = predict(made(config), x).astype(np.float64)
        assert np.abs(said[3] - said[1] - said[2] + said[0]).max() > 1e-3


TRAIN, TEST = learnable(3000, 1), learnable(2000, 2)
LEARNERS = {
    "lut": StudentConfig(kind="lut", tokens=4, tables=TablesConfig((4,))),
    "attention": StudentConfig(kind="attention", tokens=4, attention=AttentionConfig(8, 1, 2, 2, 4), rho=(8,)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "budget"), [("lut", 600), ("attention", 5000)])
def test_it_learns_within_its_budget(name, budget):
    config = DistillConfig(steps=600, batch=128, learning_rate=0.02, lut_budget=budget)
    found = distill(config, LEARNERS[name], TRAIN, ("signal", "background"), seed=4).student
    said = predict_exact(found, TEST.integers)
    assert (said.argmax(1) == TEST.labels).mean() > 0.85
    assert count_luts(found, layout_of(TRAIN.integers)) == pytest.approx(budget, rel=0.1)
    graph = lower(found, LAYOUT)
    assert (to_real(graph, "outputs", run(graph, {"particles": TEST.integers})["outputs"]) == said).all()


@pytest.mark.parametrize("name", ["interaction by place", "mixer", "lut", "attention"])
def test_every_family_makes_a_score(name):
    config = replace(SHAPES[name], score_bits=12, score_integer=8)
    x = jets(500)
    found = freeze(build_student(config, *scaling_of(config, x), (), (SCORE,)), x)
    graph = lower(found, LAYOUT)
    wire = graph.wires[graph.outputs["outputs"]]
    assert (wire.bits.tolist(), wire.fraction.tolist(), wire.signed.tolist()) == ([12], [4], [False])
    scores = predict_exact(found, examples())
    assert len(np.unique(scores)) > 6
    assert (to_real(graph, "outputs", run(graph, {"particles": examples()})["outputs"]) == scores).all()


def test_tables_have_no_more_bits_than_they_may():
    config = SHAPES["lut"]
    found = freeze(scatter_widths(made(config), seed=2, low=0.0, high=9.0), jets(500))
    quantizers = [layer for layer in found.layers if isinstance(layer, ActivationQuantizer)]
    bits = np.concatenate([np.asarray(layer.bits[...]) for layer in quantizers])
    assert (bits.min(), bits.max()) == (pytest.approx(4, abs=3), 7)
    graph = lower(found, LAYOUT)
    tables = [node for node in graph.nodes if node.op.kind == "table"]
    assert all(graph.wires[node.inputs[0]].bits.max() <= 7 for node in tables)


def test_impossible_shapes():
    with pytest.raises(ConfigError, match="at least 1"):
        made(replace(SHAPES["mixer"], mixer=MixerConfig(blocks=0)))
    with pytest.raises(ConfigError, match="2 <= bits <= 8"):
        made(replace(SHAPES["lut"], tables=TablesConfig(bits=9)))
    with pytest.raises(ConfigError, match="has no weights"):
        made(replace(SHAPES["lut"], weight_format="ternary"))
