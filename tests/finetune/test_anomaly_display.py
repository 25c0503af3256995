"""`detfm anomaly display`: occlusion keeps what it promises, and the page shows the crossings it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_crossings import crossings, toy_store, write_file

from finetune.anomaly.config import AnomalyConfig
from finetune.anomaly.display import DisplayConfig, anomaly_display, chosen_rows
from finetune.anomaly.display_events import shown
from finetune.anomaly.fit import anomaly_fit
from finetune.anomaly.inputs import RawConfig
from finetune.anomaly.occlusion import VARIANTS, occlusion
from finetune.anomaly.saved import load_anomaly
from finetune.anomaly.score import ScoreConfig, anomaly_score
from finetune.anomaly.score_sources import checked
from finetune.anomaly.scorer import Scorer
from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError, DataError, RunError
from foundation.schema import DetectorSchema


def batch_of(rows, jets, muons, seed=0):
    rng = np.random.default_rng(seed)

    def tokens(count):
        mask = np.sort(rng.random((rows, count)) < 0.6, axis=1)[:, ::-1]
        return Tokens((rng.random((rows, count, 3)).astype(np.float32) + 0.1) * mask[..., None], mask)

    return TokenBatch({"jets": tokens(jets), "muons": tokens(muons)}, np.ones((rows, 1), np.float32), {},
                      np.ones(rows, np.float32), np.arange(rows, dtype=np.int32))  # fmt: skip


def additive(batch):
    """Each object adds a function of itself and of its place; the example-level features add, too."""
    parts = [np.asarray(batch.globals)[:, 0]]
    for number, tokens in enumerate(batch.modalities.values(), start=1):
        places = np.arange(1, tokens.mask.shape[1] + 1)
        parts.append((number * places * (tokens.values**2).sum(axis=-1) * tokens.mask).sum(axis=1))
    return np.sum(parts, axis=0).astype(np.float32)


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 100), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_contributions_to_a_sum_over_objects_add_up_to_it(rows, jets, muons, seed):
    """More objects than go into one call, too."""
    batch = batch_of(rows, jets, muons, seed)
    found = occlusion(additive, batch)
    total = sum(each.sum(axis=1) for each in found.values())
    np.testing.assert_allclose(total, additive(batch) - 1, rtol=1e-4, atol=1e-4)  # 1: the empty crossing's
    for name, tokens in batch.modalities.items():
        assert (found[name][~tokens.mask] == 0).all()
        assert (found[name][tokens.mask] > 0).all()


def test_every_call_has_one_shape():
    sizes = set()

    def score(batch):
        sizes.add(batch.size)
        return additive(batch)

    occlusion(score, batch_of(2, 3, 150))
    assert sizes == {VARIANTS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("display")


@pytest.fixture(scope="module")
def store(folder):
    return toy_store(folder, crossings(300))


@pytest.fixture(scope="module")
def run(store, folder):
    cfg = AnomalyConfig(method="mahalanobis", raw=RawConfig(places={"jets": 2}))
    return anomaly_fit(store.path, cfg=cfg, out=folder / "run")


def test_an_object_that_the_model_does_not_see_contributes_exactly_nothing(store, run):
    """Raw inputs of two jets and no muons."""
    batch = store.read("test", np.arange(20))
    found = occlusion(Scorer(load_anomaly(run)), batch)
    np.testing.assert_array_equal(found["muons"], 0)
    np.testing.assert_array_equal(found["jets"][:, 2:], 0)
    seen = batch.modalities["jets"].mask[:, :2]
    assert np.abs(found["jets"][:, :2][seen]).min() > 0


def test_the_most_anomalous_are_shown_once_each_and_ordinary_ones_are_of_the_middle():
    scores = np.concatenate([[9, 9, np.nan, 8, 7], np.linspace(1, 2, 101)]).astype(np.float32)
    rows = chosen_rows(scores, DisplayConfig(most=3, ordinary=2))
    assert rows[:3] == [(1, 0), (2, 3), (3, 4)]
    assert all(rank == 0 and 1.2 < scores[row] < 1.8 for rank, row in rows[3:])
    assert len(rows) == 5
    with pytest.raises(DataError, match="no crossing has a score"):
        chosen_rows(np.full(3, np.nan, np.float32), DisplayConfig())


def test_a_page_of_scores_of_a_store_of_files_and_of_a_run(store, run, folder, tmp_path):
    cfg = DisplayConfig(most=2, split="")
    file = write_file(tmp_path / "crossings.parquet", crossings(80))
    of_store = anomaly_score(run.path, [store.path], cfg=ScoreConfig(), out=tmp_path / "of_store")
    of_files = anomaly_score(run.path, [file], cfg=ScoreConfig(), out=tmp_path / "of_files")
    shown_by = {n: anomaly_display(p, cfg=cfg, out=tmp_path / n)
                for n, p in (("a", of_store.path), ("b", of_files.path), ("c", run.path))}  # fmt: skip
    for each in shown_by.values():
        page = (each.path / "report.html").read_text()
        assert page.count("<img") == 1 + 2 * 3
        assert "What fired" in page
        assert "An ordinary crossing" in page
        assert len(list(each.path.glob("crossing_*.png"))) == 4
    a, b, c = (shown_by[n].read("metrics.json") for n in "abc")
    assert a["shown"] == c["shown"]
    assert a["split"] == "test"
    assert b["split"] == "data"
    assert a["shown"][0]["score"] > a["shown"][1]["score"] > a["shown"][2]["score"]
    assert "run" in a["shown"][0]
    assert "crossings.parquet, entry" in b["shown"][0]["where"]


def test_the_19_places_are_shown_by_kind_and_empty_ones_are_left_out():
    schema = DetectorSchema.load("data/axol1tl")
    values = np.zeros((1, 19, 3), np.float32)
    values[0, [0, 5, 9, 10]] = [[30, 0, 1], [20, 1, 2], [100, 2, 3], [50, -2, 6]]
    batch = TokenBatch({"objects": Tokens(values, np.ones((1, 19), bool))}, np.zeros((1, 0), np.float32), {},
                       np.ones(1, np.float32), np.zeros(1, np.int32))  # fmt: skip
    found = shown(checked(batch, {}), schema, lambda b: b.modalities["objects"].values[..., 0].sum(axis=1), "here", 1)
    assert {name: len(each) for name, each in found.event.tokens.items()} == {
        "met": 1,
        "egammas": 0,
        "muons": 1,
        "jets": 2,
    }
    assert [name for name, *_ in found.objects()] == ["jet 1", "jet 2", "met", "muon 1"]
    assert [given for *_, given in found.objects()] == [100, 50, 30, 20]
    assert found.observables["leading_jet_pt"] == 100


def test_what_cannot_be_shown_is_refused_by_name(store, run, tmp_path):
    with pytest.raises(ConfigError, match="no 'validation'"):
        anomaly_display(run.path, cfg=DisplayConfig(split="validation"), out=tmp_path / "d")
    with pytest.raises(ConfigError, match="most is at least 1"):
        anomaly_display(run.path, cfg=DisplayConfig(most=0), out=tmp_path / "d")
    with pytest.raises(RunError, match="stage 'ingest'"):
        anomaly_display(store.path, cfg=DisplayConfig(), out=tmp_path / "d")
    assert not (tmp_path / "d").exists()
