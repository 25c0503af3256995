from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot
from detector import columns, write

from foundation.errors import DataError
from foundation.io import open_reader, table_names


@pytest.fixture(scope="module")
def root_file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("io") / "events.root", columns(1000))


@pytest.mark.parametrize("rows", [1, 7, 250, 333, 10_000])
def test_chunks_together_are_the_file(root_file, rows):
    rows = max(rows, 100)
    content = columns(1000)
    reader = open_reader(root_file)
    chunks = list(reader.chunks(["track_pt", "cells", "met"], rows))
    reader.close()
    assert [len(c) for c in chunks[:-1]] == [rows] * (len(chunks) - 1)
    whole = ak.concatenate(chunks)
    assert ak.array_equal(whole["track_pt"], content["track_pt"], check_parameters=False, check_regular=False)
    np.testing.assert_array_equal(ak.to_numpy(whole["cells"]), content["cells"])
    np.testing.assert_array_equal(whole["met"], content["met"])


def test_only_the_named_columns_are_read(root_file):
    reader = open_reader(root_file)
    assert next(reader.chunks(["met"], 10)).fields == ["met"]
    assert set(reader.columns) >= set(columns(1))
    reader.close()


def test_a_missing_branch_names_the_close_ones(root_file):
    reader = open_reader(root_file)
    with pytest.raises(
        DataError, match=r"events.root: tree 'events' has no branch 'track_ptt'; did you mean 'track_pt'"
    ):
        next(reader.chunks(["track_ptt"], 10))
    reader.close()


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        open_reader(tmp_path / "no.root")
    with pytest.raises(DataError, match="it is a folder"):
        open_reader(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"no reader for '\.txt'"):
        open_reader(tmp_path / "a.txt")
    (tmp_path / "a.root").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.root: the file is empty"):
        open_reader(tmp_path / "a.root")
    for content in (b"ro", b"PK\x03\x04 and more bytes than a header has"):
        (tmp_path / "a.root").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.root: not a ROOT file"):
            open_reader(tmp_path / "a.root")


def test_several_trees_must_be_told_apart(tmp_path):
    with uproot.recreate(tmp_path / "two.root") as file:
        for name in ("first", "folder/second"):
            file.mktree(name, {"x": "float64"})
            file[name].extend({"x": np.arange(3.0)})
    assert set(table_names(tmp_path / "two.root")) == {"first", "folder/second"}
    with pytest.raises(DataError, match=r"holds 2 trees \(first, folder/second\)"):
        open_reader(tmp_path / "two.root")
    with pytest.raises(DataError, match="no tree 'secnd'; did you mean 'folder/second'"):
        open_reader(tmp_path / "two.root", "secnd")
    reader = open_reader(tmp_path / "two.root", "folder/second")
    assert reader.num_rows == 3
    reader.close()


def test_a_file_without_trees(tmp_path):
    with uproot.recreate(tmp_path / "none.root") as file:
        file["note"] = "nothing"
    with pytest.raises(DataError, match="holds no tree"):
        open_reader(tmp_path / "none.root")


@pytest.mark.parametrize("fraction", [0.0005, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_file_cut_in_the_middle(root_file, tmp_path, fraction):
    content = root_file.read_bytes()
    cut = tmp_path / "cut.root"
    cut.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(DataError, match=r"cut\.root: (cut short|not a ROOT file)"):
        open_reader(cut)


def test_damage_inside_names_branch_and_entries(root_file, tmp_path):
    """Bytes overwritten, length kept: the header check cannot see it, the basket's decompression must."""
    content = bytearray(root_file.read_bytes())
    with uproot.open(root_file) as file:
        basket = file["events"]["met"].basket(2)
        start = file["events"]["met"].member("fBasketSeek")[2]
        content[start + 90 : start + 90 + 400] = bytes(400)
        assert basket.num_entries == 250
    (tmp_path / "bad.root").write_bytes(content)
    reader = open_reader(tmp_path / "bad.root")
    with pytest.raises(DataError, match=r"bad\.root: tree 'events', branch 'met', entries 500 to 749 cannot be read"):
        list(reader.chunks(["met", "event"], 250))
    reader.close()


@pytest.mark.slow
def test_files_of_the_wild(shared_data):
    """Every column that the reader lists can be read; a tree or an RNTuple alike."""
    expected = {
        ("nano_tt_v15.root", "Events"): 200,
        ("nano_dy_rntuple.root", "Events"): 40,
        ("nano_dy_empty.root", "Events"): 0,
        ("delphes.root", "Delphes"): 25,
        ("uproot-HZZ-zstd.root", "events"): 2421,
    }
    for (name, tree), rows in expected.items():
        reader = open_reader(shared_data / "files" / name, tree)
        assert reader.num_rows == rows
        some = reader.columns[:40]
        assert all(map(reader.column_type, some))
        assert sum(len(chunk) for chunk in reader.chunks(some, 1000)) == rows
        reader.close()
    with pytest.raises(DataError, match="holds no tree"):
        open_reader(shared_data / "files" / "bad_delphes.root")
