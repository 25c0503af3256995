"""Evaluations of a store's rows: figures of every kind of prediction, tables that analysts can friend, refusals."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from few_jets import ingest_few

from foundation.errors import ConfigError, DataError
from foundation.evaluation import Fitted, evaluate_predictions
from foundation.evaluation_config import EvaluateConfig
from foundation.figure_tables import figure_tables
from foundation.predictions import Predictions, Regression
from foundation.quantities import Quantities
from foundation.store import Store

CLASSES = ("QCD", "Tbqq", "Wqq", "Zqq", "Hbb")
FEW = EvaluateConfig(replicas=20)


@pytest.fixture(scope="module")
def jets(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    return Store.open(ingest_few(sample, folder, 900)), folder / "few.root"


def said(store, split="test", strength=2.0, seed=0):
    """Logits that know something of the class, and a regression of the jet's pt."""
    rng = np.random.default_rng(seed)
    labels = store.labels(split, "jet_class")
    logits = rng.normal(0, 1, (len(labels), 5)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += strength
    pt = store.observer(split, "jet_pt").astype(np.float32)
    off = {q: (pt * (1 + 0.1 * z)).astype(np.float32) for q, z in ((0.16, -1.0), (0.84, 1.0))}
    value = (pt * rng.normal(1, 0.1, len(pt))).astype(np.float32)
    rows = np.arange(len(labels))
    regressions = {"pt": Regression(pt, value, off)}
    return Predictions("class", CLASSES, logits, labels.astype(np.int32), rows, regressions=regressions)


@pytest.fixture(scope="module")
def evaluated(jets, tmp_path_factory):
    store, _ = jets
    folder = tmp_path_factory.mktemp("evaluated")
    cfg = dataclasses.replace(FEW, signal=("Tbqq",), background=("QCD",), background_efficiency=0.2)
    fitted = Fitted.of(said(store, "val"), "val")
    return folder, evaluate_predictions(folder, store, "test", said(store), cfg, fitted)


def test_every_figure_is_there_with_its_interval_and_json_holds_no_nan(evaluated, jets):
    _, found = evaluated
    json.dumps(found, allow_nan=False)
    low, high = found["intervals"]["auc/Tbqq"]
    assert low < found["auc/Tbqq"] < high
    assert found["intervals"]["auc"][0] < found["auc"] < found["intervals"]["auc"][1]
    assert [r["signal_efficiency"] for r in found["rejection/QCD"]] == [0.3, 0.5, 0.8, 0.99]
    assert found["auc_ovo"] == pytest.approx(found["auc"], abs=0.1)
    assert (found["pairs"][0]["signal"], found["pairs"][0]["background"]) == ("Tbqq", "QCD")
    labels = jets[0].labels("test", "jet_class")
    assert found["pairs"][0]["examples"] == np.isin(labels, [0, 1]).sum()
    assert found["calibration"]["temperature"] > 0
    assert found["calibration"]["fitted_on"] == "val"
    assert set(found["dependence"]) == {"background_efficiency", "jet_pt", "jet_eta"}
    assert set(found["dependence"]["jet_pt"]) == {"Tbqq against QCD"}
    assert found["sculpting"]["mass"] == "jet_sdmass"


def test_the_pictures_are_drawn_and_the_tables_hold_the_figures(evaluated):
    folder, found = evaluated
    drawn = {path.stem for path in folder.glob("*.png")}
    assert {"roc", "roc_pairs", "confusion", "reliability", "dependence_jet_pt", "dependence_jet_eta"} <= drawn
    assert {"response_pt", "coverage_pt"} <= drawn
    tables = figure_tables(found)
    captions = [table.caption for table in tables]
    assert any(caption.startswith("Calibration, fitted on val") for caption in captions)
    assert any(caption.startswith("One class against one") for caption in captions)
    per_class = next(table for table in tables if getattr(table, "header", [""])[0] == "class against the rest")
    assert f"{found['auc/QCD']:.4f}" in per_class.rows[0][1]


def test_predictions_can_be_friended_to_the_input_file(evaluated, jets):
    """The values of another column of the file, looked up by entry, are those of the predictions' own rows."""
    folder, _ = evaluated
    store, path = jets
    with uproot.open(path) as file:
        columns = file["tree"].arrays(["jet_pt", "label_Tbqq", "event_id"], library="np")
    table = pq.read_table(folder / "predictions.parquet")
    entry = table["source_entry"].to_numpy()
    assert len(np.unique(entry)) == len(entry) == store.length("test")
    np.testing.assert_allclose(columns["jet_pt"][entry], table["jet_pt"].to_numpy(), rtol=1e-6)
    np.testing.assert_array_equal(columns["event_id"][entry], table["event_id"].to_numpy())
    np.testing.assert_array_equal(columns["label_Tbqq"][entry] == 1, table["target"].to_numpy() == 1)
    with uproot.open(folder / "predictions.root") as file:
        tree = file["predictions"].arrays(library="np")
    for name in ("source_entry", "score_Tbqq", "predicted_pt", "predicted_pt_q16", "target"):
        np.testing.assert_array_equal(tree[name], table[name].to_numpy())
    total = sum(table[f"score_{name}"].to_numpy() for name in CLASSES)
    np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_scores_are_those_of_the_model_not_calibrated(evaluated, jets):
    folder, _ = evaluated
    logits = said(jets[0]).logits.astype(np.float64)
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = pq.read_table(folder / "predictions.parquet")["score_Hbb"].to_numpy()
    np.testing.assert_allclose(found, wanted[:, 4], rtol=1e-5)


def test_regressions_in_bins_and_their_quantiles(evaluated):
    _, found = evaluated
    assert found["pt"]["resolution"] == pytest.approx(0.1, rel=0.2)
    assert set(found["pt"]["bins"]) == {"target", "jet_pt", "jet_eta"}
    assert [r["covered"] for r in found["pt"]["coverage"]] == [0.0, 1.0]  # the target itself is between the two


def test_tokens_are_written_with_their_row_and_weigh_as_whole_examples(jets, tmp_path):
    store, _ = jets
    lengths = np.minimum(store.tokens_lengths("test", "particles"), 5)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    tokens = np.concatenate([np.arange(n) for n in lengths])
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, len(rows)).astype(np.int32)
    logits = np.stack([1.0 - truth, truth], axis=1) + rng.normal(0, 1, (len(rows), 2))
    pt = {"pt": Regression(np.ones(len(lengths)), np.full(len(lengths), 1.1))}
    found = Predictions("token_class", ("hard", "pileup"), logits, truth, rows, tokens, pt)
    figures = evaluate_predictions(tmp_path, store, "test", found, FEW)
    table = pq.read_table(tmp_path / "predictions.parquet")
    np.testing.assert_array_equal(table["row"].to_numpy(), rows)
    np.testing.assert_array_equal(table["token"].to_numpy(), tokens)
    np.testing.assert_array_equal(table["jet_pt"].to_numpy(), store.observer("test", "jet_pt")[rows])
    assert pq.read_table(tmp_path / "regressions.parquet").num_rows == len(lengths)
    assert figures["examples"] == len(rows)
    assert figures["rows"] == (lengths > 0).sum()
    assert "sculpting" not in figures
    assert figures["calibration"]["temperature"] is None


