"""Files -> store: values, accounting, splits, statistics, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
from detector import SCHEMA, columns, schema, write
from hypothesis import given
from hypothesis import strategies as st

from foundation.cli import main
from foundation.errors import DataError, RunError, SchemaError
from foundation.expression import Expression
from foundation.hashing import bits, hash_rows, permutation, uniform
from foundation.runs import Run, sha256
from foundation.store import Store
from foundation.store.ingest import IngestConfig, ingest

SMALL = IngestConfig(chunk_rows=170, shard_rows=200)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two files, several chunks, several shards."""
    folder = tmp_path_factory.mktemp("ingest")
    files = [write(folder / f"{seed}.root", columns(700, seed)) for seed in (0, 1)]
    return Store.open(ingest(files, schema=schema(), cfg=SMALL, out=folder / "store"))


def everything(store):
    """All rows of all splits, in file order: by event and, within one, by met's order in the file."""
    content = {k: ak.concatenate([columns(700, s)[k] for s in (0, 1)]) for k in columns(1)}
    where = {}
    for split in store.splits:
        for row, key in enumerate(zip(store.observers(split)["event"], store.observers(split)["met"])):
            where[key] = (split, row)
    return content, where


def test_every_value_arrives(store):
    content, where = everything(store)
    assert len(where) == 1400
    for i in range(0, 1400, 13):
        split, row = where[int(content["event"][i]), float(content["met"][i])]
        batch = store.read(split, np.array([row]))
        pt, phi = np.asarray(content["track_pt"][i]), np.asarray(content["track_phi"][i])
        tracks = batch.modalities["tracks"]
        values = tracks.values[0][tracks.mask[0]]
        np.testing.assert_array_equal(values[:, 0], pt[pt > 1][:12])
        np.testing.assert_array_equal(values[:, 1], phi[pt > 1][:12])
        np.testing.assert_array_equal(
            batch.modalities["cells"].values[0, :, 0], np.float32(np.asarray(content["cells"][i])[:, 0])
        )
        assert batch.globals[0, 0] == np.float32(content["met"][i])
        assert batch.labels["kind"][0] == 1 - content["process"][i]  # order of classes in the schema: signal first
        assert batch.labels["flag"][0] == content["is_no"][i]
        assert batch.labels["target"][0] == np.float32(2 * content["met"][i])
        assert batch.weights[0] == 0.5


def test_accounting_adds_up(store):
    found = store.manifest["accounting"]
    assert found["read"] == found["written"] == 1400 == sum(store.length(s) for s in store.splits)
    content, _ = everything(store)
    passing = ak.sum(content["track_pt"] > 1, axis=1)
    tokens = found["tokens"]["tracks"]
    assert tokens["read"] == ak.count(content["track_pt"])
    assert tokens["select"] == tokens["read"] - ak.sum(passing)
    assert tokens["max_tokens"] == ak.sum(np.maximum(passing - 12, 0)) > 0
    assert tokens["written"] == tokens["read"] - tokens["select"] - tokens["max_tokens"]
    assert tokens["written"] == sum(store.tokens_lengths(s, "tracks").sum() for s in store.splits)
    for split in store.splits:
        recorded = store.manifest["splits"][split]
        np.testing.assert_array_equal(
            recorded["lengths"]["tracks"], np.bincount(store.tokens_lengths(split, "tracks"), minlength=13)
        )
        np.testing.assert_array_equal(
            list(recorded["classes"]["kind"].values()), np.bincount(store.labels(split, "kind"), minlength=2)
        )


