"""How columns are divided into examples, and what is said when they cannot be."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import DataError, SchemaError
from foundation.io import divide, open_reader
from foundation.io.layout import Layout

lengths = st.lists(st.integers(0, 4), min_size=1, max_size=20)


def read(reader, names, chunk):
    with closing(reader):
        return ak.concatenate(list(reader.chunks(names, chunk)))


@settings(max_examples=60, deadline=None)
@given(counts=lengths, chunk=st.integers(1, 9), seed=st.integers(0, 99), by=st.sampled_from(["off", "n", "number"]))
def test_offsets_counts_and_numbers_give_the_same_examples(counts, chunk, seed, by):
    """Example numbers may be in any order; tokens of an example stay in theirs."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(len(counts)), counts)
    order = rng.permutation(len(number))
    values = rng.normal(size=(len(number), 2))
    shuffled = by == "number"
    content = {"x": values[order] if shuffled else values, "row": np.arange(len(counts))}
    content["off"] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    content["n"] = np.array(counts, np.int32)
    content["number"] = number[order].astype(np.float32)
    content = {name: content[name] for name in ("x", "row", by)}
    layout = {"x": Layout("index" if shuffled else "offsets", by)}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "a.npz", **content)
        with h5py.File(Path(folder) / "a.h5", "w") as file:
            file.update(content)
        for name in ("a.npz", "a.h5"):
            with closing(open_reader(Path(folder) / name, layout=layout)) as reader:
                assert reader.num_rows == len(counts)
                found = ak.concatenate(list(reader.chunks(["x", "row"], chunk)))
            rows = number[order] if shuffled else number
            expected = [content["x"][rows == i].tolist() for i in range(len(counts))]
            assert ak.to_list(found["x"]) == expected
            assert ak.to_list(found["row"]) == list(range(len(counts)))


def test_numbers_over_several_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(divide, "BLOCK", 16)
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, 100)
    number = np.repeat(np.arange(100), counts)
    np.savez(tmp_path / "a.npz", x=np.stack([number, rng.normal(size=len(number))], 1), n=counts)
    expected = [number[number == i].tolist() for i in range(100)]
    for layout in (Layout("index", "x[:, 0]"), Layout("offsets", "n")):
        found = read(open_reader(tmp_path / "a.npz", layout={"x": layout}), ["x"], 13)
        assert ak.to_list(found["x"][..., 0]) == expected


def test_the_number_of_rows(tmp_path):
    """That of columns of layout rows, else of the offsets, else as the numbers tell."""
    np.savez(tmp_path / "a.npz", x=np.array([[0.0, 5], [2, 6]]), run=np.arange(4), off=np.array([0, 1, 2, 2, 2]))
    for layout, rows in (
        ({"x": Layout("index", "x[:, 0]")}, 4),
        ({"x": Layout("index", "x[:, 0]"), "run": Layout("offsets", "off"), "off": Layout("rows")}, 5),
        ({"x": Layout("offsets", "off")}, 4),
        ({"*": Layout("file")}, 1),
    ):
        with closing(open_reader(tmp_path / "a.npz", layout=layout)) as reader:
            assert reader.num_rows == rows, layout
    np.savez(tmp_path / "b.npz", x=np.array([[0.0, 5], [2, 6]]))
    found = read(open_reader(tmp_path / "b.npz", layout={"*": Layout("index", "x[:, 0]")}), ["x"], 2)
    assert ak.to_list(found["x"]) == [[[0, 5]], [], [[2, 6]]]


def test_a_file_that_is_one_example(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(12.0).reshape(6, 2))
    found = read(open_reader(tmp_path / "a.npy", layout={"*": Layout("file")}), ["data"], 1)
    assert str(found["data"].type) == "1 * var * 2 * float64"
    assert ak.to_list(found["data"][0, 2]) == [4, 5]


