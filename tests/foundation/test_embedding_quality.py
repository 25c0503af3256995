"""Measures of an embedding, on embeddings whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.embedding import ridge_probe
from foundation.embedding_quality import (
    alignment,
    collapse,
    effective_rank,
    invariance,
    knn_accuracy,
    neighbours,
    spread,
    uniformity,
)

few = settings(max_examples=10, deadline=None)
seeds = st.integers(0, 10_000)


def sphere(n: int, d: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def rotation(d: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def orthogonal(n: int, d: int, rank: int, seed: int = 0) -> np.ndarray:
    """Centred rows with exactly `rank` equal singular values."""
    x = np.random.default_rng(seed).normal(size=(n, rank))
    u = np.linalg.qr(x - x.mean(axis=0))[0]
    return u @ rotation(d, seed + 1)[:rank]


@pytest.mark.parametrize("rank", [1, 3, 16])
def test_the_effective_rank_of_equal_singular_values_is_their_number(rank):
    assert effective_rank(orthogonal(200, 16, rank)) == pytest.approx(rank, rel=1e-6)


def test_the_effective_rank_of_two_unequal_ones_is_their_entropy():
    x = orthogonal(100, 8, 2)
    u, s, v = np.linalg.svd(x, full_matrices=False)
    s[1] = s[0] / 3  # shares 3/4 and 1/4
    wanted = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert effective_rank(u @ np.diag(s) @ v) == pytest.approx(wanted, rel=1e-6)


@few
@given(seed=seeds, scale=st.floats(1e-3, 1e3))
def test_the_effective_rank_knows_neither_rotation_nor_shift_nor_scale(seed, scale):
    x = np.random.default_rng(seed).normal(size=(60, 8)) * np.arange(1, 9)
    moved = scale * (x @ rotation(8, seed) + 5.0)
    assert effective_rank(moved) == pytest.approx(effective_rank(x), rel=1e-6)


def test_alignment_is_the_mean_squared_distance_of_unit_vectors():
    x = sphere(50, 6)
    assert alignment(x, 3.0 * x) == pytest.approx(0, abs=1e-12)
    assert alignment(x, -x) == pytest.approx(4)
    angle = 0.3
    turned = np.array([[np.cos(angle), np.sin(angle)]])
    assert alignment(np.array([[1.0, 0.0]]), turned) == pytest.approx(2 - 2 * np.cos(angle))


def test_uniformity_is_that_of_the_paper_and_prefers_the_spread():
    x = sphere(40, 3)
    pairs = [np.exp(-2 * np.sum((x[i] - x[j]) ** 2)) for i in range(40) for j in range(i)]
    assert uniformity(x) == pytest.approx(np.log(np.mean(pairs)))
    assert uniformity(np.ones((10, 3))) == pytest.approx(0, abs=1e-9)
    assert uniformity(sphere(500, 64)) == pytest.approx(-4, abs=0.2)
    assert uniformity(sphere(500, 64)) < uniformity(sphere(500, 2)) - 1


@few
@given(seed=seeds, shift=st.floats(-100, 100))
def test_knn_finds_clusters_wherever_they_lie(seed, shift):
    """The answer is a fact of the clusters' directions about the mean, not of a common offset."""
    rng = np.random.default_rng(seed)
    labels = np.arange(90) % 3
    x = 3 * np.eye(3)[labels] + 0.3 * rng.normal(size=(90, 3)) + shift
    assert knn_accuracy(x[:60], labels[:60], x[60:], labels[60:], k=5) == 1.0
    wrong = np.where(labels[60:] == 0, 1, labels[60:])
    assert knn_accuracy(x[:60], labels[:60], x[60:], wrong, k=5) == pytest.approx(2 / 3)


def test_knn_leaves_unknown_labels_out():
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    x = np.where(labels[:, None] > 0, 1.0, -1.0) + 0.1 * rng.normal(size=(40, 4))
    hidden = np.where(np.arange(40) < 10, -1, labels)
    assert knn_accuracy(x, hidden, x, labels, k=3) == 1.0
    assert knn_accuracy(x, np.full(40, -1), x, labels) is None


def test_knn_asks_more_than_the_nearest():
    """One mislabelled row in the middle of a class does not matter at k = 7, and decides at k = 1."""
    x = np.concatenate([sphere(10, 2) * 0.05 + [1, 0], sphere(10, 2) * 0.05 - [1, 0]])
    labels = np.repeat([0, 1], 10)
    labels[0] = 1
    at_the_row = x[:1]
    assert knn_accuracy(x, labels, at_the_row, np.array([0]), k=7) == 1.0
    assert knn_accuracy(x, labels, at_the_row, np.array([0]), k=1) == 0.0


def test_neighbours_come_nearest_first():
    angles = np.deg2rad([0, 12, 30, 90])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rows = np.concatenate([rows, -rows])  # the mean is the origin
    assert neighbours(rows[:1], rows, 4)[0].tolist() == [0, 1, 2, 3]
    assert neighbours(rows[:1] + 9.0, rows + 9.0, 4)[0].tolist() == [0, 1, 2, 3]


def test_complete_collapse_is_named():
    x = np.ones((100, 16)) + 1e-7 * np.random.default_rng(0).normal(size=(100, 16))
    found = collapse(x)
    assert found.kind == "complete"
    assert "spread" in found.text
    assert "temperature" in found.text
    assert collapse(np.zeros((100, 16))).kind == "complete"


def test_dimensional_collapse_is_named_with_its_rank():
    x = orthogonal(300, 64, 2)
    found = collapse(x)
    assert (found.kind, "effective rank 2.0 of 64" in found.text) == ("dimensional", True)
    assert not collapse(x, narrow=0.02)


def test_a_healthy_embedding_is_not_called_collapsed():
    assert not collapse(np.random.default_rng(0).normal(size=(300, 64)))
    assert not collapse(np.random.default_rng(0).normal(size=(300, 64)) + 20.0)


def test_spread_is_one_on_the_even_sphere():
    x = sphere(200, 8)
    assert spread(np.concatenate([x, -x])) == pytest.approx(1.0)


def test_invariance_is_relative_to_other_examples():
    x = np.random.default_rng(0).normal(size=(500, 8))
    other = np.roll(x, 1, axis=0)
    assert invariance(x, x, other) == 0.0
    assert invariance(x, np.roll(x, 7, axis=0), other) == pytest.approx(1, abs=0.05)
    half = x + 0.5 * (other - x)
    assert invariance(x, half, other) == pytest.approx(0.5)
    assert invariance(10 * x + 3, 10 * half + 3, 10 * other + 3) == pytest.approx(0.5)


def test_the_ridge_probe_separates_what_a_line_separates():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 5))
    labels = (x @ [1.0, -2, 0, 0.5, 0] > 0).astype(int)
    assert ridge_probe(x[:300], labels[:300], x[300:], labels[300:]) > 0.9
    assert 0.3 < ridge_probe(x[:300], labels[:300], x[300:], rng.permutation(labels[300:])) < 0.7
