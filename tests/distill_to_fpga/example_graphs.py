"""Graphs that several tests share."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from distill_to_fpga.graph import FixedPointGraph, GraphBuilder


def every_operation(version: int = 3) -> FixedPointGraph:
    """All operations once, with signs, widths and binary points that vary from element to element."""
    rng = np.random.default_rng(7)
    g = GraphBuilder("every", version)
    x = g.input("particles", (3, 4), signed=[1, 0, 1, 0], bits=[7, 5, 1, 0])
    y = g.input("jet", (4,), signed=False, bits=[9, 8, 3, 4])
    x = g.scale(x, offset=[3, 0, -1, 2], shift=[-2, 1, 0, -3])
    x = g.quantize(x, [1, 1, 0, 1], [5, 6, 2, 0], [2, -2, 1, 4], "half_up", "saturate")
    x = g.relu(g.dense(x, rng.integers(-7, 8, (4, 5)), rng.integers(-1, 4, (4, 5)), rng.integers(-9, 9, 5), 2))
    x = g.quantize(x, False, rng.integers(0, 6, (3, 5)), rng.integers(-1, 4, (3, 5)), "truncate", "wrap")
    pooled = g.concat([g.sum(x, axis=0), g.max(x, axis=0), g.slice(y, 1, 4, 2)])
    wrapped = g.quantize(g.shift(pooled, rng.integers(-3, 3, 12)), True, 6, 2, "half_up", "wrap")
    halves = g.slice(g.reshape(wrapped, (2, 6)), 0, 1, axis=0), g.slice(g.reshape(wrapped, (2, 6)), 1, 2, axis=0)
    mixed = g.flatten(g.sub(g.mul(*halves), g.add(halves[0], halves[0])))
    g.output(g.dense(mixed, rng.integers(-3, 4, (6, 2)), 1), "scores")
    g.output(g.argmax(mixed), "best")
    return g.build()


def network(
    sizes: tuple[int, ...] = (16, 64, 32, 32, 5), weight_bits: int = 5, zeros: float = 0.5, seed: int = 0
) -> FixedPointGraph:
    """A ReLU network with random weights, quantized to 8 bits between layers."""
    rng = np.random.default_rng(seed)
    g = GraphBuilder("network")
    x = g.scale(g.input("inputs", sizes[:1], signed=True, bits=10), shift=-6)
    top = 2 ** (weight_bits - 1)
    for i, (a, b) in enumerate(pairwise(sizes)):
        x = g.quantize(x, i == 0, 8, 5, "half_up")
        weight = rng.integers(-top, top, (a, b)) * (rng.random((a, b)) >= zeros)
        x = g.dense(x, weight, weight_bits, rng.integers(-top, top, b), weight_bits)
        x = x if b == sizes[-1] else g.relu(x)
    g.output(x)
    return g.build()
