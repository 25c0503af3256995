"""What is on the disk of a store: order of rows, indices, checksums, files as numpy writes them."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from detector import columns, schema, write
from hypothesis import given
from hypothesis import strategies as st

from foundation.schema import Feature
from foundation.store import Store
from foundation.store.ingest import IngestConfig, ingest
from foundation.store.lengths import length_class
from foundation.store.statistics import Moments
from foundation.store.writer import write_npy


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("writer")
    files = [write(folder / f"{seed}.root", columns(700, seed)) for seed in (0, 1)]
    cfg = IngestConfig(chunk_rows=170, shard_rows=300)
    return Store.open(ingest(files, schema=schema(), cfg=cfg, out=folder / "store"))


def load(store, split, shard, name):
    return np.load(store.path / split / f"{shard:06d}" / f"{name}.npy")


def classes(store, split, shard):
    counts = {m: np.diff(load(store, split, shard, f"tokens.{m}.offsets")) for m in store.schema.modalities}
    return length_class(store.manifest["edges"], counts, len(load(store, split, shard, "weights")))


def test_rows_are_in_order_of_length_class_and_then_of_the_files(store):
    several = 0
    for split in store.splits:
        for shard in range(store.index(split).shards):
            found = classes(store, split, shard)
            place = [*zip(found, *load(store, split, shard, "source").T)]
            assert place == sorted(place)
            several += len(set(found)) > 1
    assert several > 3


def test_the_index_counts_what_the_shards_hold(store):
    for split in store.splits:
        index, recorded = store.index(split), store.split(split)
        assert recorded["shards"] == index.shards > 0
        assert recorded["rows"] == index.rows.sum()
        of_all, labels, weights = [], [], []
        for shard in range(index.shards):
            found = classes(store, split, shard)
            np.testing.assert_array_equal(index.rows[shard], np.bincount(found, minlength=index.length_classes))
            for name in store.schema.modalities:
                assert index.tokens[name][shard] == len(load(store, split, shard, f"tokens.{name}.values"))
            of_all.append(found)
            labels.append(load(store, split, shard, "label.kind"))
            weights.append(load(store, split, shard, "weights"))
        found, label, weight = (np.concatenate(parts) for parts in (of_all, labels, weights))
        by_class = recorded["length_classes"]
        assert by_class["rows"] == np.bincount(found, minlength=index.length_classes).tolist()
        np.testing.assert_allclose(by_class["weights"], np.bincount(found, weight, minlength=index.length_classes))
        lengths = store.tokens_lengths(split, "tracks")
        for number in range(index.length_classes):
            here = found == number
            assert by_class["labels"]["kind"][number] == np.bincount(label[here], minlength=2).tolist()
            assert by_class["longest"]["tracks"][number] == lengths[here].max(initial=0)


def test_checksums_form_a_tree(store):
    """manifest -> index.npz -> shard.json -> arrays: one number stands for the store."""
    for name, entry in store.manifest["files"].items():
        content = (store.path / name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (entry["sha256"], entry["bytes"])
    shard = store.path / "train" / "000001"
    assert hashlib.sha256((shard / "shard.json").read_bytes()).digest() == bytes(store.index("train").sha256[1])
    listed = json.loads((shard / "shard.json").read_text())["files"]
    assert {*listed, "shard.json"} == {path.name for path in shard.iterdir()}
    for name, entry in listed.items():
        content = (shard / name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (entry["sha256"], entry["bytes"])


@pytest.mark.parametrize("array", [np.zeros((0, 3), np.float32), np.arange(5), np.ones((2, 3, 4), ">f4"), np.eye(3).T])
def test_files_are_those_of_numpy(tmp_path, array):
    entry = write_npy(tmp_path / "a.npy", array)
    np.save(tmp_path / "b.npy", np.ascontiguousarray(array, array.dtype.newbyteorder("<")))
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert entry["sha256"] == hashlib.sha256((tmp_path / "a.npy").read_bytes()).hexdigest()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", mmap_mode="r" if array.size else None), array)


@given(st.lists(st.lists(st.floats(-100, 100, width=32), max_size=20), min_size=1, max_size=5))
def test_moments_merge_to_those_of_all_values(parts):
    features = {"x": Feature("x"), "y": Feature("x", transform="asinh")}
    merged = Moments(features)
    for part in parts:
        one = Moments(features)
        one.add(np.repeat(np.array(part, np.float32)[:, None], 2, axis=1))
        merged.merge(Moments.restored(features, json.loads(json.dumps(one.state()))))
    values = np.array([value for part in parts for value in part], np.float64)
    assert merged.count == len(values)
    for column, seen in enumerate([values, np.arcsinh(values)] if len(values) else []):
        np.testing.assert_allclose(merged.mean[column], seen.mean(), atol=1e-9)
        np.testing.assert_allclose(merged.squares[column], np.square(seen - seen.mean()).sum(), atol=1e-6, rtol=1e-9)
    if len(values):
        assert (merged.low[0], merged.high[0]) == (values.min(), values.max())
