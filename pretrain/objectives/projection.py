"""From the pooled embedding to the space of a loss, and what losses between two views share.

Axes: B batch, D width, P projection width, R rows.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from pretrain.objectives.base import View


class Projector(nnx.Module):
    """Two layers, thrown away after pretraining: what a loss makes forget, the embedding keeps (arXiv:2002.05709)."""

    def __init__(self, width: int, projection: int, *, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(width, max(width, projection), rngs=rngs)
        self.out = nnx.Linear(max(width, projection), projection, rngs=rngs)

    def __call__(self, pooled_BD: Float[Array, "B D"]) -> Float[Array, "B P"]:
        return self.out(jax.nn.gelu(self.hidden(pooled_BD)))


def unit(x_RP: Float[Array, "R P"]) -> Float[Array, "R P"]:
    """Rows of length 1, with a finite gradient at 0."""
    return x_RP / jnp.sqrt(jnp.sum(x_RP**2, axis=-1, keepdims=True) + 1e-12)


def pair_weights(first: View, second: View) -> Float[Array, " B"]:
    """Weights of the pairs: 0 where either look is none (a filler, or a view without tokens)."""
    return jnp.where(second.batch.weights > 0, first.batch.weights, 0.0)


def weighted_mean(values_R: Float[Array, " R"], weights_R: Float[Array, " R"]) -> Float[Array, ""]:
    """Mean over the rows of positive weight; 0 if there is none. Values of the others may be anything."""
    kept_R = jnp.where(weights_R > 0, values_R, 0.0)
    return jnp.sum(kept_R * weights_R) / jnp.maximum(jnp.sum(weights_R), 1e-6)
