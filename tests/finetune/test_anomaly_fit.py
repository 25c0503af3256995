"""`detfm anomaly fit`: rows, weights, validation, resuming, and what a run says of itself."""

from __future__ import annotations

import json

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from flax import nnx
from toy_crossings import changed, crossings, toy_store
from toy_jets import toy_pretrained

import foundation.train
from finetune.anomaly.config import AnomalyConfig, RowsConfig
from finetune.anomaly.fit import anomaly_fit
from finetune.anomaly.inputs import HardwareFeatures, RawConfig
from finetune.anomaly.model import scored, vectors
from finetune.anomaly.rows import normal_rows, weights_of
from finetune.anomaly.saved import load_anomaly
from finetune.anomaly.score import ScoreConfig, anomaly_score
from finetune.anomaly.vectors import Vectors
from foundation.embedding import apply
from foundation.errors import ConfigError, DataError
from foundation.mesh import fill
from foundation.optimizer import TrainConfig
from foundation.runs import read_metrics

TRAIN = TrainConfig(steps=40, checkpoint_every=10, evaluate_every=20, log_every=10)
CFG = AnomalyConfig(method="autoencoder", train=TRAIN, batch_size=32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("fit"), crossings())


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    return anomaly_fit(store.path, cfg=CFG, out=tmp_path_factory.mktemp("runs") / "run")


def leaves(run):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(load_anomaly(run)))]


def test_a_run_has_its_losses_figures_pictures_and_page(run):
    rows = read_metrics(run.path / "metrics.jsonl")
    assert [row["step"] for row in rows if "val/loss" in row] == [20, 40]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < losses[0]
    found = run.read("metrics.json")
    assert found["inputs"] == [19]
    assert set(found["scores"]) == {"train", "val"}
    assert set(found["classes"]["kind"]) == {"zero_bias", "signal"}
    page = (run.path / "report.html").read_text()
    assert page.count("<img") == 3  # losses, scores, scores of the classes
    assert "Loss" in page


def test_an_interrupted_run_goes_on_to_the_same_model_to_the_bit(store, run, tmp_path, monkeypatch):
    original = foundation.train._Log.read

    def interrupt(self, step, metrics):
        original(self, step, metrics)
        if step == 25:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(foundation.train._Log, "read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            anomaly_fit(store.path, cfg=CFG, out=tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.json").exists()
    again = anomaly_fit(store.path, cfg=CFG, out=tmp_path / "run", resume=True)
    for one, other in zip(leaves(run), leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_are_chosen_by_class_and_by_observers(store):
    rows = normal_rows(store, RowsConfig(label="kind", classes=("zero_bias",), cut="(npu > 40) & (run == 1001)"), 0)
    assert (store.labels("train", "kind")[rows] == 0).all()
    assert (store.observer("train", "npu")[rows] > 40).all()
    assert (store.observer("train", "run")[rows] == 1001).all()
    wanted = (store.labels("train", "kind") == 0) & (store.observer("train", "npu") > 40)
    assert len(rows) == int((wanted & (store.observer("train", "run") == 1001)).sum()) > 0
    assert len(normal_rows(store, RowsConfig(most=7), 0)) == 7


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        (RowsConfig(label="kind"), ConfigError, "has the class labels"),
        (RowsConfig(label="kind", classes=("muon",)), ConfigError, "has the class labels"),
        (RowsConfig(cut="pileup > 3"), ConfigError, "npu"),
        (RowsConfig(cut="__import__('os')"), ConfigError, "rows.cut"),
        (RowsConfig(cut="npu > 1000"), DataError, "npu > 1000"),
    ],
)
def test_rows_that_are_not_there_are_refused_by_name(store, rows, error, words):
    with pytest.raises(error, match=words):
        normal_rows(store, rows, 0)


