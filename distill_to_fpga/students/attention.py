"""Linear attention: what tokens offer is summed once, and every token asks for its part of the sum.

Axes: B examples, N tokens, F features, D keys, V values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from distill_to_fpga.graph import GraphBuilder, Wire
from distill_to_fpga.quantize import ActivationQuantizer, Mode
from distill_to_fpga.students.branches import Together
from distill_to_fpga.students.builder import Builder
from distill_to_fpga.students.layers import InputScale, Relu, SumTokens

PRODUCT_LUTS = 1.42  # for each pair of bits, as `distill_to_fpga.estimate` has it


class LinearAttention(nnx.Module):
    """y_n = 2^-s sum_d q_nd sum_m k_md v_m, with features q, k >= 0 of a ReLU (arXiv:2006.16236).

    The published normalisation divides by sum_m q_n k_m. A divider for each token costs more than all the rest, so here
    it is a power of two, near N D, or none at all: moving the binary point is free.

    Attributes:
        query, key, value: layers that make q, k and v of each token, ending in a quantiser.
        context: quantiser of the sum over tokens, with a width for each element.
        shifts: halvings of that sum, and of the sum over keys.
    """

    def __init__(self, query: list[Any], key: list[Any], value: list[Any], context: ActivationQuantizer, shifts: Any):
        self.query, self.key, self.value = nnx.List(query), nnx.List(key), nnx.List(value)
        self.context, self.shifts = context, tuple(shifts)

    def __call__(self, x: Float[Array, "B N F"], mode: Mode) -> Float[Array, "B N V"]:
        query, key, value = (_through(branch, x, mode) for branch in (self.query, self.key, self.value))
        exact = jax.lax.Precision.HIGHEST
        offered = jnp.einsum("bnd,bnv->bdv", key, value, precision=exact) * 2.0 ** -self.shifts[0]
        context = self.context(offered, mode)
        return jnp.einsum("bnd,bdv->bnv", query, context, precision=exact) * 2.0 ** -self.shifts[1]

    def inner(self) -> Iterator[Any]:
        """All layers within."""
        yield from (*self.query, *self.key, *self.value, self.context)

    def products(self, mode: Mode) -> Float[Array, ""]:
        """Pairs of bits that are multiplied: k with v, and q with the context, for each token."""
        query, key, value = (branch[-1].width(mode) for branch in (self.query, self.key, self.value))
        context = self.context.width(mode)
        outer = key[:, None] * value + query[:, None] * context
        _, keys = self.query[0].kernel.shape
        _, values = self.value[0].kernel.shape
        return self.query[0].copies * keys * values * outer.mean()  # one width may stand for all

    def lower(self, g: GraphBuilder, query: Wire, key: Wire, value: Wire, context: Any) -> Wire:
        """The products in the graph; `context` lowers the quantiser of that name."""
        (tokens, keys), values = query.shape, value.shape[1]
        n, d, v = np.indices((tokens, keys, values))
        offered = g.mul(g.take(key, n * keys + d), g.take(value, n * values + v))
        summed = context(g.shift(g.sum(offered, axis=0), -self.shifts[0]))
        asked = g.mul(g.take(query, n * keys + d), g.take(summed, d * values + v))
        return g.shift(g.sum(asked, axis=1), -self.shifts[1])


def _through(layers: Any, x: Any, mode: Mode) -> Any:
    for layer in layers:
        x = layer(x, mode)
    return x


def attention(builder: Builder, scale: InputScale, outputs: int) -> list[Any]:
    """Tokens embedded; attention and a layer of each token's own, both added to what they act on; sum; head.

    Indifferent to the order of the tokens. Empty slots are tokens of zeros.
    """
    config, shape = builder.config, builder.config.attention
    tokens, fractions = config.tokens, builder.input_fraction(scale)
    layers: list[Any] = [scale, ActivationQuantizer(fractions.shape, fractions, 1 if fractions.ndim > 1 else tokens)]
    layers += [builder.dense(fractions.shape[-1], shape.width, tokens), builder.quantizer(shape.width, tokens)]
    for _ in range(shape.blocks):
        asking = [_attention(builder), builder.quantizer(shape.values, tokens)]
        layers += [Together([], [*asking, builder.dense(shape.values, shape.width, tokens)])]
        layers += [builder.quantizer(shape.width, tokens)]
        own = [*builder.hidden(shape.width, shape.hidden, tokens), builder.dense(shape.hidden, shape.width, tokens)]
        layers += [Together([], own), builder.quantizer(shape.width, tokens)]
    layers += [SumTokens(tokens), builder.quantizer(shape.width), *builder.stack(shape.width, config.rho)]
    return layers + builder.head((shape.width, *config.rho)[-1], outputs)


def _attention(builder: Builder) -> LinearAttention:
    tokens, shape = builder.config.tokens, builder.config.attention

    def features(units: int, *between: Any) -> list[Any]:
        return [builder.dense(shape.width, units, tokens), *between, builder.quantizer(units, tokens)]

    shifts = (0, 0)
    if shape.normalisation == "power_of_two":
        shifts = (round(math.log2(tokens)), round(math.log2(shape.keys)))
    query, key, value = features(shape.keys, Relu()), features(shape.keys, Relu()), features(shape.values)
    return LinearAttention(query, key, value, builder.placed(shape.keys, shape.values), shifts)
