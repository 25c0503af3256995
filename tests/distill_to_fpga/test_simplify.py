"""Rewritings of graphs: less logic, the same integers at every output."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, random_inputs
from small_students import LAYOUT, jets, student

from distill_to_fpga.estimate import estimate
from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, run
from distill_to_fpga.graph.simplify import simplify
from distill_to_fpga.graph.trim import without_constants, without_unread
from distill_to_fpga.lower import lower
from distill_to_fpga.students import StudentConfig, freeze


def same(graph: FixedPointGraph, seed: int = 0, count: int = 300) -> FixedPointGraph:
    """The simplified graph, after a comparison at every output, in real units."""
    simple = simplify(graph)
    inputs = random_inputs(graph, np.random.default_rng(seed), count)
    before, after = run(graph, inputs), run(simple, inputs)
    for port, wire in graph.outputs.items():
        scale, other = graph.wires[wire].fraction, simple.wires[simple.outputs[port]].fraction
        np.testing.assert_array_equal(np.ldexp(before[port], -scale), np.ldexp(after[port], -other))
    return simple


@given(seed=st.integers(0, 10**6), choices=st.booleans())
@settings(deadline=None, max_examples=150)
def test_random_graphs_keep_their_values(seed, choices):
    """And a second time nothing is found: constants and what nothing reads are gone at once."""
    simple = same(random_graph(seed, choices=choices), seed)
    assert without_unread(without_constants(simple)).to_json() == simple.to_json()


def test_a_constant_input_of_a_layer_joins_the_bias():
    """One channel saturates at 3 always, one is zero always; 3 / 2 * 5 / 4 is 15 / 8."""
    g = GraphBuilder("constant")
    x = g.scale(g.input("x", (2, 3), False, 4), offset=[0, -99, 99])
    x = g.quantize(x, False, [4, 2, 2], [0, 1, 0])
    g.output(g.dense(x, [[1, 2], [5, 4], [7, 7]], 2, [1, 0], 0))
    layer = next(node.op for node in same(g.build()).nodes if node.op.kind == "dense")
    assert layer.weight.tolist() == [[1, 2], [0, 0], [0, 0]]
    assert (layer.bias * 2.0**-layer.bias_fraction).tolist() == [1 + 15 / 8, 3 / 2]


def test_a_constant_of_one_token_alone_stays():
    g = GraphBuilder("places")
    x = g.quantize(g.scale(g.input("x", (2, 1), False, 4), offset=[[-99], [0]]), False, 3, 0)
    g.output(g.dense(x, [[3]], 0, [1], 0))
    assert next(node.op for node in same(g.build()).nodes if node.op.kind == "dense").weight.tolist() == [[3]]


def test_what_no_output_depends_on_is_not_computed():
    """Of three channels one is left out by the slice, one by a zero weight; so is the input that only they read."""
    g = GraphBuilder("unread")
    x = g.quantize(g.input("x", (2, 3), True, 8), True, 5, 0)
    y = g.quantize(g.dense(x, [[1, 3, 5], [2, 3, 0], [0, 0, 7]], 0, [1, 1, 1], 0), True, 6, 0)
    g.output(g.slice(g.sum(g.dense(y, [[2, 1], [0, 1], [0, 1]], 0), axis=0), 0, 1))
    graph = g.build()
    simple = same(graph)
    first, second = (node.op for node in simple.nodes if node.op.kind == "dense")
    assert first.weight.tolist() == [[1, 0, 0], [2, 0, 0], [0, 0, 0]]
    assert first.bias.tolist() == [1, 0, 0]
    assert second.weight.tolist() == [[2, 0], [0, 0], [0, 0]]
    widths = [node.op.type.bits.tolist() for node in simple.nodes if node.op.kind == "quantize"]
    assert widths == [[5, 5, 0], [6, 0, 0]]
    assert estimate(simple).total("luts") < estimate(graph).total("luts")


def layered(rounding: str, overflow: str, signed: bool, relu: bool, seed: int = 0) -> FixedPointGraph:
    """Two dense layers whose quantisers have all kinds of widths, none among them, and of fractions."""
    rng = np.random.default_rng(seed)
    g = GraphBuilder("layers")
    x = g.input("x", (3, 4), signed=True, bits=7)
    for width in (5, 3):
        x = g.dense(x, rng.integers(-9, 10, (x.shape[-1], width)), rng.integers(0, 5, (x.shape[-1], width)),
                    rng.integers(-9, 9, width), rng.integers(0, 6, width))  # fmt: skip
        x = g.relu(x) if relu else x
        x = g.quantize(x, signed, rng.integers(0, 7, width), rng.integers(-3, 7, width), rounding, overflow)
    g.output(x)
    return g.build()


@pytest.mark.parametrize("rounding", ["half_up", "truncate"])
@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_layers_keep_their_values(rounding, overflow, signed, relu):
    for seed in range(10):
        same(layered(rounding, overflow, signed, relu, seed), seed)


def test_relu_and_rounding_go_where_they_can():
    kinds = [node.op.kind for node in same(layered("half_up", "saturate", False, True)).nodes]
    assert "relu" not in kinds
    quantisers = [
        n.op.type.rounding for n in same(layered("half_up", "saturate", False, True)).nodes if n.op.kind == "quantize"
    ]
    assert quantisers == ["truncate", "truncate"]


def test_relu_stays_before_what_wraps_or_has_a_sign():
    for overflow, signed in (("wrap", False), ("saturate", True)):
        assert "relu" in [node.op.kind for node in simplify(layered("half_up", overflow, signed, True)).nodes]


def test_a_layer_with_two_readers_stays():
    g = GraphBuilder("two")
    y = g.dense(g.input("x", (2,), True, 6), [[3], [5]], 2, [1], 0)
    g.output(g.quantize(y, True, 5, 0, "half_up"), "rounded")
    g.output(y, "exact")
    graph = g.build()
    assert [n.op.kind for n in same(graph).nodes] == [n.op.kind for n in graph.nodes]
    assert simplify(graph).wires["dense_1"].type == graph.wires["dense_1"].type


def test_a_student_gets_smaller():
    made = freeze(student(StudentConfig(tokens=4, phi=(5, 3), rho=(4,)), seed=3), jets(200))
    graph = lower(made, LAYOUT)
    assert "relu" not in [node.op.kind for node in graph.nodes]
    assert simplify(graph) == graph
    assert estimate(graph).total("luts") > 0
