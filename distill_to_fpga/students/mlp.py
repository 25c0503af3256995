"""A multi-layer perceptron."""

from __future__ import annotations

from typing import Any

from distill_to_fpga.quantize import ActivationQuantizer
from distill_to_fpga.students.builder import Builder
from distill_to_fpga.students.layers import Flatten, InputScale


def mlp(builder: Builder, scale: InputScale, outputs: int) -> list[Any]:
    """All tokens' features side by side, then dense layers."""
    fractions = builder.place_fraction(scale).reshape(-1)
    layers = [scale, Flatten(), ActivationQuantizer(fractions.shape, fractions)]
    layers += builder.stack(len(fractions), builder.config.hidden)
    return layers + builder.head((len(fractions), *builder.config.hidden)[-1], outputs)