def test_what_does_not_fit_names_both_lengths_and_the_layout(tmp_path):
    np.savez(
        tmp_path / "a.npz", x=np.zeros((7, 2)), y=np.zeros(5), run=np.zeros(3), lumi=np.zeros(3), x_off=[0, 2, 7, 7]
    )
    with closing(open_reader(tmp_path / "a.npz")) as reader:
        assert reader.num_rows == 3
        reader.require(["run"])
        with pytest.raises(
            DataError, match=r"column 'x' has 7 entries, for 3 rows; .*\{x: \{kind: offsets, by: 'x_off'\}\}"
        ):
            reader.require(["run", "x"])
        with pytest.raises(DataError, match=r"column 'y' has 5 entries, for 3 rows; .*COLUMN_OF_OFFSETS.* kind `file`"):
            next(reader.chunks(["y"], 1))
        assert reader.suggested_layout("x") == Layout("offsets", "x_off")
        assert reader.suggested_layout("y") is None


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([0, 5, 2, 6], r"offsets must ascend from 0 to 6; those of example 1 are 5 and 2"),
        ([1, 2, 3, 6], r"neither goes from 0 to that, nor do its 4 values add up to it as counts \(they give 12\)"),
        ([0, 2, 3, 5], r"has 6 entries. The column of offsets neither"),
        ([0.0, 2.0, 3.0, 6.0], r"offsets must be one whole number per example, not float64"),
        ([0, -1, 7, 6], r"those of example 0 are 0 and -1"),
        ([4, -1, 3], r"negative counts, entry 1 first"),
    ],
)
def test_offsets_that_cannot_be(tmp_path, offsets, message):
    np.savez(tmp_path / "a.npz", x=np.zeros(6), off=np.array(offsets))
    with pytest.raises(DataError, match=rf"a\.npz: column 'x'.*{message}"):
        read(open_reader(tmp_path / "a.npz", layout={"x": Layout("offsets", "off")}), ["x"], 2)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([0, 1, 1.5], "must be whole and not negative"),
        ([0, -1, 2], "must be whole and not negative"),
        ([0, np.nan, 2], "must be whole and not negative"),
        ([0, 1, 9], "example numbers go to 9, but there are 4 rows"),
        ([0, 1], "has 3 entries and its column of example numbers 2"),
    ],
)
def test_example_numbers_that_cannot_be(tmp_path, numbers, message):
    np.savez(tmp_path / "a.npz", x=np.zeros(3), number=np.array(numbers), run=np.zeros(4))
    with pytest.raises(DataError, match=rf"a\.npz: column 'x'.*{message}"):
        read(open_reader(tmp_path / "a.npz", layout={"x": Layout("index", "number")}), ["x"], 2)


def test_a_layout_that_names_what_is_not_there(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((6, 2)), x_off=np.array([0, 6]))
    with pytest.raises(DataError, match="layout of 'x' names column 'x_of', which is not there; did you mean 'x_off'"):
        open_reader(tmp_path / "a.npz", layout={"x": Layout("offsets", "x_of")})
    with pytest.raises(SchemaError, match=r"layout of 'x' needs 'x\[:, 2\]'; it is float64\[2\]"):
        open_reader(tmp_path / "a.npz", layout={"*": Layout("index", "x[:, 2]")})


def test_collisions_and_trigger_inputs_of_the_wild(shared_data):
    """Real files whose columns are offsets, example numbers, or one example per file."""
    path = shared_data / "cms_events" / "cms_ispy_events.npz"
    names = ["eb", "tr", "met"]
    found = read(open_reader(path, layout={n: Layout("offsets", f"{n}_off") for n in names}), [*names, "source"], 100)
    with np.load(path) as file:
        for name in names:
            assert ak.to_list(ak.num(found[name])) == np.diff(file[f"{name}_off"]).tolist()
            np.testing.assert_array_equal(ak.to_numpy(ak.flatten(found[name])), file[name])
        assert ak.to_list(found["source"]) == file["source"].tolist()
    path = shared_data / "p2l1" / "TTbar_PU200_Barrel.npz"
    names = ["calo", "emcalo", "track", "muon"]
    found = read(open_reader(path, layout={n: Layout("index", f"{n}[:, 0]") for n in names}), [*names, "globals"], 7)
    assert len(found) == 100
    for name in names:
        assert ak.all(found[name][..., 0] == np.arange(100))
    for name, layout in (("event000001000_g000", Layout("file")),):
        found = read(open_reader(shared_data / "trackml" / f"{name}.npz", layout={"*": layout}), ["X", "pid"], 1)
        assert ak.to_list(ak.num(found["X"])) == ak.to_list(ak.num(found["pid"])) == [5955]
