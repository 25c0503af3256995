"""Calibration: what a calibrated toy gives, temperatures that are recovered, sums done by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from foundation.calibration import (
    calibration,
    calibration_error,
    confidence_and_hits,
    fit_temperature,
    negative_log_likelihood,
    probabilities,
    reliability,
)


def calibrated(size=20_000, classes=4, seed=0):
    """Logits and labels drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (size, classes))
    p = softmax(logits, axis=1)
    return logits, (p.cumsum(axis=1) < rng.random((size, 1))).sum(axis=1).clip(0, classes - 1)


@given(st.floats(0.3, 4.0), st.integers(0, 100))
@settings(max_examples=6, deadline=None)
def test_a_known_temperature_is_recovered(temperature, seed):
    logits, labels = calibrated(8000, seed=seed)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.06)


def test_a_temperature_of_yes_or_no_answers_is_recovered():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (6000, 3))
    answers = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(int)
    answers[:100] = -1
    assert fit_temperature(2.5 * logits, answers) == pytest.approx(2.5, rel=0.06)


def test_a_calibrated_toy_has_no_more_error_than_statistics_makes():
    errors = []
    for seed in range(20):
        logits, labels = calibrated(4000, seed=seed)
        raw = calibration(logits, labels, None)["raw"]
        errors.append((raw["ece"], raw["ece_of_statistics"]))
    ece, floor = np.mean(errors, axis=0)
    assert ece == pytest.approx(floor, rel=0.15)
    over = calibration(3 * calibrated()[0], calibrated()[1], 3.0)
    assert over["raw"]["ece"] > 10 * over["raw"]["ece_of_statistics"]
    assert over["calibrated"]["ece"] < 2 * over["calibrated"]["ece_of_statistics"]
    assert over["calibrated"]["nll"] < over["raw"]["nll"]
    assert over["calibrated"]["brier"] < over["raw"]["brier"]


def test_calibration_error_and_brier_score_by_hand():
    confidence, hits = np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, False, True, True])
    records = reliability(confidence, hits, bins=10)
    assert [(r["low"], r["examples"], r["accuracy"]) for r in records] == [(0.5, 2, 1.0), (0.9, 2, 0.5)]
    assert calibration_error(records)[0] == pytest.approx((0.45 + 0.45) / 2)
    logits = np.log(np.array([[0.8, 0.2], [0.4, 0.6]]))
    found = calibration(logits, np.array([0, 0]), None)["raw"]
    assert found["brier"] == pytest.approx(((0.2**2 + 0.2**2) + (0.6**2 + 0.6**2)) / 2)
    assert found["nll"] == pytest.approx(-np.log([0.8, 0.4]).mean())


def test_a_confidence_of_one_is_in_the_last_bin_and_of_zero_in_the_first():
    records = reliability(np.array([0.0, 1.0]), np.array([False, True]), bins=5)
    assert [(r["low"], r["high"]) for r in records] == [(0.0, 0.2), (0.8, 1.0)]


def test_unknown_labels_and_answers_count_nothing():
    logits, labels = calibrated(50)
    some = np.where(np.arange(50) < 10, -1, labels)
    assert negative_log_likelihood(logits, some) == pytest.approx(negative_log_likelihood(logits[10:], labels[10:]))
    assert calibration(logits, some, None)["raw"] == calibration(logits[10:], labels[10:], None)["raw"]
    p, hits = confidence_and_hits(probabilities(logits, exclusive=False), np.where(logits > 9, 1, -1))
    assert len(p) == len(hits) == 0


def test_dividing_by_a_temperature_leaves_the_order_of_classes():
    logits, _ = calibrated(100)
    one, other = (probabilities(logits, exclusive=True, temperature=t) for t in (1.0, 3.0))
    np.testing.assert_array_equal(one.argmax(axis=1), other.argmax(axis=1))
    np.testing.assert_allclose(other, one ** (1 / 3) / np.sum(one ** (1 / 3), axis=1, keepdims=True))