def test_weights_of_the_store_are_those_of_the_training(tmp_path):
    """Crossings of weight 0 might as well not be there: the centre is that of the others."""
    columns = crossings(200)
    columns["w"] = np.where(columns["kind"] == 1, 0, 3).astype(np.float32)
    store = toy_store(tmp_path, columns)
    rows = normal_rows(store, RowsConfig(), 0)
    weights = weights_of(store, "train", rows)
    assert weights.mean() == pytest.approx(1)
    assert (weights == 0).any()
    cfg = AnomalyConfig(method="mahalanobis")
    weighted = anomaly_fit(store.path, cfg=cfg, out=tmp_path / "weighted")
    only = AnomalyConfig(method="mahalanobis", rows=RowsConfig(label="kind", classes=("zero_bias",)))
    chosen = anomaly_fit(store.path, cfg=only, out=tmp_path / "chosen")
    one, other = (apply(load_anomaly(each), scored, store, "test") for each in (weighted, chosen))
    np.testing.assert_allclose(one, other, rtol=0.05)  # the covariance's n - 1 apart


def test_a_negative_weight_is_refused_and_its_row_named(tmp_path):
    columns = crossings(60)
    columns["w"][:] = -1
    store = toy_store(tmp_path, columns)
    with pytest.raises(DataError, match="negative"):
        anomaly_fit(store.path, cfg=CFG, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_constant_inputs_are_named(tmp_path, capsys):
    columns = crossings(60)
    columns["met"][:] = 7
    store = toy_store(tmp_path, columns)
    run = anomaly_fit(store.path, cfg=AnomalyConfig(method="mahalanobis"), out=tmp_path / "run")
    assert run.read("metrics.json")["constant"] == ["globals[0].met"]
    assert "globals[0].met" in capsys.readouterr().err


def test_hardware_scaling_is_learnt_and_saved(store, tmp_path):
    cfg = AnomalyConfig(method="mahalanobis", raw=RawConfig(scaling="hardware"))
    model = load_anomaly(anomaly_fit(store.path, cfg=cfg, out=tmp_path / "run"))
    jets = model.inputs.features["jets"]
    assert isinstance(jets, HardwareFeatures)
    shift = np.asarray(jets.shift[...])
    assert shift[0] > 2  # pt of tens of counts
    np.testing.assert_array_equal(shift, np.round(shift))
    assert np.isfinite(apply(model, scored, store, "test")).all()


def test_a_store_without_val_is_learnt_from(tmp_path):
    schema = changed(lambda s: s["split"].update(fractions={"train": 0.5, "test": 0.5}))
    store = toy_store(tmp_path, crossings(80), schema)
    run = anomaly_fit(store.path, cfg=CFG, out=tmp_path / "run")
    assert set(run.read("metrics.json")["scores"]) == {"train"}


def test_inputs_that_do_not_fit_the_start_are_refused(store, tmp_path):
    with pytest.raises(ConfigError, match="starts from a pretrain run"):
        anomaly_fit(store.path, cfg=AnomalyConfig(inputs="embedding"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_later_data_is_compared_with_is_kept(run, store):
    found = json.loads((run.path / "training_set.json").read_text())
    assert {"jets.pt", "jets[0].pt", "jets.n", "met", "score"} <= found["distributions"].keys()
    assert found["empty"] >= 0
    last = found["distributions"]["jets.pt"]["cumulative"][-1]
    assert last == pytest.approx(1)


def test_the_embedding_of_an_encoder_is_learnt_standardised_and_scored(store, tmp_path):
    encoder = toy_pretrained(tmp_path / "pretrain", store)
    cfg = AnomalyConfig(inputs="embedding", method="mahalanobis")
    run = anomaly_fit(encoder.path, cfg=cfg, store=store.path, out=tmp_path / "run")
    model = load_anomaly(run)
    x = apply(model.inputs, vectors, store, "train")
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-2)
    scores = anomaly_score(run.path, [store.path], cfg=ScoreConfig(rows=64), out=tmp_path / "scores")
    found = pq.read_table(scores.path / "test.parquet")["score"].to_numpy()
    np.testing.assert_allclose(found, apply(model, scored, store, "test"), rtol=1e-3)


def test_a_batch_is_filled_up_for_several_devices_with_rows_of_no_weight():
    filled = fill(Vectors(np.ones((3, 5), np.float32), np.ones(3, np.float32)), 4)
    assert filled.size == 4
    np.testing.assert_array_equal(filled.weights, [1, 1, 1, 0])
