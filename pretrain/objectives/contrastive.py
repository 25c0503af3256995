"""Contrastive learning: two views of one example attract, other examples repel.

Axes: B batch, D width, P projection width, R rows (both views of all examples).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from foundation.models import EncoderConfig
from foundation.schema import DetectorSchema
from pretrain.objectives.base import Objective, Pass


@dataclass(frozen=True)
class ContrastiveConfig:
    """NT-Xent between two augmented views (JetCLR, arXiv:2108.04253, equation 2).

    Attributes:
        weight: of this loss; 0 turns it off.
        temperature: of the similarities.
        projection: width of the projection head.
    """

    weight: float = 1.0
    temperature: float = 0.2
    projection: int = 64


class Contrastive(Objective):
    """NT-Xent of the projected embeddings of two views."""

    views = 2

    def __init__(self, schema: DetectorSchema, encoder: EncoderConfig, settings: ContrastiveConfig, *, rngs: nnx.Rngs):
        self.temperature = settings.temperature
        self.projector = Projector(encoder.width, settings, rngs=rngs)

    def __call__(self, step: Pass) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        first, second = step.views
        a_BP, b_BP = self.projector(first.encoded.pooled), self.projector(second.encoded.pooled)
        return nt_xent(a_BP, b_BP, first.batch.weights, self.temperature), {}


class Projector(nnx.Module):
    """Pooled embedding -> unit vector for the contrastive loss."""

    def __init__(self, width: int, config: ContrastiveConfig, *, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(width, width, rngs=rngs)
        self.out = nnx.Linear(width, config.projection, rngs=rngs)

    def __call__(self, pooled_BD: Float[Array, "B D"]) -> Float[Array, "B P"]:
        x_BP = self.out(jax.nn.gelu(self.hidden(pooled_BD)))
        return x_BP / jnp.sqrt(jnp.sum(x_BP**2, axis=-1, keepdims=True) + 1e-12)


def nt_xent(
    a_BP: Float[Array, "B P"], b_BP: Float[Array, "B P"], weights: Float[Array, " B"], temperature: float
) -> Float[Array, ""]:
    """NT-Xent of unit vectors: row i of `a` and row i of `b` are one example seen twice; all other rows repel.

    Rows of weight 0 (fillers of the batch) neither attract nor repel.
    """
    x_RP = jnp.concatenate([a_BP, b_BP])
    size = a_BP.shape[0]
    real = jnp.concatenate([weights, weights]) > 0
    similarity_RR = x_RP @ x_RP.T / temperature
    excluded_RR = jnp.eye(2 * size, dtype=bool) | ~real[None, :]
    partner_R = jnp.roll(jnp.arange(2 * size), size)
    own_R = jnp.take_along_axis(similarity_RR, partner_R[:, None], axis=1)[:, 0]
    loss_R = jax.nn.logsumexp(jnp.where(excluded_RR, -jnp.inf, similarity_RR), axis=1) - own_R
    weight_R = jnp.concatenate([weights, weights])
    return jnp.sum(jnp.where(real, loss_R, 0.0) * weight_R) / jnp.maximum(jnp.sum(weight_R), 1e-6)
