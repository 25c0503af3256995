"""Which tokens the encoder does not get to see. Axes: B batch, N tokens of a modality."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from foundation.batch import TokenBatch, Tokens


def hide_tokens(batch: TokenBatch, fraction: float, key: Array) -> tuple[TokenBatch, dict[str, Bool[Array, "B N"]]]:
    """Hides each real token with probability `fraction`, except one that is alone in its modality.

    Returns:
        The batch without the hidden tokens, and which those are.
    """
    visible, hidden = {}, {}
    for i, name in enumerate(sorted(batch.modalities)):  # jit sorts the keys of a dict; eager must draw the same
        tokens = batch.modalities[name]
        drawn = jax.random.bernoulli(jax.random.fold_in(key, i), fraction, tokens.mask.shape)
        alone = jnp.sum(tokens.mask, axis=1, keepdims=True) < 2
        hidden[name] = tokens.mask & drawn & ~alone
        visible[name] = Tokens(tokens.values, tokens.mask & ~hidden[name])
    return TokenBatch(visible, batch.globals, batch.labels, batch.weights, batch.index), hidden


def nothing_hidden(batch: TokenBatch) -> dict[str, Bool[Array, "B N"]]:
    return {name: jnp.zeros(tokens.mask.shape, bool) for name, tokens in batch.modalities.items()}
