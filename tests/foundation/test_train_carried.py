"""Variables that a loss changes: carried from step to step, into checkpoints and out of them, without a gradient."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from foundation.batch import TokenBatch
from foundation.errors import ConfigError
from foundation.step import Carried
from foundation.train import TrainConfig, fit

CONFIG = TrainConfig(steps=6, learning_rate=1e-2, log_every=1, checkpoint_every=2)


class Walker(nnx.Module):
    """Counts its steps and walks at random; the loss depends on where it is."""

    def __init__(self):
        self.map = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
        self.steps, self.place = Carried(jnp.zeros((), jnp.int32)), Carried(jnp.zeros(2))

    def loss(self, batch, key):
        self.steps[...] = self.steps[...] + 1
        self.place[...] = self.place[...] + jax.random.normal(key, (2,)) * (1 + self.map.kernel[...][0, 0])
        return jnp.square(self.map(batch.globals + self.place[...]) - 1).mean(), {"place": self.place[...][0]}


class Stream:
    """At batch `ends` the machine fails."""

    def __init__(self, ends: int = 100):
        self.step, self.ends = 0, ends

    def __next__(self):
        if self.step == self.ends:
            raise OSError("the machine fails")
        self.step += 1
        x = np.random.default_rng(self.step).normal(size=(4, 2)).astype(np.float32)
        return TokenBatch({}, x, {}, np.ones(4, np.float32), np.arange(4, dtype=np.int32))

    def state(self):
        return {"step": self.step}

    def restore(self, state):
        self.step = state["step"]


def test_what_is_carried_goes_on_from_step_to_step(tmp_path: Path) -> None:
    model = Walker()
    fit(model, Stream(), CONFIG, tmp_path)
    assert int(model.steps[...]) == CONFIG.steps
    assert np.all(model.place[...] != 0)


def test_a_resumed_run_carries_the_same(tmp_path: Path) -> None:
    straight, broken, resumed = Walker(), Walker(), Walker()
    fit(straight, Stream(), CONFIG, tmp_path / "a")
    with pytest.raises(OSError, match="machine"):
        fit(broken, Stream(5), CONFIG, tmp_path / "b")
    fit(resumed, Stream(), CONFIG, tmp_path / "b", resume=True)
    for one, other in zip(jax.tree.leaves(nnx.state(straight)), jax.tree.leaves(nnx.state(resumed))):
        np.testing.assert_array_equal(one, other)


def test_batches_that_are_accumulated_cannot_carry(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="accumulate"):
        fit(Walker(), Stream(), TrainConfig(steps=1, accumulate=2), tmp_path)
