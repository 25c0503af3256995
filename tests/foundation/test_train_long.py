"""What long runs rest on: memory that does not grow, and masters in full precision."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from foundation.batch import TokenBatch, Tokens
from foundation.checkpoint import Checkpoints
from foundation.command import find_preset
from foundation.models import EncoderConfig
from foundation.models.saved import blank_encoder
from foundation.schema import DetectorSchema
from foundation.step import start
from foundation.train import TrainConfig, fit

MB = 2**20
SCHEMA = DetectorSchema.load(find_preset("data/jets"))


def resident() -> int:
    """Bytes of this process in memory."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return 1024 * int(line.split()[1])


class Wide(nnx.Module):
    """A training state of 3 MB, so that one copy kept per checkpoint, let alone per step, would be seen."""

    def __init__(self):
        self.map = nnx.Linear(len(SCHEMA.globals), 131072, use_bias=False, rngs=nnx.Rngs(0))

    def loss(self, batch, key):
        return jnp.mean((self.map(batch.globals) - 1) ** 2), {}


class Stream:
    """Random jets whose label is the logarithm of their number of constituents; notes the memory in use."""

    def __init__(self, rows: int, tokens: int):
        self.step, self.rows, self.tokens, self.memory = 0, rows, tokens, list[int]()

    def __next__(self):
        self.memory.append(resident())
        rng = np.random.default_rng(self.step)
        self.step += 1
        count = rng.integers(1, self.tokens + 1, self.rows)
        mask = np.arange(self.tokens) < count[:, None]
        (name, modality), around = (
            next(iter(SCHEMA.modalities.items())),
            rng.normal(size=(self.rows, len(SCHEMA.globals))),
        )
        values = rng.uniform(0.1, 1, (self.rows, self.tokens, len(modality.features))) * mask[..., None]
        labels = {"y": np.log(count).astype(np.float32)}
        weights, index = np.ones(self.rows, np.float32), np.arange(self.rows, dtype=np.int32)
        tokens = Tokens(values.astype(np.float32), mask)
        return TokenBatch({name: tokens}, around.astype(np.float32), labels, weights, index)

    def state(self):
        return {"step": self.step}

    def restore(self, state):
        self.step = state["step"]


@pytest.mark.slow
def test_memory_is_flat_over_two_thousand_steps_with_checkpoints(tmp_path: Path) -> None:
    fit(Wide(), stream := Stream(2, 1), TrainConfig(steps=2000, checkpoint_every=50), tmp_path)
    settled = np.asarray(stream.memory[400:])
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0]
    assert len(settled) == 1600
    assert slope * 2000 < 20 * MB, f"{slope:.0f} bytes per step"


class Jets(nnx.Module):
    """An encoder in bfloat16 that counts constituents."""

    def __init__(self):
        config = EncoderConfig(width=16, layers=1, heads=2, hidden=2, precision="bfloat16")
        self.encoder, self.out = blank_encoder(SCHEMA, config), nnx.Linear(16, 1, rngs=nnx.Rngs(1))

    def loss(self, batch, key):
        found = self.out(self.encoder(batch).pooled)[:, 0]
        return jnp.mean((found - batch.labels["y"]) ** 2), {}


@pytest.mark.slow
def test_bfloat16_learns_and_keeps_all_it_sums_up_in_float32(tmp_path: Path) -> None:
    config = TrainConfig(steps=150, learning_rate=1e-2, log_every=15, ema=0.9, accumulate=2)
    fit(Jets(), Stream(32, 8), config, tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.3 * losses[0]
    with Checkpoints(tmp_path) as checkpoints:
        state, _ = checkpoints.restore(start(Jets(), config)[1])
    found = jax.tree.leaves((state.params, state.ema, state.optimizer))
    assert {leaf.dtype for leaf in found if jnp.issubdtype(leaf.dtype, jnp.floating)} == {jnp.dtype("float32")}
    kernel = state.params["encoder"]["blocks"][0]["attention"]["qkv"]["kernel"][...]
    assert not np.array_equal(kernel, kernel.astype(jnp.bfloat16)), "no more than eight bits of each number are used"
