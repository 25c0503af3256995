"""Layers with the widths and granularities of a config, shared by all kinds of students."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flax import nnx
from jaxtyping import Float

from distill_to_fpga.quantize import ActivationQuantizer
from distill_to_fpga.students.config import StudentConfig
from distill_to_fpga.students.layers import Dense, InputScale, Relu, ScoreOutput, WeightSettings


class Builder:
    """Makes the layers of one student, in order: each draws its initial weights from the same generator."""

    def __init__(self, config: StudentConfig, random: np.random.Generator):
        self.config, self.random = config, random
        self.weights = WeightSettings(
            config.weight_format, config.weight_granularity, config.weight_digits, config.weight_fraction
        )

    def input_fraction(self, scale: InputScale) -> Float[np.ndarray, "... F"]:
        """Initial fractional bits of the inputs: never finer than the integers themselves."""
        return np.minimum(np.asarray(scale.shift[...]), self.config.activation_fraction).astype(np.float32)

    def place_fraction(self, scale: InputScale) -> Float[np.ndarray, "N F"]:
        """The same for each token."""
        fraction = self.input_fraction(scale)
        return np.broadcast_to(fraction, (self.config.tokens, fraction.shape[-1]))

    def quantizer(self, width: int, copies: int = 1) -> ActivationQuantizer:
        shape = (width,) if self.config.activation_granularity == "channel" else (1,)
        return ActivationQuantizer(shape, self.config.activation_fraction, copies)

    def placed(self, rows: int, width: int) -> ActivationQuantizer:
        """Widths that differ from row to row, too."""
        shape = (rows, width) if self.config.activation_granularity == "channel" else (1,)
        return ActivationQuantizer(shape, self.config.activation_fraction)

    def dense(self, inputs: int, outputs: int, copies: int = 1) -> Dense:
        return Dense(inputs, outputs, self.weights, self.random, copies)

    def hidden(self, inputs: int, outputs: int, copies: int = 1) -> list[nnx.Module]:
        return [self.dense(inputs, outputs, copies), Relu(), self.quantizer(outputs, copies)]

    def stack(self, inputs: int, widths: Sequence[int]) -> list[nnx.Module]:
        """Hidden layers one after another."""
        pairs = zip((inputs, *widths[:-1]), widths)
        return [layer for before, after in pairs for layer in self.hidden(before, after)]

    def head(self, inputs: int, outputs: int) -> list[nnx.Module]:
        """The layer that makes the outputs; of a score its type, too."""
        return [self.dense(inputs, outputs), *self.score()]

    def score(self) -> list[nnx.Module]:
        """The type of a score, if the one output is one."""
        bits, integer = self.config.score_bits, self.config.score_integer
        return [ScoreOutput(bits, integer)] if bits else []
