"""Methods without a gradient, against the libraries and the definitions; weights, and the order of rows."""

from __future__ import annotations

import numpy as np
import pytest
from anomaly_toys import normal, scores
from flax import nnx
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.ensemble import IsolationForest as Sklearn

from finetune.anomaly.method import resampled
from finetune.anomaly.methods.isolation_forest import IsolationForest, IsolationForestConfig
from finetune.anomaly.methods.knn import KNN, KNNConfig, farthest
from finetune.anomaly.methods.mahalanobis import Mahalanobis, MahalanobisConfig
from foundation.errors import ConfigError

CLOSED = {
    "mahalanobis": lambda: Mahalanobis((4,), MahalanobisConfig(), rngs=nnx.Rngs(0)),
    "knn": lambda: KNN((4,), KNNConfig(4, 400), rngs=nnx.Rngs(0)),
}
X, UNSEEN = normal((4,), 300), normal((4,), 60, 1)


def fitted(method, x=X, weights=None, seed=0):
    method.prepare(x, np.ones(len(x), np.float32) if weights is None else weights, seed)
    return method


def test_mahalanobis_is_that_of_scipy():
    method = fitted(Mahalanobis((4,), MahalanobisConfig(shrinkage=1e-9), rngs=nnx.Rngs(0)))
    inverse = np.linalg.inv(np.cov(X.T, ddof=0))
    wanted = [mahalanobis(row, X.mean(axis=0), inverse) ** 2 for row in UNSEEN]
    np.testing.assert_allclose(scores(method, UNSEEN)["score"], wanted, rtol=1e-3)


def test_mahalanobis_of_the_training_set_is_on_average_the_number_of_inputs():
    method = fitted(Mahalanobis((4,), MahalanobisConfig(shrinkage=1e-9), rngs=nnx.Rngs(0)))
    assert scores(method, X)["score"].mean() == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize("x", [np.ones((5, 4), np.float32), np.eye(1, 4, dtype=np.float32)])
def test_mahalanobis_of_rows_without_variance_is_finite(x):
    assert np.isfinite(scores(fitted(CLOSED["mahalanobis"](), x), 10 * UNSEEN)["score"]).all()


def test_a_covariance_without_shrinkage_is_refused():
    with pytest.raises(ConfigError, match="shrinkage"):
        Mahalanobis((4,), MahalanobisConfig(0.0), rngs=nnx.Rngs(0))


def test_nearest_neighbours_are_those_of_a_search_over_all():
    found = scores(fitted(CLOSED["knn"]()), UNSEEN)
    wanted = np.sort(cdist(UNSEEN, X), axis=1)[:, :4]
    np.testing.assert_allclose(found["mean"], wanted.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found["kth"], wanted[:, -1], rtol=1e-5)


def test_a_crossing_of_the_bank_is_at_no_distance_far_from_zero():
    x = X + 9  # |x|^2 - 2 x.b + |b|^2 would be off by 1e-4 here
    method = fitted(KNN((4,), KNNConfig(1, 300), rngs=nnx.Rngs(0)), x)
    np.testing.assert_array_equal(scores(method, x)["mean"], 0)


def test_the_coreset_covers_what_random_rows_miss():
    rare = np.full((2, 4), 8, np.float32)
    x = np.concatenate([X, rare])
    rows = farthest(x, 20)
    assert len(set(rows)) == 20
    assert {300, 301} & set(rows)
    assert cdist(x, x[rows]).min(axis=1).max() < cdist(x, x[:20]).min(axis=1).max()
    method = fitted(KNN((4,), KNNConfig(1, 20, "farthest"), rngs=nnx.Rngs(0)), x)
    assert scores(method, rare)["mean"].max() == 0


def test_fewer_crossings_than_neighbours_are_refused():
    with pytest.raises(ConfigError, match="3 normal crossings"):
        fitted(CLOSED["knn"](), X[:3])
    with pytest.raises(ConfigError, match="bank of 2"):
        KNN((4,), KNNConfig(5, 2), rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", CLOSED)
def test_a_row_of_weight_two_is_the_row_twice(name):
    weights = np.where(np.arange(300) < 100, 2, 1).astype(np.float32)
    weighted = scores(fitted(CLOSED[name](), X, weights), UNSEEN)
    repeated = scores(fitted(CLOSED[name](), np.repeat(X, weights.astype(int), axis=0)), UNSEEN)
    plain = scores(fitted(CLOSED[name]()), UNSEEN)
    for score, values in weighted.items():
        np.testing.assert_allclose(values, repeated[score], rtol=1e-4)
        assert not np.allclose(values, plain[score], rtol=1e-3)


@pytest.mark.parametrize("name", CLOSED)
def test_the_order_of_the_training_set_changes_nothing(name):
    order = np.random.default_rng(4).permutation(300)
    one, other = (scores(fitted(CLOSED[name](), x), UNSEEN) for x in (X, X[order]))
    for score, values in one.items():
        np.testing.assert_allclose(values, other[score], rtol=1e-4)


def test_resampling_keeps_expectations():
    weights = np.random.default_rng(0).uniform(0, 3, 50)
    counts = np.bincount(resampled(weights, 1000, 1), minlength=50)
    assert np.abs(counts - 1000 * weights / weights.sum()).max() <= 1
    rows = resampled(np.ones(50), 20, 1)
    assert len(set(rows)) == 20
    np.testing.assert_array_equal(resampled(np.ones(5), 20, 1), np.arange(5))


@pytest.mark.parametrize("rows", [2, 64, 100, 1000])
def test_the_forest_scores_as_scikit_learn_does(rows):
    """Also where a crossing lies on a threshold: values in steps, as hardware integers are."""
    x, unseen = np.round(X, 1), np.round(normal((4,), 500, 2), 1)
    method = fitted(IsolationForest((4,), IsolationForestConfig(20, rows), rngs=nnx.Rngs(0)), x, seed=7)
    forest = Sklearn(n_estimators=20, max_samples=min(rows, len(x)), random_state=7).fit(x)
    np.testing.assert_allclose(scores(method, unseen)["score"], -forest.score_samples(unseen), atol=1e-6)


def test_the_forest_knows_weights():
    """Normal crossings of no weight are outliers."""
    x = np.concatenate([X, X + 6])
    weights = np.repeat([1.0, 0.0], 300).astype(np.float32)
    found = scores(fitted(IsolationForest((4,), IsolationForestConfig(50, 64), rngs=nnx.Rngs(0)), x, weights), x)
    assert found["score"][:300].mean() + 0.1 < found["score"][300:].mean()
