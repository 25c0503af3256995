"""Files that are damaged, foreign or of another version, and examples that are out of the ordinary: each by a rule."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import awkward as ak
import h5py
import io_server
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from detector import SCHEMA, columns, schema, write

from foundation.cli import main
from foundation.errors import ConfigError, DataError, RunError
from foundation.store import Store
from foundation.store import unit as working
from foundation.store.accounting import Accounting
from foundation.store.ingest import IngestConfig, ingest
from foundation.store.job import Segment
from foundation.store.plan import divide

CFG = IngestConfig(chunk_rows=70, shard_rows=150)


def damaged(path, at: float):
    """The file with a byte range in the middle overwritten, where baskets are."""
    content = bytearray(path.read_bytes())
    start = int(len(content) * at)
    content[start : start + 400] = b"\xff" * 400
    path.write_bytes(content)
    return path


@pytest.fixture
def files(tmp_path):
    """Good, cut short, empty, foreign, good."""
    good = [write(tmp_path / name, columns(200, seed)) for seed, name in enumerate(["a.root", "z.root"])]
    short, empty, foreign = tmp_path / "short.root", tmp_path / "empty.root", tmp_path / "foreign.root"
    short.write_bytes(good[0].read_bytes()[:20_000])
    empty.write_bytes(b"")
    foreign.write_bytes(b"PK this is no ROOT file")
    return [good[0], short, empty, foreign, good[1]]


def test_bad_files_are_named_all_at_once(files, tmp_path):
    with pytest.raises(DataError, match=r"3 of 5 files cannot be read \(--skip-bad-files") as refused:
        ingest(files, schema=schema(), out=tmp_path / "s")
    for name in ("short.root: cut short", "empty.root: ", "foreign.root: not a ROOT file"):
        assert name in str(refused.value)
    assert not (tmp_path / "s.partial").exists()


def test_bad_files_are_left_out_and_listed(files, tmp_path):
    found = Store.open(ingest(files, schema=schema(), out=tmp_path / "s", skip_bad_files=True))
    assert found.manifest["accounting"]["files"] == {"given": 5, "skipped": 3}
    assert found.manifest["accounting"]["read"] == 400
    sources = found.sources()
    assert [bool(source["skipped"]) for source in sources] == [False, True, True, True, False]
    assert "cut short" in sources[1]["skipped"]
    assert [source["rows"]["read"] for source in sources] == [200, 0, 0, 0, 200]
    assert {int(n) for split in found.splits for n in np.unique(found.source(split)[:, 0])} == {0, 4}


def test_the_command_line_shows_what_was_left_out(files, tmp_path, capsys):
    (tmp_path / "toy.yaml").write_text(json.dumps(SCHEMA))
    words = ["ingest", *map(str, files), "--schema", str(tmp_path / "toy.yaml"), "--out", str(tmp_path / "s")]
    assert main(words) == 2
    assert main([*words, "--skip-bad-files"]) == 0
    shown = capsys.readouterr().err
    assert "left out: " in shown
    assert "foreign.root: not a ROOT file" in shown


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_damage_in_the_middle_excludes_the_whole_file(tmp_path, processes):
    """Units that are done and hold rows of the file are made again without it; the store is as if it were not given."""
    files = [write(tmp_path / f"{n}.root", columns(240, n), basket=40) for n in range(3)]
    damaged(files[1], 0.8)
    options = {"schema": schema(), "cfg": CFG, "processes": processes}
    with pytest.raises(DataError, match=r"1\.root: .*branch.*entries \d+ to \d+.*--skip-bad-files.*is kept"):
        ingest(files, out=tmp_path / "s", **options)
    assert (tmp_path / "s.partial").exists()
    found = Store.open(ingest(files, out=tmp_path / "s", skip_bad_files=True, **options))
    assert found.manifest["accounting"]["read"] == 480
    assert "branch" in found.sources()[1]["skipped"]
    assert [source["rows"]["written"] for source in found.sources()] == [240, 0, 240]
    without = Store.open(ingest([files[0], files[2]], schema=schema(), out=tmp_path / "t"))
    for split in found.splits:
        for one, other in zip(found.observers(split).values(), without.observers(split).values()):
            np.testing.assert_array_equal(np.sort(one), np.sort(other))
    assert found.verify() > 0


def test_missing_column_names_the_files_and_close_names(tmp_path):
    new = columns(50, 1)
    new["MET"] = new.pop("met")
    old = write(tmp_path / "old.root", columns(50))
    (tmp_path / "new.root").write_bytes(_write_without_met(tmp_path, new).read_bytes())
    with pytest.raises(
        DataError,
        match=r"column 'met', which globals\.met names, is missing in 1 of 2 files: .*new\.root \(did you mean 'MET'",
    ):
        ingest([old, tmp_path / "new.root"], schema=schema(), out=tmp_path / "s")
    kept = Store.open(ingest([old, tmp_path / "new.root"], schema=schema(), out=tmp_path / "s", skip_bad_files=True))
    assert "has no column 'met'" in kept.sources()[1]["skipped"]
    with pytest.raises(DataError, match=r"has no column 'met', which globals\.met names; did you mean 'MET'"):
        ingest([tmp_path / "new.root"], schema=schema(), out=tmp_path / "t", skip_bad_files=True)


def _write_without_met(folder, content):
    path = folder / "without.root"
    types = {n: ak.type(v).content if isinstance(v, ak.Array) else (v.dtype, v.shape[1:]) for n, v in content.items()}
    with uproot.recreate(path) as file:
        file.mktree("events", types)
        file["events"].extend(content)
    return path


def test_a_column_of_another_kind_is_named(tmp_path):
    other = columns(50, 1)
    other["met"] = np.repeat(other["met"][:, None], 2, axis=1)
    files = [write(tmp_path / "a.root", columns(50)), write(tmp_path / "b.root", other)]
    message = r"column 'met' is one number per row in .*a\.root \(double\), a list of numbers per row in .*b\.root"
    with pytest.raises(DataError, match=message):
        ingest(files, schema=schema(), out=tmp_path / "s")
    whole = columns(50, 1)
    whole["met"] = np.round(whole["met"]).astype(np.int64)
    files[1] = write(tmp_path / "b.root", whole)
    assert Store.open(ingest(files, schema=schema(), out=tmp_path / "s")).manifest["accounting"]["read"] == 100


def test_an_optional_modality_that_some_files_lack(tmp_path):
    without = columns(60, 1)
    del without["cells"]
    files = [write(tmp_path / "a.root", columns(50)), write(tmp_path / "b.root", without)]
    described = {**SCHEMA["modalities"], "cells": SCHEMA["modalities"]["cells"] | {"optional": True}}
    with pytest.raises(
        DataError, match=r"column 'cells', which .* names, is missing in 1 of 2 files: .*b\.root.*`optional: true`"
    ):
        ingest(files, schema=schema(), out=tmp_path / "s")
    found = Store.open(ingest(files, schema=schema(modalities=described), out=tmp_path / "s"))
    assert found.manifest["accounting"]["absent"] == {"cells": 60}
    for split in found.splits:
        lengths = found.tokens_lengths(split, "cells")
        np.testing.assert_array_equal(lengths, np.where(found.source(split)[:, 0] == 1, 0, 3))


def long_events(path, tokens: list[int]):
    with uproot.recreate(path) as file:
        file.mktree("events", {"x": "var * float32", "met": np.float64})
        values = ak.unflatten(np.arange(sum(tokens), dtype=np.float32), tokens)
        file["events"].extend({"x": values, "met": np.arange(float(len(tokens)))})
    return path


LONG = {
    "modalities": {"hits": {"features": {"x": {"expression": "x"}}, "max_tokens": 20_000}},
    "labels": {},
    "observers": {},
    "split": {},
}


def test_events_with_no_token_and_with_ten_thousand(tmp_path):
    path = long_events(tmp_path / "a.root", [0, 10_000, 3, 0, 1, 10_000])
    cfg = IngestConfig(chunk_bytes=20_000, shard_bytes=20_000)
    found = Store.open(ingest([path], schema=schema(**LONG), cfg=cfg, out=tmp_path / "s"))
    lengths = {
        int(entry): int(length)
        for split in found.splits
        for (_, entry), length in zip(found.source(split), found.tokens_lengths(split, "hits"))
    }
    assert [lengths[entry] for entry in range(6)] == [0, 10_000, 3, 0, 1, 10_000]
    assert sum(found.split(split)["shards"] for split in found.splits) >= 3


def test_chunks_and_shards_are_bounded_by_bytes(tmp_path, monkeypatch):
    """2.4 MB of events of equal length; a chunk and a shard may take 200 kB."""
    path = long_events(tmp_path / "a.root", [3000] * 200)
    rows = []
    real = working.evaluate

    def watched(job, policies, chunk, start, count, path):
        rows.append(count)
        return real(job, policies, chunk, start, count, path)

    monkeypatch.setattr(working, "evaluate", watched)
    cfg = IngestConfig(chunk_bytes=200_000, shard_bytes=200_000)
    one = schema(**LONG | {"split": {"fractions": {"train": 1.0}}})
    found = Store.open(ingest([path], schema=one, cfg=cfg, out=tmp_path / "s"))
    assert max(rows) * 3000 * 4 <= 200_000
    assert 12 <= found.split("train")["shards"] <= 25


def test_a_wrong_unit_is_named_with_its_feature(tmp_path):
    content = columns(100)
    content["track_phi"] = content["track_phi"] * 1000
    with pytest.raises(DataError, match=r"a\.root, entries 0 to 69: out of range: modalities\.tracks\.features\.phi"):
        ingest([write(tmp_path / "a.root", content)], schema=schema(), cfg=CFG, out=tmp_path / "s")


def test_clipping_counts_and_keeps_the_rows(tmp_path):
    content = columns(100)
    content["met"][[3, 4]] = [np.inf, np.nan]
    ranged = {"met": {"expression": "met", "range": [0.0, 500.0]}}
    cfg = IngestConfig(nonfinite="clip")
    plain = schema(globals=ranged, labels={}, weight="")
    found = Store.open(ingest([write(tmp_path / "a.root", content)], schema=plain, cfg=cfg, out=tmp_path / "s"))
    accounting = found.manifest["accounting"]
    assert accounting["written"] == 100
    assert accounting["values"]["nonfinite"] == {"globals.met": 2}
    assert pq.read_table(found.path / "quarantine.parquet").num_rows == 0


def test_hardware_values_off_the_grid_are_counted(tmp_path):
    content = columns(100)
    content["met"] = np.arange(100) * 0.5
    content["met"][7] = 3.3
    hardware = {"met": {"expression": "met", "hardware": {"lsb": 0.5, "bits": 6, "signed": False}}}
    plain = schema(globals=hardware, labels={}, weight="")
    found = Store.open(ingest([write(tmp_path / "a.root", content)], schema=plain, out=tmp_path / "s"))
    assert found.manifest["accounting"]["hardware"] == {"globals.met": {"off_grid": 1, "saturated": 36}}


def test_no_room_on_the_disk_is_known_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(RunError, match=r"needs about .* GB .* are free"):
        ingest([write(tmp_path / "a.root", columns(100))], schema=schema(), out=tmp_path / "s")
    assert [path.name for path in tmp_path.iterdir()] == ["a.root"]


def test_settings_that_cannot_be(tmp_path):
    path = write(tmp_path / "a.root", columns(10))
    for cfg, message in [
        (IngestConfig(shard_rows=0), "must be positive"),
        (IngestConfig(select={"a": ""}), "'a' has no expression"),
    ]:
        with pytest.raises(ConfigError, match=message):
            ingest([path], schema=schema(), cfg=cfg, out=tmp_path / "s")
    with pytest.raises(ConfigError, match="processes must be positive"):
        ingest([path], schema=schema(), out=tmp_path / "s", processes=0)


def test_a_row_that_is_not_accounted_for_is_an_error_of_ours():
    lost = Accounting(read=10, written=9)
    with pytest.raises(RuntimeError, match="not accounted for"):
        lost.check()
    lost.cuts["select"] = 1
    lost.check()
    lost.tokens["tracks"] = Counter(read=5, written=4)
    with pytest.raises(RuntimeError, match="tokens of 'tracks'"):
        lost.check()


def test_units_share_the_rows_evenly_and_lose_none():
    rows = [10, 1, 0, 250, 3]
    segments = [Segment(n, 0, count) for n, count in enumerate(rows) if count]
    units = divide(segments, [0.01] * 5)
    sizes = [sum(each.stop - each.start for each in unit) for unit in units]
    assert sum(sizes) == 264
    assert len(units) == 3
    assert max(sizes) - min(sizes) <= 2
    joined = [each for unit in units for each in unit]
    for number, count in enumerate(rows):
        parts = [(each.start, each.stop) for each in joined if each.file == number]
        assert [stop for _, stop in parts[:-1]] == [start for start, _ in parts[1:]]
        assert not parts or (parts[0][0], parts[-1][1]) == (0, count)


def test_files_by_url_make_the_same_shards(tmp_path):
    pytest.importorskip("aiohttp", reason="needs detfm[remote]")
    local = write(tmp_path / "a.root", columns(200))
    with io_server.serve(tmp_path) as server:
        found = Store.open(ingest([server.url("a.root")], schema=schema(), out=tmp_path / "far"))
    near = Store.open(ingest([local], schema=schema(), out=tmp_path / "near"))
    assert found.manifest["files"]["train/index.npz"] == near.manifest["files"]["train/index.npz"]
    (source,) = found.sources()
    assert source["rows"] == {"read": 200, "written": 200}
    assert source["sha256"] is None, "a file on a server is not read twice to be hashed"


def test_files_of_formats_that_differ_in_one_list(tmp_path):
    """The same columns from ROOT and HDF5; numbers of other types are no other kind."""
    content = {"x": np.arange(60.0).reshape(20, 3), "met": np.arange(20.0)}
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("events", {"x": (np.float64, (3,)), "met": np.float64})
        file["events"].extend(content)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.update({"x": content["x"].astype(np.float32), "met": content["met"].astype(np.int32)})
    described = schema(**LONG | {"tree": "", "globals": {"met": {"expression": "met"}}, "weight": ""})
    found = Store.open(ingest([tmp_path / "a.root", tmp_path / "b.h5"], schema=described, out=tmp_path / "s"))
    assert [source["rows"]["written"] for source in found.sources()] == [20, 20]
    for split in found.splits:
        number, entry = found.source(split).T
        for file in (0, 1):  # the content decides the split: each entry of both files is in the same one
            assert set(entry[number == file]) == set(entry)
