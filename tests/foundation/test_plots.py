"""Pictures: what they show is what came in, they warn of nothing, and leave matplotlib's settings alone."""

import matplotlib
import numpy as np
import pytest

from foundation import metrics, plots
from foundation.errors import DataError


def curve(size=3000, separation=1.5, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.random(size) < 0.3
    return metrics.roc(signal, rng.normal(separation * signal, 1))


def rows(steps=200):
    found = [{"step": 10 * i, "loss": 2.0 / (1 + i), "loss/masked": 1.0 / (1 + i)} for i in range(1, steps)]
    return [*found, {"step": 500, "probe_accuracy": 0.4}, {"step": 1500, "probe_accuracy": 0.61}]


def decoded(figure):
    """Width and height that the PNG's own header gives."""
    image = plots.png(figure)
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(image[16:20], "big"), int.from_bytes(image[20:24], "big")


def test_roc_draws_background_against_signal_efficiency_with_the_auc():
    c = curve()
    ax = plots.roc_curves({"tagger": c}, "test jets", "b jets", "light jets").axes[0]
    x, y = ax.lines[0].get_data()
    seen = c.background_efficiency >= 1 / c.background_events
    np.testing.assert_array_equal(x, c.signal_efficiency[seen])
    np.testing.assert_array_equal(y, c.background_efficiency[seen])
    assert ax.get_yscale() == "log"
    assert ax.get_legend().get_texts()[0].get_text() == f"tagger (AUC {c.auc:.3f})"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Efficiency for b jets", "Efficiency for light jets")
    assert (ax.get_title("left"), ax.get_title("right")) == ("detfm", "test jets")


def test_no_curve_runs_under_the_legend():
    """A nearly perfect tagger goes where the legend stands; the axis is extended for it."""
    figure = plots.roc_curves({f"tagger {i}": curve(separation=5, seed=i) for i in range(4)})
    plots.png(figure)
    ax = figure.axes[0]
    box = ax.get_legend().get_window_extent()
    for line in ax.lines[:4]:
        assert not np.any([box.contains(*point) for point in ax.transData.transform(line.get_xydata())])


def test_score_histograms_are_normalised_and_weighted():
    figure = plots.scores({"b": np.array([0.1, 0.1, 0.9])}, weights={"b": np.array([1.0, 1.0, 2.0])}, bins=10)
    values = figure.axes[0].patches[0].get_data().values
    assert values[1] == pytest.approx(0.5)
    assert values[9] == pytest.approx(0.5)
    with pytest.raises(DataError, match="1 of 2 scores of b are NaN"):
        plots.scores({"b": np.array([0.1, np.nan])})


def test_scores_outside_the_unit_interval_are_kept_in_the_last_bins():
    values = plots.scores({"b": np.array([-0.5, 1.5])}, bins=10).axes[0].patches[0].get_data().values
    assert (values[0], values[-1]) == (0.5, 0.5)


def test_loss_curves_show_each_term_and_probe_curves_only_the_lines_that_probe():
    loss = plots.loss_curves(rows()).axes[0]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["total", "masked"]
    probe = plots.probe_curve(rows()).axes[0]
    np.testing.assert_array_equal(probe.lines[0].get_xydata(), [[500, 0.4], [1500, 0.61]])


def test_confusion_is_normalised_by_true_class():
    figure = plots.confusion(np.array([[3.0, 1.0], [0.0, 0.0]]), ["b", "light"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["75", "25", "–", "–"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.roc_curves({f"a rather long name {i}": curve(seed=i) for i in range(12)}),
        lambda: plots.scores({}),
        lambda: plots.scores({"few": np.zeros(0)}),
        lambda: plots.loss_curves([]),
        lambda: plots.loss_curves([{"step": 1, "loss": -1.0}]),
        lambda: plots.probe_curve([]),
        lambda: plots.confusion(np.eye(10), [f"a long class name {i}" for i in range(10)]),
    ],
)
def test_extreme_input_still_makes_a_picture_without_a_warning(draw):
    width, height = decoded(draw())
    assert 500 < width < 2000
    assert 500 < height < 2000


def test_settings_of_matplotlib_are_left_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    plots.save(plots.loss_curves(rows()), tmp_path / "loss.png")
    assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "loss.png").read_bytes()[:4] == b"\x89PNG"


def test_a_picture_is_reproducible_to_the_last_bit():
    assert plots.png(plots.roc_curves({"tagger": curve()})) == plots.png(plots.roc_curves({"tagger": curve()}))


def test_running_mean_keeps_constants_and_the_first_value():
    np.testing.assert_allclose(plots.running_mean(np.full(20, 3.0), 7), 3.0)
    falling = 1 / np.arange(1.0, 50)
    smooth = plots.running_mean(falling, 9)
    assert smooth[0] == 1.0
    assert smooth[10] == pytest.approx(falling[6:15].mean())
