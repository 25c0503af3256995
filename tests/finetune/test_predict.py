"""Tasks of tokens, pairs and tags from store to predictions, through the commands that users run."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from labelled_tokens import ingest_labelled

from finetune import predict as module
from finetune.config import FinetuneConfig
from finetune.model import Tagger
from finetune.predict import predict
from finetune.saved import load_tagger
from finetune.task import Task, TaskConfig
from foundation.cli import main
from foundation.embedding import input_statistics
from foundation.metrics import roc
from foundation.models import Encoder, EncoderConfig, HeadConfig
from foundation.runs import Run
from foundation.store import Store

TASKS = {
    "tokens": [
        "--cfg.task.label",
        "origin",
        "--cfg.task.regression",
        "[share]",
        "--cfg.task.quantiles",
        "[0.2, 0.5, 0.8]",
    ],
    "edges": ["--cfg.task.label", "cluster", "--cfg.task.balance", "true", "--cfg.task.pairs", "40"],
    "tags": ["--cfg.task.label", "tags", "--cfg.head.pooling", "attention"],
}
SMALL = [
    *("--cfg.encoder", "{width: 16, layers: 1, heads: 2, hidden: 2}", "--cfg.batch_size", "32", "--cfg.buckets", "1"),
    *("--cfg.train.steps", "60", "--cfg.train.learning_rate", "0.005"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return ingest_labelled(tmp_path_factory.mktemp("predict"))


def fresh(store: Store, **settings) -> Tagger:
    config = FinetuneConfig(task=TaskConfig(**settings), head=HeadConfig(hidden=8))
    encoder = Encoder(
        store.schema, input_statistics(store), EncoderConfig(width=8, layers=1, heads=2), rngs=nnx.Rngs(0)
    )
    return Tagger(encoder, Task.resolve(store.schema, config.task), config, rngs=nnx.Rngs(1))


def test_predictions_of_examples_are_in_the_order_asked_for(store):
    model = fresh(store, regression=("total",), quantiles=(0.3, 0.6))
    rows = np.array([40, 3, 17])
    some, every = predict(model, store, "test", rows), predict(model, store, "test")
    np.testing.assert_array_equal(some.rows, rows)
    np.testing.assert_allclose(some.logits, every.logits[rows], atol=1e-5)
    np.testing.assert_array_equal(every.targets, store.labels("test", "side"))
    np.testing.assert_array_equal(every.regressions["total"].target, store.labels("test", "total"))
    assert list(every.regressions["total"].quantiles) == [0.3, 0.6]
    np.testing.assert_array_equal(every.regressions["total"].value, every.regressions["total"].quantiles[0.6])
    assert every.tokens is None


def test_predictions_of_tokens_are_aligned_with_the_store(store):
    model = fresh(store, label="origin", regression=("share",))
    found, lengths = predict(model, store, "test"), store.tokens_lengths("test", "hits")
    np.testing.assert_array_equal(found.rows, np.repeat(np.arange(len(lengths)), lengths))
    np.testing.assert_array_equal(found.tokens, np.concatenate([np.arange(n) for n in lengths]))
    np.testing.assert_array_equal(found.targets, store.labels("test", "origin"))
    np.testing.assert_array_equal(found.regressions["share"].target, store.labels("test", "share"))
    batch = store.read("test", np.arange(9))
    alone = np.asarray(model(jax.tree.map(jax.numpy.asarray, batch))[0])[np.asarray(batch.modalities["hits"].mask)]
    np.testing.assert_allclose(found.logits[: len(alone)], alone, atol=1e-5)


def test_predictions_of_pairs_say_which_and_have_a_limit(store, monkeypatch):
    model = fresh(store, label="cluster")
    rows = np.array([5, 2, 9, 0])
    found, lengths = predict(model, store, "test", rows), store.tokens_lengths("test", "hits")
    assert len(found.rows) == sum(lengths[row] * (lengths[row] - 1) // 2 for row in rows)
    first = np.cumsum(np.concatenate([[0], lengths]))
    a, b = (store.labels("test", "cluster")[first[found.rows] + found.tokens[:, i]] for i in (0, 1))
    np.testing.assert_array_equal(found.targets[:, 0], np.where((a > 0) & (b > 0), a == b, -1))
    assert set(found.targets[:, 0]) == {-1, 0, 1}
    monkeypatch.setattr(module, "PAIRS", 16)
    few = predict(model, store, "test", rows)
    assert np.bincount(few.rows)[rows].tolist() == [4, 4, 4, 4]
    every = {(row, *pair): logit for row, pair, logit in zip(found.rows, found.tokens.tolist(), found.logits[:, 0])}
    same = [every[row, *pair] for row, pair in zip(few.rows, few.tokens.tolist())]
    np.testing.assert_allclose(few.logits[:, 0], same, atol=1e-5)


@pytest.fixture(scope="module")
def runs(store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, words in TASKS.items():
        assert main(["finetune", str(store.path), "--out", str(folder / name), *SMALL, *words]) == 0
    return folder


@pytest.mark.slow
def test_a_task_of_tokens_is_learnt(store, runs):
    """Pile-up or not is the sign of a hit's depth, and the share its size; the quantiles cover at their rate."""
    found = predict(load_tagger(Run.open(runs / "tokens")), store, "test")
    known = found.targets >= 0
    assert roc(found.targets[known] == 1, found.logits[known, 1] - found.logits[known, 0]).auc > 0.98
    share = found.regressions["share"]
    there = np.isfinite(share.target)
    assert np.corrcoef(share.target[there], share.value[there])[0, 1] > 0.7
    covered = [(share.target[there] < share.quantiles[level][there]).mean() for level in (0.2, 0.5, 0.8)]
    np.testing.assert_allclose(covered, [0.2, 0.5, 0.8], atol=0.12)
    figures = json.loads((runs / "tokens/metrics.json").read_text())
    assert figures["unknown"]["share"] == int(np.isnan(store.labels("train", "share")).sum()) > 0


@pytest.mark.slow
def test_a_task_of_edges_is_learnt(store, runs):
    found = predict(load_tagger(Run.open(runs / "edges")), store, "test")
    known = found.targets[:, 0] >= 0
    assert roc(found.targets[known, 0] == 1, found.logits[known, 0]).auc > 0.95


@pytest.mark.slow
def test_tags_are_learnt_where_they_are_known(store, runs):
    found = predict(load_tagger(Run.open(runs / "tags")), store, "test")
    assert found.classes == ("busy", "high")
    known = found.targets[:, 1] >= 0
    assert not known.all()
    assert roc(found.targets[known, 1] == 1, found.logits[known, 1]).auc > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), [("tokens", "tokens"), ("edges", "edges"), ("tags", "multi-labels")])
def test_a_student_of_such_a_tagger_is_refused_by_name(runs, name, words, tmp_path, capsys):
    assert main(["distill", str(runs / name), "--out", str(tmp_path / "student")]) == 2
    assert f"the teacher is a tagger of {words}" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "student").exists()
