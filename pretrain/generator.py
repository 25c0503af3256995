"""A generator: the encoder and the next-token head of a pretraining, with sampling.

Axes: B examples, N tokens of a modality, G globals, S symbols (codes and stop), D width.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from foundation.batch import TokenBatch, Tokens
from foundation.checkpoint import load_model, save_model
from foundation.distributed import is_primary
from foundation.errors import RunError
from foundation.models import Encoder
from foundation.models.saved import blank_encoder
from foundation.runs import Run
from pretrain.config import PretrainConfig
from pretrain.objectives import NextToken
from pretrain.tokenizer import NONE

FOLDER = "generator"
BLOCK = 16  # positions sampled with one padded length: longer ones compile less, shorter ones compute less


class Generator(nnx.Module):
    """Encoder and next-token head of one pretraining."""

    def __init__(self, encoder: Encoder, next_token: NextToken):
        self.encoder, self.next_token = encoder, next_token


def tokenizers(config: PretrainConfig) -> dict[str, str]:
    """Role -> run of the tokenizers that a pretraining uses."""
    used: dict[str, Any] = {"masked_tokenizer": config.masked, "next_token_tokenizer": config.next_token}
    return {role: settings.tokenizer for role, settings in used.items() if settings.weight > 0 and settings.tokenizer}


def save_generator(folder: Path, encoder: Encoder, head: Any, config: PretrainConfig) -> None:
    """Writes encoder, head and a copy of the tokenizer to `folder/generator`, if the head is a `NextToken`.

    Every process calls it; the first copies the tokenizer.
    """
    if not isinstance(head, NextToken):
        return
    if is_primary():
        kept = folder / FOLDER / "tokenizer"
        shutil.copytree(
            config.next_token.tokenizer, kept, ignore=shutil.ignore_patterns("checkpoints"), dirs_exist_ok=True
        )
    save_model(folder / FOLDER, Generator(encoder, head))


def load_generator(run: Run) -> Generator:
    """Raises RunError: the run was not trained with `next_token`, or did not finish."""
    config = run.config(PretrainConfig)
    if config.next_token.weight <= 0:
        raise RunError(f"{run.path} was trained without next_token; `--cfg pretrain/next_token` makes one that was")
    if not (run.path / FOLDER / "model").is_dir():
        raise RunError(f"{run.path} holds no finished generator; continue its training with --resume")
    settings = replace(config.next_token, tokenizer=str(run.path / FOLDER / "tokenizer"))
    encoder = blank_encoder(run.schema, config.encoder)
    model = Generator(encoder, NextToken(run.schema, config.encoder, settings, rngs=nnx.Rngs(0)))
    load_model(run.path / FOLDER, model)
    return model


def generate(
    model: Generator,
    globals_BG: Float[np.ndarray, "B G"],
    seed: int,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    longest: dict[str, int] | None = None,
) -> TokenBatch:
    """Samples an example for each row of globals, token by token, modality by modality.

    The padded length grows in blocks, so early tokens cost little, and ends when every example has stopped.

    Args:
        temperature: the logits are divided by it; 0 takes the likeliest symbol.
        top_k: only so many likeliest symbols are drawn from; 0: all.
        longest: modality -> most tokens; default: the schema's `max_tokens`.
    """
    graph, state = nnx.split(model)
    modalities = model.next_token.tokenizer.schema.modalities
    codes = {name: jnp.full((len(globals_BG), 1), NONE, jnp.int32) for name in modalities}
    for number, (name, modality) in enumerate(modalities.items()):
        most = (longest or {}).get(name, modality.capacity)
        alive_B = jnp.ones(len(globals_BG), bool)
        for start in range(0, most, BLOCK):
            end = min(start + BLOCK, most)
            missing = end - codes[name].shape[1]
            codes[name] = jnp.pad(codes[name], ((0, 0), (0, missing)), constant_values=NONE)
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), number), start)
            codes, alive_B = _block(
                state, codes, alive_B, jnp.asarray(globals_BG), key, temperature,
                graph=graph, name=name, start=start, top_k=top_k,
            )  # fmt: skip
            if not bool(alive_B.any()):
                break
    return _decoded(state, codes, jnp.asarray(globals_BG), graph=graph)


@partial(jax.jit, static_argnames=("graph", "name", "start", "top_k"))
def _block(
    state: Any,
    codes: dict[str, Int[Array, "B _"]],
    alive_B: Array,
    globals_BG: Float[Array, "B G"],
    key: Array,
    temperature: Any,
    *,
    graph: Any,
    name: str,
    start: int,
    top_k: int,
) -> tuple[dict[str, Int[Array, "B _"]], Array]:
    """Samples the positions from `start` to the end of the array of a modality."""
    model: Generator = nnx.merge(graph, state)
    head, stop = model.next_token, model.next_token.tokenizer.codes[name]

    def one(place: Array, carry: tuple[dict[str, Array], Array]) -> tuple[dict[str, Array], Array]:
        codes, alive_B = carry
        encoded = model.encoder(head.seen(codes, _batch(globals_BG)), causal=True)
        before_BD = jax.lax.dynamic_index_in_dim(head.before(encoded, codes, name), place, axis=1, keepdims=False)
        symbols_B = draw(head.out[name](before_BD), jax.random.fold_in(key, place), temperature, top_k)
        alive_B = alive_B & (symbols_B != stop)
        drawn_B = jnp.where(alive_B, symbols_B, NONE)
        return codes | {name: codes[name].at[:, place].set(drawn_B)}, alive_B

    return jax.lax.fori_loop(start, codes[name].shape[1], one, (codes, alive_B))


def draw(logits_BS: Float[Array, "B S"], key: Array, temperature: Any, top_k: int) -> Int[Array, " B"]:
    """A symbol of each row, of the `top_k` likeliest ones (0: all), at a temperature (0: the likeliest)."""
    if 0 < top_k < logits_BS.shape[1]:
        least_B1 = jax.lax.top_k(logits_BS, top_k)[0][:, -1:]
        logits_BS = jnp.where(logits_BS < least_B1, -jnp.inf, logits_BS)
    drawn_B = jax.random.categorical(key, logits_BS / jnp.maximum(temperature, 1e-6))
    return jnp.where(temperature > 0, drawn_B, jnp.argmax(logits_BS, axis=-1)).astype(jnp.int32)


@partial(jax.jit, static_argnames=("graph",))
def _decoded(
    state: Any, codes: dict[str, Int[Array, "B _"]], globals_BG: Float[Array, "B G"], *, graph: Any
) -> TokenBatch:
    values = nnx.merge(graph, state).next_token.tokenizer.decode(codes, globals_BG)
    modalities = {name: Tokens(values[name], codes[name] != NONE) for name in codes}
    return _batch(globals_BG, modalities)


def _batch(globals_BG: Float[Array, "B G"], modalities: dict[str, Tokens] | None = None) -> TokenBatch:
    size = globals_BG.shape[0]
    return TokenBatch(modalities or {}, globals_BG, {}, jnp.ones(size), jnp.arange(size, dtype=jnp.int32))
