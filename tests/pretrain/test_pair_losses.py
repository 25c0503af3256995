"""Losses between two views against the formulas of their papers; fillers, collapse, and batches of one row."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.objectives.contrastive import nt_xent
from pretrain.objectives.projection import unit
from pretrain.objectives.self_distillation import centred, sinkhorn
from pretrain.objectives.vicreg import vicreg

SIZE, WIDTH = 6, 5


def views(seed=0, size=SIZE):
    a, b = np.random.default_rng(seed).normal(size=(2, size, WIDTH)).astype(np.float32)
    return jnp.asarray(a), jnp.asarray(b)


def unit_nt_xent(a, b, weights):
    return nt_xent(unit(a), unit(b), weights, 0.3)


def all_vicreg(a, b, weights):
    return jnp.sum(jnp.stack(vicreg(a, b, weights)))


def distillation(divide):
    return lambda a, b, weights: (
        jnp.sum(-jnp.sum(divide(jax.lax.stop_gradient(a), weights) * jax.nn.log_softmax(b / 0.1), 1) * weights)
        / jnp.maximum(weights.sum(), 1e-6)
    )


LOSSES = {
    "nt_xent": unit_nt_xent,
    "vicreg": all_vicreg,
    "sinkhorn": distillation(lambda x, w: sinkhorn(x, w, 0.5, 3)),
    "centred": distillation(lambda x, w: centred(x, w, 0.5)),
}

WITH_GRADIENTS = {name: jax.jit(jax.value_and_grad(loss, argnums=(0, 1))) for name, loss in LOSSES.items()}


def vicreg_of_the_paper(a, b):
    """Algorithm 1 of arXiv:2105.04906 (equations 1 to 4)."""
    size, width = a.shape
    invariance = np.mean((a - b) ** 2)
    variance = sum(np.mean(np.maximum(0, 1 - np.sqrt(x.var(axis=0, ddof=1) + 1e-4))) for x in (a, b))
    covariance = 0.0
    for x in (a, b):
        c = (x - x.mean(0)).T @ (x - x.mean(0)) / (size - 1)
        covariance += np.sum((c - np.diag(np.diag(c))) ** 2) / width
    return invariance, variance, covariance


def test_vicreg_is_what_the_paper_says():
    a, b = (0.5 * x for x in views())
    expected = vicreg_of_the_paper(np.asarray(a, np.float64), np.asarray(b, np.float64))
    assert min(expected) > 0.01
    np.testing.assert_allclose(vicreg(a, b, jnp.ones(SIZE)), expected, rtol=1e-4)
    np.testing.assert_allclose(vicreg(a, b, jnp.full(SIZE, 0.25)), expected, rtol=1e-4)


def sinkhorn_of_the_paper(scores, temperature, iterations):
    """Listing of arXiv:2006.09882: a matrix of prototypes times samples, whose rows and columns are scaled in turn."""
    q = np.exp(scores / temperature).T
    q /= q.sum()
    prototypes, samples = q.shape
    for _ in range(iterations):
        q /= q.sum(axis=1, keepdims=True) * prototypes
        q /= q.sum(axis=0, keepdims=True) * samples
    return (q * samples).T


@pytest.mark.parametrize("iterations", [1, 3])
def test_sinkhorn_is_what_the_paper_says(iterations):
    scores, _ = views(1)
    found = sinkhorn(scores, jnp.ones(SIZE), 0.5, iterations)
    expected = sinkhorn_of_the_paper(np.asarray(scores, np.float64), 0.5, iterations)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_sinkhorn_divides_the_batch_equally_among_the_prototypes():
    """By weight, whatever the scores favour; a plain softmax does not."""
    scores, _ = views(2)
    scores = scores.at[:, 0].add(3.0)
    weights = jnp.asarray([1.0, 2, 1, 0.5, 1, 0])
    found = sinkhorn(scores, weights, 0.5, 50)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose((found * weights[:, None]).sum(0) / weights.sum(), 1 / WIDTH, rtol=1e-3)
    assert float(jax.nn.softmax(scores / 0.5).mean(0)[0]) > 0.6


def test_centred_is_the_softmax_of_what_exceeds_the_mean():
    scores, _ = views(3)
    x = np.asarray(scores, np.float64)
    expected = np.exp((x - x.mean(0)) / 0.5)
    np.testing.assert_allclose(
        centred(scores, jnp.ones(SIZE), 0.5), expected / expected.sum(1, keepdims=True), rtol=1e-4
    )


@pytest.mark.parametrize("divide", [lambda x, w: sinkhorn(x, w, 0.01, 3), lambda x, w: centred(x, w, 0.01)])
def test_a_teacher_that_says_the_same_of_all_gives_a_vague_target(divide):
    """Instead of NaN, or of a target that would make the student collapse as well."""
    same = jnp.tile(jnp.asarray([[5.0, -3, 0, 100, -80]]), (SIZE, 1))
    np.testing.assert_allclose(divide(same, jnp.ones(SIZE)), 1 / WIDTH, rtol=5e-3)


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=10, deadline=None)
@given(value=st.floats(-100, 100), other=st.integers(0, 1000))
def test_fillers_enter_nothing(name, value, other):
    """Neither the loss nor the gradient of a real row knows what a row of weight 0 holds; it gets no gradient."""
    loss = WITH_GRADIENTS[name]
    real = views(4, 4)
    fillers = [x * value for x in views(other, 2)]
    expected, gradients = loss(*real, jnp.ones(4))
    padded = [jnp.concatenate([x, filler]) for x, filler in zip(real, fillers)]
    found, filled = loss(*padded, jnp.asarray([1.0, 1, 1, 1, 0, 0]))
    assert float(found) == pytest.approx(float(expected), rel=1e-4)
    for a, b in zip(gradients, filled):
        np.testing.assert_allclose(b[:4], a, rtol=1e-3, atol=1e-6)
        assert not np.any(b[4:])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("real", [0, 1])
def test_a_batch_of_one_row_or_none_has_a_finite_gradient(name, real):
    weights = jnp.arange(SIZE) < real
    loss, gradients = WITH_GRADIENTS[name](*views(5), weights.astype(jnp.float32))
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_vicreg_pushes_a_collapsed_embedding_apart():
    """Both views the same and almost constant: descending the loss, every dimension reaches the deviation of 1."""
    a, _ = views(6, 32)
    x, step = 1e-3 * a, jax.jit(lambda x: x - 2.0 * jax.grad(lambda y: all_vicreg(y, y, jnp.ones(32)))(x))
    for _ in range(300):
        x = step(x)
    assert float(x.std(0).min()) > 0.8
    off = np.corrcoef(np.asarray(x).T) - np.eye(WIDTH)
    assert np.abs(off).max() < 0.2


@pytest.mark.parametrize("name", LOSSES)
def test_an_embedding_collapsed_to_a_point_has_a_finite_gradient(name):
    point = jnp.ones((SIZE, WIDTH))
    loss, gradients = WITH_GRADIENTS[name](point, point, jnp.ones(SIZE))
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
