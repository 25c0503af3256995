"""A convolution whose patches do not overlap, then dense layers: the shape of CICADA's student."""

from __future__ import annotations

from typing import Any

from distill_to_fpga.quantize import ActivationQuantizer
from distill_to_fpga.students.builder import Builder
from distill_to_fpga.students.layers import Flatten, InputScale, Patches, Relu


def cnn(builder: Builder, scale: InputScale, outputs: int) -> list[Any]:
    """Patches of an image, one dense layer shared by them all, then dense layers (CMS DP-2023/086).

    After the shared layer every patch has widths of its own: where nothing is to be learnt, none is left.
    """
    config = builder.config
    patches = Patches(config.image, config.patch)
    fractions = builder.input_fraction(scale)
    if fractions.ndim > 1:
        fractions = fractions.min(0)  # one shared layer, one type of its inputs
    pixels = patches.size
    layers: list[Any] = [scale, patches, ActivationQuantizer((pixels * len(fractions),), _tiled(fractions, pixels))]
    layers[-1].copies = patches.count
    layers += [builder.dense(pixels * len(fractions), config.filters, patches.count), Relu(), Flatten()]
    width = patches.count * config.filters
    layers += [builder.quantizer(width), *builder.stack(width, config.hidden)]
    return layers + builder.head((width, *config.hidden)[-1], outputs)


def _tiled(fractions: Any, pixels: int) -> Any:
    return fractions.tolist() * pixels
