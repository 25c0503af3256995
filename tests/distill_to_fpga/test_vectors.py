"""Test vectors: inside the hardware's range, at its ends, and labelled."""

from __future__ import annotations

import numpy as np
import pytest
from example_graphs import every_operation, network

from distill_to_fpga.graph import run
from distill_to_fpga.vectors import make_vectors, random_vectors, saturating
from foundation.errors import DataError


def test_vectors_reach_both_ends_of_every_element_and_never_beyond():
    graph = every_operation()
    vectors = make_vectors(graph, count=500)
    assert len(vectors) == 500
    for name in graph.inputs:
        np.testing.assert_array_equal(vectors.inputs[name].min(0), graph.wires[name].low)
        np.testing.assert_array_equal(vectors.inputs[name].max(0), graph.wires[name].high)
    run(graph, vectors.inputs)  # refuses what the hardware cannot send


def test_kinds_say_what_the_vectors_are():
    graph = every_operation()
    data = {"particles": np.ones((40, 3, 4), int) * [1, 1, 0, 0], "jet": np.full((40, 4), 3)}
    vectors = make_vectors(graph, data, count=200)
    kinds = np.array(vectors.kinds)
    found = vectors.counts()
    aimed = found.pop("saturating")
    assert found == {
        "zero": 1,
        "high": 1,
        "low": 1,
        "alternating": 2,
        "one_hot": 16 + 6,
        "data": 40,
        "random": 200 - 67 - aimed - (200 - 67 - aimed) // 4,
        "extremes": (200 - 67 - aimed) // 4,
    }
    assert not vectors.inputs["jet"][kinds == "zero"].any()
    np.testing.assert_array_equal(vectors.inputs["jet"][kinds == "data"], data["jet"])
    hot = np.concatenate([vectors.inputs[n][kinds == "one_hot"].reshape(22, -1) for n in graph.inputs], axis=1)
    assert (np.count_nonzero(hot, axis=1) <= 1).all()
    for end, reached in (("low", hot.min(0)), ("high", hot.max(0))):
        np.testing.assert_array_equal(
            reached, np.concatenate([getattr(graph.wires[n], end).ravel() for n in graph.inputs])
        )
    extremes = vectors.inputs["particles"][kinds == "extremes"]
    wire = graph.wires["particles"]
    assert ((extremes == wire.low) | (extremes == wire.high)).all()


def test_saturating_vectors_reach_the_ends_of_a_first_layer_that_random_ones_do_not():
    graph = network((100, 6, 2))
    aimed, random = saturating(graph), random_vectors(graph, 20_000, 0)
    ends = {}
    for name, vectors in (("aimed", aimed), ("random", random)):
        sums = run(graph, vectors.inputs, keep=True)["dense_1"]
        ends[name] = sums.min(0), sums.max(0)
    wire = graph.wires["dense_1"]
    np.testing.assert_array_equal(ends["aimed"], (wire.low, wire.high))
    assert (ends["random"][1] < wire.high).all()
    assert len(aimed) <= 256


def test_data_fill_half_at_most_and_equal_seeds_give_equal_vectors():
    graph = every_operation()
    data = {"particles": np.zeros((900, 3, 4), int), "jet": np.zeros((900, 4), int)}
    first, again = (make_vectors(graph, data, count=300, seed=5) for _ in range(2))
    assert first.counts()["data"] == 150
    np.testing.assert_array_equal(first.inputs["jet"], again.inputs["jet"])
    other = make_vectors(graph, data, count=300, seed=6)
    assert (other.inputs["jet"] != first.inputs["jet"]).any()


def test_data_that_the_hardware_cannot_send_are_refused():
    data = {"particles": np.zeros((2, 3, 4), int), "jet": np.full((2, 4), 400)}
    with pytest.raises(DataError, match=r"'jet' element \[1\] spans 0 to 400, but its 8 hardware bits hold 0 to 255"):
        make_vectors(every_operation(), data)
