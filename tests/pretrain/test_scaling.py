"""The scaling law is recovered where it is known, a budget gets the size that is best, and a sweep is resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from few_jets import ingest_few

from foundation.command import load_config
from foundation.errors import ConfigError, RunError
from foundation.store import Store
from pretrain.scaling import COMMAND, METRIC, ScalingConfig, Size, job_script, losses, summary, sweep
from pretrain.scaling_fit import NAMES, Fit, Law, fit_law
from pretrain.scaling_plot import scaling_curves

TRUE = Law(floor=0.4, A=8.0, alpha=0.35, B=30.0, beta=0.45, price=40.0)
GRID = [g.ravel() for g in np.meshgrid([1e4, 3e4, 1e5, 3e5, 1e6], [1e3, 1e4, 1e5, 1e6])]


def measured(noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Parameters, jets, FLOPs and loss of a sweep that obeys TRUE but for some noise."""
    n, d = GRID
    loss = TRUE.loss(n, d) * np.exp(noise * np.random.default_rng(3).normal(size=n.size))
    return n, d, TRUE.price * n * d, loss


@pytest.fixture(scope="module")
def noisy() -> Fit:
    return fit_law(*measured(0.01), bootstraps=30)


def test_a_law_without_noise_is_found_exactly() -> None:
    law = fit_law(*measured(0.0), bootstraps=1).law
    np.testing.assert_allclose([getattr(law, n) for n in NAMES], [getattr(TRUE, n) for n in NAMES], rtol=1e-4)
    assert law.price == pytest.approx(TRUE.price)


@pytest.mark.parametrize("name", ["floor", "alpha", "beta"])
def test_known_exponents_are_recovered_within_errors(noisy: Fit, name: str) -> None:
    low, high = noisy.error(name)
    assert 0 < high - low < 0.5 * getattr(TRUE, name), "errors that say nothing"
    assert abs(getattr(noisy.law, name) - getattr(TRUE, name)) < 1.5 * (high - low)  # three standard deviations


def test_the_spread_is_that_of_the_noise(noisy: Fit) -> None:
    assert 0.006 < noisy.spread < 0.016


def test_a_budget_gets_the_size_of_least_loss() -> None:
    flops = 1e14
    size, jets = TRUE.best(flops)
    assert TRUE.price * size * jets == pytest.approx(flops)
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert TRUE.loss(size * factor, jets / factor) > TRUE.loss(size, jets)
    assert np.log(TRUE.best(10 * flops)[0] / size) / np.log(10) == pytest.approx(0.45 / 0.8)  # beta / (alpha + beta)


def test_points_that_cannot_tell_the_terms_apart_are_refused() -> None:
    n, d, c, loss = measured(0.0)
    few = d == d[0]
    with pytest.raises(ConfigError, match="three sizes and three numbers of rows"):
        fit_law(n[few], d[few], c[few], loss[few])
    with pytest.raises(ConfigError, match="positive"):
        fit_law(n, d, c, loss - 1.0)


def test_summary_and_picture(noisy: Fit) -> None:
    text = summary(noisy, [1e15])
    assert "alpha" in text
    assert "1e+15 FLOPs deserve" in text
    figure = scaling_curves(*measured(0.01), noisy, [1e15])
    assert [ax.get_xlabel() for ax in figure.axes] == ["parameters", "jets seen", "FLOPs"]
    assert len(figure.axes[0].lines) == 2 * 4  # points and law for each number of jets
    assert len(figure.axes[1].lines) == 2 * 5


@pytest.fixture(scope="module")
def store(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scaling")
    ingest_few(sample, folder)
    return folder / "store"


def test_points_of_a_sweep(store: Path) -> None:
    cfg = replace(load_config(ScalingConfig, "scaling/jets"), sizes=(Size(8, 1, 2), Size(32, 1, 4)), rows=(60, 0))
    data = Store.open(store)
    points = sweep(data, cfg)
    most = data.length("train")
    assert [(p.config.encoder.width, p.config.rows) for p in points] == [(8, 60), (8, most), (32, 60), (32, most)]
    for point in points:
        assert point.jets == point.config.rows
        assert point.flops > 4 * point.parameters * point.jets  # 6 for each parameter and token, and there are many
    assert points[1].config.train.steps > points[0].config.train.steps
    assert points[0].config.train.learning_rate == pytest.approx(2 * points[2].config.train.learning_rate)
    with pytest.raises(ConfigError, match=f"has {most}"):
        sweep(data, replace(cfg, rows=(10**6,)))
    with pytest.raises(ConfigError, match="twice"):
        sweep(data, replace(cfg, rows=(60, 60)))


def test_a_job_array_has_a_task_for_each_point(store: Path, tmp_path: Path) -> None:
    script = job_script(store, load_config(ScalingConfig, "scaling/jets"), tmp_path / "out", 16)
    text = script.read_text()
    assert "#SBATCH --array=0-15\n" in text
    assert f"STORE=${{STORE:-{store}}}" in text
    assert f"OUT=${{OUT:-{tmp_path / 'out'}}}" in text
    assert load_config(ScalingConfig, tmp_path / "out" / "scaling.yaml") == load_config(ScalingConfig, "scaling/jets")


@pytest.mark.slow
def test_a_sweep_is_resumed_and_then_fitted(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sweep.yaml").write_text(
        Path("configs/scaling/jets.yaml").read_text().replace("rows: [800, 2500, 7000, 0]", "rows: [48]")
    )
    out = tmp_path / "out"
    arguments = [
        str(store),
        "--cfg",
        str(tmp_path / "sweep.yaml"),
        "--out",
        str(out),
        "--cfg.sizes",
        "[{width: 8, layers: 1, heads: 2}]",
    ]
    COMMAND("scaling", [*arguments, "--point", "0"])
    cfg = load_config(ScalingConfig, tmp_path / "sweep.yaml")
    first = sweep(Store.open(store), replace(cfg, sizes=(Size(8, 1, 2),)))
    assert losses(first, out)[0] > 0
    metrics = json.loads((out / first[0].name / "metrics.json").read_text())
    assert metrics[METRIC] == losses(first, out)[0]
    with pytest.raises(RunError, match="1 of 2 points are not finished: width16"):
        losses(sweep(Store.open(store), replace(cfg, sizes=(Size(8, 1, 2), Size(16, 1, 2)))), out)
    before = (out / first[0].name / "metrics.json").stat().st_mtime_ns
    with pytest.raises(ConfigError, match="three sizes"):  # one point is no sweep; it was not run again
        COMMAND("scaling", arguments)
    assert (out / first[0].name / "metrics.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="points 0 to 0"):
        COMMAND("scaling", [*arguments, "--point", "1"])
