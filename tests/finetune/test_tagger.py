"""Tasks, modes and losses of the tagger."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import batch, schema, statistics
from flax import nnx

from finetune.config import FinetuneConfig
from finetune.model import Tagger, outputs
from finetune.task import Task, TaskConfig
from foundation.batch import TokenBatch
from foundation.errors import ConfigError, SchemaError
from foundation.models import Encoder, EncoderConfig

GROUPS = {"b": ["b"], "rest": ["c", "light"]}


def tagger(spec, task=None, **settings):
    config = FinetuneConfig(task=task or TaskConfig(), **settings)
    encoder = Encoder(spec, statistics(spec), EncoderConfig(width=16, layers=1, heads=2), rngs=nnx.Rngs(0))
    return Tagger(encoder, Task.resolve(spec, config.task), config, rngs=nnx.Rngs(1))


def relabelled(b: TokenBatch, **labels) -> TokenBatch:
    return TokenBatch(b.modalities, b.globals, {**b.labels, **labels}, b.weights, b.index)


def test_groups_merge_and_leave_out():
    task = Task.resolve(schema(), TaskConfig(groups={"light": ["light"], "b": ["b"]}))
    assert task.classes == ("light", "b")
    np.testing.assert_array_equal(task.targets(np.array([0, 1, 2, -1])), [1, -1, 0, -1])
    merged = Task.resolve(schema(), TaskConfig(groups=GROUPS))
    np.testing.assert_array_equal(merged.targets(np.array([0, 1, 2, -1])), [0, 1, 1, -1])


def test_without_groups_every_class_present_is_learnt():
    assert Task.resolve(schema(), TaskConfig(), ["b", "light"]).classes == ("b", "light")


@pytest.mark.parametrize(
    ("task", "error", "words"),
    [
        (TaskConfig(label="flavor"), SchemaError, "did you mean 'flavour'"),
        (TaskConfig(label="ratio"), SchemaError, "regression"),
        (TaskConfig(groups={"b": ["b"], "x": ["lihgt"]}), SchemaError, "did you mean 'light'"),
        (TaskConfig(groups={"b": ["b"], "x": ["b"]}), ConfigError, "more than one group"),
        (TaskConfig(groups={"b": ["b"]}), ConfigError, "two classes"),
        (TaskConfig(label="none"), ConfigError, "nothing to learn"),
        (TaskConfig(regression=("flavour",)), SchemaError, "no regression label"),
    ],
)
def test_a_task_that_cannot_be_is_refused(task, error, words):
    with pytest.raises(error, match=words):
        Task.resolve(schema(), task)


def test_unknown_labels_count_nothing():
    spec = schema()
    model, b = tagger(spec), batch(spec)
    half = b.labels["flavour"].at[3:].set(-1)
    small = jax.tree.map(lambda x: x[:3], b)
    model.head.dropout = 0.0
    known = model.loss(relabelled(b, flavour=half), jax.random.key(0))[0]
    assert float(known) == pytest.approx(float(model.loss(small, jax.random.key(0))[0]), rel=1e-4)


def test_unknown_regression_targets_count_nothing_and_spoil_nothing():
    spec = schema()
    model = tagger(spec, TaskConfig(label="none", regression=("ratio",)))
    b = batch(spec)
    ratio = b.labels["ratio"].at[2:].set(jnp.nan)
    gradients = nnx.grad(lambda m: m.loss(relabelled(b, ratio=ratio), jax.random.key(0))[0])(model)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize(("mode", "moves"), [("linear", False), ("frozen", False), ("full", True)])
def test_only_mode_full_sends_gradients_into_the_encoder(mode, moves):
    spec = schema()
    model, b = tagger(spec, mode=mode), batch(spec)
    gradients = nnx.grad(lambda m: m.loss(b, jax.random.key(0))[0])(model)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradients.encoder))
    assert (largest > 0) == moves
    assert (model.head.hidden is None) == (mode == "linear")


def test_outputs_are_logits_then_regression_in_their_unit():
    spec = schema()
    model, b = tagger(spec, TaskConfig(groups=GROUPS, regression=("ratio",))), batch(spec)
    before = outputs(model, b)
    assert before.shape == (b.size, 3)
    model.target_mean[...] = model.target_mean[...] + 2.0
    after = outputs(model, b)
    np.testing.assert_allclose(after[:, 2], before[:, 2] + 2.0, atol=1e-5)
    np.testing.assert_array_equal(after[:, :2], before[:, :2])


def test_class_weights_weigh():
    spec = schema()
    b = relabelled(batch(spec), flavour=np.array([0, 0, 0, 1, 1, 2], np.int32))
    model = tagger(spec)
    model.head.dropout = 0.0
    model.class_weights[...] = jnp.asarray([1.0, 0.0, 0.0])
    only_b = model.loss(b, jax.random.key(0))[0]
    model.class_weights[...] = jnp.ones(3)
    small = jax.tree.map(lambda x: x[:3], b)
    assert float(only_b) == pytest.approx(float(model.loss(small, jax.random.key(0))[0]), rel=1e-4)