def test_pairs_and_multilabels_get_a_figure_per_class(jets, tmp_path):
    store, _ = jets
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(50), 4)
    truth = rng.integers(0, 2, (200, 1)).astype(np.int32)
    truth[:5] = -1
    ends = np.stack([np.arange(200) % 4, np.arange(200) % 3], axis=1)
    edges = Predictions("edge", ("together",), 4.0 * truth - 2 + rng.normal(0, 2, (200, 1)), truth, rows, ends)
    found = evaluate_predictions(tmp_path, store, "test", edges, FEW)
    answers = found["answers"][0]
    assert (answers["yes"] + answers["no"], answers["unknown"]) == (195, 5)
    assert found["average_precision"] == answers["average_precision"] > 0.7
    assert found["intervals"]["auc/together"][0] < found["auc/together"]
    table = pq.read_table(tmp_path / "predictions.parquet")
    np.testing.assert_array_equal(table["token_b"].to_numpy(), ends[:, 1])
    truth = rng.integers(0, 2, (60, 2)).astype(np.int32)
    truth[:, 1] = 1
    tags = Predictions("multilabel", ("b", "always"), 3.0 * truth - 1.5, truth, np.arange(60))
    found = evaluate_predictions(tmp_path, store, "test", tags, FEW)
    assert found["auc/b"] == found["accuracy"] == 1.0
    assert found["auc/always"] is None
    assert found["reasons"]["auc/always"] == "no no in the test set"
    with pytest.raises(DataError, match="none of the 60 objects has a known answer"):
        evaluate_predictions(tmp_path, store, "test", dataclasses.replace(tags, targets=np.full((60, 2), -1)), FEW)


def test_quantities_are_found_by_name_and_computed_from_the_tokens(jets):
    store, _ = jets
    q = Quantities(store, "test")
    assert q.mass() == "jet_sdmass"
    assert q.usual() == ["jet_pt", "jet_eta"]
    whole = q["particles.n"] < 0.8 * q["particles.n"].max()  # the sample keeps the leading constituents only
    np.testing.assert_allclose(q["particles.pt"][whole], store.observer("test", "jet_pt")[whole], rtol=0.02)
    plain = store.observer("test", "jet_sdmass")
    heavy = plain > 120  # grooming and masses of the constituents matter little there
    assert np.median(q["particles.mass"][heavy] / plain[heavy]) == pytest.approx(1, abs=0.15)
    np.testing.assert_array_equal(q["particles.n"], store.tokens_lengths("test", "particles"))
    batch = store.read("test", np.arange(5))
    np.testing.assert_array_equal(q["jet_energy"][:5], batch.globals[:, 1])
    with pytest.raises(ConfigError, match="did you mean 'jet_eta'"):
        q["jet_etaa"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"efficiencies": (0.5, 1.0)}, r"cfg\.efficiencies: 1\.0 is not between"),
        ({"confidence": 0.0}, "cfg.confidence"),
        ({"background_efficiency": 1.0}, "cfg.background_efficiency"),
        ({"replicas": -1}, "cfg.replicas"),
        ({"signal": ("top",)}, "the model has no class 'top'"),
        ({"mass": "sdmass"}, "no quantity 'sdmass'"),
        ({"bins": {"jet_pt": [700.0, 600.0]}}, "must rise"),
        ({"bins": {"jet_ptt": []}}, "did you mean 'jet_pt'"),
    ],
)
def test_settings_that_cannot_be_are_refused(jets, tmp_path, settings, says):
    with pytest.raises(ConfigError, match=says):
        evaluate_predictions(tmp_path, jets[0], "test", said(jets[0]), dataclasses.replace(FEW, **settings))


def test_predictions_that_are_not_finite_are_refused(jets, tmp_path):
    bad = said(jets[0])
    bad.logits[3, 1] = np.nan
    with pytest.raises(DataError, match="NaN or infinite, the first in row 3"):
        evaluate_predictions(tmp_path, jets[0], "test", bad, FEW)
