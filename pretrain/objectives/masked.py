"""Masked-token modelling: the encoder sees some of the tokens, a light decoder tells the others.

Axes: B batch, N tokens (modalities concatenated), D width, F features of a modality, C codes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Shaped

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError, close_names
from foundation.models import Encoded, Encoder, EncoderConfig
from foundation.models.layers import Block
from foundation.schema import DetectorSchema
from pretrain.objectives.base import Objective, Pass
from pretrain.objectives.hiding import Hiding, HidingConfig
from pretrain.tokenizer import NONE, Tokenizer, load_tokenizer


@dataclass(frozen=True)
class MaskedConfig:
    """Masked-token modelling: hide tokens, predict their features or codes (arXiv:2401.13537, arXiv:2409.12589).

    Attributes:
        weight: of this loss; 0 turns it off.
        fraction: of the tokens that is hidden at random (0.2 to 0.3 is best in arXiv:2409.12589).
        hide: other ways to hide.
        targets: `continuous`: standardised features, Huber loss; `codes`: those of `tokenizer`, cross-entropy in nats.
        tokenizer: run of `detfm tokenize`, for targets `codes`.
        weights: modality -> factor of its tokens in the loss; 1 where not named.
        decoder_layers: transformer blocks between the encoder's output and the predictions.
    """

    weight: float = 1.0
    fraction: float = 0.3
    hide: HidingConfig = field(default_factory=HidingConfig)
    targets: Literal["continuous", "codes"] = "continuous"
    tokenizer: str = ""
    weights: dict[str, float] = field(default_factory=dict)
    decoder_layers: int = 1


class Masked(Objective):
    """Predicts the standardised features, or the codes, of hidden tokens from the visible ones.

    The encoder never sees a hidden token. A light decoder receives the encoder's tokens, the pooled embedding and, in
    the place of each hidden token, a learnt query that knows only the token's modality and rank in file order (jet
    constituents are ordered by pt).

    Raises:
        ConfigError: settings that contradict each other or the schema.
        RunError, SchemaError: the tokenizer is not there, or is of another schema.
    """

    needs_tokens = True

    def __init__(self, schema: DetectorSchema, encoder: EncoderConfig, settings: MaskedConfig, *, rngs: nnx.Rngs):
        width, hidden = encoder.width, encoder.hidden * encoder.width
        self.hiding = Hiding.checked(schema, settings.fraction, settings.hide)
        self.weights = _weights(schema, settings)
        self.tokenizer = _tokenizer(schema, settings)
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
        outputs = {n: len(m.features) for n, m in schema.modalities.items()}
        if self.tokenizer is not None:
            outputs = self.tokenizer.codes
        self.out = nnx.Dict({n: nnx.Linear(width, outputs[n], rngs=rngs) for n in self.names})

    def hide(self, batch: TokenBatch, key: Array) -> tuple[TokenBatch, dict[str, Bool[Array, "B _"]]]:
        """What the encoder sees of a batch, and which tokens it has to predict."""
        return self.hiding(batch, key)

    def __call__(self, step: Pass) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        view = step.views[0]
        targets = self.targets(step.encoder, view.batch)
        return self.restore(view.encoded, targets, view.hidden, view.batch.weights)

    def targets(self, encoder: Encoder, batch: TokenBatch) -> dict[str, Shaped[Array, "B _ ..."]]:
        """What is to be predicted of each token: [B, N, F] standardised features, or [B, N] codes."""
        if self.tokenizer is not None:
            return self.tokenizer.encode(batch)
        return jax.lax.stop_gradient(encoder.standardize(batch))

    def predict(self, step: Pass) -> dict[str, Float[Array, "B _ _"]]:
        """Standardised features of the first view's tokens as they are told from the visible ones; only those of hidden
        tokens mean anything. Where codes are told, those of the likeliest code. `pretrain.monitor` draws them."""
        view = step.views[0]
        found = self.told(view.encoded, view.hidden)
        if self.tokenizer is None:
            return found
        codes = {name: jnp.where(view.hidden[name], jnp.argmax(found[name], axis=-1), NONE) for name in self.names}
        values = self.tokenizer.decode_each(codes, view.batch.globals)
        modalities = {name: Tokens(values[name], view.hidden[name]) for name in self.names}
        return step.encoder.standardize(dataclasses.replace(view.batch, modalities=modalities))

    def told(self, encoded: Encoded, hidden: dict[str, Bool[Array, "B _"]]) -> dict[str, Float[Array, "B _ _"]]:
        """Standardised features [B, N, F] or logits of the codes [B, N, C] of the hidden tokens."""
        queries = jnp.concatenate([self.query[n] + self._ranks(n, hidden[n].shape[1]) for n in self.names], axis=0)
        ranks = jnp.concatenate([self._ranks(n, hidden[n].shape[1]) for n in self.names], axis=0)
        hidden_BN = jnp.concatenate([hidden[n] for n in self.names], axis=1)
        x_BND = jnp.where(hidden_BN[..., None], queries, encoded.tokens + ranks)
        x_BND = jnp.concatenate([encoded.pooled[:, None], x_BND], axis=1)
        present_BN = encoded.mask | hidden_BN
        mask_BN = jnp.concatenate([jnp.ones_like(present_BN[:, :1]), present_BN], axis=1)
        for block in self.blocks:
            x_BND = block(x_BND, mask_BN)
        x_BND, start, found = self.norm(x_BND)[:, 1:], 0, {}
        for name in self.names:
            length = hidden[name].shape[1]
            found[name] = self.out[name](x_BND[:, start : start + length])
            start += length
        return found

    def restore(
        self,
        encoded: Encoded,
        targets: dict[str, Shaped[Array, "B _ ..."]],
        hidden: dict[str, Bool[Array, "B _"]],
        weights: Float[Array, " B"],
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Mean loss over the hidden tokens, examples and modalities weighted; and of each of several modalities."""
        factors, total, count = dict(self.weights), jnp.zeros(()), jnp.zeros(())
        terms: dict[str, Float[Array, ""]] = {}
        for name, told in self.told(encoded, hidden).items():
            if self.tokenizer is None:
                error_BN = optax.losses.huber_loss(told, targets[name]).mean(axis=-1)
            else:
                codes_BN = jnp.maximum(targets[name], 0)  # padding has none
                error_BN = optax.losses.softmax_cross_entropy_with_integer_labels(told, codes_BN)
            weight_BN = hidden[name] * weights[:, None]
            error, number = jnp.sum(error_BN * weight_BN), jnp.sum(weight_BN)
            terms[name] = error / jnp.maximum(number, 1e-6)
            factor = factors.get(name, 1.0)
            total, count = total + factor * error, count + factor * number
        return total / jnp.maximum(count, 1e-6), terms if len(self.names) > 1 else {}

    def _ranks(self, name: str, length: int) -> Float[Array, "N D"]:
        return self.rank[name][...][:length]


def _weights(schema: DetectorSchema, settings: MaskedConfig) -> tuple[tuple[str, float], ...]:
    """Raises ConfigError: a weight of no modality, or a negative one."""
    for name, weight in settings.weights.items():
        if name not in schema.modalities:
            hint = close_names(name, schema.modalities)
            raise ConfigError(f"masked.weights: schema '{schema.name}' has no modality '{name}'; {hint}")
        if weight < 0:
            raise ConfigError(f"masked.weights: the weight of '{name}' is {weight:g}; expected at least 0")
    return tuple(settings.weights.items())


def _tokenizer(schema: DetectorSchema, settings: MaskedConfig) -> Tokenizer | None:
    """Raises ConfigError: targets and tokenizer contradict each other."""
    if settings.targets == "continuous":
        if settings.tokenizer:
            raise ConfigError("masked.tokenizer is for masked.targets 'codes'; the targets are 'continuous'")
        return None
    if not settings.tokenizer:
        raise ConfigError("masked.targets 'codes' needs masked.tokenizer, a run of `detfm tokenize STORE --out RUN`")
    return load_tokenizer(settings.tokenizer, schema)
