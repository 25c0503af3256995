"""Heads: small networks on a backbone's output. Axes: B batch, N tokens, D width, C outputs, H attention heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from foundation.models.encoder import Encoded
from foundation.models.layers import HIDDEN, drop

QUERIES = 4  # of attention pooling


@dataclass(frozen=True)
class HeadConfig:
    """A head.

    Attributes:
        hidden: width of its hidden layer; 0 makes it linear.
        dropout: rate before the last layer, in training only.
        pooling: what stands for an example: `mean` (the backbone's own embedding) or `attention` (learned queries over
            its tokens and its summary). Heads of tokens and pairs do not pool.
    """

    hidden: int = 64
    dropout: float = 0.1
    pooling: Literal["mean", "attention"] = "mean"


class Head(nnx.Module):
    """Vectors (of examples or tokens) -> outputs (logits, or regression values)."""

    def __init__(self, width: int, outputs: int, config: HeadConfig, *, rngs: nnx.Rngs):
        self.dropout = config.dropout
        self.hidden = nnx.Linear(width, config.hidden, rngs=rngs) if config.hidden else None
        small = nnx.initializers.normal(1e-2)
        self.out = nnx.Linear(config.hidden or width, outputs, kernel_init=small, rngs=rngs)

    def __call__(self, vectors: Float[Array, "*n D"], key: Array | None = None) -> Float[Array, "*n C"]:
        x = vectors.astype(jnp.float32)
        if self.hidden is not None:
            x = jax.nn.gelu(self.hidden(x))
        return self.out(drop(x, self.dropout, key))


class AttentionPool(nnx.Module):
    """Tokens and summary -> one vector per example: a softmax over them for each of a few learned queries.

    The order of the tokens does not matter, and padding is not seen.
    """

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.queries = nnx.Linear(width, QUERIES, use_bias=False, rngs=rngs)
        self.out = nnx.Linear(QUERIES * width, width, rngs=rngs)

    def __call__(self, encoded: Encoded) -> Float[Array, "B D"]:
        x_BND = jnp.concatenate([encoded.summary[:, None], encoded.tokens], axis=1).astype(jnp.float32)
        seen_BN1 = jnp.pad(encoded.mask, ((0, 0), (1, 0)), constant_values=True)[..., None]
        logits_BNH = self.queries(x_BND) * x_BND.shape[-1] ** -0.5
        weights_BNH = jax.nn.softmax(jnp.where(seen_BN1, logits_BNH, HIDDEN), axis=1)
        pooled_BHD = jnp.einsum("bnh,bnd->bhd", weights_BNH, x_BND)
        return self.out(pooled_BHD.reshape(pooled_BHD.shape[0], -1))
