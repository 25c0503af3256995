"""DeepSets: indifferent to the order of the tokens."""

from __future__ import annotations

from typing import Any

from distill_to_fpga.quantize import ActivationQuantizer
from distill_to_fpga.students.builder import Builder
from distill_to_fpga.students.layers import InputScale, SumTokens


def deepsets(builder: Builder, scale: InputScale, outputs: int) -> list[Any]:
    """rho(sum over tokens of phi(token)) (arXiv:1703.06114). Empty slots are tokens of zeros: there is no mask."""
    config, fractions = builder.config, builder.input_fraction(scale)
    layers: list[Any] = [scale, ActivationQuantizer(fractions.shape, fractions, config.tokens)]
    width = fractions.shape[-1]
    for units in config.phi:
        layers += builder.hidden(width, units, config.tokens)
        width = units
    layers += [SumTokens(config.tokens), builder.quantizer(width)]
    layers += builder.stack(width, config.rho)
    return layers + builder.head((width, *config.rho)[-1], outputs)
