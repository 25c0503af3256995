"""Gradient-boosted trees over hardware integers: comparisons, choices between constants, one sum.

Axes: B examples, N tokens, F features, O outputs, R rounds of boosting, T = O R trees, D depth.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from distill_to_fpga.graph import GraphBuilder, Wire
from distill_to_fpga.quantize import MAX_FRACTION, Mode
from distill_to_fpga.students.builder import Builder
from distill_to_fpga.students.layers import Constant, InputScale


class Trees(nnx.Module):
    """Binary trees of one depth; below a leaf that stands higher up, both sides are the same.

    Node k has the children 2 k + 1, where x[feature] < threshold, and 2 k + 2.

    Attributes:
        features: of a token.
        feature: index among all features of all tokens, of each inner node.
        threshold: integer.
        leaves: in units of 2^-fraction.
    """

    def __init__(self, features: int, outputs: int, rounds: int, depth: int, fraction: int):
        self.features, self.fraction = features, fraction
        shape = (outputs, rounds, 2**depth - 1)
        self.feature = Constant(jnp.zeros(shape, jnp.int32))
        self.threshold = Constant(jnp.zeros(shape, jnp.int32))
        self.leaves = Constant(jnp.zeros((outputs, rounds, 2**depth), jnp.int32))

    def __call__(self, x: Int[Array, "B N F"], mode: Mode) -> Float[Array, "B O"]:
        outputs, rounds, last = self.leaves.shape
        rows = x.reshape(len(x), -1)
        feature, threshold = (v[...].reshape(outputs * rounds, -1) for v in (self.feature, self.threshold))
        node = jnp.zeros((len(x), outputs * rounds), jnp.int32)
        while last > 1:
            here = jnp.take_along_axis(feature[None], node[..., None], axis=2)[..., 0]
            least = jnp.take_along_axis(threshold[None], node[..., None], axis=2)[..., 0]
            node = 2 * node + 1 + (jnp.take_along_axis(rows, here, axis=1) >= least)
            last //= 2
        leaves = self.leaves[...].reshape(1, outputs * rounds, -1)
        found = jnp.take_along_axis(leaves, node[..., None] - feature.shape[1], axis=2)[..., 0]
        total = found.reshape(-1, outputs, rounds).sum(-1)
        return total.astype(jnp.result_type(float)) * 2.0**-self.fraction

    def keep(self, rounds: int) -> None:
        """Empties the trees of all rounds but the first so many; the circuit has none of them."""
        self.leaves[...] = self.leaves[...].at[:, rounds:].set(0)

    def bits(self) -> Float[Array, ""]:
        """Of all leaves, the sign not counted: about the LUTs that choose between them, too."""
        return jnp.ceil(jnp.log2(jnp.abs(self.leaves[...]).astype(jnp.float32) + 1)).sum()

    def lower(self, g: GraphBuilder, x: Wire) -> Wire:
        """The same in the graph; equal comparisons are made once."""
        leaves = np.asarray(self.leaves[...], np.int64)
        alive = leaves.any((0, 2)) | (np.arange(leaves.shape[1]) == 0)
        feature, threshold = (np.asarray(v[...], np.int64)[:, alive] for v in (self.feature, self.threshold))
        outputs, rounds, nodes = feature.shape
        cuts, number = np.unique(np.stack([feature, threshold], -1).reshape(-1, 2), axis=0, return_inverse=True)
        bits = g.compare(g.take(x, cuts[:, 0]), cuts[:, 1])
        number = number.reshape(outputs * rounds, nodes)
        first = nodes // 2  # the lowest inner nodes are the last ones
        entries = leaves[:, alive].reshape(outputs * rounds, -1, 2)
        values = g.table(g.take(bits, number[:, first:]), entries, 0, self.fraction)
        while first:
            size, first = first, first // 2
            right, left = g.slice(values, 1, values.shape[1], 2), g.slice(values, 0, values.shape[1], 2)
            values = g.select(g.take(bits, number[:, first:size]), right, left)
        return g.sum(g.reshape(values, (outputs, rounds)), axis=1)


def trees(builder: Builder, scale: InputScale, outputs: int) -> list[Any]:
    """Boosted trees, all empty: `distill_to_fpga.boost` grows them. They compare the integers themselves.

    Those of a student that is not quantised have leaves of 20 binary places.
    """
    shape = builder.config.trees
    fraction = shape.leaf_fraction if builder.config.quantized else MAX_FRACTION
    return [Trees(scale.offset.shape[-1], outputs, shape.rounds, shape.depth, fraction), *builder.score()]
