"""Heads: small networks on the encoder's output. Axes: B batch, D width, C outputs."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from foundation.models.layers import drop


@dataclass(frozen=True)
class HeadConfig:
    """A head.

    Attributes:
        hidden: width of its hidden layer; 0 makes it linear.
        dropout: rate before the last layer, in training only.
    """

    hidden: int = 64
    dropout: float = 0.1


class Head(nnx.Module):
    """Pooled embedding -> outputs (logits, or regression values)."""

    def __init__(self, width: int, outputs: int, config: HeadConfig, *, rngs: nnx.Rngs):
        self.dropout = config.dropout
        self.hidden = nnx.Linear(width, config.hidden, rngs=rngs) if config.hidden else None
        small = nnx.initializers.normal(1e-2)
        self.out = nnx.Linear(config.hidden or width, outputs, kernel_init=small, rngs=rngs)

    def __call__(self, pooled_BD: Float[Array, "B D"], key: Array | None = None) -> Float[Array, "B C"]:
        x = pooled_BD.astype(jnp.float32)
        if self.hidden is not None:
            x = jax.nn.gelu(self.hidden(x))
        return self.out(drop(x, self.dropout, key))
