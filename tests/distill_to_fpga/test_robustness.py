"""Disturbed inputs: physical, the same for all, and they cost what they should."""

from dataclasses import replace

import numpy as np
import pytest
from small_students import LAYOUT, jets, student

from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.objective import Examples
from distill_to_fpga.robustness import (
    disturbances,
    losses,
    noisy,
    outputs_of,
    piled_up,
    robustness,
    scaled,
    score_figures,
    tagger_figures,
)
from distill_to_fpga.students import StudentConfig, freeze
from foundation.errors import ConfigError
from foundation.evaluation_config import RobustnessConfig

X = jets(1500, seed=3)
CONFIG = RobustnessConfig()
SHAPE = StudentConfig(kind="mlp", tokens=4, hidden=(6,))


@pytest.fixture(scope="module")
def frozen():
    return freeze(student(SHAPE), jets(500))


def test_every_disturbance_stays_within_the_hardware_and_is_reproducible():
    first, again = (list(disturbances(X, LAYOUT, ["pt"], CONFIG)) for _ in range(2))
    assert [each.kind for each in first[:7]] == ["none", "noise", "noise", "pile-up", "pile-up", "scale", "scale"]
    assert len(first) == 7 + len(LAYOUT.features) + LAYOUT.tokens
    for one, other in zip(first, again):
        assert np.array_equal(one.integers, other.integers)
        assert one.integers.dtype == np.int32
        assert (one.integers >= LAYOUT.low).all()
        assert (one.integers <= LAYOUT.high).all()
        assert (one.kind == "none") == np.array_equal(one.integers, X)


def test_noise_has_its_size_and_leaves_empty_places_empty():
    wide = HardwareLayout("particles", 4, dict.fromkeys(("a", "b"), LAYOUT.features["pt"]), (0, 1))
    x = np.where(X[..., :1] > 0, 500, 0) + np.zeros(2, np.int32)
    moved = noisy(x, wide, 3.0, 0) - x
    there = x.any(-1)
    assert moved[there].std() == pytest.approx(np.sqrt(9 + 1 / 12), rel=0.03)
    assert abs(np.corrcoef(moved[there].T)[0, 1]) < 0.05
    assert not moved[~there].any()
    assert np.array_equal(noisy(x, wide, 0.0, 0), x)
    assert np.array_equal(noisy(X, LAYOUT, 9.0, 0)[..., 2], X[..., 2])  # a flag


def test_students_that_see_less_get_the_same_of_what_they_see():
    """Fewer tokens and other features: the disturbed values are those of the student that sees all."""
    fewer = HardwareLayout("particles", 2, {"deta": LAYOUT.features["deta"]}, (1,))
    everywhere = np.maximum(X, 1)  # no place is empty, whatever is looked at
    assert np.array_equal(
        noisy(everywhere[:, :2, 1:2], fewer, 2.0, 5), noisy(everywhere, LAYOUT, 2.0, 5)[:, :2, 1:2].clip(-64, 63)
    )


def test_pile_up_adds_tokens_and_takes_none():
    added = piled_up(X, 0.5, 0)
    before, after = X.any(-1), added.any(-1)
    assert np.array_equal(added[before], X[before])
    assert after.sum() - before.sum() == pytest.approx(0.5 * (~before).sum(), rel=0.1)
    for place in range(4):  # what is added is what others have in that place: soft, where the board is sorted
        found = added[after[:, place] & ~before[:, place], place]
        assert {tuple(t) for t in found} <= {tuple(t) for t in X[before[:, place], place]}
    assert np.array_equal(piled_up(X, 0.0, 0), X)
    full = np.maximum(X, 1)
    assert np.array_equal(piled_up(full, 1.0, 0), full)


def test_only_energies_are_scaled():
    moved = scaled(X, LAYOUT, ["pt"], 1.1)
    assert np.array_equal(moved[..., 1:], X[..., 1:])
    expected = np.minimum(np.floor(X[..., 0] * 1.1 + 0.5), LAYOUT.high[0])
    assert np.array_equal(moved[..., 0], expected)
    assert "scale" not in {each.kind for each in disturbances(X, LAYOUT, [], CONFIG)}


