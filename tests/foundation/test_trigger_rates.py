"""Rates in kHz: exact Poisson intervals, thresholds that never give more than was asked for, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import poisson

from foundation.errors import ConfigError, DataError
from foundation.metrics import ONE_SIGMA
from foundation.trigger.beam import Beam
from foundation.trigger.rates import crossings_needed, poisson_interval, rate_khz, thresholds

BEAM = Beam(bunches=1000, orbit_hz=10_000.0)  # 10,000 kHz
LARGE = st.integers(min_value=20, max_value=200)
SCORES = LARGE.flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(-5, 40)),  # ties, as of hardware
        arrays(np.float64, n, elements=st.floats(0.1, 9.0)),
        arrays(np.bool_, n),
    )
)


def test_the_crossing_rate_of_the_lhc():
    assert Beam().crossing_rate_khz == pytest.approx(28_112.5)
    for beam in (Beam(bunches=0), Beam(bunches=3565), Beam(orbit_hz=0.0)):
        with pytest.raises(ConfigError, match="bunches"):
            beam.check()


def test_intervals_of_garwood():
    low, high = poisson_interval(3)  # PDG table 40.3 and its kin: 1.37, 5.92
    assert (low, high) == (pytest.approx(1.367, abs=1e-3), pytest.approx(5.918, abs=1e-3))
    assert poisson_interval(0) == (0.0, pytest.approx(1.841, abs=1e-3))
    assert poisson.sf(2, low) == pytest.approx((1 - ONE_SIGMA) / 2)  # 3 or more
    assert poisson.cdf(3, high) == pytest.approx((1 - ONE_SIGMA) / 2)


@pytest.mark.parametrize("mean", [0.3, 1.0, 2.6, 11.0, 60.0])
def test_the_interval_covers_the_truth_at_least_as_often_as_it_says(mean):
    counts = np.arange(200)
    inside = [low <= mean <= high for low, high in map(poisson_interval, counts.tolist())]
    assert poisson.pmf(counts[inside], mean).sum() >= ONE_SIGMA  # exact: summed over all counts, no toys


def test_coverage_of_a_rate_on_toys():
    rng, truth, n = np.random.default_rng(1), 15.0, 4000
    rates = [rate_khz(rng.random(n) < truth / 10_000, None, BEAM) for _ in range(600)]
    covered = np.mean([r.low <= truth <= r.high for r in rates])
    assert ONE_SIGMA - 0.06 < covered < 0.85  # conservative, for counts are whole
    assert np.mean([r.khz for r in rates]) == pytest.approx(truth, rel=0.05)


def test_a_rate_by_hand():
    found = rate_khz(np.arange(1000) < 4, None, BEAM)
    low, high = poisson_interval(4)
    assert (found.khz, found.crossings) == (pytest.approx(40.0), 4)
    assert (found.low, found.high) == (pytest.approx(10 * low), pytest.approx(10 * high))
    none = rate_khz(np.zeros(1000, bool), None, BEAM)
    assert (none.khz, none.low, none.high) == (0.0, 0.0, pytest.approx(10 * 1.841, rel=1e-3))
    weights = np.where(np.arange(1000) < 4, [1.0, 2.0, 3.0, 2.0] * 250, 0.5)
    weighted = rate_khz(np.arange(1000) < 4, weights, BEAM)
    assert weighted.khz == pytest.approx(10_000 * 8 / (8 + 996 / 2))
    assert weighted.crossings == pytest.approx(64 / 18)


@given(SCORES, st.lists(st.floats(1.0, 9_900.0), min_size=2, max_size=6))
@settings(max_examples=80, deadline=None)
def test_thresholds_never_give_more_and_fall_as_the_rate_rises(sample, rates):
    scores, weights, fired = sample
    for pure in (False, True):
        found = thresholds(scores, weights, sorted(rates), BEAM, fired, pure)
        values = [t.value for t in found]
        assert values == sorted(values, reverse=True)
        for t in found:
            passed = (scores >= t.value) & ~(fired & pure)
            assert t.achieved_khz <= t.rate_khz * (1 + 1e-8)
            assert rate_khz(passed, weights, BEAM).khz == pytest.approx(t.achieved_khz)
            assert t.low_khz <= t.achieved_khz <= t.high_khz
            looser = scores[(scores < t.value) & ~(fired & pure)]
            if len(looser):  # the loosest: the next distinct score would give too much
                more = (scores >= looser.max()) & ~(fired & pure)
                assert rate_khz(more, weights, BEAM).khz > t.rate_khz * (1 - 1e-8)


@given(SCORES)
@settings(max_examples=40, deadline=None)
def test_weights_of_one_change_nothing_and_halves_of_a_row_neither(sample):
    scores, weights, _ = sample
    asked = [30.0, 700.0, 5000.0]
    assert thresholds(scores, None, asked, BEAM) == thresholds(scores, np.ones(len(scores)), asked, BEAM)
    whole = thresholds(scores, weights, asked, BEAM)
    halves = thresholds(np.repeat(scores, 2), np.repeat(weights / 2, 2), asked, BEAM)
    scaled = thresholds(scores, 7 * weights, asked, BEAM)
    for t, h, s in zip(whole, halves, scaled):
        assert (t.value, t.achieved_khz) == (h.value, pytest.approx(h.achieved_khz))
        assert (t.value, t.low_khz, t.high_khz) == (s.value, pytest.approx(s.low_khz), pytest.approx(s.high_khz))


def test_a_threshold_by_hand_with_ties():
    scores = np.asarray([9] * 3 + [7] * 30 + [4] * 967)  # each crossing is 10 kHz
    cuts = thresholds(scores, None, [20.0, 30.0, 329.0, 330.0, 9_999.0], BEAM)
    assert [t.value for t in cuts] == [math.inf, 9, 9, 7, 7]
    assert [t.achieved_khz for t in cuts] == pytest.approx([0, 30, 30, 330, 330])
    assert [t.measured for t in cuts] == [False, False, False, True, True]
    assert "330 kHz" in cuts[2].reason
    assert "gives 330 kHz: the next lower score is shared: 1e+04 kHz" in cuts[4].reason
    assert cuts[0].record()["value"] is None  # JSON has no infinity


def test_pure_counts_what_the_menu_leaves():
    scores, fired = np.arange(1000), np.arange(1000) % 2 == 0  # the menu takes every other crossing
    total, pure = (thresholds(scores, None, [200.0], BEAM, fired, p)[0] for p in (False, True))
    assert (total.value, pure.value) == (980, 961)
    with pytest.raises(ConfigError, match="menu"):
        thresholds(scores, None, [200.0], BEAM, pure=True)


def test_one_khz_from_two_thousand_crossings_is_refused():
    scores = np.random.default_rng(0).normal(size=2000)
    refused, measured = thresholds(scores, None, [1.0, 200.0], Beam())
    assert not refused.measured
    assert refused.low_khz == 0
    assert refused.high_khz == pytest.approx(25.9, abs=0.1)  # so much could it be, and more
    assert "not measured" in refused.reason
    assert "312,362" in refused.reason
    assert measured.measured
    assert measured.reason == ""
    assert crossings_needed(1.0, Beam()) == 312_362 == math.ceil(28_112.5 / 0.09)
    assert crossings_needed(10.0, Beam(), 0.1) == 281_125


def test_the_number_needed_is_the_number_that_is_measured():
    needed = crossings_needed(50.0, BEAM)
    for rows, measured in ((needed + 200, True), (needed - 200, False)):
        assert thresholds(np.arange(rows), None, [50.0], BEAM)[0].measured is measured


def test_few_heavy_crossings_are_not_many():
    weights = np.where(np.arange(1000) >= 990, 100.0, 1.0)  # the ten highest scores hold half of the weight
    cut = thresholds(np.arange(1000), weights, [5100.0], BEAM)[0]
    assert not cut.measured
    assert cut.crossings == pytest.approx(1014**2 / (10 * 100**2 + 14))


def test_refusals():
    with pytest.raises(DataError, match="2 of 3 scores are NaN"):
        thresholds(np.asarray([1.0, np.nan, np.inf]), None, [1.0], BEAM)
    with pytest.raises(DataError, match="negative"):
        thresholds(np.arange(3), np.asarray([1.0, -1.0, 1.0]), [1.0], BEAM)
    with pytest.raises(DataError, match="none has a weight"):
        rate_khz(np.zeros(0, bool), None, BEAM)
    for rate in (0.0, 10_000.0):
        with pytest.raises(ConfigError, match="kHz"):
            thresholds(np.arange(3), None, [rate], BEAM)


def test_enriched_zero_bias_measures_what_as_many_plain_crossings_cannot():
    rng = np.random.default_rng(5)
    parts = (rng.exponential(1, 2000), rng.exponential(4, 2000))  # what happens, and a harder sample beside it
    scores = np.concatenate(parts)
    weights = np.exp(-scores) / (
        0.5 * np.exp(-scores) + 0.125 * np.exp(-scores / 4)
    )  # density over that of the mixture
    for rate in (1.0, 10.0, 100.0):
        cut = thresholds(scores, weights, [rate], BEAM)[0]
        assert cut.measured
        truth = 10_000 * math.exp(-cut.value)
        spread = (cut.high_khz - cut.low_khz) / 2
        assert abs(truth - cut.achieved_khz) < 4 * spread
        assert spread < 0.3 * rate
        assert not thresholds(parts[0], None, [rate], BEAM)[0].measured or rate == 100.0
