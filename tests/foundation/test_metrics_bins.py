"""Mass sculpting, dependence on quantities, response in bins, distances of samples: closed forms and limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from foundation.metrics_bins import bin_edges, place_in, quantile_coverage, response_in_bins, tagging_in_bins
from foundation.metrics_mass import jensen_shannon, sculpting
from foundation.metrics_shift import cloud_shift, distances, frechet


@given(st.lists(st.integers(0, 50), min_size=3, max_size=8).filter(any), st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_divergence_is_zero_of_equal_shapes_symmetric_and_at_most_one_bit(counts, factor):
    p, q = np.array(counts), np.array(counts[::-1])
    assert jensen_shannon(p, factor * p) == pytest.approx(0, abs=1e-12)
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p))
    assert -1e-12 <= jensen_shannon(p, q) <= 1 + 1e-12


def test_divergence_in_closed_form():
    assert jensen_shannon(np.array([1, 0]), np.array([0, 1])) == pytest.approx(1)
    # p = (1, 0), q = (1/2, 1/2), m = (3/4, 1/4)
    assert jensen_shannon(np.array([2, 0]), np.array([1, 1])) == pytest.approx(
        (np.log2(4 / 3) + 0.5 * np.log2(2 / 3) + 0.5) / 2
    )


def test_a_score_that_is_the_mass_sculpts_and_one_that_is_not_does_not():
    rng = np.random.default_rng(0)
    signal = np.repeat([True, False], [2000, 8000])
    mass = np.where(signal, rng.normal(172, 15, 10_000), rng.exponential(60, 10_000))
    near = sculpting(mass, signal, -np.abs(mass - 172), (0.5,)).records[0]
    blind = sculpting(mass, signal, rng.normal(1.5 * signal, 1), (0.5,)).records[0]
    assert near["jsd"] > 10 * near["jsd_of_statistics"]
    assert blind["jsd"] < 2 * blind["jsd_of_statistics"]
    assert blind["inverse_jsd"] == pytest.approx(1 / blind["jsd"])
    found = sculpting(mass, signal, rng.normal(1.5 * signal, 1), (0.5,))
    assert found.inclusive.sum() == 8000
    assert found.passing[0.5].sum() == found.records[0]["background"] == pytest.approx(8000 * norm.sf(1.5), rel=0.2)


def test_sculpting_that_cannot_be_measured_is_none():
    signal = np.repeat([True, False], [50, 500])
    mass = np.linspace(0, 100, 550)
    assert sculpting(np.full(550, 3.0), signal, mass, (0.5,)) is None
    assert sculpting(np.where(signal, mass, np.nan), signal, mass, (0.5,)) is None
    apart = sculpting(mass, signal, signal.astype(float), (0.5,)).records[0]
    assert (apart["background"], apart["jsd"]) == (0, None)


def test_efficiency_in_bins_is_that_of_the_same_cut_everywhere():
    rng = np.random.default_rng(1)
    n = 60_000
    signal, pt = rng.random(n) < 0.5, rng.uniform(0, 3, n)
    score = rng.normal(signal * pt, 1)  # separates better at high pt
    records = tagging_in_bins(pt, signal, score, np.array([0.0, 1.0, 2.0, 3.0]), 0.1)
    cut = norm.isf(0.1)
    for record, middle in zip(records, (0.5, 1.5, 2.5)):
        assert record["background_efficiency"] == pytest.approx(0.1, abs=4 * record["background_efficiency_error"])
        low, high = (norm.cdf(x - cut) for x in (middle - 0.5, middle + 0.5))
        assert low < record["signal_efficiency"] < high
        assert record["auc"] == pytest.approx(norm.cdf(middle / np.sqrt(2)), abs=0.02)
    assert sum(r["signal"] + r["background"] for r in records) == n


def test_a_bin_without_one_kind_has_no_figure():
    signal = np.array([True, True, False, False])
    records = tagging_in_bins(np.array([0.0, 0.5, 0.5, 0.7]), signal, np.arange(4.0), np.array([0.0, 1.0, 2.0]), 0.5)
    assert records[1]["auc"] is records[1]["signal_efficiency"] is None
    assert records[0]["signal"] == 2


def test_edges_are_given_or_of_equal_content_and_the_last_one_counts():
    values = np.arange(601.0)
    edges = bin_edges(values)
    np.testing.assert_array_equal(np.bincount(place_in(values, edges)), [100] * 5 + [101])
    assert len(bin_edges(np.full(9, 2.0))) == len(bin_edges(np.full(3, np.nan))) == 0
    np.testing.assert_array_equal(bin_edges(values, [0, 5]), [0, 5])
    np.testing.assert_array_equal(place_in(np.array([-1.0, 5.0, 6.0, np.nan]), np.array([0.0, 5.0])), [-1, 0, -1, -1])


def test_response_and_its_errors_in_bins_are_those_of_the_toy():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(60):
        true = rng.uniform(20, 200, 900)
        width = np.where(true < 110, 0.2, 0.1)
        found.append(response_in_bins(true, true, true * rng.normal(1.02, width), np.array([20.0, 110.0, 200.0])))
    for i, width in enumerate((0.2, 0.1)):
        for key, value in (("response", 1.02), ("resolution", width)):
            measured = np.array([each[i][key] for each in found])
            assert measured.mean() == pytest.approx(value, rel=0.02)
            assert np.mean([each[i][f"{key}_error"] for each in found]) == pytest.approx(measured.std(), rel=0.3)
    assert response_in_bins(np.ones(3), np.ones(3), np.ones(3), np.array([0.0, 2.0]))[0]["response"] is None


def test_true_quantiles_are_covered_as_often_as_they_say():
    true = np.random.default_rng(3).normal(size=20_000)
    true[0] = np.nan
    records = quantile_coverage(true, {q: np.full(20_000, norm.ppf(q)) for q in (0.84, 0.16)})
    assert [r["level"] for r in records] == [0.16, 0.84]
    for record in records:
        assert record["covered"] == pytest.approx(record["level"], abs=4 * record["error"])


def test_distances_in_closed_form():
    x = np.random.default_rng(4).normal(3, 2, 40_000)
    moved = distances(x, x + 1)
    assert moved["wasserstein"] == pytest.approx(0.5, abs=0.01)
    assert moved["mean_shift"] == pytest.approx(0.5, abs=0.01)
    assert moved["ks"] == pytest.approx(2 * norm.cdf(0.25) - 1, abs=0.01)
    assert distances(x, x) == {"ks": 0, "wasserstein": 0, "mean_shift": 0}
    assert distances(np.ones(5), np.ones(9)) == {"ks": 0, "wasserstein": 0, "mean_shift": 0}


def test_frechet_distance_of_gaussians_and_clouds_that_are_and_are_not_apart():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(40_000, 3)), rng.normal(size=(40_000, 3)) * [2, 1, 1] + [0, 1, 0]
    assert frechet(a, b) == pytest.approx((2 - 1) ** 2 + 1, rel=0.05)
    same = cloud_shift(a[:500], a[500:1000], permutations=20)
    assert same["domain_auc"] == pytest.approx(0.5, abs=0.06)
    assert same["p"] > 0.05
    assert same["frechet"] == pytest.approx(same["frechet_of_statistics"], abs=4 * same["frechet_spread"])
    apart = cloud_shift(a[:500], b[:500], permutations=20)
    assert apart["domain_auc"] > 0.7
    assert apart["p"] == pytest.approx(1 / 21)
    assert apart["frechet"] > apart["frechet_of_statistics"] + 5 * apart["frechet_spread"]
