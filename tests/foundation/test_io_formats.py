"""Every format: what was written is read, in chunks of any size, from any row on."""

from __future__ import annotations

import tempfile
from pathlib import Path

import awkward as ak
import h5py
import io_formats
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import DataError
from foundation.io import Reader, open_reader, table_names
from foundation.io.layout import Layout

KINDS = list(io_formats.SUFFIX)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(0, 40),
    step=st.integers(1, 50),
    chunk=st.integers(1, 50),
    most=st.integers(0, 5),
    cut=st.tuples(st.integers(0, 45), st.integers(0, 45)),
)
def test_what_is_written_is_read(kind, rows, step, chunk, most, cut):
    content = io_formats.columns(rows, seed=rows, most=most)
    start, stop = min(cut[0], rows), max(cut)
    with tempfile.TemporaryDirectory() as folder:
        path = io_formats.write(Path(folder), kind, content, step)
        reader = open_reader(path, layout=io_formats.layout(content, kind))
        assert isinstance(reader, Reader)
        assert (reader.path, reader.num_rows) == (str(path), rows)
        assert set(reader.columns) - {"offsets", "npt", "ncharge"} == set(content)
        chunks = list(reader.chunks(list(content), chunk, start, stop))
        reader.close()
    expected = min(stop, rows) - start
    assert [len(c) for c in chunks] == [min(chunk, expected - i) for i in range(0, max(expected, 0), chunk)]
    for name, values in content.items():
        if chunks:
            assert io_formats.same(ak.concatenate([c[name] for c in chunks]), values[start:stop]), name


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_of_variable_length_and_types_are_kept(kind, tmp_path):
    content = io_formats.columns(20)
    with_layout = open_reader(io_formats.write(tmp_path, kind, content), layout=io_formats.layout(content, kind))
    chunk = next(with_layout.chunks(list(content), 100))
    with_layout.close()
    assert str(chunk["cells"].type) == "20 * var * float64"
    assert str(chunk["image"].type) in ("20 * var * 2 * int16", "20 * var * var * int16")
    assert str(chunk["pt"].type) == "20 * var * float32"
    for name, kind_of in {"event": "int64", "met": "float32", "flag": "bool"}.items():
        assert str(chunk[name].type) == f"20 * {kind_of}"


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_per_row_is_about_that_in_memory(kind, tmp_path):
    content = io_formats.columns(500, most=40)
    reader = open_reader(io_formats.write(tmp_path, kind, content), layout=io_formats.layout(content, kind))
    for names in (["pt", "charge"], ["cells", "image"], ["met"]):
        in_memory = next(reader.chunks(names, 500)).nbytes / 500
        assert 0.5 < reader.bytes_per_row(names) / in_memory < 2, names
    reader.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_column_names_the_close_ones(kind, tmp_path):
    reader = open_reader(io_formats.write(tmp_path, kind, io_formats.columns(3)))
    with pytest.raises(DataError, match=r"file\.\w+.*no (column|branch) 'mett'; did you mean 'met'"):
        reader.require(["event", "mett"])
    reader.close()
    assert len(table_names(reader.path)) == 1


# -- ROOT


def test_nested_branches_go_by_their_own_names(shared_data):
    reader = open_reader(shared_data / "files" / "delphes.root", "Delphes")
    chunk = next(reader.chunks(["Event.Number", "Jet.PT", "Jet.Area.fP.fX", "Jet.Constituents.refs"], 25))
    with uproot.open(shared_data / "files" / "delphes.root") as file:
        tree = file["Delphes"]
        assert ak.array_equal(chunk["Event.Number"], tree["Event/Event.Number"].array(), check_parameters=False)
        assert ak.array_equal(chunk["Jet.PT"], tree["Jet/Jet.PT"].array(), check_parameters=False)
        area = tree["Jet/Jet.Area"].array()
        assert ak.array_equal(chunk["Jet.Area.fP.fX"], area["fP", "fX"], check_parameters=False)
    assert "Event" not in reader.columns
    reader.close()


