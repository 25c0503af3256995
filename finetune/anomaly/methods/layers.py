"""Dense layers, of which most methods are made. Axes: B crossings, D their numbers, L of the last layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import jax
from flax import nnx
from jaxtyping import Array, Float


class Dense(nnx.Module):
    """Dense layers with ReLU between them, none after the last.

    Attributes:
        layers: in order, for a distillation or an export to read.
    """

    def __init__(self, widths: Sequence[int], *, rngs: nnx.Rngs, use_bias: bool = True):
        self.layers = nnx.List([nnx.Linear(i, o, use_bias=use_bias, rngs=rngs) for i, o in pairwise(widths)])

    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B L"]:
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)
