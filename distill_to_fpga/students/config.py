"""What a student looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foundation.errors import ConfigError


@dataclass(frozen=True)
class StudentConfig:
    """A network small enough for a trigger board.

    Attributes:
        kind: `deepsets` (one small network for every token, summed over tokens, then a second network) or `mlp`.
        tokens: the first so many tokens are the input.
        features: names of the modality's features to use; empty means all that have a hardware type.
        phi: widths of the per-token layers (deepsets).
        rho: widths of the hidden layers after the sum (deepsets).
        hidden: widths of the hidden layers (mlp).
        quantized: false gives the floating-point student of the same shape, as a reference.
        weight_granularity: how many weights share one width: none, those of one output channel, or all of a layer.
        activation_granularity: one width per channel, or one per layer.
        weight_fraction: fractional bits of weights and biases before training.
        activation_fraction: fractional bits of activations and of the scaled inputs before training.
    """

    kind: Literal["deepsets", "mlp"] = "deepsets"
    tokens: int = 16
    features: tuple[str, ...] = ()
    phi: tuple[int, ...] = (16, 8)
    rho: tuple[int, ...] = (16,)
    hidden: tuple[int, ...] = (32, 32)
    quantized: bool = True
    weight_granularity: Literal["weight", "channel", "tensor"] = "weight"
    activation_granularity: Literal["channel", "tensor"] = "channel"
    weight_fraction: int = 6
    activation_fraction: int = 5

    def check(self) -> None:
        """Raises ConfigError if the sizes make no network."""
        widths = (*self.phi, *self.rho) if self.kind == "deepsets" else self.hidden
        if self.tokens < 1 or any(w < 1 for w in widths):
            raise ConfigError(f"tokens and layer widths must be at least 1; got tokens={self.tokens}, widths {widths}")
        if self.kind == "deepsets" and not self.phi:
            raise ConfigError("a deepsets student needs at least one per-token layer: set student.phi")