@pytest.mark.parametrize(
    "name", ["deepjet/ntuple_ttbar.root", "files/uproot-HZZ-zstd.root", "l1jets/ggHHbbbb_PU200.root"]
)
def test_baskets_of_different_lengths_are_put_together(shared_data, name):
    """Trees of experiments, whose branches have 1 to 13 baskets each, against uproot reading each branch whole."""
    reader = open_reader(shared_data / name)
    found = ak.concatenate(list(reader.chunks(reader.columns, 457)))
    for column in reader.columns:
        whole = reader.table[column].array()
        assert ak.array_equal(found[column], whole, check_parameters=False, check_regular=False, equal_nan=True), column
    reader.close()


def test_records_of_an_rntuple_are_columns_of_their_fields(tmp_path):
    rows = ak.Array([{"x": float(i), "mu": [{"pt": 1.0 * j, "q": j} for j in range(i % 3)]} for i in range(10)])
    with uproot.recreate(tmp_path / "n.root") as file:
        file.mkrntuple("t", rows)
    reader = open_reader(tmp_path / "n.root")
    assert reader.columns == ["x", "mu.pt", "mu.q"]
    found = ak.concatenate(list(reader.chunks(["mu.q", "x"], 4)))
    assert ak.to_list(found["mu.q"]) == ak.to_list(rows["mu", "q"])
    assert ak.to_list(found["x"]) == ak.to_list(rows["x"])
    reader.close()


@pytest.mark.parametrize("kind", ["tree", "ntuple", "parquet"])
@pytest.mark.parametrize("ordered", [True, False])
def test_a_flat_table_with_example_numbers(tmp_path, monkeypatch, kind, ordered):
    """One row per token, the example's number beside it, over several blocks."""
    monkeypatch.setattr("foundation.io.divide.BLOCK", 32)
    rng = np.random.default_rng(1)
    number = rng.integers(0, 30, 300)
    number = np.sort(number) if ordered else number
    number[number == 3] = 4
    content = {"entry": number, "pt": rng.normal(size=300).astype(np.float32)}
    path = io_formats.write(tmp_path, kind, content, 64)
    reader = open_reader(path, layout={"*": Layout("index", "entry")})
    assert reader.num_rows == number.max() + 1
    found = ak.concatenate(list(reader.chunks(["pt"], 4)))["pt"]
    assert str(found.type) == f"{reader.num_rows} * var * float32"
    assert [list(tokens) for tokens in found] == [list(content["pt"][number == i]) for i in range(reader.num_rows)]
    assert reader.column_type("pt").endswith(", 300 entries")
    assert 4 < reader.bytes_per_row(["pt"]) < 200
    reader.close()


@pytest.mark.parametrize("kind", ["tree", "ntuple"])
def test_baskets_too_large_to_keep_are_read_for_each_chunk(tmp_path, kind, monkeypatch):
    content = io_formats.columns(300)
    path = io_formats.write(tmp_path, kind, content, 128)
    monkeypatch.setattr("foundation.io.root.KEEP_BYTES", 10)
    reader = open_reader(path)
    chunks = list(reader.chunks(list(content), 70))
    reader.close()
    for name, values in content.items():
        assert io_formats.same(ak.concatenate([chunk[name] for chunk in chunks]), values), name


def test_branches_of_one_name_are_told_apart_by_their_paths(shared_data, monkeypatch):
    """Two modalities with a sub-branch of the same name: neither is lost, nor one read for the other."""
    path = shared_data / "files" / "delphes.root"
    branch = uproot.behaviors.TBranch.TBranch
    name = branch.name
    short = property(lambda b: "PT" if name.fget(b) in ("Jet.PT", "Electron.PT") else name.fget(b))
    monkeypatch.setattr(branch, "name", short)
    reader = open_reader(path, "Delphes")
    assert {c for c in reader.columns if c.endswith("/PT")} == {"Jet/PT", "Electron/PT"}
    chunk = next(reader.chunks(["Jet/PT", "Electron/PT", "Jet_size", "Electron_size"], 25))
    for one in ("Jet", "Electron"):
        assert ak.to_list(ak.num(chunk[f"{one}/PT"])) == ak.to_list(chunk[f"{one}_size"])
    reader.close()


# -- HDF5


