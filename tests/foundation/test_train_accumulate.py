"""Gradient accumulation: several batches, of any sizes, make the step that one large batch would make."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from foundation.batch import TokenBatch, Tokens
from foundation.checkpoint import Checkpoints
from foundation.errors import ConfigError
from foundation.step import start
from foundation.train import Interrupted, TrainConfig, fit

CONFIG = TrainConfig(steps=4, learning_rate=1e-2, log_every=1, checkpoint_every=100, ema=0.5, accumulate=3)
SIZES = (4, 6, 4)  # examples in the batches of a step


class Line(nnx.Module):
    """A mean over examples, weighted; its randomness comes from the key only if `noise` is not zero."""

    def __init__(self, noise: float):
        self.map, self.noise = nnx.Linear(3, 1, rngs=nnx.Rngs(0)), noise

    def loss(self, batch, key):
        x = batch.globals + self.noise * jax.random.normal(key, batch.globals.shape)
        error = (self.map(jnp.tanh(x))[:, 0] - batch.labels["y"]) ** 2
        loss = jnp.sum(error * batch.weights) / jnp.sum(batch.weights)
        return loss, {"loss/error": loss}


class Stream:
    """Batches of changing size, or with `whole` those of a step together. At batch `kill` a signal arrives."""

    def __init__(self, whole: bool = False, kill: int | None = None):
        self.step, self.whole, self.kill = 0, whole, kill

    def __next__(self):
        count = len(SIZES) if self.whole else 1
        parts = [self.part(self.step + number) for number in range(count)]
        self.step += count
        if self.step == self.kill:
            os.kill(os.getpid(), signal.SIGTERM)
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)

    def part(self, number):
        rng, size = np.random.default_rng(number), SIZES[number % len(SIZES)]
        x, weights = rng.normal(size=(size, 3)).astype(np.float32), rng.uniform(0, 2, size).astype(np.float32)
        tokens = Tokens(np.zeros((size, 1, 1), np.float32), np.ones((size, 1), bool))
        return TokenBatch({"p": tokens}, x, {"y": x.sum(axis=1)}, weights, np.arange(size, dtype=np.int32))

    def state(self):
        return {"step": self.step}

    def restore(self, state):
        self.step = state["step"]


def trained(run: Path, stream: Stream, config: TrainConfig = CONFIG, noise: float = 0.0, resume: bool = False):
    """All variables, and the lines of the metrics."""
    run.mkdir(exist_ok=True)
    model = Line(noise)
    fit(model, stream, config, run, resume=resume)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model))], lines


def test_equals_the_large_batch(tmp_path: Path) -> None:
    parts, seen = trained(tmp_path / "parts", stream := Stream())
    whole, wanted = trained(tmp_path / "whole", Stream(whole=True), dataclasses.replace(CONFIG, accumulate=1))
    assert stream.step == len(SIZES) * CONFIG.steps
    for a, b in zip(parts, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    for a, b in zip(seen, wanted, strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_batches_of_a_step_have_noise_of_their_own_and_a_resumed_run_the_same(tmp_path: Path) -> None:
    whole, lines = trained(tmp_path / "whole", Stream(), noise=0.5)
    with pytest.raises(Interrupted, match="step 2"):
        trained(tmp_path / "parts", Stream(kill=5), noise=0.5)
    with Checkpoints(tmp_path / "parts") as checkpoints:
        _, position = checkpoints.restore(start(Line(0.5), CONFIG)[1])
    assert position == {"step": 6}, "the step was finished"
    resumed, again = trained(tmp_path / "parts", Stream(), noise=0.5, resume=True)
    assert again == lines
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(a, b)


def test_less_than_one_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.accumulate.*0"):
        fit(Line(0.0), Stream(), TrainConfig(accumulate=0), tmp_path)
