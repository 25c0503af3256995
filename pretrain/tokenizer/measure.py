"""How good codes are: their use, and what a round trip through them costs.

Axes: C codes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from foundation.batch import TokenBatch, Tokens
from foundation.errors import DataError
from foundation.metrics import regression
from foundation.store import Store
from pretrain.tokenizer.observables import observables
from pretrain.tokenizer.tokenizer import NONE, Tokenizer

TOGETHER = 500  # examples read at once


def sample_batches(store: Store, split: str, rows: int, seed: int) -> list[TokenBatch]:
    """At most `rows` examples of a split, drawn at random, in batches of one shape."""
    drawn = np.sort(np.random.default_rng(seed).permutation(store.length(split))[:rows])
    lengths = {n: max(1, int(store.tokens_lengths(split, n).max(initial=1))) for n in store.schema.modalities}
    size = min(TOGETHER, max(len(drawn), 1))
    padded = np.full(-(-len(drawn) // size) * size, -1)
    padded[: len(drawn)] = drawn
    return [store.read(split, part, lengths) for part in padded.reshape(-1, size)]


@partial(jax.jit, static_argnames=("graph",))
def round_trip(state: Any, batch: TokenBatch, *, graph: Any) -> tuple[dict[str, Any], TokenBatch, dict, dict]:
    """Codes of a batch, the batch made of them again, and the observables before and after."""
    tokenizer = nnx.merge(graph, state)
    codes = tokenizer.encode(batch)
    values = tokenizer.decode(codes, batch.globals)
    modalities = {n: Tokens(values[n], jnp.asarray(batch.modalities[n].mask)) for n in tokenizer.names}
    again = TokenBatch(modalities, batch.globals, batch.labels, batch.weights, batch.index)
    return codes, again, observables(batch, tokenizer.schema), observables(again, tokenizer.schema)


def measure(tokenizer: Tokenizer, batches: list[TokenBatch]) -> dict[str, Any]:
    """Of a sample: per modality the use of the codes, errors per feature and the jets' response.

    Returns:
        modality -> `codes`; `used`, their share that occurs; `perplexity`, exp of the entropy of their frequencies;
        `error`: feature -> median of |after - before| in its unit; `share_exact` of discrete features; and
        `response`: `pt` and `mass` of the vector sum, after over before (see `foundation.metrics.regression`).
    """
    graph, state = nnx.split(tokenizer)
    found = [(batch, jax.device_get(round_trip(state, batch, graph=graph))) for batch in batches]
    result = {}
    for name in tokenizer.names:
        codes = np.concatenate([trip[0][name].ravel() for _, trip in found])
        count = np.bincount(codes[codes != NONE], minlength=tokenizer.codes[name])
        if not count.sum():
            raise DataError(f"the sample has no token of modality '{name}'; there is nothing to measure its codes on")
        share = count / count.sum()
        entropy = -np.sum(share[share > 0] * np.log(share[share > 0]))
        before, after = (
            np.concatenate([np.asarray(b.modalities[name].values)[np.asarray(b.modalities[name].mask)] for b in side])
            for side in ([batch for batch, _ in found], [trip[1] for _, trip in found])
        )
        discrete = np.isfinite(np.asarray(tokenizer.parts[name].features.levels[...])[:, 0])
        names = list(tokenizer.schema.modalities[name].features)
        result[name] = {
            "codes": tokenizer.codes[name],
            "used": float(np.mean(count > 0)),
            "perplexity": float(np.exp(entropy)),
            "error": {n: float(np.median(np.abs(after[:, i] - before[:, i]))) for i, n in enumerate(names)},
            "share_exact": {n: float(np.mean(after[:, i] == before[:, i])) for i, n in enumerate(names) if discrete[i]},
            "response": _response(name, found),
        }
    return result


def _response(name: str, found: list[Any]) -> dict[str, Any]:
    """Of the observables that are not counts."""
    result = {}
    for key in found[0][1][2]:
        if key.startswith(f"{name}/") and not key.endswith("multiplicity"):
            true, again = (np.concatenate([trip[side][key] for _, trip in found]) for side in (2, 3))
            enough = true > 1e-3  # a single massless token has no mass to speak of
            if enough.any():
                result[key.removeprefix(f"{name}/")] = regression(true[enough], again[enough])
    return result