def test_statistics_are_those_of_the_whole_array(store):
    rows = np.arange(store.length("train"))
    batch = store.read("train", rows)
    tracks = batch.modalities["tracks"]
    values = tracks.values[tracks.mask].astype(np.float64)
    values[:, 0] = np.log(values[:, 0])
    found = store.statistics("tracks")
    np.testing.assert_allclose(found.mean[:2], values.mean(axis=0)[:2], rtol=1e-6)
    np.testing.assert_allclose(found.std[:2], values.std(axis=0)[:2], rtol=1e-6)
    np.testing.assert_array_equal(found.mean[2:], 0)  # not standardised; constant
    np.testing.assert_array_equal(found.std[2:], 1)
    recorded = store.manifest["statistics"]["modalities"]["tracks"]["pt"]
    assert recorded["min"] == tracks.values[tracks.mask][:, 0].min()
    assert recorded["max"] == tracks.values[tracks.mask][:, 0].max()
    met = np.log1p(batch.globals[:, 0].astype(np.float64))
    np.testing.assert_allclose(store.global_statistics().mean, [met.mean()], rtol=1e-6)
    np.testing.assert_allclose(store.global_statistics().std, [met.std()], rtol=1e-6)


def test_equal_keys_never_straddle_splits(store):
    events = [set(store.observers(split)["event"]) for split in store.splits]
    assert not events[0] & events[1] | events[0] & events[2] | events[1] & events[2]
    assert sum(map(len, events)) == 700
    assert abs(len(events[0]) / 700 - 0.6) < 0.08


def test_splits_depend_on_neither_chunks_nor_files_nor_types(store, tmp_path):
    content = {k: ak.concatenate([columns(700, s)[k] for s in (1, 0)]) for k in columns(1)}
    content = {k: v if v.ndim == 2 and k != "cells" else ak.to_numpy(v) for k, v in content.items()}
    content["event"] = content["event"].astype(np.float64)
    path = write(tmp_path / "both.root", content)
    other = Store.open(ingest([path], schema=schema(), out=tmp_path / "store"))
    for split in store.splits:
        assert set(other.observers(split)["event"]) == set(store.observers(split)["event"])


def test_without_a_key_equal_inputs_share_a_split_whatever_their_labels(tmp_path):
    content = columns(400)
    twice = {k: ak.concatenate([v, v]) for k, v in content.items()}
    twice = {k: v if v.ndim == 2 and k != "cells" else ak.to_numpy(v) for k, v in twice.items()}
    twice["process"] = np.concatenate([content["process"], 1 - content["process"]])
    twice["event"] = np.arange(800)
    no_key = schema(split={"fractions": {"train": 0.5, "test": 0.5}})
    found = Store.open(ingest([write(tmp_path / "a.root", twice)], schema=no_key, out=tmp_path / "store"))
    train, test = (found.observers(s)["event"] for s in ("train", "test"))
    assert set(train[train < 400] + 400) == set(train[train >= 400])
    assert 150 < (test < 400).sum() < 250


def test_splitting_and_shuffling_are_frozen():
    """These numbers are a promise: stores made again and trainings resumed elsewhere see the same rows."""
    keys = hash_rows(np.array([1.5, -2.0, 3.0]), np.array([2, 0, 1]), "x")
    assert keys.tolist() == [9328177864549407829, 10581601694709671782, 10134052185391946268]
    assert permutation(8, "rows", 1, 2).tolist() == [6, 1, 0, 5, 2, 7, 3, 4]
    assert 0 <= uniform(keys).min() <= uniform(keys).max() < 1


@given(st.lists(st.lists(st.integers(-5, 5), max_size=4), min_size=1, max_size=6))
def test_hash_tells_rows_apart_exactly_when_they_differ(rows):
    flat = np.array([x for row in rows for x in row], np.float32)
    keys = hash_rows(flat, np.array([len(row) for row in rows]), "salt")
    assert [[keys[i] == keys[j] for j in range(len(rows))] for i in range(len(rows))] == [
        [a == b for b in rows] for a in rows
    ]


@given(st.integers(-(2**40), 2**40))
def test_equal_numbers_have_equal_bits(number):
    forms = [np.array([number], np.int64), np.array([number], np.float64)]
    assert len({int(bits(form)[0]) for form in forms}) == 1


