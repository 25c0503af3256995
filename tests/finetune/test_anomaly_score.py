"""`detfm anomaly score`: every crossing of a store or of files, in order, streamed; bad input by rule."""

from __future__ import annotations

import resource
import subprocess
import sys

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from toy_crossings import changed, crossings, toy_store, write_file

import finetune.anomaly.score as scoring
from finetune.anomaly.config import AnomalyConfig
from finetune.anomaly.fit import anomaly_fit
from finetune.anomaly.model import scored
from finetune.anomaly.pipeline import ahead, behind
from finetune.anomaly.saved import load_anomaly
from finetune.anomaly.score import ScoreConfig, anomaly_score
from foundation.embedding import apply
from foundation.errors import ConfigError, DataError
from foundation.store import Store
from foundation.store.ingest import IngestConfig, ingest

FEW = ScoreConfig(rows=50)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("score")


@pytest.fixture(scope="module")
def store(folder):
    return toy_store(folder, crossings(1500))


@pytest.fixture(scope="module")
def run(store, folder):
    return anomaly_fit(store.path, cfg=AnomalyConfig(method="mahalanobis"), out=folder / "run")


def table(run, split):
    read = pq.read_table(run.path / f"{split}.parquet")
    return {name: read[name].to_numpy() for name in read.column_names}


def test_a_split_is_scored_in_order_beside_its_origin(run, store, tmp_path):
    scores = anomaly_score(run.path, [store.path], cfg=FEW, out=tmp_path / "scores")
    found = table(scores, "test")
    np.testing.assert_array_equal(found["row"], np.arange(store.length("test")))
    np.testing.assert_allclose(found["score"], apply(load_anomaly(run), scored, store, "test"), rtol=1e-5)
    np.testing.assert_array_equal(found["npu"], store.observer("test", "npu"))
    np.testing.assert_array_equal(found["label_kind"], store.labels("test", "kind"))
    np.testing.assert_array_equal(found["source_entry"], store.source("test")[:, 1])
    assert {"run", "event", "weight", "ht", "leading_jet_pt", "multiplicity", "met"} <= found.keys()
    with uproot.open(scores.path / "test.root") as file:
        for name, values in found.items():
            np.testing.assert_array_equal(file["test"][name].array(library="np"), values)
    assert {p.name for p in scores.path.glob("*.parquet")} == {"train.parquet", "val.parquet", "test.parquet"}
    assert scores.read("metrics.json")["rows"] == 1500
    assert not list(scores.path.glob("*.partial"))


@pytest.mark.parametrize("ending", ["parquet", "root"])
def test_files_have_the_scores_of_the_store_that_came_from_them(run, store, folder, tmp_path, ending):
    file = write_file(folder / f"crossings.{ending}", crossings(1500))
    of_files = table(anomaly_score(run.path, [file], cfg=FEW, out=tmp_path / "files"), "data")
    of_store = anomaly_score(run.path, [store.path], cfg=ScoreConfig(), out=tmp_path / "store")
    np.testing.assert_array_equal(of_files["source_entry"], np.arange(1500))
    for split in ("train", "val", "test"):
        rows = table(of_store, split)
        for name in rows.keys() - {"row", "source_file"}:
            np.testing.assert_array_equal(of_files[name][rows["source_entry"]], rows[name], err_msg=name)


def test_several_files_are_one_table_and_their_rows_go_on_counting(run, tmp_path):
    files = [write_file(tmp_path / f"{i}.parquet", crossings(30 + i, seed=i)) for i in range(2)]
    found = table(anomaly_score(run.path, files, cfg=FEW, out=tmp_path / "scores"), "data")
    np.testing.assert_array_equal(found["row"], np.arange(61))
    np.testing.assert_array_equal(found["source_file"], [0] * 30 + [1] * 31)


