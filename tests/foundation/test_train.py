"""The training loop: exact resume, freezing, NaN stop, interruption."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from foundation.batch import TokenBatch, Tokens
from foundation.checkpoint import Checkpoints, load_model, save_model
from foundation.errors import ConfigError, TrainingError
from foundation.train import STOPPING, Interrupted, LearningRate, TrainConfig, fit, schedule, start, train_step

CONFIG = TrainConfig(steps=12, learning_rate=1e-2, log_every=1, checkpoint_every=5)


class Toy(nnx.Module):
    """Two linear maps with noise from the step's key, so that a resume with wrong keys would show."""

    def __init__(self, seed: int = 0):
        rngs = nnx.Rngs(seed)
        self.trunk, self.head = nnx.Linear(3, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)

    def loss(self, batch, key):
        x = batch.modalities["p"].values.mean(axis=1) + 0.1 * jax.random.normal(key, (batch.size, 3))
        error = jnp.mean((self.head(jnp.tanh(self.trunk(x)))[:, 0] - batch.labels["y"]) ** 2)
        return error, {"loss/mse": error}


class Stream:
    """Batch k is a function of k; from step `poison` on, its labels are not finite; at `kill` a signal arrives.

    All but Ctrl-C arrive twice, as from a batch system.
    """

    def __init__(self, poison: int | None = None, kill: int | None = None, number: int = signal.SIGTERM):
        self.step, self.poison, self.kill, self.number = 0, poison, kill, number

    def __next__(self):
        rng = np.random.default_rng(self.step)
        self.step += 1
        if self.step == self.kill:
            for _ in range(1 if self.number == signal.SIGINT else 2):
                os.kill(os.getpid(), self.number)
        x = rng.normal(size=(16, 4, 3)).astype(np.float32)
        y = x.sum(axis=(1, 2)) if self.step != self.poison else np.full(16, np.nan, np.float32)
        tokens = Tokens(x, np.ones((16, 4), bool))
        return TokenBatch(
            {"p": tokens}, np.zeros((16, 0), np.float32), {"y": y}, np.ones(16, np.float32), np.arange(16)
        )

    def state(self):
        return {"step": self.step}

    def restore(self, state):
        self.step = state["step"]


def leaves(model):
    return [np.asarray(x) for x in jax.tree.leaves(nnx.state(model))]


def trained(tmp_path, name, stream=None, config=CONFIG, **options):
    (tmp_path / name).mkdir(exist_ok=True)
    model = Toy()
    fit(model, stream or Stream(), config, tmp_path / name, **options)
    return model


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_interrupted_and_resumed_ends_in_equal_parameters(tmp_path, number):
    whole = trained(tmp_path, "whole")
    with pytest.raises(Interrupted, match="--resume") as stopped:
        trained(tmp_path, "parts", Stream(kill=7, number=number))
    assert stopped.value.number == number
    resumed = trained(tmp_path, "parts", Stream(), resume=True)
    for a, b in zip(leaves(whole), leaves(resumed)):
        np.testing.assert_array_equal(a, b)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts/metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 13))


def test_a_line_cut_short_by_a_kill_does_not_stop_a_resume(tmp_path):
    with pytest.raises(Interrupted):
        trained(tmp_path, "parts", Stream(kill=7))
    path = tmp_path / "parts/metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"step": 8, "lo')
    trained(tmp_path, "parts", Stream(), resume=True)
    text = path.read_text()
    assert text.startswith(whole)
    assert [json.loads(line)["step"] for line in text.splitlines()] == list(range(1, 13))


def test_signal_handlers_are_put_back(tmp_path):
    before = [signal.getsignal(number) for number in STOPPING]
    trained(tmp_path, "run")
    assert [signal.getsignal(number) for number in STOPPING] == before


def test_nan_names_step_and_term_and_keeps_the_checkpoint_before(tmp_path):
    with pytest.raises(TrainingError, match=r"step 8: .*loss/mse") as error:
        trained(tmp_path, "run", Stream(poison=8))
    assert "not finite" in str(error.value)
    with Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.latest == 5


def test_the_loss_falls(tmp_path):
    trained(tmp_path, "run", config=TrainConfig(steps=200, learning_rate=3e-2, log_every=20))
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.5 * losses[0]


