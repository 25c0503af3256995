"""Replicas: figures of rows weighted by hand, intervals that cover, one against one as scikit-learn has it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from foundation import metrics
from foundation.errors import ConfigError
from foundation.metrics_bootstrap import Bootstrap, replica_curves
from foundation.metrics_pairs import one_vs_one, pair_figures, stated_pairs


def sample(seed=0, size=400, levels=None):
    rng = np.random.default_rng(seed)
    signal = rng.random(size) < 0.4
    score = rng.normal(1.0 * signal, 1)
    return signal, score if levels is None else np.round(score * levels) / levels


@given(st.integers(0, 2**31), st.sampled_from([None, 3]))
@settings(max_examples=15, deadline=None)
def test_each_replica_is_the_figure_of_its_weighted_rows(seed, levels):
    signal, score = sample(seed, 120, levels)
    bootstrap = Bootstrap(120, replicas=4, seed=seed)
    areas, at = bootstrap.areas(signal, score, np.arange(120), np.array([0.3, 0.7, 1.0]))
    for r in range(4):
        curve = metrics.roc(signal, score, bootstrap.counts[r])
        assert areas[r] == pytest.approx(curve.auc, abs=1e-12)
        assert at[r] == pytest.approx([curve.at(e) for e in (0.3, 0.7, 1.0)], abs=1e-12)


def test_means_and_quantiles_of_replicas_are_those_of_repeated_rows():
    values = np.random.default_rng(0).normal(size=50)
    bootstrap = Bootstrap(50, replicas=3)
    repeated = [np.repeat(values, counts) for counts in bootstrap.counts]
    assert bootstrap.means(values, np.arange(50)) == pytest.approx([each.mean() for each in repeated])
    found = bootstrap.quantiles(values, np.arange(50), np.array([0.2, 0.5]))
    wanted = [np.quantile(each, [0.2, 0.5], method="inverted_cdf") for each in repeated]
    np.testing.assert_allclose(found, wanted)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """AUC of two Gaussians one sigma apart: 0.76025; 80 experiments, so 55 +- 4 intervals should hold it."""
    covered, width, areas = 0, [], []
    for seed in range(80):
        signal, score = sample(seed, 300)
        bootstrap = Bootstrap(300, 60, seed)
        low, high = bootstrap.interval(bootstrap.areas(signal, score, np.arange(300), np.zeros(0))[0])
        covered += low < 0.76025 < high
        width.append((high - low) / 2)
        areas.append(metrics.roc(signal, score).auc)
    assert 43 <= covered <= 66
    assert np.mean(width) == pytest.approx(np.std(areas), rel=0.2)


def test_rejection_interval_is_that_of_repeated_experiments():
    found, intervals = [], []
    for seed in range(50):
        signal, score = sample(seed, 1000)
        found.append(1 / metrics.roc(signal, score).at(0.5))
        bootstrap = Bootstrap(1000, 40, seed)
        at = bootstrap.areas(signal, score, np.arange(1000), np.array([0.5]))[1]
        intervals.append(bootstrap.rejection_interval(at[:, 0]))
    half = np.mean([(i["high"] - i["low"]) / 2 for i in intervals])
    assert half == pytest.approx(np.std(found), rel=0.35)


def test_tokens_of_one_example_are_drawn_together():
    """100 examples of 50 equal tokens are 100 measurements, not 5,000."""
    rows = np.repeat(np.arange(100), 50)
    hits = np.repeat(np.random.default_rng(0).random(100) < 0.5, 50)
    together = Bootstrap(100, 300).means(hits, rows).std()
    apart = Bootstrap(5000, 300).means(hits, np.arange(5000)).std()
    assert together == pytest.approx(0.05, rel=0.2)
    assert apart == pytest.approx(0.05 / np.sqrt(50), rel=0.2)


def test_replicas_depend_on_seed_and_row_alone():
    signal, score = sample()
    one = Bootstrap(400, 20, 5).areas(signal, score, np.arange(400), np.zeros(0))[0]
    np.testing.assert_array_equal(one, Bootstrap(400, 20, 5).areas(signal, score, np.arange(400), np.zeros(0))[0])
    assert not np.array_equal(one, Bootstrap(400, 20, 6).areas(signal, score, np.arange(400), np.zeros(0))[0])
    shuffled = np.random.default_rng(0).permutation(400)
    again = Bootstrap(400, 20, 5).areas(signal[shuffled], score[shuffled], shuffled, np.zeros(0))[0]
    np.testing.assert_allclose(again, one)


def test_no_replicas_give_no_interval_and_a_replica_without_signal_no_figure():
    signal, score = sample()
    none = Bootstrap(400, 0)
    assert none.interval(none.areas(signal, score, np.arange(400), np.zeros(0))[0]) is None
    curves = replica_curves(np.array([True, False]), np.array([0.1, 0.2]), np.array([[0.0, 1.0]]))
    area, at = curves.summary(np.array([0.5]))
    assert np.isnan(area).all()
    assert np.isnan(at).all()


def test_no_background_left_has_no_upper_limit():
    assert Bootstrap(10, 10).rejection_interval(np.array([0.0, 0.0, 0.0, 0.1]))["high"] is None


@pytest.mark.parametrize("classes", [3, 5])
def test_one_against_one_is_that_of_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    labels, scores = rng.integers(0, classes, 500), rng.dirichlet(np.ones(classes), 500)
    scores[np.arange(500), labels] += 0.3
    scores /= scores.sum(axis=1, keepdims=True)
    names = [f"c{i}" for i in range(classes)]
    found, interval = one_vs_one(labels, scores, names, np.arange(500), Bootstrap(500, 50))
    assert found["auc_ovo"] == pytest.approx(roc_auc_score(labels, scores, multi_class="ovo", average="macro"))
    assert len(found["auc_ovo_pairs"]) == classes * (classes - 1) // 2
    assert interval[0] < found["auc_ovo"] < interval[1]
    some = one_vs_one(np.where(labels == 0, -1, labels), scores, names, np.arange(500), Bootstrap(500, 0))[0]
    assert all(pair["first"] != "c0" for pair in some["auc_ovo_pairs"])


def test_a_stated_pair_is_judged_on_its_two_classes_alone():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 3, 900), rng.dirichlet(np.ones(3), 900)
    names = ["b", "c", "light"]
    found = pair_figures(labels, scores, names, ("b", "light"), (0.5,), np.arange(900), Bootstrap(900, 50))
    used = labels != 1
    ratio = scores[used, 0] / (scores[used, 0] + scores[used, 2])
    assert found["auc"] == pytest.approx(roc_auc_score(labels[used] == 0, ratio))
    assert found["examples"] == used.sum()
    assert found["low"] < found["auc"] < found["high"]
    lone = pair_figures(np.zeros(9, int), scores[:9], names, ("b", "c"), (0.5,), np.arange(9), Bootstrap(9, 5))
    assert lone["auc"] is None


def test_pairs_are_every_signal_with_every_background():
    names = ("b", "c", "light")
    assert stated_pairs(["b"], [], names) == [("b", "c"), ("b", "light")]
    assert stated_pairs(["b", "c"], ["light"], names) == [("b", "light"), ("c", "light")]
    assert stated_pairs([], [], names) == []
    with pytest.raises(ConfigError, match="did you mean 'light'"):
        stated_pairs(["b"], ["lihgt"], names)
    with pytest.raises(ConfigError, match=r"cfg\.signal names no class"):
        stated_pairs([], ["light"], names)