def test_an_empty_crossing_has_a_score_and_is_counted(run, tmp_path):
    file = write_file(tmp_path / "crossings.parquet", crossings(1))
    scores = anomaly_score(run.path, [file], cfg=FEW, out=tmp_path / "scores")
    assert scores.read("metrics.json")["empty"] == 1
    assert np.isfinite(table(scores, "data")["score"]).all()
    assert table(scores, "data")["multiplicity"][0] == 0


def test_files_without_labels_or_observers_are_scored(run, tmp_path, capsys):
    columns = {name: value for name, value in crossings(40).items() if name not in ("kind", "npu", "w")}
    found = table(
        anomaly_score(run.path, [write_file(tmp_path / "x.parquet", columns)], cfg=FEW, out=tmp_path / "s"), "data"
    )
    assert not {"label_kind", "npu"} & found.keys()
    np.testing.assert_array_equal(found["weight"], 1)
    assert "label kind" in (said := capsys.readouterr().err)
    assert "observer npu" in said


def test_a_column_that_has_a_default_need_not_be_there(tmp_path):
    schema = changed(lambda s: s.update(defaults={"w": 3, "npu": 40}))
    made = toy_store(tmp_path, crossings(200), schema)
    trained = anomaly_fit(made.path, cfg=AnomalyConfig(method="mahalanobis"), out=tmp_path / "run")
    columns = {name: value for name, value in crossings(40).items() if name not in ("npu", "w")}
    file = write_file(tmp_path / "x.parquet", columns)
    found = table(anomaly_score(trained.path, [file], cfg=FEW, out=tmp_path / "s"), "data")
    np.testing.assert_array_equal(found["weight"], 3)
    np.testing.assert_array_equal(found["npu"], 40)


