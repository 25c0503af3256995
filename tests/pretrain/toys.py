"""Two modalities of one number each, with rules between them that a model can learn in a few steps."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from foundation.batch import TokenBatch, Tokens
from foundation.checkpoint import save_model
from foundation.runs import Run
from foundation.schema import DetectorSchema
from pretrain.augment import AugmentConfig, Dropout
from pretrain.tokenizer import Tokenizer, TokenizerConfig

STILL = AugmentConfig(dropout=Dropout(probability=0.0))  # all else that is on needs coordinates
CALO, MUONS = 4, 2  # most tokens


def toy_schema(**changed) -> DetectorSchema:
    tokens = {"features": {"x": {"expression": "x"}}}
    toy = {
        "name": "toy",
        "modalities": {"calo": tokens | {"max_tokens": CALO}, "muons": tokens | {"max_tokens": MUONS}},
        "globals": {"number": {"expression": "number"}},
    }
    return DetectorSchema.load(toy | changed)


def toy_statistics():
    return {name: (np.zeros(1, np.float32), np.ones(1, np.float32)) for name in ("calo", "muons", "globals")}


def toy_batch(calo, muons, number=None) -> TokenBatch:
    """From values [B, N], NaN where there is no token."""
    size = len(calo)
    modalities = {
        name: Tokens(jnp.asarray(np.nan_to_num(x)[..., None], jnp.float32), jnp.asarray(~np.isnan(x)))
        for name, x in (("calo", calo), ("muons", muons))
    }
    number = np.zeros(size) if number is None else number
    return TokenBatch(
        modalities, jnp.asarray(number[:, None], jnp.float32), {}, jnp.ones(size), jnp.arange(size, dtype=jnp.int32)
    )


def toy_tokenizer(folder: Path, codes: int = 3) -> Path:
    """A run of `detfm tokenize` whose code k is the value k."""
    config = TokenizerConfig(codes=codes)
    tokenizer = Tokenizer(toy_schema(), toy_statistics(), config, rngs=nnx.Rngs(0))
    for part in tokenizer.parts.values():
        part.quantizer.centres[...] = part.typical[...] = jnp.arange(codes, dtype=jnp.float32)[:, None]
    run = Run.create(folder / "tokenizer", "tokenize", config=config, schema=toy_schema())
    save_model(run.path, tokenizer)
    run.write("metrics.json", {})
    return run.path


def train(model, batches, steps: int, rate: float = 1e-2):
    """Plain Adam on `model.loss`; returns the trained model and the loss of each step."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    optimizer = optax.adam(rate)

    @jax.jit
    def step(params, state, batch, key):
        loss, grads = jax.value_and_grad(lambda p: nnx.merge(graph, p, rest).loss(batch, key)[0])(params)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, loss

    state, losses = optimizer.init(params), []
    for i in range(steps):
        params, state, loss = step(params, state, batches(i), jax.random.key(i))
        losses.append(float(loss))
    return nnx.merge(graph, params, rest), losses
