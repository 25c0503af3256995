"""Transformer building blocks. Axes: B batch, N tokens, D width, H heads, K width of a head, M hidden width."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float


class Attention(nnx.Module):
    """Multi-head self-attention with a padding mask and an optional additive bias of pairs."""

    def __init__(self, width: int, heads: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.qkv = nnx.Linear(width, 3 * width, use_bias=False, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x_BND: Float[Array, "B N D"],
        mask_BN: Bool[Array, "B N"],
        bias_BHNN: Float[Array, "B H N N"] | None = None,
        causal: bool = False,
    ) -> Float[Array, "B N D"]:
        batch, tokens, width = x_BND.shape
        qkv = self.qkv(x_BND).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q_BNHK, k_BNHK, v_BNHK = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        bias = None if bias_BHNN is None else bias_BHNN.astype(q_BNHK.dtype)
        mask_B11N = mask_BN[:, None, None, :]
        y_BNHK = jax.nn.dot_product_attention(q_BNHK, k_BNHK, v_BNHK, bias=bias, mask=mask_B11N, is_causal=causal)
        return self.out(y_BNHK.reshape(batch, tokens, width))


class FeedForward(nnx.Module):
    """Linear, GELU, linear."""

    def __init__(self, width: int, hidden: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.up = nnx.Linear(width, hidden, dtype=dtype, rngs=rngs)
        self.down = nnx.Linear(hidden, width, dtype=dtype, rngs=rngs)

    def __call__(self, x_BND: Float[Array, "... D"]) -> Float[Array, "... D"]:
        return self.down(jax.nn.gelu(self.up(x_BND)))


class Block(nnx.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, hidden: int, *, dropout: float, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.norm_attention = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.attention = Attention(width, heads, dtype=dtype, rngs=rngs)
        self.norm_feed = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.feed = FeedForward(width, hidden, dtype=dtype, rngs=rngs)
        self.dropout = dropout

    def __call__(
        self,
        x_BND: Float[Array, "B N D"],
        mask_BN: Bool[Array, "B N"],
        bias_BHNN: Float[Array, "B H N N"] | None = None,
        key: Array | None = None,
        causal: bool = False,
    ) -> Float[Array, "B N D"]:
        keys = (None, None) if key is None else tuple(jax.random.split(key))
        attended = self.attention(self.norm_attention(x_BND), mask_BN, bias_BHNN, causal)
        x_BND = x_BND + drop(attended, self.dropout, keys[0])
        return x_BND + drop(self.feed(self.norm_feed(x_BND)), self.dropout, keys[1])


def drop(x: Float[Array, ...], rate: float, key: Array | None) -> Float[Array, ...]:
    """Inverted drop-out; the identity without a key (evaluation) or at rate 0."""
    if key is None or rate == 0.0:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0).astype(x.dtype)


class PairBias(nnx.Module):
    """Attention bias from pair features (ParT, arXiv:2202.03772 section 4): a small network per pair of tokens.

    Axes: P pair features.
    """

    def __init__(self, features: int, heads: int, hidden: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.up = nnx.Linear(features, hidden, dtype=dtype, rngs=rngs)
        self.down = nnx.Linear(hidden, heads, dtype=dtype, rngs=rngs)

    def __call__(self, pairs_BNNP: Float[Array, "B N N P"]) -> Float[Array, "B H N N"]:
        return jnp.moveaxis(self.down(jax.nn.gelu(self.up(pairs_BNNP))), -1, 1)