def test_a_value_that_is_not_finite_is_refused_or_flagged_and_named(run, tmp_path):
    columns = crossings(40)
    columns["met"][7] = np.nan
    columns["jets_pt"] = columns["jets_pt"] + np.where(np.arange(40) == 9, np.inf, 0)
    infinite = int(ak.num(columns["jets_pt"])[9])
    file = write_file(tmp_path / "x.parquet", columns)
    with pytest.raises(DataError, match=r"(?s)x.parquet.*nonfinite.*met.*entry 7"):
        anomaly_score(run.path, [file], cfg=FEW, out=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    flagged = anomaly_score(run.path, [file], cfg=ScoreConfig(nan="flag", rows=16), out=tmp_path / "flagged")
    bad = {7, 9} if infinite else {7}
    assert set(np.flatnonzero(np.isnan(table(flagged, "data")["score"]))) == bad
    found = flagged.read("metrics.json")
    assert found["flagged"] == len(bad)
    assert found["splits"]["data"]["nonfinite"]["globals.met"] == 1
    assert "globals.met" in " ".join(found["splits"]["data"]["warnings"])


def test_a_store_with_such_a_value_is_treated_alike(run, tmp_path):
    store = toy_store(tmp_path, crossings(60))
    path = next(store.path.glob("test/*/globals.npy"))
    values = np.load(path)
    values[0] = np.nan
    np.save(path, values)
    with pytest.raises(DataError, match=r"globals.met \(1\); row 0 first"):
        anomaly_score(run.path, [store.path], cfg=ScoreConfig(splits=("test",)), out=tmp_path / "refused")
    found = anomaly_score(
        run.path, [store.path], cfg=ScoreConfig(splits=("test",), nan="flag"), out=tmp_path / "flagged"
    )
    assert np.isnan(table(found, "test")["score"])[0]
    assert found.read("metrics.json")["flagged"] == 1


def test_data_like_the_training_set_gives_no_warning_and_another_calibration_is_named(run, tmp_path, capsys):
    same = write_file(tmp_path / "same.parquet", crossings(1500, seed=1))
    found = anomaly_score(run.path, [same], cfg=FEW, out=tmp_path / "same").read("metrics.json")["splits"]["data"]
    assert not found["warnings"]
    columns = crossings(1500, seed=2)
    columns["jets_pt"] = 1.5 * columns["jets_pt"]
    other = write_file(tmp_path / "other.parquet", columns)
    found = anomaly_score(run.path, [other], cfg=FEW, out=tmp_path / "other").read("metrics.json")["splits"]["data"]
    assert "jets.pt" in found["warnings"][0]
    assert not any("muons" in each["feature"] for each in found["drift"] if each["drifted"])
    assert "jets.pt" in capsys.readouterr().err
    assert all(each["ks"] > each["threshold"] for each in found["drift"] if each["drifted"])


def test_saturated_values_are_counted_named_and_warned_about(run, tmp_path):
    columns = crossings(300, seed=3)
    columns["muons_pt"] = ak.where(columns["muons_pt"] > 25, 255.5, columns["muons_pt"])
    file = write_file(tmp_path / "x.parquet", columns)
    found = anomaly_score(run.path, [file], cfg=FEW, out=tmp_path / "scores").read("metrics.json")["splits"]["data"]
    assert found["saturated"]["muons.pt"] == int(ak.sum(columns["muons_pt"] == 255.5)) > 0
    assert any(text.startswith("saturated: muons.pt") for text in found["warnings"])


@pytest.mark.parametrize("where", ["_columns", "_figures"])
def test_an_interruption_leaves_nothing_that_looks_finished(run, store, tmp_path, monkeypatch, where):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(scoring._Split, where, interrupt)
    with pytest.raises(KeyboardInterrupt):
        anomaly_score(run.path, [store.path], cfg=FEW, out=tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


def test_what_cannot_be_scored_is_refused_by_name(run, store, folder, tmp_path):
    lacking = write_file(tmp_path / "x.parquet", {n: v for n, v in crossings(9).items() if n != "jets_eta"})

    def without_eta(schema):
        for part in ("features", "coordinates"):
            del schema["modalities"]["jets"][part]["eta"]

    other = toy_store(tmp_path, crossings(30), changed(without_eta))
    cases = [
        ([lacking], ScoreConfig(), DataError, "jets_eta"),
        ([tmp_path / "none.root"], ScoreConfig(), DataError, "none.root"),
        ([other.path], ScoreConfig(), DataError, "modality 'jets' has the features"),
        ([store.path], ScoreConfig(splits=("tests",)), DataError, "tests"),
        ([store.path, store.path], ScoreConfig(), ConfigError, "one store"),
        ([folder / "crossings.parquet"], ScoreConfig(splits=("test",)), ConfigError, "splits"),
        ([store.path], ScoreConfig(rows=0), ConfigError, "rows"),
    ]
    for data, cfg, error, words in cases:
        with pytest.raises(error, match=words):
            anomaly_score(run.path, data, cfg=cfg, out=tmp_path / "scores")
        assert not (tmp_path / "scores").exists()


def test_an_error_of_a_thread_reaches_the_caller():
    def items():
        yield 1
        raise ValueError("reader")

    with pytest.raises(ValueError, match="reader"), ahead(items()) as found:
        list(found)

    def write(_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), behind(write) as hand_over:
        hand_over(1)
    with ahead(iter(range(1000))) as found:  # left before the end
        assert next(found) == 0


MEMORY = """
import resource, sys
from finetune.anomaly.score import ScoreConfig, anomaly_score
anomaly_score(sys.argv[1], [sys.argv[2]], cfg=ScoreConfig(rows=2000), out=sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(run, tmp_path):
    """Peak of a process of its own, in MB, for 40,000 and 400,000 crossings."""
    peaks = []
    for count in (40_000, 400_000):
        file = write_file(tmp_path / f"{count}.parquet", crossings(count))
        store = ingest(
            [file], schema=changed(dict), cfg=IngestConfig(shard_rows=20_000), out=tmp_path / f"store{count}"
        )
        assert Store.open(store).length("train") > 0.5 * count
        command = [sys.executable, "-c", MEMORY, str(run.path), str(store), str(tmp_path / f"scores{count}")]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
    assert peaks[1] < peaks[0] + 150, peaks
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
