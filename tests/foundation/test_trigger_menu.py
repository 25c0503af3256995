"""Menus: seeds as expressions or as bits, and pure rates that add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foundation.errors import ConfigError, DataError
from foundation.trigger.beam import Beam
from foundation.trigger.menu import MenuConfig, fired, menu_rates, nothing_left
from foundation.trigger.rates import rate_khz

BEAM = Beam()
MENU = MenuConfig({"ht": "ht >= 280", "dijet": "(jet_pt_1 >= 50) & (jet_pt_2 >= 40)"})


@given(arrays(np.bool_, st.tuples(st.integers(5, 60), st.integers(1, 5))), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_rates_add_up(taken, seed):
    weights = np.random.default_rng(seed).uniform(0.5, 2, len(taken))
    names = [f"seed{i}" for i in range(taken.shape[1])]
    found = menu_rates(names, taken, weights, BEAM)
    several = rate_khz(taken.sum(axis=1) > 1, weights, BEAM).khz
    assert found.total.khz == pytest.approx(sum(s.pure.khz for s in found.seeds) + several)
    assert all(s.pure.khz <= s.total.khz <= found.total.khz * (1 + 1e-12) for s in found.seeds)
    for i in range(len(names)):  # what a seed adds to the others is its pure rate
        without = rate_khz(np.delete(taken, i, axis=1).any(axis=1), weights, BEAM).khz
        assert found.total.khz - without == pytest.approx(found.seeds[i].pure.khz, abs=1e-6)


def test_seeds_are_conditions_over_columns():
    columns = {"ht": np.asarray([300.0, 100, 280]), "jet_pt_1": np.asarray([60.0, 60, 10]),
               "jet_pt_2": np.asarray([39.5, 40, 10])}  # fmt: skip
    np.testing.assert_array_equal(fired(MENU, columns), [[True, False], [False, True], [True, False]])
    assert MENU.columns() == ["ht", "jet_pt_1", "jet_pt_2"]


@pytest.mark.parametrize(
    ("menu", "error", "message"),
    [
        (MenuConfig({"a": "htt > 3"}), ConfigError, "'htt'.*did you mean 'ht'"),
        (MenuConfig({"a": "ht + 1"}), ConfigError, "'a' gives float64"),
        (MenuConfig({"a": "__import__('os')"}), ConfigError, "menu seed 'a'"),
        (MenuConfig({"a": "met > 1"}), DataError, "'met', which is NaN in 1 of 2"),
        (MenuConfig({"a": "ht > 1"}, {"a": 3}), ConfigError, "same name"),
        (MenuConfig(bits={"b": 40}), ConfigError, "algorithm_bits_1"),
    ],
)
def test_what_is_no_menu_is_refused(menu, error, message):
    with pytest.raises(error, match=message):
        fired(menu, {"ht": np.asarray([1.0, 2]), "met": np.asarray([1.0, np.nan])})


def test_bits_of_words():
    words = {"algorithm_bits_0": np.asarray([1.0, 2**31, 0]), "algorithm_bits_1": np.asarray([0.0, 2, 2**32 - 1])}
    menu = MenuConfig(bits={"first": 0, "last": 31, "second": 33})
    np.testing.assert_array_equal(fired(menu, words), [[True, False, False], [False, True, True], [False, False, True]])


def test_a_menu_that_takes_everything_leaves_nothing_and_says_so():
    taken = np.ones((50, 2), bool)
    taken[:, 1] = np.arange(50) < 7
    text = menu_rates(["final_or", "other"], taken, None, BEAM).nothing_left
    assert "zero by construction" in text
    assert "final_or alone" in text
    taken[:, 0] = ~taken[:, 1]
    assert "alone" not in nothing_left(["a", "b"], taken)
    assert nothing_left(["a", "b"], taken)
    assert not nothing_left(["b"], taken[:, 1:])
