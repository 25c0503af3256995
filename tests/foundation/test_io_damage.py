"""Truncated, empty, foreign and flipped files of every format: the error names the file and says what to do."""

from __future__ import annotations

import io
import zipfile
from contextlib import closing

import h5py
import io_formats
import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.errors import DataError
from foundation.io import open_reader
from foundation.io.layout import Layout

KINDS = list(io_formats.SUFFIX)
CONTENT = io_formats.columns(400)


@pytest.fixture(scope="module", params=KINDS)
def damaged(request, tmp_path_factory):
    """A good file's kind and bytes, and where to put the damaged one."""
    folder = tmp_path_factory.mktemp("damage")
    good = io_formats.write(folder, request.param, CONTENT, 100, "good").read_bytes()
    return request.param, good, folder / f"bad{io_formats.SUFFIX[request.param]}"


def read(path, kind):
    with closing(open_reader(path, layout=io_formats.layout(CONTENT, kind))) as reader:
        return list(reader.chunks(list(CONTENT), 150))


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.01, 0.3, 0.7, 0.95, 0.9999])
def test_truncated(damaged, fraction):
    kind, good, path = damaged
    path.write_bytes(good[: int(len(good) * fraction)])
    with pytest.raises(DataError, match=rf"/{path.name}"):
        read(path, kind)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.floats(0, 0.9999), st.integers(1, 255)), min_size=1, max_size=3))
def test_flipped_bytes_end_in_a_named_error_or_in_numbers(damaged, places):
    """Formats without checksums cannot tell every flip; none may end in a traceback or a crash."""
    kind, good, path = damaged
    content = bytearray(good)
    for place, change in places:
        content[int(place * len(good))] ^= change
    path.write_bytes(content)
    message = str(path)
    try:
        read(path, kind)
    except DataError as error:
        message = str(error)
    assert str(path) in message


def test_an_empty_root_file_is_called_so(tmp_path):
    (tmp_path / "a.root").write_bytes(b"")
    with pytest.raises(DataError, match=r"/a\.root: the file is empty"):
        open_reader(tmp_path / "a.root")


def test_a_foreign_file(damaged):
    kind, _, path = damaged
    for other in (b"%PDF-1.7 and so on" * 100, np.random.default_rng(0).bytes(5000)):
        path.write_bytes(other)
        with pytest.raises(DataError, match=rf"/{path.name}: .*(not an? \w+ file|begins with)"):
            read(path, kind)


@pytest.mark.parametrize("kind", ["parquet", "npz compressed", "hdf5"])
def test_damage_inside_names_what_was_read(kind, tmp_path):
    """Flips in the data of a format with checksums, or compressed, are found when they are read, not before."""
    path = io_formats.write(tmp_path, kind, {"x": np.random.default_rng(0).normal(size=20_000)}, 5000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    with closing(open_reader(path)) as reader:
        assert reader.num_rows == 20_000
        with pytest.raises(DataError, match=r"file\.\w+.*entries \d+ to \d+:? cannot be read; the file is damaged"):
            list(reader.chunks(["x"], 5000))


def test_damaged_offsets_are_named(tmp_path):
    """Those of a column of counts are added up before anything is read."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["run"] = np.zeros(30_000), np.zeros(10_000)
        file.create_dataset("n", data=np.full(10_000, 3), chunks=(1000,), fletcher32=True)
        at = file["n"].id.get_chunk_info(4).byte_offset
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[at + 10] ^= 1
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.h5: .*cannot be read; the file is damaged"):
        open_reader(tmp_path / "a.h5", layout={"x": Layout("offsets", "n")})
    layout = {"x": Layout("offsets", "n"), "run": Layout("rows")}
    with (
        closing(open_reader(tmp_path / "a.h5", layout=layout)) as reader,
        pytest.raises(DataError, match=r"a\.h5: what divides column 'x' into examples cannot be read; the file is dam"),
    ):
        reader.require(["run", "x"])


def test_an_npz_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "text")
    with pytest.raises(DataError, match=r"a\.npz: holds no array"):
        open_reader(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", "text")
    with pytest.raises(DataError, match=r"a\.npz: 'x' is not a \.npy array"):
        open_reader(tmp_path / "a.npz")
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(100))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", buffer.getvalue()[:-8])
    with pytest.raises(DataError, match=r"a\.npz: member 'x' is not as long as its header says"):
        open_reader(tmp_path / "a.npz")


def test_branches_that_cannot_be_read_are_listed_and_refused(tmp_path, monkeypatch):
    """A branch shorter than its tree, as a job that died leaves it, and one of a class that has no form as an array."""
    path = io_formats.write(tmp_path, "tree", {"x": np.arange(300.0), "y": np.arange(300.0), "z": np.arange(300.0)})
    branch = uproot.behaviors.TBranch.TBranch
    known = branch.interpretation
    unknown = uproot.interpretation.identify.UnknownInterpretation("no streamer", str(path), "/events")
    monkeypatch.setattr(branch, "num_entries", property(lambda b: 250 if b.name == "y" else 300))
    monkeypatch.setattr(branch, "interpretation", property(lambda b: unknown if b.name == "z" else known.fget(b)))
    with closing(open_reader(path)) as reader:
        assert reader.columns == ["x", "y", "z"]
        assert [reader.column_type(c) for c in "xy"] == ["double", "double (cannot be read)"]
        assert len(next(reader.chunks(["x"], 300))) == 300
        with pytest.raises(
            DataError, match=r"tree 'events', branch 'y' cannot be used: it holds 250 entries, the tree"
        ):
            reader.require(["x", "y"])
        with pytest.raises(DataError, match=r"branch 'z' cannot be used: it is of type .*, which has no form as an"):
            next(reader.chunks(["z"], 10))


def test_files_of_the_wild(shared_data):
    with pytest.raises(DataError, match=r"bad_delphes\.root: holds no tree"):
        open_reader(shared_data / "files" / "bad_delphes.root")
    with pytest.raises(DataError, match=r"nano_dy_malformed\.parquet: .*(cut short|not a Parquet file)"):
        open_reader(shared_data / "files" / "nano_dy_malformed.parquet")
    with closing(open_reader(shared_data / "files" / "nano_dy_empty.root")) as reader:
        assert reader.num_rows == 0
        assert list(reader.chunks(["Muon_pt", "event"], 10)) == []
