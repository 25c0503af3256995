"""The boosted tree: the same command, labels and evaluation as a network; saved without pickle; what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from few_jets import ingest_few

from finetune.command import finetune
from finetune.config import FinetuneConfig
from finetune.embed import EmbedConfig, embed
from finetune.labelled import labelled_rows
from finetune.predict import WholeSplit, predict
from finetune.saved import load_tagger
from finetune.task import Task, TaskConfig
from finetune.trees import Tree, TreeConfig, check_tree, load_tree, train_tree
from foundation.command import load_config
from foundation.errors import ConfigError, DataError, RunError
from foundation.high_level import HighLevelConfig
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.ingest import ingest

xgboost = pytest.importorskip("xgboost")
QUICK = TreeConfig(observables=HighLevelConfig(leading=1, moments=False), rounds=12, depth=3, learning_rate=0.3)
TWO = TaskConfig(groups={"top": ["Tbqq"], "rest": ["QCD", "Wqq", "Zqq", "Hbb"]})


@pytest.fixture(scope="module")
def store(sample, tmp_path_factory) -> Store:
    """Jets with a regression label, tau1 of all their constituents."""
    folder = tmp_path_factory.mktemp("few")
    ingest_few(sample, folder, 1200)
    schema = DetectorSchema.load("data/jets").to_dict()
    schema["labels"]["tau1"] = {"kind": "regression", "expression": "jet_tau1"}
    (folder / "schema.json").write_text(json.dumps(schema))
    return Store.open(ingest([folder / "few.root"], schema=folder / "schema.json", out=folder / "with_tau1"))


def settings(**changes) -> FinetuneConfig:
    return replace(FinetuneConfig(model="tree", tree=QUICK), **changes)


@pytest.fixture(scope="module")
def run(store, tmp_path_factory) -> Run:
    task = TaskConfig(regression=("tau1",))
    return finetune(store.path, cfg=settings(task=task, labels=500), out=tmp_path_factory.mktemp("run") / "tree")


def test_it_learns_classes_and_regression_from_the_labels_that_a_network_would_get(store, run):
    tree = load_tagger(run)
    assert isinstance(tree, Tree)
    assert isinstance(tree, WholeSplit)
    found = predict(tree, store, "test")
    assert np.mean(found.logits.argmax(axis=1) == found.targets) > 0.45  # of five classes, from 500 jets
    tau1 = found.regressions["tau1"]
    assert np.std(tau1.value - tau1.target) < 0.6 * np.std(tau1.target)
    metrics = run.read("metrics.json")
    assert metrics["labels"] == 500
    rows = labelled_rows(store, tree.task, 500, 0)
    counts = np.bincount(store.labels("train", "jet_class")[rows])
    assert list(metrics["labels_per_class"].values()) == counts.tolist()
    assert metrics["parameters"] == tree.nodes > 500
    importance = run.read("importance.json")
    assert sum(importance.values()) == pytest.approx(1)
    assert next(iter(importance)).startswith("particles.")


def test_saved_as_json_and_read_again_bit_by_bit(store, run):
    assert {path.suffix for path in run.path.iterdir()} <= {".json", ".yaml"}
    task = load_tagger(run).task
    rows = labelled_rows(store, task, 500, 0)
    again = train_tree(store, task, rows, QUICK, TaskConfig(regression=("tau1",)), 0)
    some = np.asarray([5, 1, 8])
    np.testing.assert_array_equal(again.outputs(store, "test", some), load_tagger(run).outputs(store, "test", some))
    other = train_tree(store, task, rows, QUICK, TaskConfig(regression=("tau1",)), 1)
    assert np.abs(other.outputs(store, "test", some) - again.outputs(store, "test", some)).max() > 0


def test_two_classes_and_quantiles(store):
    config = replace(TWO, regression=("tau1",), quantiles=(0.1, 0.5, 0.9), balance=True)
    task = Task.resolve(store.schema, config)
    rows = labelled_rows(store, task, 0, 0)
    found = predict(
        train_tree(store, task, rows, replace(QUICK, rounds=40, learning_rate=0.1), config, 0), store, "test"
    )
    assert found.logits.shape[1] == 2
    top = found.logits[:, 0] > found.logits[:, 1]
    assert np.mean(top[found.targets == 0]) > 0.6 > 0.3 > np.mean(top[found.targets == 1])
    low, middle, high = found.regressions["tau1"].quantiles.values()
    assert ((low <= middle) & (middle <= high)).all()
    target = found.regressions["tau1"].target
    assert 0.6 < np.mean((low < target) & (target < high)) < 0.95


def test_early_stopping_keeps_the_best_round(store):
    task = Task.resolve(store.schema, TWO)
    rows = labelled_rows(store, task, 200, 0)
    hasty = replace(QUICK, rounds=200, learning_rate=1.0, early_stopping=3)
    stopped = train_tree(store, task, rows, hasty, TWO, 0)
    assert stopped.rounds["classes"] < 50
    empty = replace(store, manifest={**store.manifest, "splits": {"train": store.split("train")}})
    with pytest.raises(DataError, match=r"early_stopping .* no labelled row"):
        train_tree(empty, task, rows, hasty, TWO, 0)


def test_class_weights_move_the_cut(store):
    task = Task.resolve(store.schema, TWO)
    rows = labelled_rows(store, task, 300, 0)
    few, many = (
        predict(train_tree(store, task, rows, QUICK, replace(TWO, class_weights={"top": w}), 0), store, "test")
        for w in (0.05, 20.0)
    )
    chosen = [np.mean(found.logits[:, 0] > found.logits[:, 1]) for found in (few, many)]
    assert chosen[0] + 0.2 < chosen[1]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (Task("tags", ("a",), (0,), (), "multilabel"), "multilabel label 'tags'"),
        (Task("kind", ("a", "b"), (0, 1), (), "token_class", "particles"), "token class label 'kind'"),
        (Task("vertex", ("together",), (), (), "edge", "particles"), "edge label 'vertex'"),
        (Task(None, (), (), ("fraction",), "none", "particles"), "fraction"),
    ],
)
def test_tasks_of_other_things_than_examples_are_refused_by_name(task, words):
    with pytest.raises(ConfigError, match=words):
        check_tree(task, QUICK, TaskConfig())


def test_settings_out_of_range_are_refused():
    task = Task("c", ("a", "b"), (0, 1), ())
    with pytest.raises(ConfigError, match=r"tree\.rows lies between 0 and 1"):
        check_tree(task, replace(QUICK, rows=0.0), TaskConfig())
    mass = replace(TaskConfig().decorrelate, quantity="mass")
    with pytest.raises(ConfigError, match="decorrelation"):
        check_tree(task, QUICK, TaskConfig(decorrelate=mass))


def test_what_only_a_network_has_is_refused(run, tmp_path):
    with pytest.raises(RunError, match="boosted tree"):
        embed(run.path, cfg=EmbedConfig(), out=tmp_path / "embedding")


def test_damage_and_other_observables_are_named(store, run, tmp_path):
    tree = load_tagger(run)
    with pytest.raises(DataError, match="other observables than the tree learnt from"):
        replace(tree, observables=HighLevelConfig(leading=0, moments=False)).outputs(store, "test", np.arange(3))
    with pytest.raises(RunError, match=r"no tree_classes\.json"):
        load_tree(tmp_path, tree.task, QUICK)
    for name in ("tree_classes.json", "tree_target_tau1.json"):
        (tmp_path / name).write_bytes((run.path / name).read_bytes()[:-100])
    with pytest.raises(RunError, match=r"tree_classes\.json: damaged"):
        load_tree(tmp_path, tree.task, QUICK)


def test_the_preset_is_what_its_comment_says():
    config = load_config(FinetuneConfig, "finetune/tree")
    assert config.model == "tree"
    assert config.tree == TreeConfig()
