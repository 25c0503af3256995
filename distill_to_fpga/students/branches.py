"""Where paths of a circuit part and meet: sums of branches, transposition, one vector for all tokens.

Axes: B examples, N tokens, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from distill_to_fpga.quantize import Mode


class Together(nnx.Module):
    """The sum of branches, each a list of layers; one without layers is the input itself: a residual connection."""

    def __init__(self, *branches: Sequence[Any]):
        self.branches = nnx.List([nnx.List(list(branch)) for branch in branches])

    def __call__(self, x: Float[Array, "B ..."], mode: Mode) -> Float[Array, "B ..."]:
        total: Any = 0
        for branch in self.branches:
            y: Any = x
            for layer in branch:
                y = layer(y, mode)
            total = total + y
        return total

    def inner(self) -> Iterator[Any]:
        """The layers of all branches, one branch after another."""
        for branch in self.branches:
            yield from branch


class Transpose(nnx.Module):
    """Tokens become features and features tokens."""

    def __call__(self, x: Float[Array, "B N F"], mode: Mode) -> Float[Array, "B F N"]:
        return x.swapaxes(1, 2)

    def width(self, width: Float[Array, "..."]) -> Float[Array, "..."]:
        """Widths of the inputs, if they differ from place to place, as they now stand."""
        return width.swapaxes(0, 1) if width.ndim == 2 else width


class Repeat(nnx.Module):
    """One vector to all tokens."""

    def __init__(self, tokens: int):
        self.tokens = tokens

    def __call__(self, x: Float[Array, "B F"], mode: Mode) -> Float[Array, "B N F"]:
        return jnp.broadcast_to(x[:, None], (x.shape[0], self.tokens, x.shape[1]))
