"""`detfm inspect FILE`: what the tables and the JSON say of files of every format."""

from __future__ import annotations

import io
import json

import awkward as ak
import io_server
import numpy as np
import pytest
import uproot
from detector import columns, schema, write
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from foundation.cli import main
from foundation.errors import DataError, RunError
from foundation.inspect import inspect
from foundation.inspect.arrays import peel
from foundation.inspect.file import summarise, to_json
from foundation.inspect.profile import Profile
from foundation.runs import Run


def text(tables):
    out = Console(file=io.StringIO(), width=220)
    for table in tables:
        out.print(table)
    return out.file.getvalue()


def line(shown, name):
    return next(row for row in shown.splitlines() if row.strip().startswith(f"{name} ")).split()


def test_a_file(tmp_path):
    content = columns(300)
    content["met"][[1, 2]] = np.nan
    content["met"][3] = np.inf
    content["met"][4] = 1e6
    shown = text(inspect(write(tmp_path / "a.root", content)))
    assert "300 rows" in shown
    met = line(shown, "met")
    assert met[:4] == ["met", "double", "1", f"{np.nanmin(content['met']):.6g}"]
    assert met[5:] == ["1e+06", "2", "1", "GeV"][: len(met) - 5]
    assert line(shown, "track_pt")[:5] == ["track_pt", "float[]", "0", "to", "19,"]
    assert line(shown, "cells")[:3] == ["cells", "double[3][2]", "3"]


def test_the_numbers_are_those_of_the_file(tmp_path):
    content = columns(300)
    found = summarise(str(write(tmp_path / "a.root", content))).profiles
    pt = found["track_pt"]
    assert pt.numbers.low == np.float32(np.min(content["track_pt"]))
    assert pt.numbers.high == np.float32(np.max(content["track_pt"]))
    assert pt.total == len(np.concatenate(content["track_pt"].to_list()))
    cells = found["cells"]
    assert cells.components == 2
    for k, part in enumerate(cells.parts):
        assert (part.low, part.high) == (content["cells"][..., k].min(), content["cells"][..., k].max())
        np.testing.assert_array_equal(part.sample, content["cells"][..., k].ravel())


def test_several_chunks_give_what_one_gives(tmp_path, monkeypatch):
    path = str(write(tmp_path / "a.root", columns(300)))
    whole = to_json(summarise(path))
    monkeypatch.setattr("foundation.inspect.profile.CHUNK_BYTES", 1000.0)
    assert to_json(summarise(path)) == whole


def test_only_the_first_rows_when_asked(tmp_path):
    content = columns(300)
    content["met"][200] = 1e9
    path = write(tmp_path / "a.root", content)
    assert "1e+09" in text(inspect(path))
    assert "1e+09" not in text(inspect(path, rows=150))


def test_columns_are_filtered_by_pattern(tmp_path):
    path = write(tmp_path / "a.root", columns(50))
    shown = text(inspect(path, columns="track_*, met"))
    assert "track_phi" in shown
    assert "met" in shown
    assert "cells" not in shown
    with pytest.raises(DataError, match=r"no column matches 'Jet_\*'"):
        inspect(path, columns="Jet_*")


def test_a_damaged_column_is_named_and_the_others_are_read(tmp_path):
    path = write(tmp_path / "a.root", columns(300))
    with uproot.open(path) as file:
        seek = file["events"]["met"].member("fBasketSeek")[0]
    damaged = bytearray(path.read_bytes())
    damaged[seek + 80 : seek + 400] = b"\xff" * 320
    path.write_bytes(damaged)
    found = summarise(str(path)).profiles
    assert found["met"].kind == "damaged"
    assert "'met'" in found["met"].problem
    assert found["track_pt"].kind == "number"
    assert "damaged column" in text(inspect(path))


def test_a_run(tmp_path):
    run = Run.create(tmp_path / "run", "pretrain", config={}, schema=schema(), seeds={"train": 7})
    run.write("metrics.json", {"probe": 0.75})
    shown = text(inspect(run.path))
    assert line(shown, "stage") == ["stage", "pretrain"]
    assert line(shown, "probe") == ["probe", "0.75"]


def test_json_of_a_file(tmp_path, capsys):
    path = write(tmp_path / "a.root", columns(100))
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    by_name = {c["name"]: c for entry in found["collections"] for c in entry["columns"]}
    assert found["rows"] == 100
    assert by_name["track_pt"]["unit"] == "GeV"
    assert by_name["track_pt"]["coordinate"] == "pt"
    assert by_name["cells"]["components"][1]["expression"] == "cells[..., 1]"


