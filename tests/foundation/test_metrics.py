"""Figures of merit: closed forms, weights, ties, missing classes, and refusals."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from foundation import metrics
from foundation.errors import DataError


def gaussians(seed=0, size=4000, separation=1.0):
    rng = np.random.default_rng(seed)
    signal = rng.random(size) < 0.4
    return signal, rng.normal(separation * signal, 1), rng.uniform(0.1, 3, size)


def test_auc_of_two_gaussians_is_the_closed_form():
    signal, score, _ = gaussians(size=200_000)
    result = metrics.binary(signal, score)
    assert result["auc"] == pytest.approx(0.76025, abs=4 * result["auc_error"])  # Phi(1/sqrt 2)
    assert 0.5e-3 < result["auc_error"] < 2e-3


@given(st.integers(0, 2**31), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_auc_agrees_with_scikit_learn_with_weights_and_ties(seed, levels):
    signal, score, weights = gaussians(seed, 200)
    score = np.round(score * levels) / levels
    assert metrics.roc(signal, score, weights).auc == pytest.approx(
        roc_auc_score(signal, score, sample_weight=weights), abs=1e-12
    )


def test_auc_error_is_the_spread_of_repeated_experiments():
    areas = [metrics.binary(*gaussians(seed, 400)[:2]) for seed in range(200)]
    spread = np.std([a["auc"] for a in areas])
    assert np.mean([a["auc_error"] for a in areas]) == pytest.approx(spread, rel=0.2)


def test_rejection_at_a_working_point_and_its_error():
    signal = np.repeat([True, False], [10, 1000])
    score = np.concatenate([np.arange(10) + 100.0, np.where(np.arange(1000) < 20, 104.5, 0.0)])
    rejection = metrics.background_rejection(metrics.roc(signal, score), 0.8)
    assert rejection["value"] == pytest.approx(50)
    assert rejection["error"] == pytest.approx(50**2 * np.sqrt(0.02 * 0.98 / 1000))
    tight = metrics.background_rejection(metrics.roc(signal, score), 0.5)
    assert tight["value"] is None
    assert "above 872 at 68%" in tight["reason"]


def test_rejection_error_is_the_spread_of_repeated_weighted_experiments():
    found = []
    for seed in range(300):
        signal, score, weights = gaussians(seed, 3000)
        weights[signal], score[signal] = 1.0, np.linspace(-3, 5, signal.sum())  # only the background fluctuates
        found.append(metrics.background_rejection(metrics.roc(signal, score, weights), 0.5))
    assert np.mean([f["error"] for f in found]) == pytest.approx(np.std([f["value"] for f in found]), rel=0.15)


def test_a_weight_of_two_is_the_row_twice():
    labels = np.array([0, 0, 1, 1, 2, 2, 2, -1])
    scores = np.random.default_rng(1).dirichlet(np.ones(3), 8)
    twice = np.array([1, 2, 1, 1, 2, 1, 1, 1])
    weighted = metrics.classification(labels, scores, ["a", "b", "c"], twice.astype(float))
    repeated = metrics.classification(np.repeat(labels, twice), np.repeat(scores, twice, axis=0), ["a", "b", "c"])
    for key in ("accuracy", "auc", "auc/a", "auc/b", "confusion"):
        assert weighted[key] == pytest.approx(repeated[key]) if key != "confusion" else weighted[key] == repeated[key]
    assert weighted["excluded"] == 1
    assert weighted["examples"] == 7


def test_confusion_has_true_classes_as_rows_and_accuracy_is_its_trace():
    labels, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    result = metrics.classification(labels, np.eye(3)[predicted], ["a", "b", "c"])
    assert result["confusion"] == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert result["accuracy"] == 0.5 == metrics.accuracy(labels, predicted)


def test_a_class_without_examples_is_none_with_a_reason_and_json_holds_no_nan():
    labels = np.array([0, 1, 0, 1, -1])
    scores = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    result = metrics.classification(labels, scores, ["a", "b", "c"])
    assert result["auc/c"] is None
    assert result["reasons"] == {"auc/c": "no example in the test set"}
    assert result["auc"] == 1.0
    json.dumps(result, allow_nan=False)
    alone = metrics.classification(np.zeros(5, int), scores, ["a", "b", "c"])
    assert alone["auc"] is None
    assert alone["reasons"]["auc/a"] == "no example of any other class in the test set"


@pytest.mark.parametrize(
    ("labels", "score", "weight", "says"),
    [
        ([0, 1], [0.1, np.nan], [1, 1], r"1 of 2 scores are NaN or infinite, the first in row 1"),
        ([0, 1], [0.1, 0.2], [1, -1], r"1 of 2 weights are negative"),
        ([-1, -1], [0.1, 0.2], [1, 1], r"none of the 2 examples has a known label"),
        ([0, 5], [0.1, 0.2], [1, 1], r"a label is 5, but the classes are 2: a, b"),
    ],
)
def test_refusals(labels, score, weight, says):
    scores = np.stack([1 - np.array(score), np.array(score)], axis=1)
    with pytest.raises(DataError, match=says):
        metrics.classification(np.array(labels), scores, ["a", "b"], np.array(weight, float))


def test_weights_of_another_length_are_refused():
    with pytest.raises(DataError, match="1 weights for 2 examples"):
        metrics.check_weights(np.ones(1), 2)


def test_discriminant_of_groups_of_classes():
    p = np.array([[0.2, 0.1, 0.3, 0.4]])
    score = metrics.discriminant(p, ["b", "charm", "light", "gluon"], ["b"], ["light", "gluon"])
    assert score == pytest.approx([0.2 / 0.9])
    with pytest.raises(DataError, match="did you mean 'gluon'"):
        metrics.discriminant(p, ["b", "charm", "light", "gluon"], ["b"], ["gluons"])


def test_resolution_of_a_gaussian_response_and_counts():
    rng = np.random.default_rng(3)
    true = rng.uniform(20, 200, 100_000)
    predicted = true * rng.normal(0.95, 0.12, true.size)
    true[:10], true[10:15] = np.nan, 0
    result = metrics.regression(true, predicted)
    assert result["response"] == pytest.approx(0.95, abs=0.003)
    assert result["resolution"] == pytest.approx(0.12, abs=0.002)
    assert result["relative_resolution"] == pytest.approx(0.12 / 0.95, abs=0.003)
    assert (result["examples"], result["excluded"]) == (99_985, 15)
    outlier = metrics.regression(np.append(true, 1.0), np.append(predicted, 1e9))
    assert outlier["resolution"] == pytest.approx(result["resolution"], rel=1e-3)
    with pytest.raises(DataError, match="3 examples has a known target"):
        metrics.regression(np.full(3, np.nan), np.ones(3))
    with pytest.raises(DataError, match="1 of 3 predictions are NaN"):
        metrics.regression(np.ones(3), np.array([1, np.nan, 1]))


def test_weighted_quantiles_follow_the_weights():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 8.0])
    assert metrics.weighted_quantiles(values, [0.5], weights) == [2.0]
    flat = np.arange(1001.0)
    assert metrics.weighted_quantiles(flat, [0.25], np.ones(1001)) == pytest.approx([250], abs=0.5)
