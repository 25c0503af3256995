"""Estimates: EBOPs by hand, adder networks that compute the matrix, savings from sharing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from example_graphs import every_operation, network
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_to_fpga.adders import Network, Term, adder_graph, combine, signed_digits, width
from distill_to_fpga.estimate import enclosed_bits, estimate
from distill_to_fpga.graph import GraphBuilder


def test_bits_between_the_outermost_nonzero_bits():
    """arXiv:2405.00645: 001xx1000 counts as 4 bits instead of 8."""
    values = np.array([0, 1, -1, 8, 0b1001000, 0b1111000, 0b101, -0b110, 255])
    assert enclosed_bits(values).tolist() == [0, 1, 1, 1, 4, 4, 3, 2, 8]


def test_ebops_by_hand():
    g = GraphBuilder("hand")
    x = g.input("x", (3, 2), signed=[True, False], bits=[6, 4])  # three tokens
    y = g.dense(x, [[5, 0], [-4, 3]], 2, [1, 1], 0)  # 3 and 0 bits against 6; 1 and 2 bits against 4
    z = g.quantize(g.sum(y, axis=0), True, 7, 0)
    g.output(g.mul(z, z))
    cost = estimate(g.build())
    per_layer = {layer.name: layer.ebops for layer in cost.layers}
    assert per_layer["dense_1"] == 3 * (6 * 3 + 4 * (1 + 2))
    assert per_layer["mul_1"] == 2 * 7 * 7
    assert cost.total("ebops") == 3 * 30 + 98
    assert (cost.total("weights"), cost.total("nonzero_weights"), cost.total("weight_bits")) == (4, 3, 6)


def test_luts_of_choices_by_hand():
    g = GraphBuilder("hand")
    x = g.input("x", (4,), signed=False, bits=[1, 6, 7, 6])
    bits = g.compare(x, [1, 33, 32, 0], name="compared")  # its own answer; 6 bits; 2 bits are left of 7; always true
    g.output(g.select(bits, x, g.shift(x, 0)), "chosen")  # 1, 6, 7 bits; the last one is settled
    y = g.input("y", (3,), signed=False, bits=[5, 6, 7])
    g.output(g.table(y, np.arange(3 * 128).reshape(3, 128) % 8, 0, 0, name="looked_up"), "found")  # 3 bits each
    luts = {layer.name: layer.luts for layer in estimate(g.build()).layers}
    assert luts["compared"] == 0 + 1 + 1
    assert luts["select_1"] == 1 + 6 + 7
    assert luts["looked_up"] == 3 + 3 + 6


def test_adders_of_a_sum_leave_the_places_out_that_only_one_operand_has():
    g = GraphBuilder("hand")
    x = g.input("x", (3,), signed=False, bits=[8, 4, 8])
    g.output(g.sum(g.shift(x, [0, 2, 0]), axis=0), "shifted")  # 8 places and 4 two places up, then 9 and 8
    assert estimate(g.build()).total("luts") == (8 - 2) + 9


def test_tokens_with_types_of_their_own_are_counted_one_by_one():
    def luts(bits: list[list[int]]) -> int:
        g = GraphBuilder("tokens")
        g.output(g.dense(g.input("x", (2, 2), True, bits), [[3], [5]], 0))
        return estimate(g.build()).total("luts")

    assert luts([[8, 8], [8, 8]]) > luts([[8, 8], [4, 4]]) > luts([[8, 8], [0, 0]])
    assert 2 * luts([[8, 8], [0, 0]]) == luts([[8, 8], [8, 8]])


@given(st.integers(-(2**40), 2**40))
def test_signed_digits_are_exact_sparse_and_not_adjacent(value):
    digits = list(signed_digits(value))
    assert sum(sign << shift for shift, sign in digits) == value
    shifts = [shift for shift, _ in digits]
    assert all(b - a >= 2 for a, b in pairwise(shifts))
    assert len(digits) <= bin(abs(value)).count("1")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_shared_network_still_computes_the_matrix(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-40, 40, rng.integers(1, 7, 2)).astype(object)
    x = rng.integers(-50, 50, len(matrix))
    shared = Network([Term((-50, 50)) for _ in x], matrix)
    shared.share()
    values = [int(v) for v in x]
    for term in shared.terms[len(x) :]:
        first, second, shift, sign = term.made_of
        a, b = values[first] << max(-shift, 0), values[second] << max(shift, 0)
        values.append(a + sign * b)
    outputs = [sum(sign * (values[s] << k) for (s, k), sign in column.items()) for column in shared.columns]
    assert outputs == list(x @ matrix)
    assert all(term.interval[0] <= value <= term.interval[1] for term, value in zip(shared.terms, values))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_finished_network_records_every_addition(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-9, 10, rng.integers(1, 6, 2)).astype(object)
    x, bias = rng.integers(-50, 50, len(matrix)), rng.integers(-3, 4, matrix.shape[1]).tolist()
    made = Network([Term((-50, 50)) for _ in x], matrix)
    made.share()
    cost = made.finish(bias)
    values = [int(v) for v in x]
    for term in made.terms[len(x) :]:
        first, second, shift, sign = term.made_of or (0, 0, 0, 0)
        a, b = values[first] << max(-shift, 0), values[second] << max(shift, 0)
        values.append(a + sign * b if term.made_of else term.interval[0])  # a constant is made of nothing
    found = [0 if out is None else out[2] * (values[out[0]] << out[1]) for out in made.outputs]
    assert found == [y + b for y, b in zip(x @ matrix, bias)]
    assert cost.adders == sum(term.made_of is not None for term in made.terms)
    assert cost.depth == max([0, *(made.terms[out[0]].depth for out in made.outputs if out is not None)])


def test_a_pair_needed_twice_is_built_once():
    """y0 = a + b, y1 = a + b + c, y2 = 4a + 4b - c: a + b once, then one adder each for y1 and y2."""
    matrix = np.array([[1, 1, 4], [1, 1, 4], [0, 1, -1]], dtype=object)
    found = adder_graph(matrix, [(0, 15)] * 3)
    assert (found.adders, found.depth) == (3, 2)


def test_widths_of_adders_by_hand():
    assert combine((0, 15), (0, 15), 0, 1) == ((0, 30), 4)  # 5 bits, the last is the carry out
    assert combine((0, 15), (0, 15), 2, 1) == ((0, 75), 4)  # 7 bits, the low two pass through
    assert combine((0, 15), (0, 15), 0, -1) == ((-15, 15), 4)
    assert combine((0, 15), (9, 9), 0, 1) == ((9, 24), 0)  # a constant: the carry chain takes it
    assert [width(i) for i in ((0, 0), (0, 1), (-1, 0), (-8, 7), (-9, 7))] == [0, 1, 1, 4, 5]


def test_sharing_saves_what_it_saves_for_others():
    """Published and measured: plain digit trees cost 1.4 to 1.5 times the LUTs of shared ones at this size."""
    graph = network()
    cost = estimate(graph)
    plain = sum(unshared(graph, node) for node in graph.nodes if node.op.kind == "dense")
    dense = sum(layer.luts for layer in cost.layers if layer.op == "dense")
    assert 1.2 < plain / dense < 1.7
    assert 0.5 < cost.total("luts") / cost.total("ebops") < 1.1  # post-route designs: 0.80 +- 0.08


def unshared(graph, node):
    (x,) = graph.input_wires(node)
    _, matrix, bias, _ = node.op.aligned(x)
    intervals = list(zip(x.low.tolist(), x.high.tolist()))
    return Network([Term(i) for i in intervals], matrix).finish(list(bias)).luts


def test_pruning_and_narrowing_cost_less():
    sizes = (12, 16, 4)
    half, pruned, narrow = (network(sizes, **kind) for kind in ({}, {"zeros": 0.8}, {"weight_bits": 3}))
    assert estimate(pruned).total("luts") < 0.7 * estimate(half).total("luts")
    assert estimate(narrow).total("luts") < estimate(half).total("luts")
    nothing = network(sizes, zeros=1.0)
    assert [estimate(nothing).total(f) for f in ("ebops", "nonzero_weights")] == [0, 0]


def test_latency_follows_the_clock_and_everything_is_labelled_an_estimate():
    graph = every_operation()
    slow, fast = estimate(graph, clock_ns=25.0), estimate(graph, clock_ns=1.0)
    elements = sum(len(layer.delays_ns) for layer in fast.layers)
    assert elements >= fast.total("depth")
    assert slow.latency_cycles < fast.latency_cycles == elements + 1, "a register behind each, and one at the inputs"
    assert estimate(graph).summary()["method"].startswith("estimate from the adder graph")


def test_the_pipeline_is_cut_where_the_next_adder_does_not_fit():
    """Sums of 4 x 8 bits: two adders in series of 1.09 + 0.0254 x places, at 90% of the period."""
    g = GraphBuilder("sum")
    g.output(g.sum(g.input("x", (4,), signed=False, bits=8), axis=0))
    graph = g.build()
    (delays,) = [layer.delays_ns for layer in estimate(graph).layers if layer.delays_ns]
    assert delays == pytest.approx([1.09 + 9 * 0.0254] * 2)
    cycles = {clock: estimate(graph, clock_ns=clock).latency_cycles for clock in (1.0, 2.8, 3.0)}
    assert cycles == {1.0: 3, 2.8: 3, 3.0: 2}


def test_saturation_and_squares_by_hand():
    """As Yosys counts them: a LUT for each bit that may be cut; squares of up to six bits a LUT for each bit."""
    g = GraphBuilder("cuts")
    x = g.input("x", (32,), signed=True, bits=12)
    g.output(g.quantize(g.scale(x, shift=-4), False, 6, 2), "low")
    g.output(g.mul(y := g.input("y", (8,), signed=False, bits=6), y), "square")
    cost = {layer.op: layer.luts for layer in estimate(g.build()).layers}
    assert (cost["quantize"], cost["mul"], cost["scale"]) == (32 * 6, 8 * 12, 0)


@pytest.mark.parametrize("tokens", [1, 7])
def test_tokens_multiply_the_cost_of_shared_weights(tokens):
    g = GraphBuilder("tokens")
    x = g.input("x", (tokens, 4), signed=True, bits=6)
    g.output(g.dense(x, np.arange(1, 13).reshape(4, 3), 0))
    cost = estimate(g.build())
    assert cost.total("weights") == 12
    assert cost.total("ebops") == tokens * 6 * int(enclosed_bits(np.arange(1, 13)).sum())
    assert cost.total("adders") % tokens == 0
