"""Lists and patterns of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundation.errors import DataError
from foundation.io.files import expand, is_url, suffix


@pytest.fixture
def folder(tmp_path):
    for name in ("b.root", "a.root", "c.h5", "run[1].root"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_order_is_as_given_and_sorted_within_a_pattern(folder):
    assert expand([folder / "c.h5", f"{folder}/[ab].root"]) == [f"{folder}/{n}" for n in ("c.h5", "a.root", "b.root")]


def test_a_file_whose_name_looks_like_a_pattern(folder):
    assert expand([f"{folder}/run[1].root"]) == [f"{folder}/run[1].root"]


def test_what_is_not_there_and_what_is_there_twice(folder, monkeypatch):
    with pytest.raises(DataError, match=r"d\*\.root: no such file, and no file matches it as a pattern"):
        expand([f"{folder}/d*.root"])
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match=r"a\.root is given twice; its rows would be in the store twice"):
        expand([f"{folder}/*.root", Path("a.root")])
    with pytest.raises(DataError, match="no input file given"):
        expand([])


@pytest.mark.parametrize(
    ("path", "url", "kind"),
    [
        ("folder/file.ROOT", False, ".root"),
        ("https://site/a.b/file.h5?download=1#top", True, ".h5"),
        ("root://site//store/file.root", True, ".root"),
        ("C:/file.npz", False, ".npz"),
        ("what?.npy", False, ".npy"),
    ],
)
def test_urls_and_suffixes(path, url, kind):
    assert (is_url(path), suffix(path)) == (url, kind)
