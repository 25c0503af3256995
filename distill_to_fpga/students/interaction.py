"""A graph network in which every token meets every other, at a cost linear in their number."""

from __future__ import annotations

from typing import Any

from distill_to_fpga.quantize import ActivationQuantizer
from distill_to_fpga.students.branches import Repeat, Together
from distill_to_fpga.students.builder import Builder
from distill_to_fpga.students.layers import InputScale, Relu, SumTokens


def interaction(builder: Builder, scale: InputScale, outputs: int) -> list[Any]:
    """JEDI-linear (arXiv:2508.15468): messages A x_i + B x_j + c are summed over j and nothing is done to them before.

    That sum is A x_i + B sum_j x_j + c, but for constant factors which A and B learn: one product for each token and
    one for all. Then each token has its own layers, and their sum goes to the head. Empty slots are tokens of zeros.
    """
    config, shape = builder.config, builder.config.interaction
    tokens, fractions = config.tokens, builder.input_fraction(scale)
    if shape.widths == "position":
        fractions = builder.place_fraction(scale)
    layers: list[Any] = [scale, ActivationQuantizer(fractions.shape, fractions, 1 if fractions.ndim > 1 else tokens)]
    width = fractions.shape[-1]
    for units in shape.token:
        layers += [builder.dense(width, units, tokens), Relu(), _quantizer(builder, units)]
        width = units
    own = [builder.dense(width, shape.message, tokens)]
    others = [SumTokens(tokens), builder.quantizer(width), builder.dense(width, shape.message), Repeat(tokens)]
    layers += [Together(own, others), Relu(), _quantizer(builder, shape.message)]
    width = shape.message
    for units in shape.node:
        layers += [builder.dense(width, units, tokens), Relu(), _quantizer(builder, units)]
        width = units
    layers += [SumTokens(tokens), builder.quantizer(width), *builder.stack(width, config.rho)]
    return layers + builder.head((width, *config.rho)[-1], outputs)


def _quantizer(builder: Builder, width: int) -> ActivationQuantizer:
    tokens = builder.config.tokens
    if builder.config.interaction.widths == "position":
        return builder.placed(tokens, width)
    return builder.quantizer(width, tokens)
