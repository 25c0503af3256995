"""Losses of classes, tags and values, and the distance correlation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.decorrelate import distance_correlation
from finetune.losses import class_loss, ordered, tag_loss, value_loss

LEVELS = (0.16, 0.5, 0.84)


def test_unknown_targets_count_nothing_and_spoil_nothing():
    rng = np.random.default_rng(0)
    logits, ones = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32), jnp.ones(6)
    target = jnp.asarray([0, 1, 2, -1, -1, -1])
    part = class_loss(logits[:3], target[:3], ones[:3], jnp.ones(3))
    assert float(class_loss(logits, target, ones, jnp.ones(3))) == pytest.approx(float(part), rel=1e-6)
    tags = jnp.asarray([[1, -1, 0]] * 3 + [[-1, -1, -1]] * 3)
    factors = jnp.ones((3, 2))
    gradient = jax.grad(lambda z: tag_loss(z, tags, ones, factors))(logits)
    np.testing.assert_array_equal(np.asarray(gradient) != 0, np.asarray(tags) >= 0)
    values = jnp.asarray([1.0, jnp.nan, 2.0, jnp.nan, jnp.inf, 0.0])
    for levels in ((), LEVELS):
        predicted = logits if levels else logits[:, :1]
        gradient = jax.grad(lambda z, levels=levels: value_loss(z, values, ones, levels))(predicted)
        np.testing.assert_array_equal(np.asarray(gradient).any(axis=1), np.isfinite(values))


@jax.jit
def every_loss(logits: jax.Array, target: jax.Array, tags: jax.Array, values: jax.Array, weights: jax.Array) -> list:
    return [
        class_loss(logits, target, weights, jnp.asarray([1.0, 2.0])),
        tag_loss(logits, tags, weights, jnp.asarray([[1.0, 3.0], [0.5, 1.0]])),
        value_loss(logits, values, weights, (0.2, 0.7)),
        distance_correlation(logits[:, 0], values, weights),
    ]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=5, max_size=5).filter(any), st.integers(0, 99))
def test_an_integer_weight_is_an_example_so_often(weights, seed):
    rng = np.random.default_rng(seed)
    logits, values = rng.normal(size=(5, 2)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    given_ = (logits, rng.integers(0, 2, 5), rng.integers(-1, 2, (5, 2)), values)
    rows = np.repeat(np.arange(5), weights)
    filled = np.pad(rows, (0, 15 - len(rows)))
    repeated = every_loss(*(each[filled] for each in given_), (np.arange(15) < len(rows)).astype(np.float32))
    thrice = np.tile(np.arange(5), 3)  # the same shape, so that it is compiled once
    weighted = every_loss(*(each[thrice] for each in given_), np.asarray([*weights, *[0] * 10], np.float32))
    np.testing.assert_allclose(weighted, repeated, atol=2e-5)


def test_tags_are_learnt_each_by_itself():
    logits = jnp.asarray([[2.0, -1.0], [0.0, 3.0]])
    target = jnp.asarray([[1, 0], [-1, 1]])
    probability = 1 / (1 + np.exp(-np.asarray(logits)))
    errors = [-np.log(probability[0, 0]), -np.log(1 - probability[0, 1]), -np.log(probability[1, 1])]
    weights = np.array([2 * 4.0, 2 * 1.0, 3 * 5.0])  # of the example, times that of yes or no
    found = tag_loss(logits, target, jnp.asarray([2.0, 3.0]), jnp.asarray([[7.0, 4.0], [1.0, 5.0]]))
    assert float(found) == pytest.approx(np.sum(errors * weights) / weights.sum(), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-50, 50, width=32), min_size=5, max_size=5), st.integers(0, 4))
def test_quantiles_cannot_cross(raw, middle):
    found = np.asarray(ordered(jnp.asarray(raw, jnp.float32), middle))
    assert (np.diff(found) >= 0).all()
    assert found[middle] == np.float32(raw[middle])


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_the_pinball_loss_is_least_at_the_quantile(level):
    sample = np.random.default_rng(0).exponential(size=2001).astype(np.float32)
    grid = np.linspace(0, 4, 401).astype(np.float32)
    each = jax.vmap(lambda v: value_loss(jnp.full((2001, 1), v), jnp.asarray(sample), jnp.ones(2001), (level,)))
    assert grid[int(np.argmin(each(jnp.asarray(grid))))] == pytest.approx(np.quantile(sample, level), abs=0.011)


def test_learnt_quantiles_cover_what_they_say():
    """Noise that grows with x, learnt by two straight lines: of unseen values, the stated part lies below each."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (2, 4000)).astype(np.float32)
    y = (2 * x + (0.2 + x) * rng.normal(size=x.shape)).astype(np.float32)

    def predicted(p: dict, x: jax.Array) -> jax.Array:
        return ordered(x[:, None] * p["slope"] + p["offset"], 1)

    optimizer = optax.adam(0.05)

    def step(carry, _):
        p, state = carry
        gradient = jax.grad(lambda p: value_loss(predicted(p, x[0]), jnp.asarray(y[0]), jnp.ones(4000), LEVELS))(p)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(p, updates), state), None

    start = {"slope": jnp.zeros(3), "offset": jnp.zeros(3)}
    (p, _), _ = jax.jit(lambda: jax.lax.scan(step, (start, optimizer.init(start)), None, 300))()
    below = (y[1][:, None] < np.asarray(predicted(p, jnp.asarray(x[1])))).mean(axis=0)
    np.testing.assert_allclose(below, LEVELS, atol=0.025)


def brute_force(x: np.ndarray, y: np.ndarray) -> float:
    """Squared distance correlation by its definition (arXiv:0803.4101, equations 2.8 to 2.10)."""

    def centred(v: np.ndarray) -> np.ndarray:
        d = np.array([[abs(a - b) for b in v] for a in v])
        return np.array(
            [[d[i, j] - d[i].mean() - d[:, j].mean() + d.mean() for j in range(len(v))] for i in range(len(v))]
        )

    a, b = centred(x), centred(y)
    return float((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean()))


def test_the_distance_correlation_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    x = rng.normal(size=30).astype(np.float32)
    y = (x**2 + 0.3 * rng.normal(size=30)).astype(np.float32)
    found = distance_correlation(jnp.asarray(x), jnp.asarray(y), jnp.ones(30))
    assert float(found) == pytest.approx(brute_force(x, y), abs=1e-5)
    moved = distance_correlation(jnp.asarray(100 - 7 * x), jnp.asarray(y), jnp.ones(30))
    assert float(moved) == pytest.approx(float(found), abs=1e-5)  # of unit and origin it knows nothing


def test_the_distance_correlation_of_linear_independent_and_constant_samples():
    rng = np.random.default_rng(2)
    x, y = jnp.asarray(rng.normal(size=(2, 1000)), jnp.float32)
    ones = jnp.ones(1000)
    assert float(distance_correlation(x, 5 - 3 * x, ones)) == pytest.approx(1, abs=1e-4)
    assert float(distance_correlation(x, y, ones)) < 0.01
    assert float(distance_correlation(x, x**2, ones)) > 0.1  # which a linear correlation does not see
    assert float(distance_correlation(x, ones, ones)) == 0
    gradient = jax.grad(distance_correlation)(x, ones, jnp.zeros(1000))
    assert np.isfinite(gradient).all()
