"""Students whose score is a sum of squares: the shapes of AXOL1TL, whose inputs stand in fixed places."""

from __future__ import annotations

from typing import Any

from distill_to_fpga.quantize import ActivationQuantizer
from distill_to_fpga.students.builder import Builder
from distill_to_fpga.students.layers import Flatten, InputScale, Residual, SumOfSquares


def vae_encoder(builder: Builder, scale: InputScale, outputs: int) -> list[Any]:
    """The encoder of a variational autoencoder and the sum of mu squared (AXOL1TL v3, v4; arXiv:2411.19506)."""
    config, fractions = builder.config, builder.place_fraction(scale).reshape(-1)
    layers: list[Any] = [scale, Flatten(), ActivationQuantizer(fractions.shape, fractions)]
    layers += builder.stack(len(fractions), config.hidden)
    width = (len(fractions), *config.hidden)[-1]
    layers += [builder.dense(width, config.latent), builder.quantizer(config.latent)]
    return [*layers, SumOfSquares(), *builder.score()]


def embedding_autoencoder(builder: Builder, scale: InputScale, outputs: int) -> list[Any]:
    """An embedding e, an autoencoder f behind it, and |e - f(e)|^2 (the shape of AXOL1TL v5)."""
    config, fractions = builder.config, builder.place_fraction(scale).reshape(-1)
    *hidden, width = config.embedding
    layers: list[Any] = [scale, Flatten(), ActivationQuantizer(fractions.shape, fractions)]
    layers += builder.stack(len(fractions), hidden)
    layers += [builder.dense((len(fractions), *hidden)[-1], width), builder.quantizer(width)]
    restored = [*builder.stack(width, config.bottleneck), builder.dense(config.bottleneck[-1], width)]
    return [*layers, Residual(restored), builder.quantizer(width), SumOfSquares(), *builder.score()]
