"""A small model and its batches; run as a script with eight simulated devices, it trains on several meshes.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python sharded.py FOLDER

For each mesh it leaves a run in FOLDER and, in FOLDER/bytes.json, what the training state takes on each device.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from foundation.batch import TokenBatch, Tokens
from foundation.mesh import Layout, MeshConfig
from foundation.step import next_step, start
from foundation.train import TrainConfig, fit

CONFIG = TrainConfig(steps=4, learning_rate=1e-2, log_every=1, checkpoint_every=2, ema=0.9)
MESHES = {"data": MeshConfig(), "fsdp": MeshConfig(data=1, fsdp=-1), "both": MeshConfig(data=-1, fsdp=4)}
ROWS = 12  # which eight devices cannot share: some are filled up


class Dense(nnx.Module):
    """Two layers, with noise from the step's key and examples weighted."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.up, self.down = nnx.Linear(16, 256, rngs=rngs), nnx.Linear(256, 16, rngs=rngs)

    def loss(self, batch, key):
        x = batch.modalities["p"].values.mean(axis=1)
        x = x + 0.1 * jax.random.normal(key, x.shape)
        error = jnp.mean((self.down(jnp.tanh(self.up(x))) - batch.globals) ** 2, axis=1)
        return jnp.sum(error * batch.weights) / jnp.sum(batch.weights), {}


class Stream:
    """Batch k is a function of k."""

    def __init__(self, step: int = 0):
        self.step = step

    def __next__(self):
        rng = np.random.default_rng(self.step)
        self.step += 1
        x = rng.normal(size=(ROWS, 4, 16)).astype(np.float32)
        index, weights = np.arange(ROWS, dtype=np.int32), rng.uniform(0.5, 2, ROWS).astype(np.float32)
        return TokenBatch({"p": Tokens(x, np.ones((ROWS, 4), bool))}, x.sum(axis=1), {}, weights, index)

    def state(self):
        return {"step": self.step}

    def restore(self, state):
        self.step = state["step"]


def bytes_on_each_device(tree) -> list[int]:
    total = dict.fromkeys(jax.devices(), 0)
    for leaf in jax.tree.leaves(tree):
        for shard in leaf.addressable_shards:
            total[shard.device] += shard.data.nbytes
    return list(total.values())


def train(folder: Path, mesh: MeshConfig, resume: bool = False) -> None:
    folder.mkdir(exist_ok=True)
    fit(Dense(), Stream(), dataclasses.replace(CONFIG, mesh=mesh), folder, resume=resume)


def state_bytes(mesh: MeshConfig) -> dict[str, list[int]]:
    """Of the training state at the start, and after a step."""
    config = dataclasses.replace(CONFIG, mesh=mesh)
    layout = Layout.of(mesh)
    graph, state = start(Dense(), config, layout)
    found = {"before": bytes_on_each_device(state)}
    state, _ = next_step(state, Stream(), np.uint32(0), graph=graph, config=config, layout=layout)
    return found | {"after": bytes_on_each_device(state)}


def main(folder: Path) -> None:
    assert len(jax.devices()) == 8
    for name, mesh in MESHES.items():
        train(folder / name, mesh)
    train(folder / "one-then-eight", MESHES["both"], resume=True)
    (folder / "bytes.json").write_text(json.dumps({name: state_bytes(mesh) for name, mesh in MESHES.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
