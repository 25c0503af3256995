"""Students of trees: xgboost's own decisions, integers all the way, in every executor."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from small_students import LAYOUT, adversarial, learnable

from distill_to_fpga.boost import integer_leaves, parameters
from distill_to_fpga.distill import distill
from distill_to_fpga.graph import run, to_real
from distill_to_fpga.hls import export_graph
from distill_to_fpga.lower import count_luts, inexact_in_float32, lower
from distill_to_fpga.objective import DistillConfig, Examples
from distill_to_fpga.students import (
    SCORE,
    StudentConfig,
    freeze,
    load_student,
    predict,
    predict_exact,
    save_student,
)
from distill_to_fpga.students.settings import TreesConfig
from distill_to_fpga.vectors import make_vectors
from distill_to_fpga.verify import verify_export
from foundation.errors import ConfigError, DataError

xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed: pip install 'detfm[trees]'")
TREES = StudentConfig(kind="trees", tokens=4, trees=TreesConfig(rounds=6, depth=3, learning_rate=0.5))
QUICK = DistillConfig(alpha=0.7)
CLASSES = ("signal", "background")


TRAIN, TEST = learnable(3000, 1), learnable(2000, 2)
EXAMPLES = np.concatenate([TEST.integers[:300], adversarial()])


@pytest.fixture(scope="module", params=[1, 3, 4])
def grown(request):
    return distill(QUICK, replace(TREES, trees=replace(TREES.trees, depth=request.param)), TRAIN, CLASSES).student


def interpreted(graph, x):
    return to_real(graph, "outputs", run(graph, {"particles": x})["outputs"])


def test_training_reload_and_interpreter_give_identical_numbers(grown, tmp_path):
    exact, graph = predict_exact(grown, EXAMPLES), lower(grown, LAYOUT)
    assert (interpreted(graph, EXAMPLES) == exact).all()
    assert inexact_in_float32(graph) == {}
    assert (predict(grown, EXAMPLES) == exact).all()
    save_student(tmp_path, grown, LAYOUT)
    again, read = load_student(tmp_path)
    assert (read, again.config) == (LAYOUT, grown.config)
    assert (predict_exact(again, EXAMPLES) == exact).all()
    assert (predict(freeze(grown, TRAIN.integers), EXAMPLES) == exact).all()


def leaves_of(tree: dict) -> list[tuple[int, float]]:
    """Number and value of each leaf of a dump."""
    if "leaf" in tree:
        return [(tree["nodeid"], tree["leaf"])]
    return [leaf for child in tree["children"] for leaf in leaves_of(child)]


def test_every_leaf_is_the_one_that_xgboost_takes():
    """The same booster grown here: its leaves, rounded, at the places that it says; added as integers."""
    only = Examples(TRAIN.integers, np.full(3000, -1, np.int32), None, TRAIN.teacher[:, :1])
    made = distill(QUICK, TREES, only, (), ("logit",)).student
    data = xgboost.DMatrix(TRAIN.integers.reshape(3000, -1).astype(np.float32), label=only.targets[:, 0])
    mean = float(only.targets.mean(dtype=np.float64))
    data.set_label(only.targets[:, 0] - mean)
    settings = parameters(TREES.trees, 0) | {"objective": "reg:squarederror", "base_score": 0.0}
    booster = xgboost.train(settings, data, TREES.trees.rounds)
    dumps = [json.loads(tree) for tree in booster.get_dump(dump_format="json")]
    values = {(t, node): value for t, tree in enumerate(dumps) for node, value in leaves_of(tree)}
    rows = xgboost.DMatrix(EXAMPLES.reshape(len(EXAMPLES), -1).astype(np.float32))
    taken = booster.predict(rows, pred_leaf=True).astype(int)
    real = np.array([[values[t, n] for t, n in enumerate(row)] for row in taken])
    real[:, 0] += mean
    expected = integer_leaves(real, TREES.trees.leaf_fraction).sum(1) * 2.0**-TREES.trees.leaf_fraction
    assert (predict_exact(made, EXAMPLES)[:, 0] == expected).all()
    margin = booster.predict(rows, output_margin=True) + mean
    assert np.abs(expected - margin).max() <= TREES.trees.rounds * 2.0 ** -(TREES.trees.leaf_fraction + 1) + 1e-4


def test_labels_alone_grow_trees_of_the_cross_entropy():
    """Unquantised: xgboost's own margins."""
    made = distill(replace(QUICK, alpha=0.0), replace(TREES, quantized=False), TRAIN, CLASSES).student
    rows = xgboost.DMatrix(TRAIN.integers.reshape(3000, -1).astype(np.float32), label=TRAIN.labels)
    settings = parameters(TREES.trees, 0) | {"objective": "multi:softprob", "num_class": 2, "base_score": 0.0}
    margin = xgboost.train(settings, rows, TREES.trees.rounds).predict(rows, output_margin=True)
    np.testing.assert_allclose(predict(made, TRAIN.integers), margin, atol=1e-4)


@pytest.mark.slow
def test_compiled_cpp_gives_identical_numbers(grown, tmp_path):
    graph = lower(grown, LAYOUT)
    export_graph(graph, tmp_path / "project", vectors=make_vectors(graph, count=60))
    result = verify_export(tmp_path / "project", count=3000)
    assert (result.exact, result.first) == (True, None)


def test_it_learns_within_its_budget():
    many = replace(TREES, trees=TreesConfig(rounds=60, depth=3))
    found = distill(replace(QUICK, lut_budget=1500), many, TRAIN, CLASSES, layout=LAYOUT)
    assert 1200 < count_luts(found.student, LAYOUT) <= 1500
    assert 5 < found.history[-1]["step"] < 60
    assert (predict_exact(found.student, TEST.integers).argmax(1) == TEST.labels).mean() > 0.9
    assert (interpreted(lower(found.student, LAYOUT), EXAMPLES) == predict_exact(found.student, EXAMPLES)).all()


def test_a_score_is_regressed_in_its_own_type():
    config = replace(TREES, score_bits=12, score_integer=8)
    target = (TRAIN.teacher[:, :1] - TRAIN.teacher[:, :1].mean()) / TRAIN.teacher[:, :1].std() + 2
    train = Examples(TRAIN.integers, np.full(3000, -1, np.int32), None, target.astype(np.float32))
    made = distill(QUICK, config, train, (), (SCORE,)).student
    said = predict_exact(made, TRAIN.integers)
    assert np.corrcoef(said[:, 0] / made.unit, np.clip(target[:, 0], 0, None))[0, 1] > 0.9
    assert (interpreted(lower(made, LAYOUT), EXAMPLES) == predict_exact(made, EXAMPLES)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"lut_budget": 5}, "one round of trees takes more than 5 LUTs"), ({"ebops_budget": 100}, "multiply nothing")],
)
def test_budgets_that_trees_cannot_meet(change, message):
    with pytest.raises(ConfigError, match=message):
        distill(replace(QUICK, **change), TREES, TRAIN, CLASSES)


def test_inputs_that_xgboost_would_round_are_refused():
    wide = replace(TRAIN, integers=TRAIN.integers * (1 << 18))
    with pytest.raises(DataError, match="below 2\\^24"):
        distill(QUICK, TREES, wide, CLASSES)
