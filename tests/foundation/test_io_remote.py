"""Files by URL, from a real server on this machine."""

from __future__ import annotations

import sys
from contextlib import closing

import awkward as ak
import io_formats
import io_server
import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="needs detfm[remote]")

from foundation.errors import DataError, ToolError
from foundation.io import open_reader, table_names
from foundation.io.files import expand

CONTENT = io_formats.columns(3000, most=40)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for i, kind in enumerate(io_formats.SUFFIX):
        io_formats.write(folder, kind, CONTENT, 500, f"{i}")
    np.save(folder / "7.npy", CONTENT["cells"])
    with io_server.serve(folder) as server:
        yield server


@pytest.mark.parametrize("number", range(len(io_formats.SUFFIX)))
def test_a_url_gives_what_the_file_gives(server, number):
    kind = list(io_formats.SUFFIX)[number]
    url = server.url(f"{number}{io_formats.SUFFIX[kind]}")
    with closing(open_reader(url, layout=io_formats.layout(CONTENT, kind))) as reader:
        assert (reader.path, reader.num_rows) == (url, 3000)
        chunks = list(reader.chunks(list(CONTENT), 700))
    for name, values in CONTENT.items():
        assert io_formats.same(ak.concatenate([chunk[name] for chunk in chunks]), values), name
    assert table_names(url).keys() == table_names(server.folder / url.rpartition("/")[2]).keys()


def test_an_npy_by_url(server):
    with closing(open_reader(server.url("7.npy"))) as reader:
        found = ak.concatenate([chunk["data"] for chunk in reader.chunks(["data"], 700)])
    np.testing.assert_array_equal(ak.to_numpy(found), CONTENT["cells"])


def test_a_query_is_not_part_of_the_name(server):
    with closing(open_reader(server.url("4.arrow?download=1"))) as reader:
        assert reader.num_rows == 3000


def test_only_what_is_needed_travels(tmp_path):
    """One column of a large uncompressed file: far from all of its bytes."""
    np.savez(tmp_path / "a.npz", small=np.arange(1000.0), large=np.zeros(4_000_000), end=np.arange(1000.0))
    with io_server.serve(tmp_path) as server, closing(open_reader(server.url("a.npz"))) as reader:
        chunk = next(reader.chunks(["end"], 1000))
        assert ak.to_list(chunk["end"]) == list(range(1000))
        sizes = [r.removeprefix("bytes=").split("-") for _, _, r in server.requests if r]
    assert 0 < sum(int(b) - int(a) + 1 for a, b in sizes) < 12_000_000


@pytest.mark.parametrize("name", ["no.root", "no.h5", "no.parquet", "no.npz", "no.npy"])
def test_not_found(server, name):
    with pytest.raises(DataError, match=rf"http://.*/{name}: no such file on the server"):
        open_reader(server.url(name))


def test_no_server():
    with pytest.raises(DataError, match=r"127\.0\.0\.1:1/a\.npz: (cannot be opened|no such file on the server)"):
        open_reader("http://127.0.0.1:1/a.npz")


@pytest.mark.parametrize("number", range(len(io_formats.SUFFIX)))
@pytest.mark.parametrize("fraction", [0.02, 0.5])
def test_a_server_that_stops_in_the_middle(tmp_path, number, fraction):
    kind = list(io_formats.SUFFIX)[number]
    path = io_formats.write(tmp_path, kind, CONTENT, 500)
    with io_server.serve(tmp_path) as server:
        server.stops_at = int(path.stat().st_size * fraction)
        with (
            pytest.raises(DataError, match=rf"http://.*/{path.name}"),
            closing(open_reader(server.url(path.name), layout=io_formats.layout(CONTENT, kind))) as reader,
        ):
            list(reader.chunks(list(CONTENT), 700))


@pytest.mark.parametrize("says_so", [True, False])  # Python's own http.server does not
@pytest.mark.parametrize("name", ["0.root", "1.root", "2.h5", "3.parquet", "5.npz", "7.npy"])
def test_a_server_without_ranges(server, name, says_so):
    server.ranges, server.says_so = False, says_so
    try:
        with pytest.raises(DataError, match=rf"/{name}.*download the file first"):
            open_reader(server.url(name))
    finally:
        server.ranges = server.says_so = True


def test_patterns_of_urls(server):
    assert expand([server.url("[01].root"), server.url("7.npy")]) == [
        server.url(name) for name in ("0.root", "1.root", "7.npy")
    ]
    with pytest.raises(DataError, match=r"x\*\.root: no file matches, or the server does not list"):
        expand([server.url("x*.root")])
    with pytest.raises(DataError, match=r"7\.npy is given twice"):
        expand([server.url("7.npy"), server.url("7.npy")])


@pytest.mark.parametrize(
    ("url", "package", "module"),
    [
        ("https://site/a.root", "aiohttp", "aiohttp"),
        ("s3://bucket/a.parquet", "s3fs", "s3fs"),
        ("root://site//a.root", "fsspec-xrootd", "fsspec_xrootd"),
    ],
)
def test_a_missing_package_is_its_install_command(monkeypatch, url, package, module):
    monkeypatch.setitem(sys.modules, module, None)
    for name in [n for n in sys.modules if n.startswith(("fsspec.implementations.http", "s3fs."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys.modules["fsspec.registry"], "_registry", {})
    with pytest.raises(ToolError, match=rf"needs the package '{package}'.*\n  pip install 'detfm\[remote\]'"):
        open_reader(url)


def test_unknown_protocols_and_suffixes():
    with pytest.raises(DataError, match="unknown protocol 'gopher'; known: http, https, root, s3"):
        open_reader("gopher://site/a.root")
    with pytest.raises(DataError, match=r"no reader for '\.txt' files"):
        open_reader("https://site/a.txt")
