"""Supervised pretraining: what the labels do, what an unknown one does not, and that the run says so."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import PARTICLES, batch, statistics
from flax import nnx

from foundation.errors import ConfigError
from foundation.models import EncoderConfig
from foundation.schema import DetectorSchema
from pretrain.config import PretrainConfig
from pretrain.model import Pretrainer
from pretrain.objectives import ContrastiveConfig, MaskedConfig, SupervisedConfig
from pretrain.objectives.supervised import class_loss, labels_used, multilabel_loss, regression_loss

SPEC = DetectorSchema.load(
    {
        "name": "labelled",
        "modalities": {"particles": PARTICLES},
        "labels": {
            "flavour": {"classes": {"b": "is_b", "c": "is_c", "light": "is_light"}},
            "tags": {"kind": "multilabel", "classes": {"one": "one", "two": "two"}},
            "ratio": {"kind": "regression", "expression": "ratio"},
            "origin": {"kind": "class", "classes": {"x": "x", "y": "y"}, "modality": "particles"},
        },
    }
)
SCALE = {"label.ratio": (np.float64(1.0), np.float64(0.2))}


def pretrainer(labels, masked=0.0, scale=SCALE):
    config = PretrainConfig(
        encoder=EncoderConfig(width=16, layers=1, heads=2),
        masked=MaskedConfig(weight=masked),
        contrastive=ContrastiveConfig(weight=0),
        supervised=SupervisedConfig(weight=1.0, labels=labels),
    )
    return Pretrainer(SPEC, statistics(SPEC) | scale, config, rngs=nnx.Rngs(0))


def test_classes_by_cross_entropy_where_they_are_known():
    logits = np.random.default_rng(0).normal(size=(4, 3))
    weights, labels = np.array([1.0, 2.0, 1.0, 0.0]), np.array([2, 0, -1, 1])
    each = -np.log(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    found = class_loss(jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(weights))
    assert float(found) == pytest.approx((each[0, 2] + 2 * each[1, 0]) / 3, rel=1e-5)


def test_multilabels_by_binary_cross_entropy_entry_by_entry():
    logits = np.random.default_rng(1).normal(size=(3, 2))
    labels = np.array([[1, 0], [-1, 1], [-1, -1]])
    p = 1 / (1 + np.exp(-logits))
    each = [-np.log(p[0, 0]), -np.log(1 - p[0, 1]), -np.log(p[1, 1])]
    found = multilabel_loss(jnp.asarray(logits), jnp.asarray(labels), jnp.ones(3))
    assert float(found) == pytest.approx(np.mean(each), rel=1e-5)


def test_regression_by_the_huber_loss_where_it_is_known():
    found = regression_loss(jnp.asarray([0.5, 3.0, 1.0]), jnp.asarray([0.0, 0.0, jnp.nan]), jnp.ones(3))
    assert float(found) == pytest.approx((0.5 * 0.5**2 + (3 - 0.5)) / 2)


@pytest.mark.parametrize("unknown", [jnp.float32(jnp.nan), jnp.int32(-1)])
def test_nothing_known_is_nothing_learnt(unknown):
    """Zero loss and finite, zero gradients."""
    labels = jnp.full(3, unknown)
    if labels.dtype == jnp.float32:
        loss, gradient = jax.value_and_grad(lambda x: regression_loss(x, labels, jnp.ones(3)))(jnp.ones(3))
    else:
        loss, gradient = jax.value_and_grad(lambda x: class_loss(x, labels, jnp.ones(3)))(jnp.ones((3, 2)))
    assert float(loss) == 0
    assert not np.any(gradient)


def test_every_task_has_its_weight_and_targets_are_standardised():
    model, data = pretrainer({"flavour": 2.0, "tags": 0.5, "ratio": 0.25}, masked=1.0), labelled()
    total, terms = model.loss(data, jax.random.key(0))
    tasks = 2 * terms["supervised/flavour"] + 0.5 * terms["supervised/tags"] + 0.25 * terms["supervised/ratio"]
    assert float(terms["loss/supervised"]) == pytest.approx(float(tasks), rel=1e-5)
    assert float(total) == pytest.approx(float(terms["loss/supervised"] + terms["loss/masked"]), rel=1e-5)
    small = pretrainer({"ratio": 1.0}, scale={"label.ratio": (np.float64(1.0), np.float64(20.0))})
    assert float(small.loss(data, jax.random.key(0))[0]) < 0.05 * float(terms["supervised/ratio"])


def labelled():
    data = batch(SPEC, size=8)
    tags = jnp.asarray(np.random.default_rng(0).integers(-1, 2, (8, 2)))
    return type(data)(data.modalities, data.globals, data.labels | {"tags": tags}, data.weights, data.index)


def test_the_encoder_learns_the_labels():
    """A few steps on one batch tell its classes."""
    model, data = pretrainer({"flavour": 1.0}), labelled()
    graph, state = nnx.split(model)

    @jax.jit
    def step(state):
        loss, gradient = jax.value_and_grad(
            lambda s: nnx.merge(graph, s).loss(data, jax.random.key(0))[0], allow_int=True
        )(state)
        return jax.tree.map(lambda p, g: p - 0.1 * g if g.dtype == p.dtype else p, state, gradient), loss

    losses = []
    for _ in range(30):
        state, loss = step(state)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, r"names none; give \{LABEL: WEIGHT\} of flavour, tags, ratio"),
        ({"flavor": 1.0}, "no label 'flavor' of examples; did you mean 'flavour'"),
        ({"origin": 1.0}, "no label 'origin' of examples"),
    ],
)
def test_labels_that_give_no_target_are_refused(labels, message):
    with pytest.raises(ConfigError, match=message):
        pretrainer(labels)


def test_a_regression_without_statistics_is_refused():
    with pytest.raises(ConfigError, match="no statistics of label 'ratio'"):
        pretrainer({"ratio": 1.0}, scale={})


def test_a_run_says_which_labels_it_used():
    assert labels_used(SupervisedConfig(weight=1.0, labels={"flavour": 1.0})) == ["flavour"]
    assert labels_used(SupervisedConfig(weight=0.0, labels={"flavour": 1.0})) == []