@pytest.mark.slow
def test_wide_files_are_shown_by_collection(shared_data):
    shown = text(inspect(shared_data / "files" / "nano_tt_v15.root"))
    assert len(shown.splitlines()) < 100
    assert line(shown, "Jet")[:6] == ["Jet", "68", "4", "to", "15,", "mean"]
    assert line(shown, "HLT")[:3] == ["HLT", "716", "1"]
    assert not [row for row in shown.splitlines() if row.strip().startswith("nJet")]  # counters say nothing new


def test_offsets_divide_the_columns_of_an_npz(shared_data):
    found = summarise(str(shared_data / "cms_events" / "cms_ispy_events.npz"))
    assert found.rows == 931
    assert found.profiles["eb"].divided == "divided by eb_off"
    assert found.profiles["eb_off"].kind == "divider"
    eb = next(entry for entry in to_json(found)["collections"] if entry["name"] == "eb")["columns"][0]
    assert [c["coordinate"] for c in eb["components"]] == ["energy", "eta", "phi", "time"]
    assert found.profiles["eb"].total == 205268


def test_example_numbers_divide_the_columns_of_an_npz(shared_data):
    found = summarise(str(shared_data / "p2l1" / "TTbar_PU200_Barrel.npz"))
    assert found.rows == 100
    assert found.profiles["calo"].divided == "example number in calo[:, 0]"
    assert found.profiles["calo"].total == 26339


def test_names_of_components_come_from_the_file(shared_data):
    shown = text(inspect(shared_data / "l1ugt" / "cms_l1_ugt.h5"))
    assert line(shown, "[..., 4]  charge")
    assert "2017:pp:unspecified" in shown


@pytest.mark.slow
def test_a_file_of_several_trees(shared_data):
    shown = text(inspect(shared_data / "files" / "nano_dy.root"))
    assert "'Events'" in shown
    assert "genEventCount" in text(inspect(shared_data / "files" / "nano_dy.root", tree="Runs"))


def test_refusals(tmp_path, capsys):
    with pytest.raises(RunError, match="not a run folder"):
        inspect(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        inspect(tmp_path / "x.root")
    with pytest.raises(DataError, match="not a store"):
        inspect(write(tmp_path / "a.root", columns(20)), verify=True)
    assert main(["inspect", str(tmp_path / "x.root")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "a.root"), "--rows", "0"]) == 2
    assert "--rows must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bad_delphes.root", "nano_dy_malformed.parquet"])
def test_broken_files_are_refused_by_name(shared_data, name):
    with pytest.raises(DataError, match=name):
        inspect(shared_data / "files" / name)


def test_a_url(tmp_path):
    pytest.importorskip("aiohttp", reason="needs detfm[remote]")
    path = write(tmp_path / "a.root", columns(100))
    with io_server.serve(tmp_path) as server:
        url = server.url("a.root")
        there, here = to_json(summarise(url)), to_json(summarise(str(path)))
        assert line(text(inspect(url)), "track_pt")[1] == "float[]"
    assert there | {"path": ""} == here | {"path": ""}


@given(st.lists(st.lists(st.lists(st.integers(-5, 5), min_size=3, max_size=3), max_size=4), min_size=1, max_size=6))
def test_peeling_keeps_every_number_and_length(rows):
    array = ak.values_astype(ak.Array([*rows, [[1, 2, 3]]]), np.int32)[: len(rows)]
    peeled = peel(array)
    assert peeled.counts[0].tolist() == [len(row) for row in rows]
    assert peeled.counts[1].tolist() == [3] * sum(map(len, rows))
    assert peeled.values.tolist() == [n for row in rows for token in row for n in token]
    found = Profile("a", "int32[]")
    found.add(array)
    for k, part in enumerate(found.parts):  # components are described each by itself
        assert part.sample.tolist() == [token[k] for row in rows for token in row]


def test_missing_values_strings_and_records_are_told_apart():
    assert peel(ak.Array([1.5, None, 2.5])).missing == 1
    assert peel(ak.Array([["a", "bc"], []])).values.tolist() == ["a", "bc"]
    assert peel(ak.Array([[{"x": 1}], []])).kind == "other"
    assert peel(ak.Array([[True], None, [False, True]])).counts[0].tolist() == [1, 0, 2]


def test_an_empty_file_is_described_by_its_types(shared_data):
    profiles = summarise(str(shared_data / "files" / "nano_dy_empty.root")).profiles
    assert (profiles["Jet_pt"].depth, profiles["MET_pt"].depth) == (2, 1)