def test_cut_and_quarantine_are_counted(tmp_path):
    content = columns(600)
    content["met"][[5, 300]] = np.nan
    content["process"][[8, 9]] = 4
    cuts = {"early": "event < 250", "not_3": "(event < 3) + (event > 3)"}
    cfg = IngestConfig(select=cuts, nonfinite="quarantine", unknown_label="quarantine", chunk_rows=100)
    no_target = schema(labels={"kind": SCHEMA["labels"]["kind"]}, weight="")
    found = Store.open(ingest([write(tmp_path / "a.root", content)], schema=no_target, cfg=cfg, out=tmp_path / "s"))
    accounting = found.manifest["accounting"]
    assert accounting["read"] == 600
    assert accounting["cuts"] == {"early": 100, "not_3": 2}
    assert accounting["quarantined"] == {"nonfinite": 2, "unknown_label": 2}
    assert accounting["written"] == 494 == sum(map(found.length, found.splits))
    assert accounting["values"] == {"nonfinite": {"globals.met": 2}, "unknown_label": {"labels.kind = 4": 2}}
    tokens = accounting["tokens"]["tracks"]
    assert tokens["read"] == tokens["select"] + tokens["max_tokens"] + tokens["quarantined"] + tokens["written"]
    listed = pq.read_table(found.path / "quarantine.parquet").to_pylist()
    assert [(row["entry"], row["reason"]) for row in listed] == [
        (5, "nonfinite"),
        (8, "unknown_label"),
        (9, "unknown_label"),
        (300, "nonfinite"),
    ]
    assert {row["file"] for row in listed} == {str(tmp_path / "a.root")}


def test_nan_is_named_with_feature_count_and_entry(tmp_path):
    content = columns(600)
    pt = ak.to_numpy(ak.flatten(content["track_phi"]))
    counts = ak.num(content["track_phi"])
    pt[int(ak.sum(counts[:400])) : int(ak.sum(counts[:400])) + 1] = np.inf
    content["track_phi"] = ak.unflatten(pt, counts)
    plain = schema(modalities={"tracks": {"features": {"phi": {"expression": "track_phi"}}}})
    entry = 400 + int(np.argmax(ak.to_numpy(counts[400:]) > 0))
    with pytest.raises(
        DataError, match=rf"a\.root, entries 300 to 449: .*modalities\.tracks\.features\.phi \(1\).*{entry}"
    ):
        ingest(
            [write(tmp_path / "a.root", content)], schema=plain, cfg=IngestConfig(chunk_rows=150), out=tmp_path / "s"
        )
    assert not (tmp_path / "s").exists()


def test_unknown_labels(tmp_path):
    content = columns(300)
    content["process"][[7, 8, 9]] = [4, 4, -1]
    path = write(tmp_path / "a.root", content)
    with pytest.raises(
        DataError, match=r"a\.root.*labels\.kind = 4 \(2\), labels\.kind = -1 \(1\); 3 rows, entry 7 first"
    ):
        ingest([path], schema=schema(), out=tmp_path / "s")
    kept = Store.open(ingest([path], schema=schema(), cfg=IngestConfig(unknown_label="unlabelled"), out=tmp_path / "s"))
    assert sum((kept.labels(s, "kind") == -1).sum() for s in kept.splits) == 3
    content["process"][[7, 8, 9]] = 1
    content["is_yes"][20] = content["is_no"][20] = 1
    with pytest.raises(DataError, match=r"labels\.flag.* \(1\); 1 rows, entry 20"):
        ingest([write(tmp_path / "b.root", content)], schema=schema(), out=tmp_path / "t")


def test_unequal_lengths_are_named(tmp_path):
    uneven = schema(
        modalities={"m": {"features": {"a": {"expression": "track_pt"}, "b": {"expression": "cells[..., 0]"}}}}
    )
    with pytest.raises(DataError, match=r"modalities\.m: 'features\.a' has \d+ tokens and 'features\.b' has 3 in row"):
        ingest([write(tmp_path / "a.root", columns(50))], schema=uneven, out=tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"globals": {"x": {"expression": "track_pt"}}}, r"globals\.x: .*list per example"),
        ({"modalities": {"m": {"features": {"a": {"expression": "met"}}}}}, r"features\.a: .*belongs under `globals`"),
        (
            {"modalities": {"m": {"features": {"a": {"expression": "cells"}}}}},
            r"features\.a: .*subscript its last axis",
        ),
        ({"weight": "cells[:, 9, 0]"}, r"weight: .*cannot be evaluated"),
    ],
)
def test_expressions_that_do_not_fit(tmp_path, change, message):
    with pytest.raises(SchemaError, match=message):
        ingest([write(tmp_path / "a.root", columns(20))], schema=schema(**change), out=tmp_path / "s")
    assert [p.name for p in tmp_path.iterdir()] == ["a.root"]


