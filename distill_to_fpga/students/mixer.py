"""An MLP-Mixer: layers across tokens and layers across features, in turn."""

from __future__ import annotations

from typing import Any

from distill_to_fpga.quantize import ActivationQuantizer
from distill_to_fpga.students.branches import Together, Transpose
from distill_to_fpga.students.builder import Builder
from distill_to_fpga.students.layers import InputScale, Relu, SumTokens


def mixer(builder: Builder, scale: InputScale, outputs: int) -> list[Any]:
    """x + M(x) with M across tokens, then across features (arXiv:2105.01601), without normalisation (arXiv:2503.03103).

    The order of the tokens matters here, so every place has widths of its own.
    """
    config, shape = builder.config, builder.config.mixer
    tokens, width, fractions = config.tokens, shape.width, builder.place_fraction(scale)
    layers: list[Any] = [scale, ActivationQuantizer(fractions.shape, fractions)]
    layers += [builder.dense(fractions.shape[-1], width, tokens), builder.placed(tokens, width)]
    for _ in range(shape.blocks):
        across = [Transpose(), *_mlp(builder, width, tokens, shape.tokens), Transpose()]
        layers += [Together([], across), builder.placed(tokens, width)]
        layers += [Together([], _mlp(builder, tokens, width, shape.features)), builder.placed(tokens, width)]
    layers += [SumTokens(tokens), builder.quantizer(width), *builder.stack(width, config.rho)]
    return layers + builder.head((width, *config.rho)[-1], outputs)


def _mlp(builder: Builder, rows: int, width: int, hidden: int) -> list[Any]:
    """One hidden layer, shared by all rows."""
    first, second = builder.dense(width, hidden, rows), builder.dense(hidden, width, rows)
    return [first, Relu(), builder.placed(rows, hidden), second]
