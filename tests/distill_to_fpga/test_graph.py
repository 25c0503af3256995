"""The fixed-point graph: exact arithmetic against rational numbers, sound and tight intervals, JSON, refusals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, random_inputs, reference

from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, GraphError, run, to_real
from foundation.errors import DataError

SEEDS = st.integers(0, 2**32 - 1)


def real(graph: FixedPointGraph, wire: str, integers: np.ndarray) -> np.ndarray:
    scale = np.vectorize(lambda n, f: Fraction(int(n)) / Fraction(2) ** int(f), otypes=[object])
    return scale(integers, graph.wires[wire].fraction)


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.booleans())
def test_every_wire_equals_rational_arithmetic(seed, choices):
    graph = random_graph(seed, choices=choices)
    inputs = random_inputs(graph, np.random.default_rng(seed), 4)
    kept = run(graph, inputs, keep=True)
    for example in range(4):
        expected = reference(graph, inputs, example)
        for name in graph.wires:
            np.testing.assert_array_equal(real(graph, name, kept[name][example]), expected[name], err_msg=name)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.booleans())
def test_intervals_hold_and_fit_their_types(seed, choices):
    graph = random_graph(seed, choices=choices)
    kept = run(graph, random_inputs(graph, np.random.default_rng(seed), 50), keep=True)
    for name, wire in graph.wires.items():
        assert ((wire.low <= kept[name]) & (kept[name] <= wire.high)).all(), name
        assert ((wire.type.low <= wire.low) & (wire.high <= wire.type.high)).all(), name


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.booleans())
def test_json_round_trip_is_exact(seed, choices):
    graph = random_graph(seed, choices=choices)
    again = FixedPointGraph.from_json(graph.to_json())
    assert again == graph
    assert all(again.wires[n].type == w.type and again.wires[n].shape == w.shape for n, w in graph.wires.items())


def test_comparisons_selections_and_tables_by_hand():
    g = GraphBuilder("choice")
    x = g.input("x", (2,), signed=True, bits=4)
    is_large = g.compare(x, [2, -3])
    g.output(g.take(is_large, [[1, 0], [0, 0]]), "bits")
    g.output(g.select(is_large, g.shift(x, 1), x), "chosen")
    g.output(g.table(g.quantize(x, True, 2, 0), [[5, 6, 7, 8], [1, 0, 0, -1]], -2, [0, 2]), "found")
    graph = g.build()
    out = run(graph, {"x": np.array([[2, -4], [1, 7]])})
    assert out["bits"].tolist() == [[[0, 1], [1, 1]], [[1, 0], [0, 0]]]
    assert to_real(graph, "chosen", out["chosen"]).tolist() == [[4, -4], [1, 14]]
    assert to_real(graph, "found", out["found"]).tolist() == [[8, 0.25], [8, -0.25]]  # saturated at -2 and 1


def test_tables_and_selections_that_do_not_fit_are_refused():
    g = GraphBuilder("bad")
    x = g.input("x", (2,), signed=True, bits=3)
    with pytest.raises(GraphError, match="takes integers that have no entry"):
        g.table(x, np.zeros((2, 7), int), -4, 0)
    with pytest.raises(GraphError, match="is not 0 or 1"):
        g.select(x, x, x)
    with pytest.raises(GraphError, match=r"indices must lie in \[0, 2\)"):
        g.take(x, [2])


def test_intervals_are_attained_exactly_by_a_dense_layer():
    g = GraphBuilder("tight")
    x = g.input("x", (3,), signed=[True, False, True], bits=[4, 3, 2])
    y = g.dense(x, [[3], [-5], [0]], 2, [7], 0)
    assert (int(y.low[0]), int(y.high[0])) == (-8 * 3 - 5 * 7 + 28, 7 * 3 + 28)
    assert (int(y.bits[0]), int(y.fraction[0]), bool(y.signed[0])) == (7, 2, True)


def test_weights_on_coarser_grids_cost_no_fraction_bits():
    g = GraphBuilder("grid")
    x = g.input("x", (2,), signed=False, bits=4)
    y = g.dense(x, [[4, 1], [8, 0]], 3)  # 4/8 and 8/8 need one binary place; 1/8 needs three
    assert y.fraction.tolist() == [1, 3]


def test_a_square_is_never_negative_and_pruned_elements_have_no_bits():
    g = GraphBuilder("square")
    x = g.input("x", (2,), signed=True, bits=[3, 0])
    y = g.mul(x, x)
    assert (y.low.tolist(), y.high.tolist(), y.bits.tolist()) == ([0, 0], [16, 0], [5, 0])


@pytest.mark.parametrize(
    ("rounding", "overflow", "expected"),
    [
        ("truncate", "saturate", [-4, -2, -1, 0, 0, 1, 3, 3]),
        ("half_up", "saturate", [-4, -1, -1, 0, 1, 2, 3, 3]),
        ("truncate", "wrap", [-2, -2, -1, 0, 0, 1, -4, -1]),
        ("half_up", "wrap", [-2, -1, -1, 0, 1, 2, -4, 0]),
    ],
)
def test_rounding_and_overflow_by_hand(rounding, overflow, expected):
    g = GraphBuilder("modes")
    x = g.scale(g.input("x", (1,), signed=True, bits=6), shift=-1)  # halves: -10, -1.5, -1, 0, 0.5, 1.5, 4, 7.5
    g.output(g.quantize(x, True, 3, 0, rounding, overflow))
    values = np.array([-20, -3, -2, 0, 1, 3, 8, 15])[:, None]
    assert run(g.build(), {"x": values})["output"][:, 0].tolist() == expected


def test_dense_is_exact_on_both_sides_of_2_to_the_53():
    """Where float64 holds every partial sum BLAS is used, beyond it int64; an odd last bit tells them apart."""
    for bits in (10, 23, 24, 50, 51, 52, 53, 54, 58):
        g = GraphBuilder("wide")
        x = g.input("x", (2,), signed=True, bits=bits)
        g.output(g.dense(x, [[1, 3], [1, -3]], 0, [1, 0], 0))
        top, low = 2 ** (bits - 1) - 1, -(2 ** (bits - 1))
        got = run(g.build(), {"x": np.array([[top, top - 1], [low, top], [top, low]])})["output"]
        assert got.tolist() == [[2 * top, 3], [low + top + 1, 3 * (low - top)], [top + low + 1, 3 * (top - low)]], bits


def test_a_wire_beyond_62_bits_is_refused_by_name():
    g = GraphBuilder("wide")
    x = g.input("x", (2,), signed=True, bits=40)
    with pytest.raises(GraphError, match=r"'product' needs 80 bits.*quantize before it"):
        g.mul(x, g.shift(x, 0), name="product")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "needs the input 'x'"),
        ({"x": np.zeros((1, 2), int), "y": np.zeros((1, 2), int)}, "no input 'y'"),
        ({"x": np.zeros((1, 2))}, "takes integers of shape .*float64"),
        ({"x": np.zeros((1, 3), int)}, r"shape \(batch, 2\), got .*\(1, 3\)"),
        ({"x": np.array([[0, 4]])}, r"element \[1\] spans 0 to 4, but its 3 hardware bits hold -4 to 3"),
    ],
)
def test_inputs_that_the_hardware_cannot_send_are_refused(inputs, message):
    g = GraphBuilder("small")
    g.output(g.relu(g.input("x", (2,), signed=True, bits=3)))
    with pytest.raises(DataError, match=message):
        run(g.build(), inputs)


def test_malformed_graphs_are_refused():
    g = GraphBuilder("bad")
    x = g.input("x", (2,), signed=True, bits=3)
    for call, message in [
        (lambda: g.dense(x, np.ones((3, 1), int), 0), "3 inputs, 'x' has shape"),
        (lambda: g.dense(x, np.ones((2, 1)), 0), "expected integers"),
        (lambda: g.sum(x, axis=1), "no axis 1"),
        (lambda: g.relu(x, name="x"), "used twice"),
        (lambda: g.reshape(x, (3,)), "does not fill"),
        (lambda: g.quantize(x, True, 63, 0), "bits must be 0 to 62"),
        (lambda: g.quantize(x, True, [1, 2, 3], 0), "do not fit"),
        (lambda: g.add(x, g.slice(x, 0, 1)), "has shape"),
    ]:
        with pytest.raises(GraphError, match=message):
            call()
    g.output(g.relu(x, name="used"))
    with pytest.raises(GraphError, match="used by nothing"):  # the slice above
        g.build()


def test_json_with_an_edited_weight_or_version_is_refused():
    g = GraphBuilder("net")
    x = g.input("x", (1,), signed=True, bits=4)
    g.output(g.dense(x, [[3]], 0))
    text = g.build().to_json()
    with pytest.raises(GraphError, match="does not follow"):
        FixedPointGraph.from_json(text.replace("[[3]]", "[[33]]"))
    with pytest.raises(GraphError, match=r"expected detfm\.FixedPointGraph version 1"):
        FixedPointGraph.from_json(text.replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(GraphError, match=r"not a detfm\.FixedPointGraph"):
        FixedPointGraph.from_json(text[:-20])


def test_real_values_and_types_print():
    g = GraphBuilder("real")
    x = g.input("x", (2,), signed=True, bits=4)
    g.output(g.scale(x, offset=[1, 0], shift=[-2, 3]))
    graph = g.build()
    out = run(graph, {"x": np.array([[3, -2]])})["output"]
    assert to_real(graph, "output", out).tolist() == [[0.5, -16.0]]
    assert str(graph.wires["x"].type) == "fixed<4 bits, 0 fraction>"