def test_a_failure_in_the_last_file_leaves_nothing_and_touches_nothing(tmp_path):
    good = write(tmp_path / "a.root", columns(300))
    content = columns(300, seed=1)
    content["process"][299] = 9
    bad = write(tmp_path / "b.root", content)
    out = ingest([good], schema=schema(), out=tmp_path / "store")
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(DataError, match=r"b\.root"):
        ingest([good, bad], schema=schema(), out=out, overwrite=True)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.root", "b.root", "store"]


def test_overwrite(tmp_path):
    path = write(tmp_path / "a.root", columns(300))
    out = ingest([path], schema=schema(), out=tmp_path / "store")
    with pytest.raises(RunError, match="exists"):
        ingest([path], schema=schema(), out=out)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("...")
    with pytest.raises(RunError, match="not a run folder"):
        ingest([path], schema=schema(), out=tmp_path / "precious", overwrite=True)
    assert (tmp_path / "precious" / "thesis.tex").exists()
    ingest([path], schema=schema(), cfg=IngestConfig(select="event < 50"), out=out, overwrite=True)
    assert Store.open(out).manifest["accounting"]["written"] == 100


def test_the_store_is_a_run_with_provenance(store):
    run = Run.open(store.path, "ingest")
    assert run.config(IngestConfig) == SMALL
    assert run.schema == schema() == store.schema
    assert [source["rows"] for source in store.sources()] == 2 * [{"read": 700, "written": 700}]
    first = store.sources()[0]
    assert run.provenance["inputs"]["file_00000"]["sha256"] == first["sha256"] == sha256(Path(first["path"]))
    assert run.input("file_00001").name == "1.root"


def test_files_and_patterns(tmp_path):
    for seed in (0, 1):
        write(tmp_path / f"{seed}.root", columns(50, seed))
    found = Store.open(ingest([tmp_path / "*.root"], schema=schema(), out=tmp_path / "s"))
    assert found.manifest["accounting"]["read"] == 100
    with pytest.raises(DataError, match="given twice"):
        ingest([tmp_path / "0.root", tmp_path / "*.root"], schema=schema(), out=tmp_path / "t")
    with pytest.raises(DataError, match="no file matches"):
        ingest([tmp_path / "*.rot"], schema=schema(), out=tmp_path / "t")


def test_command_line(tmp_path, capsys):
    path = write(tmp_path / "a.root", columns(100))
    (tmp_path / "toy.yaml").write_text(json.dumps(SCHEMA))
    words = ["ingest", str(path), "--schema", str(tmp_path / "toy.yaml"), "--out", str(tmp_path / "s")]
    assert main([*words, "--cfg.select", "event < 10"]) == 0
    shown = capsys.readouterr().err
    assert "removed by the cut 'select'" in shown
    assert "80" in shown
    assert main(words) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--cfg.chunks", "3"]) == 2
    assert "cfg" in capsys.readouterr().err
    assert Store.open(tmp_path / "s").manifest["accounting"]["written"] == 20


