"""Masked-token modelling: the encoder sees some of the tokens, a light decoder tells the others.

Axes: B batch, N tokens (modalities concatenated), D width, F features of a modality.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float

from foundation.batch import TokenBatch
from foundation.models import Encoded, EncoderConfig
from foundation.models.layers import Block
from foundation.schema import DetectorSchema
from pretrain.objectives.base import Objective, Pass
from pretrain.objectives.hiding import hide_tokens


@dataclass(frozen=True)
class MaskedConfig:
    """Masked-token modelling: hide tokens, predict their features (arXiv:2401.13537, continuous targets).

    Attributes:
        weight: of this loss; 0 turns it off.
        fraction: of the tokens that is hidden (0.2 to 0.3 is best in arXiv:2409.12589).
        decoder_layers: transformer blocks between the encoder's output and the predictions.
    """

    weight: float = 1.0
    fraction: float = 0.3
    decoder_layers: int = 1


class Masked(Objective):
    """Predicts the standardised features of hidden tokens from the visible ones.

    The encoder never sees a hidden token. A light decoder receives the encoder's tokens, the pooled embedding and, in
    the place of each hidden token, a learnt query that knows only the token's modality and rank in file order (jet
    constituents are ordered by pt).
    """

    def __init__(self, schema: DetectorSchema, encoder: EncoderConfig, settings: MaskedConfig, *, rngs: nnx.Rngs):
        width, hidden = encoder.width, encoder.hidden * encoder.width
        self.fraction = settings.fraction
        small = nnx.initializers.normal(0.02)
        self.names = tuple(schema.modalities)
        self.query = nnx.Dict({n: nnx.Param(small(rngs.params(), (width,))) for n in self.names})
        self.rank = nnx.Dict(
            {n: nnx.Param(small(rngs.params(), (m.capacity, width))) for n, m in schema.modalities.items()}
        )
        self.blocks = nnx.List(
            [
                Block(width, encoder.heads, hidden, dropout=0.0, dtype=jnp.dtype("float32"), rngs=rngs)
                for _ in range(settings.decoder_layers)
            ]
        )
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.out = nnx.Dict({n: nnx.Linear(width, len(m.features), rngs=rngs) for n, m in schema.modalities.items()})

    def hide(self, batch: TokenBatch, key: Array) -> tuple[TokenBatch, dict[str, Bool[Array, "B N"]]]:
        """What the encoder sees of a batch, and which tokens it does not."""
        return hide_tokens(batch, self.fraction, key)

    def __call__(self, step: Pass) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        view = step.views[0]
        targets = jax.lax.stop_gradient(step.encoder.standardize(view.batch))
        return self.restore(view.encoded, targets, view.hidden, view.batch.weights), {}

    def restore(
        self,
        encoded: Encoded,
        targets: dict[str, Float[Array, "B N F"]],
        hidden: dict[str, Bool[Array, "B N"]],
        weights: Float[Array, " B"],
    ) -> Float[Array, ""]:
        """Mean Huber loss over the hidden tokens, examples weighted."""
        queries = jnp.concatenate([self.query[n] + self._ranks(n, hidden[n].shape[1]) for n in self.names], axis=0)
        ranks = jnp.concatenate([self._ranks(n, hidden[n].shape[1]) for n in self.names], axis=0)
        hidden_BN = jnp.concatenate([hidden[n] for n in self.names], axis=1)
        x_BND = jnp.where(hidden_BN[..., None], queries, encoded.tokens + ranks)
        x_BND = jnp.concatenate([encoded.pooled[:, None], x_BND], axis=1)
        present_BN = encoded.mask | hidden_BN
        mask_BN = jnp.concatenate([jnp.ones_like(present_BN[:, :1]), present_BN], axis=1)
        for block in self.blocks:
            x_BND = block(x_BND, mask_BN)
        x_BND, start, total, count = self.norm(x_BND)[:, 1:], 0, jnp.zeros(()), jnp.zeros(())
        for name in self.names:
            length = hidden[name].shape[1]
            predicted = self.out[name](x_BND[:, start : start + length])
            error_BN = optax.losses.huber_loss(predicted, targets[name]).mean(axis=-1)
            weight_BN = hidden[name] * weights[:, None]
            total, count, start = total + jnp.sum(error_BN * weight_BN), count + jnp.sum(weight_BN), start + length
        return total / jnp.maximum(count, 1.0)

    def _ranks(self, name: str, length: int) -> Float[Array, "N D"]:
        return self.rank[name][...][:length]
