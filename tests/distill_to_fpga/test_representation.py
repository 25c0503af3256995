"""What a student learns of its teacher beside the outputs."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_students import jets, student
from test_distill import CLASSES, QUICK, TEST, TRAIN

from distill_to_fpga.distill import distill
from distill_to_fpga.objective import DistillConfig, Examples, losses
from distill_to_fpga.representation import embedding_loss, relational_loss
from distill_to_fpga.students import StudentConfig, predict
from foundation.errors import ConfigError, DataError

ONES = jnp.ones(64)
SHAPE = StudentConfig(kind="mlp", tokens=4, hidden=(6,), quantized=False)
BOTH = (embedding_loss, relational_loss)


def cloud(width: int, seed: int = 0) -> jnp.ndarray:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(64, width)), jnp.float32)


def test_a_hidden_layer_that_holds_the_embedding_loses_nothing():
    hidden = cloud(6)
    mixed = hidden @ cloud(3, 1)[:6] * 40 + 7
    assert embedding_loss(hidden, mixed, ONES) < 1e-4
    assert 0.8 < embedding_loss(cloud(3, 2), mixed, ONES) <= 1  # two clouds that know nothing of each other
    rotation = jnp.linalg.qr(cloud(6, 3)[:6])[0]
    assert relational_loss(hidden, 5 * hidden @ rotation + 3, ONES) < 1e-6
    assert relational_loss(hidden, cloud(6, 4), ONES) > 0.01


@given(st.floats(0.1, 100), st.integers(0, 1000))
@settings(deadline=None, max_examples=10)
def test_units_do_not_matter(size, seed):
    hidden, embedding = cloud(5, seed), cloud(7, seed + 1)
    for loss in BOTH:
        assert loss(size * hidden, embedding, ONES) == pytest.approx(float(loss(hidden, embedding, ONES)), rel=2e-2)
        assert loss(hidden, size * embedding, ONES) == pytest.approx(float(loss(hidden, embedding, ONES)), rel=2e-2)


@pytest.mark.parametrize("loss", BOTH)
def test_gradients_are_finite_and_lead_down(loss):
    hidden, embedding = cloud(5), cloud(7, 1)
    slope = jax.grad(loss)(hidden, embedding, ONES)
    assert float(jnp.abs(slope).max()) > 0
    assert loss(hidden - 0.5 * slope / jnp.abs(slope).max(), embedding, ONES) < loss(hidden, embedding, ONES)
    for degenerate in (jnp.zeros((64, 5)), jnp.ones((64, 5)), jnp.repeat(hidden[:1], 64, axis=0)):
        assert jnp.isfinite(loss(degenerate, embedding, ONES))
        assert jnp.isfinite(jax.grad(loss)(degenerate, embedding, ONES)).all()


def test_the_map_is_already_the_best():
    """Its own slope vanishes: a step in the hidden layer changes the loss as if the map had followed."""
    hidden, embedding, step = cloud(5), cloud(7, 1), cloud(5, 2)
    slope = float((jax.grad(embedding_loss)(hidden, embedding, ONES) * step).sum())
    moved = [float(embedding_loss(hidden + sign * 0.05 * step, embedding, ONES)) for sign in (1, -1)]
    assert slope == pytest.approx((moved[0] - moved[1]) / 0.1, rel=0.05)


@pytest.mark.parametrize("loss", BOTH)
def test_examples_of_weight_zero_are_not_there(loss):
    hidden, embedding = cloud(5), cloud(7, 1)
    weights = jnp.where(jnp.arange(64) < 40, 64 / 40, 0.0)
    garbage = hidden.at[40:].set(1e3)
    expected = float(loss(hidden[:40], embedding[:40], jnp.ones(40)))
    assert loss(garbage, embedding, weights) == pytest.approx(expected, rel=1e-3)


def test_the_hidden_layer_is_what_the_last_layer_reads():
    for shape in (SHAPE, StudentConfig(kind="deepsets", tokens=4, phi=(5,), rho=(7,), quantized=False)):
        made = student(shape)
        outputs, hidden = made.with_hidden(jnp.asarray(jets(20)), "float")
        last = made.dense()[-1]
        np.testing.assert_allclose(hidden @ last.kernel[...] + last.bias[...], outputs, rtol=1e-5)
        assert (np.asarray(made(jnp.asarray(jets(20)), "float")) == np.asarray(outputs)).all()


def test_terms_enter_with_their_weights_and_not_without():
    examples = Examples(jets(64), np.zeros(64, np.int32), embedding=cloud(7, 1))
    outputs, hidden = cloud(2, 5), cloud(5)
    config = DistillConfig(embedding_weight=3.0, relational_weight=0.5)
    terms = losses(outputs, examples, config, 2, hidden)
    assert terms["embedding"] == pytest.approx(3 * float(embedding_loss(hidden, examples.embedding, ONES)), rel=1e-5)
    assert terms["relational"] == pytest.approx(
        0.5 * float(relational_loss(hidden, examples.embedding, ONES)), rel=1e-5
    )
    assert set(losses(outputs, examples, DistillConfig(), 2, hidden)) == {"cross_entropy"}


def with_embedding(examples: Examples) -> Examples:
    """What decides, seen from six sides: the teacher's score and its waves."""
    score = examples.teacher[:, :1]
    return replace(examples, embedding=np.concatenate([score, np.sin(score), np.abs(score)], 1).astype(np.float32))


def test_weight_zero_is_as_if_there_were_no_embedding():
    short = replace(QUICK, steps=100, lut_budget=None)
    made = [distill(short, SHAPE, train, CLASSES).student for train in (TRAIN, with_embedding(TRAIN))]
    assert (predict(made[0], TEST.integers) == predict(made[1], TEST.integers)).all()


@pytest.mark.slow
@pytest.mark.parametrize("term", ["embedding_weight", "relational_weight"])
def test_an_embedding_helps_where_labels_are_few(term):
    """60 examples of 3,000 have a label and none has logits: the rest is learnt from where examples lie."""
    labels = np.where(np.arange(3000) < 60, TRAIN.labels, -1).astype(np.int32)
    few = replace(with_embedding(TRAIN), labels=labels, teacher=None)
    config = DistillConfig(steps=600, batch=256, alpha=0.0)
    accuracies = []
    for weight in (0.0, 1.0):
        made = distill(replace(config, **{term: weight}), SHAPE, few, CLASSES).student
        accuracies.append((predict(made, TEST.integers).argmax(1) == TEST.teacher.argmax(1)).mean())
    assert accuracies[1] > accuracies[0] + 0.02


def test_refusals():
    with pytest.raises(DataError, match="distil from a tagger, or set both to 0"):
        distill(replace(QUICK, embedding_weight=1.0), SHAPE, TRAIN, CLASSES)
    with pytest.raises(ConfigError, match="relational_weight >= 0"):
        distill(replace(QUICK, relational_weight=-1.0), SHAPE, TRAIN, CLASSES)
