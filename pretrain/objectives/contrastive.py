"""Contrastive learning: two views of one example attract, other examples and anomalous versions repel.

Written over the global batch, so that under a mesh every device's rows are every other's negatives.

Axes: B batch, D width, P projection width, R rows (both views of all examples).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from foundation.errors import ConfigError
from foundation.models import EncoderConfig
from foundation.schema import DetectorSchema
from pretrain.augment import AnomalousConfig, anomalous
from pretrain.objectives.base import Objective, Pass
from pretrain.objectives.projection import Projector, pair_weights, unit, weighted_mean


@dataclass(frozen=True)
class ContrastiveConfig:
    """NT-Xent between two views (JetCLR, arXiv:2108.04253, equation 2), with anomalies or without.

    Attributes:
        weight: of this loss; 0 turns it off.
        temperature: of the similarities.
        projection: width of the projection head.
        anomalies: versions of the example that repel it (AnomalyCLR, arXiv:2301.04660): `none`; `added`: beside the
            other examples (AnomCLR); `alone`: in their place (AnomCLR+). They cost another pass of half the rows.
        anomalous: how anomalies are made.
    """

    weight: float = 1.0
    temperature: float = 0.2
    projection: int = 64
    anomalies: Literal["none", "added", "alone"] = "none"
    anomalous: AnomalousConfig = field(default_factory=AnomalousConfig)


class Contrastive(Objective):
    """NT-Xent of the projected embeddings of two views.

    Raises:
        ConfigError: a temperature that is not positive.
    """

    views = 2

    def __init__(self, schema: DetectorSchema, encoder: EncoderConfig, settings: ContrastiveConfig, *, rngs: nnx.Rngs):
        if settings.temperature <= 0:
            raise ConfigError(f"contrastive.temperature must be positive; it is {settings.temperature}")
        self.schema, self.temperature = schema, settings.temperature
        self.anomalies, self.anomalous = settings.anomalies, settings.anomalous
        self.projector = Projector(encoder.width, settings.projection, rngs=rngs)

    def __call__(self, step: Pass) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        first, second = step.views
        a_BP, b_BP = (unit(self.projector(view.encoded.pooled)) for view in step.views)
        weights = pair_weights(first, second)
        alike = weighted_mean(jnp.sum(a_BP * b_BP, axis=1), weights)
        loss = -alike / self.temperature
        if self.anomalies != "alone":
            loss = nt_xent(a_BP, b_BP, weights, self.temperature)
        if self.anomalies == "none":
            return loss, {"similarity": alike}
        anomaly_key, dropout_key = jax.random.split(step.key)
        odd = anomalous(first.batch, self.schema, self.anomalous, anomaly_key)
        c_BP = unit(self.projector(step.encoder(odd, dropout_key).pooled))
        unlike = weighted_mean(jnp.sum((a_BP + b_BP) * c_BP, axis=1) / 2, weights)
        return loss + unlike / self.temperature, {"similarity": alike, "anomaly_similarity": unlike}


def nt_xent(
    a_BP: Float[Array, "B P"], b_BP: Float[Array, "B P"], weights: Float[Array, " B"], temperature: float
) -> Float[Array, ""]:
    """NT-Xent of unit vectors: row i of `a` and row i of `b` are one example seen twice; all other rows repel.

    Rows of weight 0 (fillers of the batch) neither attract nor repel.
    """
    x_RP = jnp.concatenate([a_BP, b_BP])
    size = a_BP.shape[0]
    weight_R = jnp.concatenate([weights, weights])
    similarity_RR = x_RP @ x_RP.T / temperature
    excluded_RR = jnp.eye(2 * size, dtype=bool) | ~(weight_R > 0)[None, :]
    own_R = jnp.tile(jnp.sum(a_BP * b_BP, axis=1) / temperature, 2)
    # Masked rows get a finite number: of all -inf the gradient would be NaN, and a batch of fillers has such rows.
    total_R = jax.nn.logsumexp(jnp.where(excluded_RR, -1e9, similarity_RR), axis=1)
    return weighted_mean(total_R - own_R, weight_R)
