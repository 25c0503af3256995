"""Transformer building blocks. Axes: B batch, N tokens, D width, H heads, K width of a head, M hidden width."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

HIDDEN = -1e30  # logit of a token that must not be seen


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
        q_BHNK, k_BHNK, v_BHNK = jnp.transpose(qkv, (2, 0, 3, 1, 4))  # heads first: contiguous products
        y_BHNK = attend(q_BHNK * q_BHNK.shape[-1] ** -0.5, k_BHNK, v_BHNK, bias_BHNN, _unseen(mask_BN, causal))
        return self.out(jnp.swapaxes(y_BHNK, 1, 2).reshape(batch, tokens, width))


def _unseen(mask_BN: Bool[Array, "B N"], causal: bool) -> Float[Array, "B 1 _ N"]:
    """What is added to the logits: 0 where a token may be seen."""
    seen = mask_BN[:, None, None, :]
    if causal:
        seen = seen & jnp.tri(mask_BN.shape[1], dtype=bool)
    return jnp.where(seen, 0.0, HIDDEN).astype(jnp.float32)


@jax.custom_vjp
def attend(
    q_BHNK: Float[Array, "B H N K"],
    k_BHNK: Float[Array, "B H N K"],
    v_BHNK: Float[Array, "B H N K"],
    bias_BHNN: Float[Array, "B H N N"] | None,
    unseen_B1NN: Float[Array, "B 1 _ N"],
) -> Float[Array, "B H N K"]:
    """softmax(q k + bias + unseen) v, with logits and softmax in float32.

    The arrays over pairs of tokens bound its speed, so they are read and written as rarely as can be: the softmax is
    normalised after the product with v, and its gradient needs no sum over pairs (delta of arXiv:2205.14135).
    """
    return _attend(q_BHNK, k_BHNK, v_BHNK, bias_BHNN, unseen_B1NN)[0]


def _attend(q: Array, k: Array, v: Array, bias: Array | None, unseen: Array) -> tuple[Array, tuple[Array | None, ...]]:
    logits = jnp.einsum("bhnk,bhmk->bhnm", q, k, preferred_element_type=jnp.float32) + unseen
    logits = logits if bias is None else logits + bias
    weights = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    total = jnp.sum(weights, axis=-1, keepdims=True)
    weights = weights.astype(v.dtype)
    y = jnp.einsum("bhnm,bhmk->bhnk", weights, v, preferred_element_type=jnp.float32) / total
    return y.astype(v.dtype), (q, k, v, bias, weights, total, y)


def _attend_back(kept: tuple[Any, ...], dy: Array) -> tuple[Array | None, ...]:
    q, k, v, bias, weights, total, y = kept
    dy = dy / total
    delta = jnp.sum(dy * y, axis=-1, keepdims=True)
    dy = dy.astype(v.dtype)
    dv = jnp.einsum("bhnm,bhnk->bhmk", weights, dy)
    dlogits = weights * (jnp.einsum("bhnk,bhmk->bhnm", dy, v, preferred_element_type=jnp.float32) - delta)
    dbias = None if bias is None else dlogits.astype(bias.dtype)
    dlogits = dlogits.astype(q.dtype)
    dq = jnp.einsum("bhnm,bhmk->bhnk", dlogits, k)
    dk = jnp.einsum("bhnm,bhnk->bhmk", dlogits, q)
    return dq, dk, dv, dbias, None


attend.defvjp(_attend, _attend_back)


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
        self.dtype = dtype

    def __call__(self, pairs_PBNN: Float[Array, "P B N N"]) -> Float[Array, "B H N N"]:
        layers: list[Any] = [self.up, self.down]  # flax types a bias as one that may be absent
        arrays = [(layer.kernel[...], layer.bias[...]) for layer in layers]
        weights = [(kernel.astype(self.dtype).T, bias.astype(self.dtype)[:, None]) for kernel, bias in arrays]
        return pair_network(weights, pairs_PBNN)


@jax.jit
def pair_network(
    weights: list[tuple[Float[Array, "_ _"], Float[Array, "_ 1"]]], pairs_PBNN: Float[Array, "P B N N"]
) -> Float[Array, "B H N N"]:
    """Layers (kernel, bias) with GELU between, at each pair; features and heads come first, so that each is contiguous
    over the pairs."""
    *ups, (down, down_bias) = weights

    def network(pairs: Float[Array, "P ..."]) -> Float[Array, "H ..."]:
        flat = pairs.reshape(pairs.shape[0], -1)
        for up, up_bias in ups:
            flat = jax.nn.gelu(up @ flat + up_bias)
        return (down @ flat + down_bias).reshape(-1, *pairs.shape[1:])

    if jax.default_backend() != "cpu":
        return jnp.swapaxes(network(pairs_PBNN), 0, 1)
    # On a CPU the hidden layer of all pairs would go through main memory several times; that of one row stays in the
    # cache, also when it is worked out again for the gradient.
    bias_NHBN = jax.lax.map(jax.checkpoint(network), jnp.moveaxis(pairs_PBNN, 2, 0))
    return jnp.transpose(bias_NHBN, (2, 1, 0, 3))
