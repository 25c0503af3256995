"""Reading stores: damage, foreign folders, padded batches."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from detector import columns, schema, write

from foundation.errors import DataError
from foundation.inspect import inspect
from foundation.store import Store
from foundation.store.ingest import IngestConfig, ingest


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    path = write(folder / "a.root", columns(500))
    return ingest([path], schema=schema(), cfg=IngestConfig(chunk_rows=100, shard_rows=100), out=folder / "store")


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made, tmp_path / "store")
    return tmp_path / "store"


def test_folders_that_are_no_stores(tmp_path, copy):
    with pytest.raises(DataError, match="no such folder"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no manifest\.json"):
        Store.open(tmp_path)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"version": 99}))
    with pytest.raises(DataError, match=r"format 99.*install the newer detfm"):
        Store.open(copy)
    (copy / "manifest.json").write_text(json.dumps({"format": "something else"}))
    with pytest.raises(DataError, match="is not a store"):
        Store.open(copy)
    (copy / "manifest.json").write_text('{"format": "detfm-st')
    with pytest.raises(DataError, match=r"manifest\.json: damaged"):
        Store.open(copy)


def test_stores_of_the_first_format_are_told_apart(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"version": 1}))
    with pytest.raises(DataError, match=r"format 1.*ingest again"):
        Store.open(copy)


def test_a_missing_index_is_noticed_at_opening(copy):
    (copy / "val" / "index.npz").unlink()
    with pytest.raises(DataError, match=r"incomplete: val/index\.npz gone"):
        Store.open(copy)


def test_a_missing_shard_is_named_when_read(copy):
    shutil.rmtree(copy / "train" / "000001")
    with pytest.raises(DataError, match=r"000001/.*npy: cannot be read"):
        Store.open(copy).read("train", np.arange(Store.open(copy).length("train")))
    with pytest.raises(DataError, match=r"damaged: train/000001/shard\.json"):
        Store.open(copy).verify()


@pytest.mark.parametrize(
    "name", ["val/000000/tokens.tracks.values.npy", "train/000001/shard.json", "test/index.npz", "sources.json"]
)
def test_a_flipped_bit_is_found_and_its_file_named(copy, name):
    """Wherever it is: what is named is the file itself, not what depends on it."""
    assert Store.open(copy).verify() > 60
    content = bytearray((copy / name).read_bytes())
    content[-5] ^= 0b100
    (copy / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"1 of \d+ files are damaged: {name}$"):
        Store.open(copy).verify()
    with pytest.raises(DataError, match=name):
        inspect(copy, verify=True)


def test_a_cut_shard_is_named_when_read(copy):
    """Before its bytes are touched: reading a map beyond its file's end would end the process."""
    name = "train/000000/tokens.tracks.values.npy"
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"{name}: is not the array"):
        Store.open(copy).read("train", np.array([0]))


def test_object_arrays_are_never_loaded(copy):
    np.save(copy / "train" / "000000" / "weights.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"weights\.npy: is not the array"):
        Store.open(copy).read("train", np.array([0]))


def test_padded_batches(made):
    store = Store.open(made)
    assert store.index("train").shards > 2
    rows = np.random.default_rng(0).permutation(store.length("train"))[:60]
    rows[::7] = -1
    batch = store.read("train", rows, {"tracks": 12, "cells": 3})
    tracks = batch.modalities["tracks"]
    assert tracks.values.shape == (60, 12, 4)
    counts = tracks.mask.sum(axis=1)
    np.testing.assert_array_equal(tracks.mask, np.arange(12) < counts[:, None])  # real tokens first
    assert (tracks.values[~tracks.mask] == 0).all()
    np.testing.assert_array_equal(counts[rows >= 0], store.tokens_lengths("train", "tracks")[rows[rows >= 0]])
    assert (counts[rows < 0] == 0).all()
    assert (batch.weights[rows < 0] == 0).all()
    assert (batch.labels["kind"][rows < 0] == -1).all()
    assert np.isnan(batch.labels["target"][rows < 0]).all()
    np.testing.assert_array_equal(batch.labels["kind"][rows >= 0], store.labels("train", "kind")[rows[rows >= 0]])
    np.testing.assert_array_equal(batch.index, rows)
    for i in np.flatnonzero(rows >= 0)[:20]:  # alone or together, from whichever shard: the same numbers
        alone = store.read("train", rows[i : i + 1]).modalities["tracks"]
        np.testing.assert_array_equal(alone.values[0][alone.mask[0]], tracks.values[i][tracks.mask[i]])


def test_the_last_rows_of_a_shard_do_not_read_beyond_it(made):
    store = Store.open(made)
    last = store.length("val") - 1
    wide = store.read("val", np.array([last, 0]), {"tracks": 40, "cells": 40}).modalities["tracks"]
    narrow = store.read("val", np.array([last])).modalities["tracks"]
    np.testing.assert_array_equal(wide.values[0][wide.mask[0]], narrow.values[0][narrow.mask[0]])
    assert (wide.values[~wide.mask] == 0).all()
    huge = store.read("val", np.array([0, last]), {"tracks": 100_000, "cells": 3}).modalities["tracks"]
    np.testing.assert_array_equal(huge.values[1][huge.mask[1]], narrow.values[0][narrow.mask[0]])


def test_wrong_questions(made):
    store = Store.open(made)
    with pytest.raises(DataError, match="no split 'trian'; did you mean 'train'"):
        store.length("trian")
    with pytest.raises(DataError, match="no label 'knd'; did you mean 'kind'"):
        store.labels("train", "knd")
    with pytest.raises(DataError, match="no modality"):
        store.statistics("towers")
    with pytest.raises(IndexError):
        store.read("train", np.array([store.length("train")]))
    with pytest.raises(IndexError):
        store.read("train", np.array([-2]))
    with pytest.raises(ValueError, match="padded to 2"):
        store.read("train", np.arange(50), {"tracks": 2, "cells": 3})


def test_checksum_identifies_the_content(made, copy, tmp_path):
    assert Store.open(made).checksum == Store.open(copy).checksum
    other = ingest([write(tmp_path / "b.root", columns(500, seed=3))], schema=schema(), out=tmp_path / "other")
    assert Store.open(made).checksum != Store.open(other).checksum
