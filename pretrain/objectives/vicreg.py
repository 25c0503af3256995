"""VICReg: two views agree, every dimension varies, and no two dimensions say the same (arXiv:2105.04906).

No negatives: nothing repels, and collapse is prevented by the variance term.

Axes: B batch, D width, P projection width.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from foundation.models import EncoderConfig
from foundation.schema import DetectorSchema
from pretrain.objectives.base import Objective, Pass
from pretrain.objectives.projection import Projector, pair_weights, weighted_mean

DEVIATION = 1.0  # that every dimension shall have: gamma in the paper
SMALL = 1e-4  # epsilon in the paper: a collapsed dimension still has a finite gradient


@dataclass(frozen=True)
class VicregConfig:
    """Variance, invariance, covariance (arXiv:2105.04906).

    The factors are the paper's 25, 25, 1, divided by 25: so the loss is of the order of the other objectives'.

    Attributes:
        weight: of this loss; 0 turns it off.
        invariance: factor of the mean squared difference between the views.
        variance: factor of what the deviation of each dimension falls short of 1.
        covariance: factor of the squared covariances between dimensions.
        projection: width of the projection head.
    """

    weight: float = 0.0
    invariance: float = 1.0
    variance: float = 1.0
    covariance: float = 0.04
    projection: int = 128


class Vicreg(Objective):
    """VICReg of the projected embeddings of two views."""

    views = 2

    def __init__(self, schema: DetectorSchema, encoder: EncoderConfig, settings: VicregConfig, *, rngs: nnx.Rngs):
        self.factors = (settings.invariance, settings.variance, settings.covariance)
        self.projector = Projector(encoder.width, settings.projection, rngs=rngs)

    def __call__(self, step: Pass) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        first, second = step.views
        a_BP, b_BP = self.projector(first.encoded.pooled), self.projector(second.encoded.pooled)
        found = vicreg(a_BP, b_BP, pair_weights(first, second))
        terms = dict(zip(("invariance", "variance", "covariance"), found))
        return jnp.sum(jnp.stack([factor * term for factor, term in zip(self.factors, found)])), terms


def vicreg(
    a_BP: Float[Array, "B P"], b_BP: Float[Array, "B P"], weights: Float[Array, " B"]
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """The three terms. Rows of weight 0 enter none of them.

    Variance and covariance are sums over both views, of unbiased estimates. As in the paper's algorithm 1 the
    invariance is a mean over dimensions, which the factors belong to.
    """
    invariance = weighted_mean(jnp.mean((a_BP - b_BP) ** 2, axis=1), weights)
    variance, covariance = jnp.zeros(()), jnp.zeros(())
    for x_BP in (a_BP, b_BP):
        c_PP = weighted_covariance(x_BP, weights)
        spread_P = jnp.sqrt(jnp.diagonal(c_PP) + SMALL)
        variance += jnp.mean(jnp.maximum(DEVIATION - spread_P, 0.0))
        covariance += (jnp.sum(c_PP**2) - jnp.sum(jnp.diagonal(c_PP) ** 2)) / x_BP.shape[1]
    return invariance, variance, covariance


def weighted_covariance(x_BP: Float[Array, "B P"], weights: Float[Array, " B"]) -> Float[Array, "P P"]:
    """Unbiased: 1/(n-1) for n rows of equal weight; zero for fewer than two."""
    total = jnp.maximum(jnp.sum(weights), 1e-6)
    share_B1 = (jnp.maximum(weights, 0.0) / total)[:, None]
    x_BP = jnp.where(share_B1 > 0, x_BP, 0.0)
    centred_BP = x_BP - jnp.sum(x_BP * share_B1, axis=0)
    return (centred_BP * share_B1).T @ centred_BP / jnp.maximum(1.0 - jnp.sum(share_B1**2), 1e-3)
