"""Which pairs of tokens are learnt from, and what they weigh."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.pairs import edge_loss, pairs_to_learn, together_fraction
from finetune.predict import pairs_of_row

TOKENS, MOST = 9, 8
GROUPS = st.lists(st.integers(-1, 3), min_size=TOKENS, max_size=TOKENS)
ALL = jax.jit(lambda group, key: pairs_to_learn(group, 100, key))
FRACTION = jax.jit(together_fraction)
DRAW = jax.jit(lambda group, key: pairs_to_learn(group, MOST, key))


def known_pairs(group: list[int]) -> dict[tuple[int, int], bool]:
    """Pair -> whether it belongs together."""
    pairs = itertools.combinations(range(len(group)), 2)
    return {(i, j): group[i] == group[j] for i, j in pairs if group[i] > 0 and group[j] > 0}


@settings(max_examples=20, deadline=None)
@given(GROUPS)
def test_every_pair_is_learnt_from_where_there_are_few(group):
    found = ALL(jnp.asarray([group]), jax.random.key(0))
    seen = {
        tuple(pair): bool(together)
        for pair, together, known in zip(np.asarray(found.tokens[0]).tolist(), found.together[0], found.known[0])
        if known
    }
    assert seen == known_pairs(group)
    every = known_pairs(group).values()
    fraction = float(FRACTION(jnp.asarray([group]))[0])
    assert fraction == pytest.approx(sum(every) / max(len(every), 1))


@settings(max_examples=40, deadline=None)
@given(GROUPS, st.integers(0, 1000))
def test_drawn_pairs_are_known_ones(group, seed):
    truth = known_pairs(group)
    found = DRAW(jnp.asarray([group]), jax.random.key(seed))
    assert found.tokens.shape == (1, MOST, 2)
    drawn = [tuple(sorted(pair)) for pair in np.asarray(found.tokens[0]).tolist()]
    kinds = {True: 0, False: 0}
    for pair, together, known in zip(drawn, np.asarray(found.together[0]), np.asarray(found.known[0])):
        if known:
            assert truth[pair] == together
            kinds[bool(together)] += 1
    assert kinds[True] == (MOST // 2 if any(truth.values()) else 0)


def test_every_pair_is_drawn_as_often_as_any_other_of_its_kind():
    group = [1, 1, 1, 1, 2, 2, 0, 3, -1]
    truth = known_pairs(group)
    many = pairs_to_learn(jnp.broadcast_to(jnp.asarray(group), (2000, TOKENS)), MOST, jax.random.key(1))
    pairs, known = np.sort(np.asarray(many.tokens), axis=2).reshape(-1, 2), np.asarray(many.known).ravel()
    counts = {pair: int(((pairs == pair).all(axis=1) & known).sum()) for pair in truth}
    for kind in (True, False):
        each = np.array([counts[pair] for pair in truth if truth[pair] == kind])
        assert np.abs(each / each.mean() - 1).max() < 5 / np.sqrt(each.mean())


def test_drawn_pairs_estimate_the_loss_of_all_pairs():
    group = jnp.asarray([[1, 1, 2, 2, 2, 3, 4, 0, 1]])
    score = jnp.asarray(np.random.default_rng(0).normal(size=(TOKENS, TOKENS)), jnp.float32)
    score = score + score.T

    def loss(most: int, key: jax.Array) -> jax.Array:
        pairs = pairs_to_learn(group, most, key)
        logits = score[pairs.tokens[..., 0], pairs.tokens[..., 1]]
        return edge_loss(logits, pairs, together_fraction(group), jnp.ones(1), jnp.asarray([1.0, 2.0]))

    exact = float(loss(100, jax.random.key(0)))
    many = np.asarray(jax.jit(jax.vmap(lambda key: loss(MOST, key)))(jax.random.split(jax.random.key(1), 2000)))
    assert many.mean() == pytest.approx(exact, abs=4 * many.std() / np.sqrt(2000))


def test_an_example_without_pairs_counts_nothing_and_weights_weigh():
    """Each example counts alike, whatever its number of pairs; fewer than two tokens of known groups are no pair."""
    group = jnp.asarray([[1, 1, 2, 0], [1, 0, 0, -1], [1, 2, 3, 3], [0, 0, 0, 0]])
    pairs = pairs_to_learn(group, 100, jax.random.key(0))
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32)
    of = jax.jit(lambda weights: edge_loss(logits, pairs, together_fraction(group), weights, jnp.ones(2)))

    def loss(*weights: float) -> float:
        return float(of(jnp.asarray(weights)))

    assert loss(1.0, 1.0, 1.0, 1.0) == pytest.approx(loss(1.0, 0.0, 1.0, 0.0), rel=1e-6)
    assert loss(1.0, 9.0, 0.0, 9.0) == pytest.approx(loss(3.0, 0.0, 0.0, 0.0), rel=1e-6)
    only = loss(1.0, 0.0, 0.0, 0.0), loss(0.0, 0.0, 1.0, 0.0)
    assert loss(1.0, 0.0, 1.0, 0.0) == pytest.approx(sum(only) / 2, rel=1e-6)
    assert loss(3.0, 0.0, 1.0, 0.0) == pytest.approx((3 * only[0] + only[1]) / 4, rel=1e-6)
    assert loss(0.0, 1.0, 0.0, 1.0) == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 60), st.integers(1, 2000), st.integers(0, 5))
def test_the_pairs_of_a_row(tokens, most, row):
    pairs = pairs_of_row(row, tokens, most)
    total = tokens * (tokens - 1) // 2
    assert len(pairs) == min(total, most)
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    assert ((pairs[:, 0] >= 0) & (pairs[:, 0] < pairs[:, 1]) & (pairs[:, 1] < tokens)).all()
    np.testing.assert_array_equal(pairs, pairs_of_row(row, tokens, most))


def test_the_pairs_of_a_very_long_row_are_exact():
    pairs = pairs_of_row(0, 200_000, 1000)
    assert ((pairs[:, 0] >= 0) & (pairs[:, 0] < pairs[:, 1]) & (pairs[:, 1] < 200_000)).all()
