"""How a teacher's score is transformed, weighed and paired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_to_fpga.anomaly.pairing import paired_rows
from distill_to_fpga.anomaly.transform import ZERO, ScoreTransform, tail_weights
from distill_to_fpga.config import ScoreConfig
from foundation.command import load_config, to_dict
from foundation.errors import ConfigError, DataError
from foundation.store import Store

KINDS = ["normal", "log", "none"]


def heavy_tailed(count: int = 4000, seed: int = 0) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(0, 1.5, count))


@pytest.mark.parametrize("kind", KINDS)
def test_the_transform_rises_and_is_undone_even_beyond_the_training_set(kind):
    train = heavy_tailed()
    made = ScoreTransform.of(train, kind)
    scores = np.sort(np.concatenate([train, [train.min() / 3, train.max() * 2, train.max() * 50]]))
    values = made.apply(scores)
    assert np.isfinite(values).all()
    assert (np.diff(values) >= 0).all()
    assert len(np.unique(values)) == len(np.unique(scores))
    np.testing.assert_allclose(made.undo(values), scores, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_mean_and_deviation(kind):
    values = ScoreTransform.of(heavy_tailed(), kind).apply(heavy_tailed())
    assert values.mean() == pytest.approx(ZERO, abs=0.02)
    assert values.std() == pytest.approx(1, abs=0.02)


def test_ranks_become_normal():
    values = ScoreTransform.of(heavy_tailed(), "normal").apply(heavy_tailed(seed=1)) - ZERO
    for quantile, expected in ((0.1587, -1), (0.5, 0), (0.8413, 1), (0.9772, 2)):
        assert np.quantile(values, quantile) == pytest.approx(expected, abs=0.1)


def test_a_rank_transform_does_not_care_how_the_score_is_scaled():
    train, test = heavy_tailed(), heavy_tailed(500, 3)
    one = ScoreTransform.of(train, "normal").apply(test)
    other = ScoreTransform.of(np.log(train), "normal").apply(np.log(test))
    inside = (test > np.quantile(train, 0.001)) & (test < np.quantile(train, 0.999))
    np.testing.assert_allclose(one[inside], other[inside], atol=0.03)


def test_ties_and_integers():
    scores = np.random.default_rng(0).integers(0, 12, 3000).astype(float)
    made = ScoreTransform.of(scores, "normal")
    values = made.apply(np.arange(12.0))
    assert (np.diff(values) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_it_reloads(kind):
    made = ScoreTransform.of(heavy_tailed(200), kind)
    assert load_config(ScoreTransform, to_dict(made)) == made


def test_scores_that_cannot_be_transformed():
    with pytest.raises(DataError, match="1 of 3 are no numbers"):
        ScoreTransform.of(np.array([1.0, np.nan, 2.0]), "normal")
    with pytest.raises(DataError, match="or all are equal"):
        ScoreTransform.of(np.ones(5), "normal")
    with pytest.raises(DataError, match=r"go down to -3; use normal"):
        ScoreTransform.of(np.array([-3.0, 1.0, 2.0]), "log")


@given(power=st.floats(0, 1), cap=st.floats(1, 100), seed=st.integers(0, 99))
def test_the_tail_weighs_more_up_to_the_cap(power, cap, seed):
    values = np.random.default_rng(seed).normal(ZERO, 1, 3000)
    weights = tail_weights(values, ScoreConfig(tail_power=power, tail_cap=cap))
    assert weights.mean() == pytest.approx(1, rel=1e-4)
    assert weights.max() <= weights.min() * cap * 1.001
    low, high = weights[values < ZERO - 1].max(), weights[values > ZERO + 2.5].mean()
    assert high >= low * 0.999


def test_full_power_gives_every_interval_of_the_score_the_same_say():
    values = np.random.default_rng(0).normal(ZERO, 1, 200_000)
    weights = tail_weights(values, ScoreConfig(tail_power=1.0, tail_cap=1e6))
    sums = [weights[(values >= low) & (values < low + 0.5)].sum() for low in ZERO + np.array([0.5, 1.0, 1.5, 2.0, 2.5])]
    assert max(sums) < 1.2 * min(sums)
    flat = tail_weights(values, ScoreConfig(tail_power=0.0))
    assert np.ptp(flat) == 0


OUT_OF_RANGE: list[dict[str, Any]] = [{"tail_power": 2.0}, {"tail_cap": 0.5}, {"mixed": -1.0}, {"stretch": 0.5}]


@pytest.mark.parametrize("wrong", OUT_OF_RANGE)
def test_settings_out_of_range(wrong):
    with pytest.raises(ConfigError, match=r"score\."):
        ScoreConfig(**wrong).check()


class Columns(Store):
    """A store that has nothing but observers."""

    def observer(self, split: str, name: str) -> np.ndarray:
        return np.asarray(self.manifest[name])


def columns(name: str, **observers: Any) -> Columns:
    return Columns(Path(name), observers)


def pairs(one: Columns, other: Columns, *key: str) -> list[tuple[int, int]]:
    return list(zip(*(rows.tolist() for rows in paired_rows(one, other, "train", key))))


def test_rows_are_paired_by_all_of_the_key_in_the_teachers_order():
    one = columns("one", run=[1, 1, 2, 2], event=[7, 5, 5, 9])
    other = columns("other", run=[2, 1, 1, 3], event=[5, 5, 7, 9])
    assert pairs(one, other, "run", "event") == [(0, 2), (1, 1), (2, 0)]


def test_keys_that_do_not_name_one_crossing():
    twice = columns("twice", event=[3, 4, 3])
    with pytest.raises(DataError, match=r"twice: 1 values of \['event'\] occur in several rows"):
        pairs(columns("one", event=[3]), twice, "event")
    with pytest.raises(DataError, match="no crossing of 'train' is in both one and other"):
        pairs(columns("one", event=[3]), columns("other", event=[4]), "event")
    with pytest.raises(DataError, match="is no number in 1 rows"):
        pairs(columns("one", event=[3.0, np.nan]), columns("other", event=[4.0]), "event")
    big = columns("big", event=np.array([2**60 + 1]))
    with pytest.raises(DataError, match=r"beyond 2\^53"):
        pairs(big, big, "event")