def test_level_one_jets_recover_the_hardware_integers(shared_data, tmp_path):
    """value / lsb of every trigger quantity that is exact in the source is an integer of the width the schema says."""
    path = shared_data / "l1jets" / "ggHHbbbb_PU200.root"
    found = Store.open(ingest([path], schema="data/l1jets", out=tmp_path / "s"))
    assert found.manifest["accounting"]["written"] == 3626
    particles = found.schema.modalities["particles"]
    for split in found.splits:
        batch = found.read(split, np.arange(found.length(split)))
        values = batch.modalities["particles"].values[batch.modalities["particles"].mask].astype(np.float64)
        for position, (name, feature) in enumerate(particles.features.items()):
            counts = values[:, position] / feature.hardware.lsb
            assert counts.min() >= feature.hardware.low, name
            assert counts.max() <= feature.hardware.high, name
            if name not in ("pt_rel", "pt_log"):  # ratios and logarithms: floats in the source
                np.testing.assert_allclose(counts, np.round(counts), atol=1e-3, err_msg=name)
        jet_counts = batch.globals[:, 0] / found.schema.globals["jet_pt"].hardware.lsb
        np.testing.assert_array_equal(jet_counts, np.round(jet_counts))


def test_level_one_recompute_expressions_give_the_stored_values(shared_data, tmp_path):
    found = Store.open(ingest([shared_data / "l1jets" / "*.root"], schema="data/l1jets", out=tmp_path / "s"))
    batch = found.read("test", np.arange(found.length("test")))
    features = found.schema.modalities["particles"].features
    tokens = batch.modalities["particles"]
    values = {name: tokens.values[..., i] for i, name in enumerate(features)} | {"jet_pt": batch.globals[:, :1]}
    saturated = batch.globals[:, 0] > 2047.9  # the source computed pt_rel before it clipped jet_pt to 16 bits
    for name in ("pt_rel", "pt_log"):
        again = Expression(features[name].recompute).evaluate(values)
        np.testing.assert_allclose(
            again[tokens.mask & ~saturated[:, None]],
            values[name][tokens.mask & ~saturated[:, None]],
            rtol=1e-5,
            err_msg=name,
        )


def test_what_became_of_everything_is_said_if_nothing_is_left(tmp_path):
    good, bad = write(tmp_path / "a.root", columns(20)), tmp_path / "b.root"
    bad.write_bytes(b"no such thing")
    cfg = IngestConfig(select={"none": "met < -1"})
    text = r"none of the 20 rows.*; 20 removed by the cut 'none'; 1 file\(s\) left out:\n  .*b\.root: not a ROOT file"
    with pytest.raises(DataError, match=text):
        ingest([good, bad], schema=schema(), cfg=cfg, out=tmp_path / "s", skip_bad_files=True)


def test_a_tree_without_rows(tmp_path):
    with pytest.raises(DataError, match="none of the 0 rows"):
        ingest([write(tmp_path / "a.root", columns(0))], schema=schema(), out=tmp_path / "s")


@pytest.mark.parametrize("names", [["a/b"], ["../x"], ["1st"], ["two words"]])
def test_names_that_could_leave_the_folder_are_refused(names):
    with pytest.raises(SchemaError, match="is no name"):
        schema(observers=dict.fromkeys(names, "met"))


def test_the_shipped_sample(sample, tmp_path):
    """Classes as one-hot columns; recompute expressions give the stored values; hardware types are wide enough."""
    found = Store.open(ingest([sample], schema="data/jets", out=tmp_path / "s"))
    assert found.manifest["accounting"]["written"] == found.manifest["accounting"]["read"] > 10_000
    assert all(count > 100 for count in found.manifest["splits"]["val"]["classes"]["jet_class"].values())
    batch = found.read("test", np.arange(300))
    features = found.schema.modalities["particles"].features
    tokens = batch.modalities["particles"]
    values = {name: tokens.values[..., i] for i, name in enumerate(features)}
    example = {name: batch.globals[:, i : i + 1] for i, name in enumerate(found.schema.globals)}
    for name, feature in features.items():
        if feature.recompute:
            again = Expression(feature.recompute).evaluate(values | example)[tokens.mask]
            np.testing.assert_allclose(again, values[name][tokens.mask], rtol=1e-5, atol=1e-6, err_msg=name)
        if feature.hardware is not None:
            recorded = found.manifest["statistics"]["modalities"]["particles"][name]
            assert recorded["max"] / feature.hardware.lsb <= feature.hardware.high, name
            assert recorded["min"] / feature.hardware.lsb >= feature.hardware.low, name