def test_dead_channels_read_zero_and_nothing_else_does():
    found = [each for each in disturbances(X, LAYOUT, [], CONFIG) if each.kind.startswith("dead")]
    features = {each.text: each.integers for each in found if each.kind == "dead feature"}
    assert list(features) == list(LAYOUT.features)
    assert not features["deta"][..., 1].any()
    assert np.array_equal(features["deta"][..., [0, 2]], X[..., [0, 2]])
    tokens = {each.text: each.integers for each in found if each.kind == "dead token"}
    assert not tokens["1"][:, 1].any()
    assert np.array_equal(tokens["1"][:, [0, 2, 3]], X[:, [0, 2, 3]])
    few = disturbances(X, LAYOUT, [], replace(CONFIG, most_tokens=2))
    assert [each.text for each in few if each.kind == "dead token"] == ["0", "3"]


def test_what_a_student_does_not_look_at_costs_it_nothing(frozen):
    """A student made blind to deta loses nothing with deta dead, and much with what decides dead."""
    blind = freeze(student(SHAPE), jets(500))
    first = blind.dense()[0]
    first.kernel[...] = first.kernel[...].reshape(4, 3, 6).at[:, 1].set(0.0).reshape(12, 6)
    margin = np.diff(outputs_of(blind, X)[:, :2], axis=1)[:, 0]
    truth = Examples(X, (margin > np.median(margin)).astype(np.int32), None, np.ones((len(X), 1), np.float32))
    records = robustness({"": tagger_figures(blind, truth)}, X, LAYOUT, ["pt"], CONFIG)
    by = {(record["inputs"], record["how"]): record for record in records}
    clean = by["none", "as they are"]
    assert clean["auc"] > 0.99
    assert by["dead feature", "deta"]["auc"] == clean["auc"]
    assert by["dead feature", "pt"]["auc"] < clean["auc"] - 0.1
    assert by["dead token", "worst"]["auc"] <= by["dead token", "mean of 4"]["auc"] <= clean["auc"]
    assert by["noise", "4 LSB"]["auc"] <= by["noise", "1 LSB"]["auc"] <= clean["auc"]
    lost = losses(records, "auc")
    assert set(lost) == {"noise_loss", "dead_loss", "shift_loss"}
    assert all(value >= 0 for value in lost.values())
    assert losses(records, "resolution")["noise_loss"] == pytest.approx(
        np.mean([r["resolution"] for r in records if r["inputs"] == "noise"]) - clean["resolution"]
    )


def test_compared_students_are_measured_on_the_same_inputs(frozen):
    seen: dict[str, list] = {"": [], "other": []}

    def recording(name):
        return lambda integers: seen[name].append(integers) or {"auc": 0.5}

    records = robustness({name: recording(name) for name in seen}, X, LAYOUT, ["pt"], CONFIG)
    assert all(np.array_equal(*pair) for pair in zip(*seen.values()))
    assert all(set(record) == {"inputs", "how", "auc", "other auc"} for record in records)


def test_a_score_is_cut_where_it_was_cut_on_clean_inputs():
    """Energies a tenth too high must show as a higher rate, not be absorbed by a new threshold."""
    made = freeze(student(SHAPE), jets(500))
    made.classes = ()
    score = outputs_of(made, X)[:, 0]
    normal = np.arange(len(X)) < 1000
    figures = score_figures(made, X, score, normal, {"b": ~normal}, 0.05)
    clean = figures(X)
    assert clean["spearman"] == pytest.approx(1.0)
    assert 0.03 < clean["passes"] <= 0.05
    threshold = np.quantile(score[normal], 0.95, method="higher")
    moved = scaled(X, LAYOUT, ["pt"], 1.3)
    said = outputs_of(made, moved)[:, 0]
    assert figures(moved)["passes"] == pytest.approx((said[normal] > threshold).mean())
    assert figures(moved)["efficiency/b"] == pytest.approx((said[~normal] > threshold).mean())
    assert figures(np.zeros_like(X))["spearman"] == 0.0


@pytest.mark.parametrize("wrong", [{"noise": (-1.0,)}, {"pile_up": (2.0,)}, {"scale": (0.0,)}, {"most_tokens": 0}])
def test_settings_out_of_range(wrong):
    with pytest.raises(ConfigError, match="robustness needs"):
        replace(CONFIG, **wrong).check()
