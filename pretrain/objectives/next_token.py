"""Next-token prediction over a tokenizer's codes (OmniJet-alpha, arXiv:2403.05618): what `detfm generate` samples from.

Axes: B batch, N tokens (modalities concatenated), L tokens of a modality, D width, C codes, S = C + 1 symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError
from foundation.models import Encoded, EncoderConfig
from foundation.schema import DetectorSchema
from pretrain.objectives.base import Objective, Pass
from pretrain.tokenizer import NONE, load_tokenizer


@dataclass(frozen=True)
class NextTokenConfig:
    """Tell each token's code from the globals and the tokens before it; modalities one after another, in schema order.

    Attributes:
        weight: of this loss; 0 turns it off.
        tokenizer: run of `detfm tokenize`.
    """

    weight: float = 0.0
    tokenizer: str = ""


class NextToken(Objective):
    """At each position the code of the next token of the same modality, or that there is none (stop).

    The encoder, attending backwards only, sees each token as the average token of its code, and not as the tokenizer's
    decoder would restore it: a decoder that looks at the whole example would tell of tokens yet to come. The first
    token of a modality is told from the last one of the modalities before it, or from the summary token.

    Raises:
        ConfigError: no tokenizer is named.
        RunError, SchemaError: the tokenizer is not there, or is of another schema.
    """

    needs_tokens = True

    def __init__(self, schema: DetectorSchema, encoder: EncoderConfig, settings: NextTokenConfig, *, rngs: nnx.Rngs):
        if not settings.tokenizer:
            raise ConfigError("next_token needs next_token.tokenizer, a run of `detfm tokenize STORE --out RUN`")
        self.tokenizer = load_tokenizer(settings.tokenizer, schema)
        self.names, codes = tuple(schema.modalities), self.tokenizer.codes
        small = nnx.initializers.normal(0.02)
        self.out = nnx.Dict(
            {n: nnx.Linear(encoder.width, codes[n] + 1, kernel_init=small, rngs=rngs) for n in self.names}
        )

    def __call__(self, step: Pass) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Cross-entropy in nats per symbol, stops included; with several modalities, of each too."""
        batch = step.views[0].batch
        codes = self.tokenizer.encode(batch)
        encoded = step.encoder(self.seen(codes, batch), step.key, causal=True)
        total, count = jnp.zeros(()), jnp.zeros(())
        terms: dict[str, Float[Array, ""]] = {}
        for name in self.names:
            symbols_BM, asked_BM = next_symbols(codes[name], self.tokenizer.codes[name])
            logits_BMS = self.out[name](self.before(encoded, codes, name))
            error_BM = optax.losses.softmax_cross_entropy_with_integer_labels(logits_BMS, symbols_BM)
            weight_BM = asked_BM * jnp.asarray(batch.weights)[:, None]
            error, number = jnp.sum(error_BM * weight_BM), jnp.sum(weight_BM)
            terms[name] = error / jnp.maximum(number, 1e-6)
            total, count = total + error, count + number
        return total / jnp.maximum(count, 1e-6), terms if len(self.names) > 1 else {}

    def seen(self, codes: dict[str, Int[Array, "B L"]], batch: TokenBatch) -> TokenBatch:
        """The batch with the average token of each code in the place of the tokens."""
        values = self.tokenizer.decode_each(codes, batch.globals)
        modalities = {name: Tokens(values[name], codes[name] != NONE) for name in self.names}
        return TokenBatch(modalities, batch.globals, {}, batch.weights, batch.index)

    def before(self, encoded: Encoded, codes: dict[str, Int[Array, "B L"]], name: str) -> Float[Array, "B M D"]:
        """The vector that tells each of the L tokens of a modality, and one past the last: M = L + 1."""
        start = sum(codes[each].shape[1] for each in self.names[: self.names.index(name)])
        x_BND = jnp.concatenate([encoded.summary[:, None], encoded.tokens], axis=1)
        real_BN = encoded.mask[:, :start]
        last_B = jnp.max(jnp.where(real_BN, 1 + jnp.arange(start), 0), axis=1, initial=0)
        first_B1D = jnp.take_along_axis(x_BND, last_B[:, None, None], axis=1)
        return jnp.concatenate([first_B1D, x_BND[:, 1 + start : 1 + start + codes[name].shape[1]]], axis=1)


def next_symbols(codes_BL: Int[Array, "B L"], stop: int) -> tuple[Int[Array, "B M"], Bool[Array, "B M"]]:
    """Codes followed by `stop`, and which places count: M = L + 1, up to the stop."""
    length = codes_BL.shape[1]
    number_B1 = jnp.sum(codes_BL != NONE, axis=1, keepdims=True)
    place = jnp.arange(length + 1)[None]
    padded_BM = jnp.pad(codes_BL, ((0, 0), (0, 1)), constant_values=NONE)
    return jnp.where(place < number_B1, padded_BM, stop), place <= number_B1