def test_compound_datasets_groups_strings_and_lists(tmp_path):
    rng = np.random.default_rng(0)
    table = np.zeros(9, [("pt", "f4"), ("pos", "f8", (3,)), ("name", "S4")])
    table["pt"], table["pos"], table["name"] = rng.normal(size=9), rng.normal(size=(9, 3)), [b"ab"] * 9
    lists = [rng.normal(size=i % 4).astype(np.float32) for i in range(9)]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["events/particles"] = table
        file.create_dataset("events/lists", data=np.array([*lists, None], object)[:-1], dtype=h5py.vlen_dtype("f4"))
        file.create_dataset("events/text", data=["día", "x"] * 4 + [""], dtype=h5py.string_dtype())
        file["events/particles"].attrs["note"] = "not a column"
        file["half"] = rng.normal(size=(9, 2)).astype(np.float16)
        file["half"].attrs["columns"] = "eta,phi"
        file["big"] = np.arange(9, dtype=">i4")
    reader = open_reader(tmp_path / "a.h5")
    found = ak.concatenate(list(reader.chunks(reader.columns, 4)))
    np.testing.assert_array_equal(found["events/particles.pt"], table["pt"])
    np.testing.assert_array_equal(ak.to_numpy(found["events/particles.pos"]), table["pos"])
    assert ak.to_list(found["events/particles.name"]) == ["ab"] * 9
    assert ak.to_list(found["events/text"]) == ["día", "x"] * 4 + [""]
    assert ak.to_list(found["events/lists"]) == [list(x) for x in lists]
    assert ak.to_list(found["big"]) == list(range(9))
    assert reader.column_type("half") == "float16[2] (eta, phi)"
    reader.close()
    below = open_reader(tmp_path / "a.h5", "events")
    assert sorted(below.columns) == ["lists", "particles.name", "particles.pos", "particles.pt", "text"]
    below.close()
    with pytest.raises(DataError, match=r"a\.h5: has no group 'evens'; did you mean 'events'"):
        open_reader(tmp_path / "a.h5", "evens")


def test_a_chunk_of_the_file_is_decompressed_once(tmp_path, monkeypatch):
    """Chunks like (1000, 1, 1) of [N, 12, 4] do not fit HDF5's cache: rows are read in whole chunks and kept."""
    values = np.arange(5000 * 48, dtype=np.float32).reshape(5000, 12, 4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(1000, 1, 1))
    reader = open_reader(tmp_path / "a.h5")
    read = []
    original = h5py.Dataset.__getitem__
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda d, key: read.append(key) or original(d, key))
    found = ak.concatenate(list(reader.chunks(["x"], 300)))
    reader.close()
    np.testing.assert_array_equal(ak.to_numpy(found["x"]), values)
    assert [(s.start, s.stop) for s in read] == [(i, i + 1000) for i in range(0, 5000, 1000)]


# -- Parquet


def test_structs_lists_of_structs_strings_and_nulls(tmp_path):
    rows = [
        {"jet": {"pt": 1.0, "sub": {"n": 1}}, "mu": [{"pt": 1.5, "q": 1}, {"pt": None, "q": -1}], "s": "a", "i": 1},
        {"jet": {"pt": 2.0, "sub": None}, "mu": None, "s": None, "i": None},
        {"jet": None, "mu": [], "s": "ccc", "i": 3},
    ]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    pa.feather.write_feather(table, str(tmp_path / "a.feather"), chunksize=2)
    for name in ("a.parquet", "a.feather"):
        reader = open_reader(tmp_path / name)
        assert reader.columns == ["jet.pt", "jet.sub.n", "mu.pt", "mu.q", "s", "i"]
        for chunk in (1, 2, 3):
            found = ak.concatenate(list(reader.chunks(reader.columns, chunk)))
            assert repr(ak.to_list(found["jet.pt"])) == "[1.0, 2.0, nan]"
            assert repr(ak.to_list(found["jet.sub.n"])) == "[1.0, nan, nan]"
            assert repr(ak.to_list(found["mu.pt"])) == "[[1.5, nan], [], []]"
            assert ak.to_list(found["mu.q"]) == [[1, -1], [], []]
            assert ak.to_list(found["s"]) == ["a", "", "ccc"]
            assert repr(ak.to_list(found["i"])) == "[1.0, nan, 3.0]"
        reader.close()


