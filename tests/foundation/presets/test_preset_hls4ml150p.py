"""hls4ml150p: order of the classes from multiplicity and width."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from preset_reading import read


@pytest.fixture(scope="module")
def jets(shared_data):
    return read("hls4ml150p", shared_data / "jets/hls4ml150p_2000.npz")


def test_classes_are_in_the_order_of_their_columns(jets):
    names = jets.schema.class_names("jet_class")
    label = jets.examples.labels["jet_class"]
    many = {name: jets.counts("particles")[label == i].mean() for i, name in enumerate(names)}
    assert sorted(many, key=many.get)[-2:] == ["top", "gluon"]  # colour charge radiates
    wide = {name: ak.mean(jets["particles"]["delta_r"][label == i][:, 0]) for i, name in enumerate(names)}
    assert wide["quark"] < wide["gluon"] < min(wide["W"], wide["Z"]) < wide["top"]  # prongs, by mass


def test_counts(jets, shared_data):
    with np.load(shared_data / "jets/hls4ml150p_2000.npz") as file:
        np.testing.assert_array_equal(jets.counts("particles"), file["mask"].sum(axis=1))
