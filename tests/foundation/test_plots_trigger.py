"""Pictures of a trigger: drawn without warnings, also of what is hardly there."""

from __future__ import annotations

import numpy as np
import pytest

from foundation import plots, plots_trigger
from foundation.plots_trigger import RateCurve
from foundation.trigger.beam import Beam
from foundation.trigger.rates import thresholds
from foundation.trigger.stability import stability

BEAM = Beam()
PNG = b"\x89PNG"


@pytest.mark.parametrize("scores", [np.arange(3000.0), np.repeat([1, 5, 9], 900), np.geomspace(1e-6, 1e6, 2000)])
def test_rate_against_threshold(scores):
    w = np.ones(len(scores))
    curve = RateCurve.of(scores, w, w.sum(), BEAM)
    assert curve.khz[-1] == pytest.approx(BEAM.crossing_rate_khz)
    assert (np.diff(curve.khz) > 0).all()
    assert (np.diff(curve.value) < 0).all()
    assert ((curve.low < curve.khz) & (curve.khz < curve.high)).all()
    cuts = thresholds(scores, None, [1.0, 100.0, 5000.0], BEAM)
    picture = plots_trigger.rate_against_threshold({"total": curve}, {"total": cuts}, "toy")
    assert plots.png(picture).startswith(PNG)


def test_efficiency_against_rate():
    khz, share = np.geomspace(1, 28_000, 50), np.linspace(0, 1, 50)
    picture = plots_trigger.efficiency_against_rate(
        {"score": (khz, share), "HT": (khz, share**2)}, "signal", 60.0, [1.0, 100.0], (110.0, 0.4)
    )
    assert plots.png(picture).startswith(PNG)


@pytest.mark.parametrize("values", [np.arange(500) % 7, np.linspace(-3, 4, 500), np.zeros(500)])
@pytest.mark.parametrize("score", [np.linspace(0, 1, 500), np.geomspace(1e-3, 1e5, 500)])
def test_score_against(values, score):
    assert plots.png(plots_trigger.score_against(score, values, np.ones(500), "HT", unit="GeV")).startswith(PNG)


def test_rate_in_groups():
    passed, groups = np.arange(900) % 9 == 0, np.arange(900) // 300
    found = stability(passed, None, groups, ["2022", "2023", "2024"], BEAM)
    cut = thresholds(passed.astype(float), None, [4000.0], BEAM)[0]
    assert plots.png(plots_trigger.rate_in_groups(found, cut, "year")).startswith(PNG)
