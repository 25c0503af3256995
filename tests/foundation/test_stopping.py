"""Early stopping and parameters that join later, in the training loop."""

from __future__ import annotations

import dataclasses
import json
import math

import jax
import numpy as np
import pytest
from flax import nnx
from test_train import Stream, Toy, leaves

from foundation.errors import ConfigError
from foundation.stopping import StopConfig
from foundation.train import Interrupted, LearningRate, TrainConfig, check, fit

CONFIG = TrainConfig(steps=20, learning_rate=1e-2, log_every=5, checkpoint_every=4)
STOP = StopConfig(metric="loss", every=2, patience=3)
BEST = 8  # the step after which the figure only gets worse


class Judge:
    """A figure that is best at one step, of which it keeps the parameters."""

    def __init__(self, sign=1.0, name="val/loss", after=0):
        self.sign, self.name, self.step, self.best = sign, name, after, None

    def __call__(self, model):
        self.step += 2
        if self.step == BEST:
            self.best = leaves(model)
        return {self.name: self.sign * abs(self.step - BEST)}


def trained(folder, stream=None, judge=None, config=CONFIG, stop=STOP, **options):
    folder.mkdir(exist_ok=True)
    model, judge = Toy(), judge or Judge()
    ended = fit(model, stream or Stream(), config, folder, evaluate=judge, stop=stop, **options)
    return model, ended, judge


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other))


def test_training_stops_after_patience_and_ends_with_the_best(tmp_path):
    model, ended, judge = trained(tmp_path / "run")
    assert (ended.steps, ended.step, ended.value) == (BEST + 2 * STOP.patience, BEST, 0.0)
    assert "no better than at step 8" in ended.reason
    assert same(leaves(model), judge.best)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "val/loss" in row] == list(range(2, 15, 2))


def test_of_an_auc_more_is_better(tmp_path):
    stop = dataclasses.replace(STOP, metric="auc")
    _, ended, _ = trained(tmp_path / "run", judge=Judge(-1.0, "val/auc"), stop=stop)
    assert (ended.step, ended.value) == (BEST, 0.0)


def test_all_steps_are_taken_where_nothing_stops_it(tmp_path):
    stop = dataclasses.replace(STOP, patience=100)
    model, ended, judge = trained(tmp_path / "run", stop=stop)
    assert (ended.steps, ended.step, ended.reason) == (20, BEST, "all steps taken")
    assert same(leaves(model), judge.best)


@pytest.mark.parametrize("kill", [7, 11])
def test_best_and_patience_survive_an_interruption(tmp_path, kill):
    """Killed before the best step, and after it."""
    whole, ended, _ = trained(tmp_path / "whole")
    with pytest.raises(Interrupted):
        trained(tmp_path / "parts", Stream(kill=kill))
    resumed, again, _ = trained(tmp_path / "parts", Stream(), Judge(after=2 * (kill // 2)), resume=True)
    assert again == ended
    assert same(leaves(whole), leaves(resumed))
    finished, last, judge = trained(tmp_path / "parts", Stream(), resume=True)
    assert (last.steps, last.step) == (ended.steps, ended.step)
    assert judge.step == 0  # nothing was trained or measured again
    assert same(leaves(whole), leaves(finished))


def test_the_average_is_what_is_judged_and_kept(tmp_path):
    model, _, judge = trained(tmp_path / "run", config=dataclasses.replace(CONFIG, ema=0.9))
    assert same(leaves(model), judge.best)


def test_a_last_checkpoint_can_be_left_out(tmp_path):
    trained(tmp_path / "run", config=dataclasses.replace(CONFIG, checkpoint_every=1000), keep_last=False)
    assert not list((tmp_path / "run/checkpoints").glob("[0-9]*"))


@pytest.mark.parametrize("setting", ["every", "patience", "rows"])
def test_a_number_that_cannot_be_is_refused(tmp_path, setting):
    with pytest.raises(ConfigError, match=f"stop.{setting}"):
        trained(tmp_path / "run", stop=dataclasses.replace(STOP, **{setting: 0}))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_parameters_join_at_their_step_and_not_before(tmp_path, ema):
    """Bit by bit as they were, and also out of the norm by which gradients are clipped."""
    rates = (LearningRate("^trunk/", 1.0, after=0.5),)
    config = dataclasses.replace(CONFIG, steps=8, learning_rates=rates, ema=ema)
    seen, begun = [], leaves(Toy().trunk)

    def look(model):
        seen.append((leaves(model.trunk), leaves(model.head)))
        return {}

    (tmp_path / "run").mkdir()
    fit(Toy(), Stream(), dataclasses.replace(config, evaluate_every=1), tmp_path / "run", evaluate=look)
    assert [same(trunk, begun) for trunk, _ in seen] == [True] * 4 + [False] * 4
    assert not same(seen[0][1], seen[1][1])
    (tmp_path / "alone").mkdir()
    alone, frozen = Toy(), dataclasses.replace(config, learning_rates=(LearningRate("^trunk/", 0.0),))
    heads = []
    fit(
        alone,
        Stream(),
        dataclasses.replace(frozen, evaluate_every=1),
        tmp_path / "alone",
        evaluate=lambda m: heads.append(leaves(m.head)) or {},
    )
    for (_, head), only in zip(seen[:4], heads):
        for a, b in zip(head, only):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_frozen_parameters_have_no_gradient_and_no_optimiser_state(tmp_path):
    from foundation.step import start

    config = dataclasses.replace(CONFIG, learning_rates=(LearningRate("^trunk/", 0.0),), ema=0.9)
    _, state = start(Toy(), config)
    assert {path[0].key for path, _ in jax.tree_util.tree_leaves_with_path(state.params)} == {"head"}
    assert {path[0].key for path, _ in jax.tree_util.tree_leaves_with_path(state.ema)} == {"head"}
    assert sum(leaf.size for leaf in jax.tree.leaves(state.optimizer)) < 3 * sum(x.size for x in leaves(Toy().head))
    assert sum(x.size for x in jax.tree.leaves(nnx.state(Toy().trunk))) == sum(
        x.size for x in jax.tree.leaves(state.fixed)
    )


@pytest.mark.parametrize("rate", [LearningRate("x", -1.0), LearningRate("x", 1.0, 1.0), LearningRate("x", 1.0, -0.1)])
def test_a_rate_that_cannot_be_is_refused(rate):
    with pytest.raises(ConfigError, match="learning_rates"):
        check(Toy(), dataclasses.replace(CONFIG, learning_rates=(rate,)))


def test_a_figure_that_is_not_a_number_is_never_the_best(tmp_path):
    values = iter([math.nan, 1.0, math.nan, 2.0])
    (tmp_path / "run").mkdir()
    config = dataclasses.replace(CONFIG, steps=8)
    ended = fit(Toy(), Stream(), config, tmp_path / "run", evaluate=lambda m: {"val/loss": next(values)}, stop=STOP)
    assert (ended.step, ended.value) == (4, 1.0)
