"""Test examples among the training examples are found, whatever hides them."""

from __future__ import annotations

import time

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_store import write_jets
from toy_jets import changed, jets, toy_store

from finetune.leakage import Shared, check_leakage, contents, leakage
from foundation.errors import DataError
from foundation.store import Store


def doubled(content, event):
    """Every jet twice, the second time under another event number, which decides the split."""
    again = content | {"event": event}
    return {name: ak.concatenate([content[name], again[name]]) for name in content}


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Store:
    return toy_store(tmp_path_factory.mktemp("clean"), jets())


@pytest.fixture(scope="module")
def leaky(tmp_path_factory) -> Store:
    content = jets()
    return toy_store(tmp_path_factory.mktemp("leaky"), doubled(content, content["event"] + 5000))


def test_a_store_without_doubles_is_clean(clean):
    rows = np.arange(clean.length("train"))
    assert len(leakage(clean, rows, clean, "test")) == 0
    assert check_leakage(clean, rows, None, allow=False) == ({}, [])


def test_doubles_in_two_splits_of_a_store_are_named(leaky):
    pairs = leakage(leaky, None, leaky, "test")
    assert len(pairs) > 20
    for row, other in pairs[:5].tolist():
        a, b = leaky.read("train", np.array([row])), leaky.read("test", np.array([other]))
        np.testing.assert_array_equal(a.modalities["particles"].values, b.modalities["particles"].values)
    with pytest.raises(DataError, match=rf"{len(leakage(leaky, None, leaky, 'val'))} rows of split 'val'.*row \d+ \("):
        check_leakage(leaky, np.arange(leaky.length("train")), None, allow=False)
    found, notes = check_leakage(leaky, np.arange(leaky.length("train")), None, allow=True)
    assert found["test/labels"] == len(pairs)
    assert len(notes) == 2


def test_only_rows_that_are_trained_on_count(leaky):
    pairs = leakage(leaky, None, leaky, "test")
    some = pairs[:3, 0]
    np.testing.assert_array_equal(np.unique(leakage(leaky, some, leaky, "test")[:, 0]), np.unique(some))
    others = np.setdiff1d(np.arange(leaky.length("train")), pairs[:, 0])
    assert len(leakage(leaky, others, leaky, "test")) == 0


def test_doubles_are_found_in_another_store_with_other_columns_and_another_order(tmp_path, clean):
    content = jets()
    backwards = {n: v[:, ::-1] if getattr(v, "ndim", 1) > 1 else v for n, v in content.items()}

    def edit(schema):
        features = schema["modalities"]["particles"]["features"]
        schema["modalities"]["particles"]["features"] = {
            "phi": features["phi"],
            "charge": {"expression": "sign(d0)"},
            "eta": features["eta"],
            "pt": features["pt"] | {"transform": "identity"},
        }
        schema["globals"] = {}
        schema["split"] = {"fractions": {"train": 0.5, "test": 0.5}}

    other = toy_store(tmp_path, backwards, changed(edit))
    wanted = clean.length("train")
    assert len(leakage(clean, None, other, "test")) + len(leakage(clean, None, other, "train")) == wanted


def test_another_unit_is_not_compared(clean):
    metres = changed(lambda s: s["modalities"]["particles"]["features"]["d0"].update(unit="m"))
    assert Shared.of(clean.schema, metres).modalities["particles"] == ("eta", "phi", "pt")


def test_rows_of_one_token_are_not_recognised(tmp_path):
    """Hardware integers repeat by chance."""
    content = jets(60)
    single = {n: v[:, :1] * 0 + 1 if getattr(v, "ndim", 1) > 1 else v for n, v in content.items()}
    store = toy_store(tmp_path, single | {"met": np.ones(60, np.float32)})
    assert len(leakage(store, None, store, "test")) == 0


@settings(max_examples=20, deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 22))
def test_one_bit_makes_another_row(clean, place, bit):
    shared = Shared.of(clean.schema, clean.schema)
    batch = clean.read("val", np.arange(clean.length("val")))
    tokens = batch.modalities["particles"]
    before, _ = contents(clean, "val", np.arange(clean.length("val")), shared)
    b, n = np.argwhere(tokens.mask)[place % tokens.mask.sum()]
    tokens.values.view(np.uint32)[b, n, place % 4] ^= np.uint32(1 << bit)

    class Changed(Store):
        def read(self, split, indices, lengths=None):
            return batch

    after, _ = contents(Changed(clean.path, clean.manifest), "val", np.arange(clean.length("val")), shared)
    np.testing.assert_array_equal(np.flatnonzero(before != after), [b])


def test_a_hundred_thousand_rows_take_seconds(tmp_path):
    store = write_jets(tmp_path / "many", 100_000, 2, features=4)
    start = time.process_time()
    pairs = leakage(store, np.arange(500), store, "train")
    assert len(pairs) > 480  # all but those of one token
    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])
    assert time.process_time() - start < 10