def test_whole_numbers_with_nulls_have_one_type_in_the_whole_file(tmp_path):
    pq.write_table(pa.table({"i": [1, 2, 3, None]}), tmp_path / "a.parquet", row_group_size=2)
    reader = open_reader(tmp_path / "a.parquet")
    assert [str(chunk["i"].type) for chunk in reader.chunks(["i"], 2)] == ["2 * float64"] * 2
    reader.close()
    pq.write_table(pa.table({"i": [2**60, None]}), tmp_path / "b.parquet")
    reader = open_reader(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet, entries 0 to 1: column 'i' .*beyond 2\^53 has nulls"):
        list(reader.chunks(["i"], 2))
    reader.close()


def test_row_groups_before_the_start_are_not_read(tmp_path):
    """Damage in the first row group does not matter to who reads the second."""
    path = io_formats.write(tmp_path, "parquet", {"x": np.arange(4000.0)}, 2000)
    first = pq.ParquetFile(path).metadata.row_group(0).column(0)
    content = bytearray(path.read_bytes())
    at = first.data_page_offset
    content[at : at + 200] = bytes(200)
    path.write_bytes(content)
    reader = open_reader(path)
    assert ak.to_list(next(reader.chunks(["x"], 10, 2500))["x"]) == list(np.arange(2500.0, 2510.0))
    with pytest.raises(DataError, match=r"file\.parquet, entries 0 to 9: cannot be read; the file is damaged"):
        next(reader.chunks(["x"], 10))
    reader.close()


# -- npz and npy


def test_npy_rows_columns_first_and_structured(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 3, 2))
    for name, array in (("c", values), ("f", np.asfortranarray(values)), ("b", values.astype(">f4"))):
        np.save(tmp_path / f"{name}.npy", array)
        reader = open_reader(tmp_path / f"{name}.npy")
        assert reader.columns == ["data"]
        found = ak.concatenate([chunk["data"] for chunk in reader.chunks(["data"], 7, 3)])
        np.testing.assert_array_equal(ak.to_numpy(found), array[3:])
        reader.close()
    table = np.zeros(5, [("pt", "f4"), ("name", "U3")])
    table["pt"], table["name"] = np.arange(5), "abc"
    np.save(tmp_path / "s.npy", table)
    reader = open_reader(tmp_path / "s.npy")
    chunk = next(reader.chunks(["data.pt", "data.name"], 9))
    assert ak.to_list(chunk["data.pt"]) == [0, 1, 2, 3, 4]
    assert ak.to_list(chunk["data.name"]) == ["abc"] * 5
    reader.close()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_columns_first_in_an_npz(tmp_path, save):
    values = np.asfortranarray(np.random.default_rng(0).normal(size=(50, 3)))
    save(tmp_path / "a.npz", x=values, n=np.float64(3))
    reader = open_reader(tmp_path / "a.npz")
    found = ak.concatenate([chunk["x"] for chunk in reader.chunks(["x"], 7)])
    np.testing.assert_array_equal(ak.to_numpy(found), values)
    reader.close()


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_objects_are_refused_not_unpickled(tmp_path, name):
    objects = np.array([[1], [1, 2]], object)
    np.save(tmp_path / name, objects, allow_pickle=True) if name == "a.npy" else np.savez(tmp_path / name, x=objects)
    with pytest.raises(DataError, match=rf"{name}: '(data|x)' holds Python objects"):
        open_reader(tmp_path / name)


def test_large_compressed_members_are_read_in_a_stream(tmp_path, monkeypatch):
    """Also back again, and never as a whole."""
    monkeypatch.setattr("foundation.io.numpy_files.KEEP_BYTES", 1000)
    values = np.random.default_rng(0).normal(size=(5000, 3))
    np.savez_compressed(tmp_path / "a.npz", x=values)
    reader = open_reader(tmp_path / "a.npz")
    for _ in range(2):
        parts = [chunk["x"] for chunk in reader.chunks(["x"], 700, 100)]
        np.testing.assert_array_equal(ak.to_numpy(ak.concatenate(parts)), values[100:])
    assert reader.stored["x"].whole is None
    reader.close()
