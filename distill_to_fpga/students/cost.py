"""What layers cost, differentiable in their widths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from distill_to_fpga.quantize import ActivationQuantizer, Mode
from distill_to_fpga.students.attention import PRODUCT_LUTS, LinearAttention
from distill_to_fpga.students.branches import Together, Transpose
from distill_to_fpga.students.layers import Dense, Residual, SumOfSquares
from distill_to_fpga.students.tables import EdgeTables
from distill_to_fpga.students.trees import Trees

Bits = Float[Array, "..."]  # of the values that reach a layer


class Size(NamedTuple):
    """What a student costs, differentiable in its widths.

    Attributes:
        ebops: effective bit operations (arXiv:2405.00645).
        bits: sum of the widths of weights, biases and activations, each counted once.
        luts: roughly; `distill_to_fpga.estimate` counts the adders one by one.
    """

    ebops: Float[Array, ""]
    bits: Float[Array, ""]
    luts: Float[Array, ""]


def cost(layers: Iterable[Any], width: Bits, mode: Mode) -> tuple[Size, Bits]:
    """The cost of layers whose input has these widths, and the widths of what they yield.

    What a quantiser does not follow keeps the width of what went in; families put one wherever it matters.
    """
    total = Size(jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))
    for layer in layers:
        made, width = _one(layer, width, mode)
        total = Size(*(a + b for a, b in zip(total, made)))
    return total, width


def _one(layer: Any, width: Bits, mode: Mode) -> tuple[Size, Bits]:
    nothing = jnp.zeros(())
    match layer:
        case ActivationQuantizer():
            width = layer.width(mode)
            return Size(nothing, width.sum(), layer.luts(width)), width
        case Dense():
            bits = sum((each.sum() for each in layer.widths(mode)), nothing)
            return Size(layer.ebops(width, mode), bits, layer.luts(width, mode)), width
        case SumOfSquares():
            ebops = layer.ebops(width)
            return Size(ebops, nothing, ebops), width
        case Residual():
            return cost(layer.layers, width, mode)
        case Together():
            parts = [cost(branch, width, mode)[0] for branch in layer.branches]
            return Size(*(sum(each, nothing) for each in zip(*parts))), width
        case LinearAttention():
            parts = [cost(branch, width, mode)[0] for branch in (layer.query, layer.key, layer.value, [layer.context])]
            pairs = layer.products(mode)
            products = Size(pairs, nothing, PRODUCT_LUTS * pairs)
            return Size(*(sum(each, nothing) for each in zip(*parts, products))), width
        case EdgeTables():
            return Size(layer.ebops(width), layer.widths().sum(), layer.luts(width)), width
        case Trees():
            return Size(nothing, layer.bits(), layer.bits()), width
        case Transpose():
            return Size(nothing, nothing, nothing), layer.width(width)
    return Size(nothing, nothing, nothing), width
