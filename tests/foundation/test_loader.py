"""The loader's promises, as properties over budgets, buckets, seeds and process counts."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
from detector import columns, schema, write
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import ConfigError, DataError
from foundation.loader import Loader
from foundation.store import Store
from foundation.store.ingest import IngestConfig, ingest
from foundation.store.lengths import padded, partition


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loader")
    path = write(folder / "a.root", columns(700))
    cfg = IngestConfig(chunk_rows=150, shard_rows=150)
    return Store.open(ingest([path], schema=schema(), cfg=cfg, out=folder / "store"))


loaders = st.fixed_dictionaries(
    {
        "batch_tokens": st.sampled_from([1, 100, 500, 1500, 10**6]),
        "buckets": st.integers(1, 5),
        "seed": st.integers(0, 3),
        "shuffle": st.booleans(),
        "batch_size": st.sampled_from([None, None, 1, 24, 1000]),
    }
)


def equal(a, b):
    """Of pytrees: leaf by leaf, since a batch whose leaves are booleans would be no batch."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)


def real(batches):
    return np.concatenate([b.index[b.index >= 0] for b in batches])


@settings(max_examples=25, deadline=None)
@given(loaders, st.integers(0, 2))
def test_every_epoch_holds_every_row_exactly_once(store, arguments, epoch):
    loader = Loader(store, "train", **arguments)
    steps = range(epoch * loader.batches_per_epoch, (epoch + 1) * loader.batches_per_epoch)
    batches = [loader.batch_at(step) for step in steps]
    np.testing.assert_array_equal(np.sort(real(batches)), np.arange(store.length("train")))
    for batch in batches:
        filler = batch.index < 0
        assert (batch.weights[filler] == 0).all()
        assert (batch.weights[~filler] == 0.5).all()
        assert not any(tokens.mask[filler].any() for tokens in batch.modalities.values())


@settings(max_examples=25, deadline=None)
@given(loaders)
def test_shapes_are_static_few_and_within_the_budget(store, arguments):
    loader = Loader(store, "train", **arguments)
    shapes = set()
    for batch in (loader.batch_at(step) for step in range(loader.batches_per_epoch)):
        lengths = tuple(tokens.mask.shape[1] for tokens in batch.modalities.values())
        shapes.add((batch.size, lengths))
        for tokens in batch.modalities.values():
            np.testing.assert_array_equal(tokens.mask, np.arange(tokens.mask.shape[1]) < tokens.mask.sum(1)[:, None])
        if arguments["batch_size"]:
            assert batch.size == arguments["batch_size"]
        else:
            assert batch.size % 8 == 0
            assert batch.size * sum(lengths) <= arguments["batch_tokens"] or batch.size == 8
    assert shapes == set(loader.shapes)
    assert len(shapes) <= arguments["buckets"]


# no hypothesis here: beartype draws from `random` in the reading threads, which hypothesis takes for flakiness
@pytest.mark.parametrize("step", [0, 1, 13, 40])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_tokens", [100, 1500])
def test_restore_continues_with_identical_batches(store, step, shuffle, batch_tokens):
    """Also across an epoch's end, with reading ahead, and in a fresh loader."""

    def loader(step):
        made = Loader(store, "train", batch_tokens=batch_tokens, shuffle=shuffle, seed=3)
        made.restore({"step": step})
        return made

    uninterrupted = [next(it) for it in [loader(step)] for _ in range(6)]
    first = loader(step)
    before = [next(first) for _ in range(3)]
    assert first.state() == {"step": step + 3}
    second = loader(first.state()["step"])
    assert equal(uninterrupted, before + [next(second) for _ in range(3)])
    assert equal(uninterrupted, [first.batch_at(step + number) for number in range(6)])


@settings(max_examples=15, deadline=None)
@given(loaders, st.sampled_from([2, 3, 4]), st.integers(0, 20))
def test_processes_partition_the_same_global_batch(store, arguments, processes, step):
    arguments["batch_size"] = arguments["batch_size"] and 24
    parts = [Loader(store, "train", **arguments, process_index=i, process_count=processes) for i in range(processes)]
    shares = [part.batch_at(step) for part in parts]
    assert len({share.size for share in shares}) == 1
    if 8 % processes == 0 or arguments["batch_size"]:  # the global batch does not depend on how many share it
        whole = Loader(store, "train", **arguments).batch_at(step)
        assert equal(whole, jax.tree.map(lambda *leaves: np.concatenate(leaves), *shares))
    for a, b in itertools.combinations(shares, 2):
        assert not set(a.index[a.index >= 0]) & set(b.index[b.index >= 0])


