"""Efficiency, separation, gain over a menu, stability, dependence on energy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, spearmanr

from foundation.errors import DataError
from foundation.metrics import ONE_SIGMA
from foundation.trigger.beam import Beam
from foundation.trigger.dependence import dependence, partial_correlation
from foundation.trigger.efficiency import efficiency, efficiency_at, kept, separation
from foundation.trigger.gain import gains
from foundation.trigger.rates import thresholds
from foundation.trigger.stability import in_bins, stability

BEAM = Beam(bunches=1000, orbit_hz=10_000.0)  # 10,000 kHz


@given(st.integers(1, 60), st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_clopper_and_pearson_cover(n, truth):
    inside = np.asarray([e.low <= truth <= e.high for e in (efficiency(np.arange(n) < k) for k in range(n + 1))])
    assert binom.pmf(np.arange(n + 1)[inside], n, truth).sum() >= ONE_SIGMA - 1e-12


def test_efficiencies_by_hand():
    scores = np.asarray([1, 2, 3, 4])
    assert efficiency_at(scores, 3).value == 0.5
    assert efficiency_at(scores, np.inf).value == 0
    all_pass = efficiency_at(scores, 0)
    assert (all_pass.value, all_pass.high) == (1.0, 1.0)
    assert all_pass.low == pytest.approx(((1 - ONE_SIGMA) / 2) ** 0.25)
    assert efficiency_at(scores, 3, np.asarray([1.0, 1, 1, 5])).value == pytest.approx(6 / 8)
    np.testing.assert_allclose(kept(scores, np.asarray([5, 4, 2.5, 0])), [0, 0.25, 0.5, 1])
    with pytest.raises(DataError, match="signal"):
        efficiency(np.zeros(0, bool))


def test_separation_of_what_is_known():
    rng = np.random.default_rng(0)
    signal, background = rng.normal(1, 1, 4000), rng.normal(0, 1, 40_000)
    found = separation(signal, background)
    assert found["auc"] == pytest.approx(0.7602, abs=4 * found["auc_error"])  # Phi(1 / sqrt 2)
    assert found["sic"] == pytest.approx(found["signal_efficiency"] / found["background_efficiency"] ** 0.5)
    assert found["background_efficiency"] * 40_000 >= 11  # not from the last few crossings
    perfect = separation(background + 100, background)
    assert (perfect["auc"], perfect["signal_efficiency"]) == (1.0, 1.0)
    assert perfect["sic"] == pytest.approx((40_000 / 12) ** 0.5)  # twelve crossings are enough for 30%, eleven are not
    assert separation(signal[:5], background[:5])["sic"] is None


def toy(seed=0, n=60_000, s=3000):
    rng = np.random.default_rng(seed)
    background, signal = rng.exponential(1, n), rng.exponential(2.5, s)
    return (background, None, rng.random(n) < 0.004), (signal, None, rng.random(s) < 0.2)


def test_gain_is_what_or_adds():
    background, signal = toy()
    cuts = thresholds(background[0], None, [10.0, 100.0], BEAM, background[2], pure=True)
    for cut, gain in zip(cuts, gains(cuts, background, signal, BEAM, 100)):
        together = (signal[2] | (signal[0] >= cut.value)).mean()
        assert gain.value == pytest.approx(together / signal[2].mean() - 1)
        assert (gain.menu, gain.together) == (pytest.approx(signal[2].mean()), pytest.approx(together))
        assert gain.low < gain.value < gain.high
    looser = gains(cuts, background, signal, BEAM, 0)
    assert looser[1].value > looser[0].value >= 0
    assert looser[0].low is None


def test_the_interval_of_a_gain_covers_the_expected_one():
    expected, inside = [], []
    for seed in range(60):
        background, signal = toy(seed, 20_000, 800)
        cut = thresholds(background[0], None, [60.0], BEAM, background[2], pure=True)
        expected.append(gains(cut, background, signal, BEAM, 60, seed)[0])
    truth = np.mean([g.value for g in expected])
    inside = np.mean([g.low <= truth <= g.high for g in expected])
    assert 0.5 < inside < 0.9  # 68% of so few replicas and toys, whose cut lies between two crossings


def test_no_gain_over_nothing():
    background, (scores, weights, taken) = toy()
    cuts = thresholds(background[0], None, [100.0], BEAM, background[2], pure=True)
    gain = gains(cuts, background, (scores, weights, np.zeros_like(taken)), BEAM, 20)[0]
    assert gain.value is None
    assert "no signal" in gain.reason


def test_a_constant_rate_is_called_constant_and_a_drift_is_seen():
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 4, 40_000)
    flat = rng.random(40_000) < 0.01
    drift = rng.random(40_000) < np.asarray([0.005, 0.008, 0.012, 0.02])[groups]
    names = ["2021", "2022", "2023", "2024"]
    found = stability(flat, None, groups, names, BEAM)
    assert (found.degrees, found.reason) == (3, "")
    assert 0.01 < found.p_value < 0.99
    assert stability(drift, None, groups, names, BEAM).p_value < 1e-10
    assert [r.khz for r in found.rates] == pytest.approx([1e4 * flat[groups == g].mean() for g in range(4)])
    scaled = stability(flat, np.full(40_000, 3.0), groups, names, BEAM)
    assert (scaled.chi2, scaled.p_value) == (pytest.approx(found.chi2), pytest.approx(found.p_value))


def test_p_values_of_few_crossings_are_those_of_toys():
    rng = np.random.default_rng(4)
    found = []
    for _ in range(60):
        groups, passed = rng.integers(0, 5, 500), rng.random(500) < 0.02
        found.append(stability(passed, None, groups, list("abcde"), BEAM))
    assert all("toys" in f.reason or f.p_value is None for f in found)
    assert 0.35 < np.mean([f.p_value for f in found]) < 0.75  # uniform, but for the steps of whole counts


def test_chi2_by_hand_and_empty_groups():
    groups = np.repeat([0, 2], [100, 300])
    passed = np.isin(np.arange(400), [*range(15), *range(100, 125)])  # 15 of 100 and 25 of 300: 10 and 30 expected
    found = stability(passed, None, groups, ["a", "b", "c"], BEAM)
    assert (found.names, found.crossings) == (("a", "c"), (100, 300))
    assert found.chi2 == pytest.approx(25 / 10 + 25 / 30)
    assert stability(passed, None, np.zeros(400, int), ["a"], BEAM).p_value is None
    assert stability(np.zeros(400, bool), None, groups, list("abc"), BEAM).reason == "no crossing passes"
    with pytest.raises(DataError, match="groups a"):
        stability(passed, None, np.full(400, -1), ["a"], BEAM)


def test_groups_of_a_quantity():
    values = np.asarray([3.0, 1, 3, np.nan])
    assert in_bins(values)[0].tolist() == [1, 0, 1, -1]
    assert in_bins(values)[1] == ("1", "3")
    many = np.arange(600.0)
    place, names = in_bins(many)
    assert len(names) == 6
    assert np.bincount(place).tolist() == [100] * 6
    assert in_bins(many, [0.0, 300.0, 400.0])[1] == ("0 to 300", "300 to 400")


@given(st.integers(0, 20))
@settings(max_examples=15, deadline=None)
def test_a_score_of_energy_and_noise_alone_has_nothing_left_beside_energy(seed):
    rng = np.random.default_rng(seed)
    ht = rng.exponential(30, 4000)
    multiplicity = 0.2 * ht + rng.normal(0, 3, 4000)
    score = 2 * ht + rng.normal(0, 20, 4000)
    plain = partial_correlation(score, multiplicity, np.zeros((4000, 0)))
    assert plain.value > 0.5
    left = partial_correlation(score, multiplicity, ht[:, None])
    assert abs(left.value) < 4.5 / 4000**0.5
    assert left.low < left.value < left.high
    independent = score + 30 * (multiplicity - 0.2 * ht)  # now it measures something else, too
    assert partial_correlation(independent, multiplicity, ht[:, None]).value > 0.5


def test_correlations_that_are_known():
    rng = np.random.default_rng(1)
    x, y, z = rng.normal(size=(3, 3000))
    y = y + 0.5 * x
    r = {(a, b): np.corrcoef(p, q)[0, 1] for a, p in zip("xyz", (x, y, z)) for b, q in zip("xyz", (x, y, z))}
    by_hand = (r["x", "y"] - r["x", "z"] * r["y", "z"]) / np.sqrt((1 - r["x", "z"] ** 2) * (1 - r["y", "z"] ** 2))
    assert partial_correlation(x, y, z[:, None]).value == pytest.approx(by_hand)
    none = np.zeros((3000, 0))
    assert partial_correlation(np.exp(x), y, none, "spearman").value == pytest.approx(spearmanr(x, y).statistic)
    assert partial_correlation(x, y, none, "pearson", np.ones(3000)).value == pytest.approx(r["x", "y"])
    twice = partial_correlation(np.repeat(x, 2), np.repeat(y, 2), np.zeros((6000, 0)), "spearman")
    weighted = partial_correlation(x, y, none, "spearman", np.full(3000, 2.0))
    assert twice.value == pytest.approx(weighted.value)


def test_no_correlation_where_nothing_varies():
    x = np.arange(50.0)
    constant = partial_correlation(x, np.ones(50), np.zeros((50, 0)))
    assert constant.value is None
    assert constant.reason == "the second quantity does not vary"
    assert "function of what is held fixed" in partial_correlation(x, x**2, 3 * x[:, None]).reason
    with pytest.raises(DataError, match="crossings"):
        partial_correlation(x[:3], x[:3], np.zeros((3, 0)))
    records = dependence(x, {"ht": x, "npu": np.ones(50)})
    assert records[0]["pearson"] == pytest.approx(1)
    assert records[1]["partial_spearman"] is None
