"""Self-supervised objectives, each a function of the encoder's output (contract 3).

Axes: B batch, N tokens (modalities concatenated), D width, F features of a modality, P projection width.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float

from foundation.batch import TokenBatch, Tokens
from foundation.models import Encoded
from foundation.models.layers import Block
from foundation.schema import DetectorSchema


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


def hide_tokens(
    batch: TokenBatch, fraction: float, key: Array, first: int | None = None
) -> tuple[TokenBatch, dict[str, Bool[Array, "B N"]]]:
    """Hides each real token of the `first` examples (default: all) with probability `fraction`, except one that is
    alone in its modality.

    Returns:
        The batch without the hidden tokens, and which those are.
    """
    visible, hidden = {}, {}
    for i, name in enumerate(sorted(batch.modalities)):  # jit sorts the keys of a dict; eager must draw the same
        tokens = batch.modalities[name]
        drawn = jax.random.bernoulli(jax.random.fold_in(key, i), fraction, tokens.mask.shape)
        alone = jnp.sum(tokens.mask, axis=1, keepdims=True) < 2
        chosen = jnp.arange(batch.size)[:, None] < (batch.size if first is None else first)
        hidden[name] = tokens.mask & drawn & ~alone & chosen
        visible[name] = Tokens(tokens.values, tokens.mask & ~hidden[name])
    return TokenBatch(visible, batch.globals, batch.labels, batch.weights, batch.index), hidden


class MaskedModel(nnx.Module):
    """Predicts the standardised features of hidden tokens from the visible ones.

    The encoder never sees a hidden token. A light decoder receives the encoder's tokens, the pooled embedding and, in
    the place of each hidden token, a learnt query that knows only the token's modality and rank in file order (jet
    constituents are ordered by pt).
    """

    def __init__(
        self, schema: DetectorSchema, width: int, heads: int, hidden: int, config: MaskedConfig, *, rngs: nnx.Rngs
    ):
        small = nnx.initializers.normal(0.02)
        self.names = tuple(schema.modalities)
        self.query = nnx.Dict({n: nnx.Param(small(rngs.params(), (width,))) for n in self.names})
        self.rank = nnx.Dict(
            {n: nnx.Param(small(rngs.params(), (m.capacity, width))) for n, m in schema.modalities.items()}
        )
        self.blocks = nnx.List(
            [
                Block(width, heads, hidden * width, dropout=0.0, dtype=jnp.dtype("float32"), rngs=rngs)
                for _ in range(config.decoder_layers)
            ]
        )
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.out = nnx.Dict({n: nnx.Linear(width, len(m.features), rngs=rngs) for n, m in schema.modalities.items()})

    def __call__(
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