def test_factor_zero_freezes_and_only_that(tmp_path):
    config = TrainConfig(steps=3, learning_rate=1e-2, learning_rates=(LearningRate("^trunk/", 0.0),))
    model, start = trained(tmp_path, "run", config=config), Toy()
    np.testing.assert_array_equal(model.trunk.kernel[...], start.trunk.kernel[...])
    assert not np.array_equal(model.head.kernel[...], start.head.kernel[...])


def test_factor_scales_the_first_update(tmp_path):
    moved = {}
    for factor in (1.0, 0.5):
        config = TrainConfig(steps=2, weight_decay=0.0, learning_rates=(LearningRate("trunk", factor),))
        moved[factor] = np.asarray(
            trained(tmp_path, str(factor), config=config).trunk.kernel[...] - Toy().trunk.kernel[...]
        )
    np.testing.assert_allclose(moved[0.5], 0.5 * moved[1.0], rtol=1e-3, atol=1e-7)


def test_the_finished_model_is_the_moving_average(tmp_path):
    config = dataclasses.replace(CONFIG, steps=4, ema=0.3)
    (tmp_path / "run").mkdir()
    fit(model := Toy(), Stream(), config, tmp_path / "run")
    graph, state = start(Toy(), config)
    stream, average = Stream(), jax.device_get(state.params)
    for step in range(1, 5):
        state, _ = train_step(state, next(stream), jnp.uint32(0), graph=graph, config=config)
        decay = min(0.3, step / (9 + step))
        average = jax.tree.map(lambda old, new, d=decay: d * old + (1 - d) * np.asarray(new), average, state.params)
    for found, wanted, raw in zip(*map(jax.tree.leaves, (nnx.state(model, nnx.Param), average, state.params))):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
        assert not np.allclose(found, raw, rtol=1e-5)


class Student(Toy):
    """Follows its teacher: the only gradient there is."""

    wants_teacher = True

    def loss(self, batch, key, teacher):
        x = batch.modalities["p"].values.mean(axis=1)
        error = jnp.mean((self.head(self.trunk(x)) - teacher.head(teacher.trunk(x)) - 1) ** 2)
        return error, {"teacher": jnp.sum(teacher.head.bias[...]), "student": jnp.sum(self.head.bias[...])}


def test_the_teacher_is_the_moving_average(tmp_path):
    config = TrainConfig(steps=30, learning_rate=1e-2, log_every=1, ema=0.9)
    (tmp_path / "run").mkdir()
    fit(Student(), Stream(), config, tmp_path / "run")
    seen = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert seen[0]["teacher"] == seen[0]["student"]
    for before, after in itertools.pairwise(seen):
        decay = min(0.9, before["step"] / (9 + before["step"]))
        expected = decay * before["teacher"] + (1 - decay) * after["student"]
        assert after["teacher"] == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert seen[-1]["student"] > seen[-1]["teacher"] > 0


@pytest.mark.parametrize(("decay", "message"), [(0.0, "train.ema"), (1.0, "less than 1")])
def test_a_teacher_needs_a_decay(tmp_path, decay, message):
    with pytest.raises(ConfigError, match=message):
        fit(Student(), Stream(), TrainConfig(ema=decay), tmp_path)


def test_schedule_warms_up_and_decays():
    rate = schedule(TrainConfig(steps=100, learning_rate=1.0, warmup=0.1, final=0.01))
    assert float(rate(0)) == 0.0
    assert float(rate(10)) == pytest.approx(1.0)
    assert float(rate(100)) == pytest.approx(0.01)


def test_a_model_saved_is_the_model_loaded(tmp_path):
    model, other = Toy(0), Toy(1)
    save_model(tmp_path, model)
    load_model(tmp_path, other)
    for a, b in zip(leaves(model), leaves(other)):
        np.testing.assert_array_equal(a, b)


def test_a_model_of_another_shape_is_refused(tmp_path):
    save_model(tmp_path, Toy())
    other = Toy()
    other.head = nnx.Linear(8, 2, rngs=nnx.Rngs(0))
    with pytest.raises(TrainingError, match="does not fit"):
        load_model(tmp_path, other)


def test_no_model_is_named(tmp_path):
    with pytest.raises(TrainingError, match="--resume"):
        load_model(tmp_path, Toy())