@settings(max_examples=15, deadline=None)
@given(loaders, st.sets(st.integers(0, 300), min_size=1))
def test_one_pass_over_a_subset(store, arguments, subset):
    rows = np.array(sorted(subset))
    loader = Loader(store, "train", **arguments, subset=rows)
    batches = list(loader.one_pass())
    np.testing.assert_array_equal(np.sort(real(batches)), rows)
    labels = store.labels("train", "kind")
    for batch in batches:
        kept = batch.index >= 0
        np.testing.assert_array_equal(batch.labels["kind"][kept], labels[batch.index[kept]])
    assert loader.state() == {"step": 0}


def test_restore_while_reading_ahead(store):
    """Batches already read ahead are not delivered after a restore."""
    loader = Loader(store, "train", batch_tokens=500, seed=0)
    for _ in range(5):
        next(loader)
    loader.restore({"step": 2})
    assert equal(next(loader), loader.batch_at(2))
    assert loader.state() == {"step": 3}


def test_without_reading_ahead_the_batches_are_the_same(store):
    ahead, plain = (Loader(store, "train", batch_tokens=500, seed=1, ahead=each) for each in (True, False))
    assert all(equal(next(ahead), next(plain)) for _ in range(9))
    assert ahead.state() == plain.state()
    plain.restore({"step": 2})
    assert equal(next(plain), ahead.batch_at(2))


def test_epochs_put_different_rows_together(store):
    """Not only the order of the batches changes."""
    loader = Loader(store, "train", batch_tokens=600, seed=0)
    count = loader.batches_per_epoch
    first, second = ({frozenset(loader.batch_at(e * count + s).index) for s in range(count)} for e in (0, 1))
    assert not first & second


def test_shuffles_differ_by_epoch_and_seed_and_mix_rows(store):
    one, two = (Loader(store, "train", batch_tokens=600, seed=seed) for seed in (0, 1))
    count = one.batches_per_epoch
    orders = [real([one.batch_at(s) for s in range(count)]), real([two.batch_at(s) for s in range(count)])]
    orders.append(real([one.batch_at(s) for s in range(count, 2 * count)]))
    for a, b in itertools.combinations(orders, 2):
        assert (a != b).mean() > 0.9
    assert abs(np.corrcoef(np.arange(len(orders[0])), orders[0])[0, 1]) < 0.15


def test_few_rows_do_not_make_many_nearly_empty_batches(store):
    loader = Loader(store, "train", batch_tokens=10**6, buckets=4, seed=0)
    assert len(loader.shapes) == loader.batches_per_epoch == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=6), st.data())
def test_length_classes_are_grouped_with_the_least_padding(cells, data):
    """Against every way to cut the list of classes."""
    groups = data.draw(st.integers(1, 4))
    rows, longest = np.array([float(r) for r, *_ in cells]), np.array([lengths for _, *lengths in cells])
    capacity = np.array([30, 9])

    def cost(parts):
        return sum(rows[part].sum() * padded(longest[part].max(axis=0), capacity).sum() for part in parts)

    count = len(cells)
    cuts = [c for n in range(min(groups, count)) for c in itertools.combinations(range(1, count), n)]
    every = [[list(range(a, b)) for a, b in itertools.pairwise((0, *c, count))] for c in cuts]
    found = [list(part) for part in partition(rows, longest, capacity, groups)]
    assert [cell for part in found for cell in part] == list(range(count))
    assert len(found) <= groups
    assert cost(found) == min(map(cost, every))


def test_buckets_save_padding(store):
    paddings = [Loader(store, "train", batch_tokens=400, buckets=n, seed=0).padding for n in (1, 3)]
    assert paddings[1] < paddings[0] - 0.05


def test_refusals(store):
    with pytest.raises(DataError, match="no split"):
        Loader(store, "tain", seed=0)
    for subset in ([], [0, 0], [-1], [10**6]):
        with pytest.raises(DataError, match="rows"):
            Loader(store, "train", seed=0, subset=np.array(subset, int))
    with pytest.raises(ConfigError, match="positive"):
        Loader(store, "train", seed=0, batch_tokens=0)
    with pytest.raises(ConfigError, match="shared equally"):
        Loader(store, "train", seed=0, batch_size=10, process_count=4)
    with pytest.raises(ConfigError, match="process_index"):
        Loader(store, "train", seed=0, process_index=2, process_count=2)
