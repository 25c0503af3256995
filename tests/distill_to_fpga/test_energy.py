"""Energy by the 45 nm table: the table's own figures, and a graph counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from distill_to_fpga.energy import ADD, MULTIPLY, energy_pj
from distill_to_fpga.graph import GraphBuilder


def test_the_polynomials_give_the_figures_of_the_table():
    """Horowitz, ISSCC 2014: integer add 0.03 (8 bits), 0.1 pJ (32); multiply 0.2 (8), 3.1 pJ (32)."""
    assert np.polyval(ADD, 32) == pytest.approx(0.1)
    assert np.polyval(ADD, 8) == pytest.approx(0.03, abs=0.006)
    assert np.polyval(MULTIPLY, 8) == pytest.approx(0.2, rel=1e-6)
    assert np.polyval(MULTIPLY, 32) == pytest.approx(3.1, rel=1e-6)


def graph(weight):
    g = GraphBuilder("energy", 1)
    x = g.input("x", shape=(2,), signed=np.array([1, 1]), bits=np.array([6, 6]))
    weight = np.asarray(weight, np.int64)
    y = g.dense(
        x, weight, np.zeros_like(weight), np.zeros(weight.shape[1], np.int64), np.zeros(weight.shape[1], np.int64)
    )
    g.output(y, "y")
    return g.build(), y


def test_a_dense_layer_by_hand():
    """5 x0 - 3 x1: two products of 6 bits (the inputs are wider than 5 and 3), two additions into the accumulator."""
    made, y = graph([[5], [-3]])
    accumulator = int(made.wires[y.name].bits[0])
    assert energy_pj(made) == pytest.approx(2 * np.polyval(MULTIPLY, 6) + 2 * 0.003125 * accumulator)


def test_powers_of_two_and_zeros_multiply_nothing():
    made, y = graph([[8, 0], [-1, 0]])
    assert energy_pj(made) == pytest.approx(2 * 0.003125 * int(made.wires[y.name].bits[0]))


def test_wide_weights_cost_more():
    narrow, wide = (energy_pj(graph([[w], [w]])[0]) for w in (3, 3001))
    assert wide > 2 * narrow
