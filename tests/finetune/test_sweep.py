"""A sweep: its points, what is kept and what is refused, and what it concludes from known figures."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_jets import SIZES, jets, toy_pretrained, toy_store

import finetune.sweep_points as sweep_points
from finetune.config import FinetuneConfig
from finetune.labelled import labelled_rows
from finetune.sweep import job_array, sweep
from finetune.sweep_plot import label_curves
from finetune.sweep_points import SweepConfig, points_of
from finetune.sweep_results import (
    Metric,
    equivalent,
    label_efficiency,
    published_figures,
    summary_of,
)
from finetune.task import Task
from foundation import plots
from foundation.command import find_preset, load_config
from foundation.errors import ConfigError, RunError
from foundation.evaluation_config import EvaluateConfig
from foundation.models import HeadConfig
from foundation.store import Store
from foundation.train import TrainConfig

COUNTS = np.array([100.0, 300.0, 1000.0])
AUC = Metric.parse("auc")


@pytest.fixture(autouse=True)
def without_pictures_of_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of `detfm evaluate`, which its own tests look at."""
    monkeypatch.setattr(plots, "save", lambda figure, path: None)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return toy_store(tmp_path_factory.mktemp("data"), jets(400))


@pytest.fixture(scope="module")
def cfg(store: Store, tmp_path_factory: pytest.TempPathFactory) -> SweepConfig:
    origin = toy_pretrained(tmp_path_factory.mktemp("start") / "pretrain", store)
    base = FinetuneConfig(
        encoder=SIZES,
        head=HeadConfig(hidden=0, dropout=0.0),
        train=TrainConfig(steps=2, checkpoint_every=100),
        batch_size=16,
        buckets=1,
    )
    starts = {"pretrained": str(origin.path), "scratch": "scratch"}
    quick = EvaluateConfig(replicas=0, mass="none", calibration="")
    return SweepConfig(labels=(40,), starts=starts, seeds=(0, 1), base=base, evaluate=quick)


def test_points_are_the_product_of_what_is_asked(store: Store, cfg: SweepConfig) -> None:
    wide = replace(
        cfg,
        labels=(80, 40),
        modes=("linear", "full"),
        own={
            "labels=80": {"train": {"steps": 5}},
            "scratch": {"train": {"steps": 7}},
            "pretrained/linear": {"trunk": 0.5},
        },
    )
    points = points_of(store, wide)
    assert len(points) == (2 + 1) * 2 * 2  # from scratch there is one mode
    assert points[0].name == "pretrained-linear-40-s0"
    assert len({p.name for p in points}) == len(points)
    for p in points:
        assert (p.config.labels, p.config.mode, p.config.train.seed) == (p.labels, p.mode, p.seed)
        assert p.config.train.steps == (7 if p.start == "scratch" else 5 if p.labels == 80 else 2)
        assert p.config.trunk == (0.5 if p.mode == "linear" else 0.2)
        assert p.config.train.learning_rate == cfg.base.train.learning_rate


def test_another_network_is_a_start(store: Store, cfg: SweepConfig) -> None:
    (point,) = points_of(store, replace(cfg, starts={"sets": "pfn"}, seeds=(3,)))
    assert (point.config.model, point.encoder) == ("pfn", None)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"labels": (10**6,)}, ConfigError, "the train split of .* has"),
        ({"labels": (40, 40)}, ConfigError, "twice"),
        ({"seeds": ()}, ConfigError, "needs a start"),
        ({"own": {"scratched": {}}}, ConfigError, "no point of the sweep is 'scratched'"),
        ({"own": {"scratch": {"trian": {}}}}, ConfigError, "did you mean 'train'"),
        ({"starts": {"a b": "scratch"}}, ConfigError, "part of a folder's name"),
        ({"starts": {"x": "no/such/folder"}}, RunError, "no such folder"),
        ({"starts": {"x": "parrot"}}, ConfigError, "parrot"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(
    store: Store, cfg: SweepConfig, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        points_of(store, replace(cfg, **changes))


def test_rows_are_nested_and_the_same_for_every_arm(store: Store, cfg: SweepConfig) -> None:
    task = Task.resolve(store.schema, cfg.base.task, ["wide", "narrow"])
    points = points_of(store, replace(cfg, labels=(40, 80)))
    rows: dict[tuple[int, int], list[np.ndarray]] = {}
    for p in points:
        found = labelled_rows(store, task, p.config.labels, p.config.train.seed)
        rows.setdefault((p.labels, p.seed), []).append(found)
    for (labels, seed), arms in rows.items():
        assert len(arms) == 2
        np.testing.assert_array_equal(arms[0], arms[1])
        assert len(arms[0]) == labels
        assert set(rows[40, seed][0]) < set(rows[80, seed][0])
    assert set(rows[40, 0][0]) != set(rows[40, 1][0])


@pytest.mark.slow
def test_a_sweep_interrupted_goes_on_and_ends_in_a_table(
    store: Store, cfg: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, calls = tmp_path / "sweep", sweep_points.evaluate_tagger, []

    def stopped(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs["out"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(sweep_points, "evaluate_tagger", stopped)
    with pytest.raises(KeyboardInterrupt):
        sweep(store.path, cfg=cfg, out=out)
    done = out / "points/pretrained-full-40-s0/evaluate/metrics.json"
    trained = out / "points/pretrained-full-40-s1/finetune/metrics.json"
    before = done.stat().st_mtime_ns, trained.stat().st_mtime_ns
    run = sweep(store.path, cfg=cfg, out=out)
    assert run is not None
    assert (done.stat().st_mtime_ns, trained.stat().st_mtime_ns) == before, "what was done was done again"
    assert len(calls) == 2 + 3
    table = run.read("table.json")
    assert [(r["arm"], r["labels"], r["seed"]) for r in table["rows"]] == [
        ("pretrained", 40, 0),
        ("pretrained", 40, 1),
        ("scratch", 40, 0),
        ("scratch", 40, 1),
    ]
    for row in table["rows"]:
        assert row["auc"] == json.loads((out / "points" / row["point"] / "evaluate/metrics.json").read_text())["auc"]
    assert table["failed"] == {}
    assert {p.name for p in run.path.iterdir()} >= {"auc.png", "report.html", "table.md", "table.csv", "metrics.json"}
    assert "pretrained" in (run.path / "table.md").read_text()
    sweep(store.path, cfg=cfg, out=out)
    assert len(calls) == 5, "a finished sweep ran points again"
    other = replace(cfg, base=replace(cfg.base, trunk=0.9))
    with pytest.raises(RunError, match=r"trunk: 0.2 -> 0.9"):
        sweep(store.path, cfg=other, out=out)
    with pytest.raises(ConfigError, match="did you mean 'auc'"):
        sweep(store.path, cfg=replace(cfg, metrics=("acu",)), out=out)


@pytest.mark.slow
def test_a_point_that_fails_is_named_and_the_others_are_kept(store: Store, cfg: SweepConfig, tmp_path: Path) -> None:
    bad = replace(cfg, seeds=(0,), own={"pretrained": {"train": {"learning_rate": float("nan")}}})
    with pytest.raises(RunError, match=r"1 of 2 points did not finish.*\n  pretrained-full-40-s0: step .*not finite"):
        sweep(store.path, cfg=bad, out=tmp_path / "sweep")
    table = json.loads((tmp_path / "sweep/result/table.json").read_text())
    assert [row["arm"] for row in table["rows"]] == ["scratch"]
    assert list(table["failed"]) == ["pretrained-full-40-s0"]
    assert "pretrained-full-40-s0" in (tmp_path / "sweep/result/table.md").read_text()
    with pytest.raises(ConfigError, match="points 0 to 1"):
        sweep(store.path, cfg=bad, out=tmp_path / "sweep", point=2)


@pytest.mark.slow
def test_two_workers_find_what_one_finds(store: Store, cfg: SweepConfig, tmp_path: Path) -> None:
    small = replace(cfg, starts={"scratch": "scratch"})
    runs = [sweep(store.path, cfg=small, out=tmp_path / str(n), workers=n) for n in (1, 2)]
    one, two = ([row["auc"] for row in run.read("table.json")["rows"]] for run in runs if run is not None)
    np.testing.assert_allclose(one, two, atol=1e-3)


def test_the_job_array_has_a_task_for_each_point(store: Store, cfg: SweepConfig, tmp_path: Path) -> None:
    script = job_array(store.path, cfg, tmp_path / "out")
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    text = script.read_text()
    assert f"#SBATCH --array=0-{len(points_of(store, cfg)) - 1}\n" in text
    for name, path in (("STORE", store.path), ("CONFIG", tmp_path / "out/sweep.yaml"), ("OUT", tmp_path / "out")):
        assert f"{name}=${{{name}:-{path}}}" in text
    assert '--point "$SLURM_ARRAY_TASK_ID"' in text
    again = load_config(SweepConfig, tmp_path / "out/sweep.yaml")
    assert [p.config for p in points_of(store, again)] == [p.config for p in points_of(store, cfg)]


def test_equal_labels_of_a_known_curve_are_exact() -> None:
    """A metric that is linear in ln N is inverted exactly, between the points as on them."""
    for n in (100.0, 173.0, 300.0, 777.0, 1000.0):
        found, where = equivalent(COUNTS, 0.5 + 0.05 * np.log(COUNTS), 0.5 + 0.05 * np.log(n))
        assert found == pytest.approx(n, rel=1e-12)
        assert where == ""
    lower, _ = equivalent(COUNTS, 2 - 0.1 * np.log(COUNTS), 2 - 0.1 * np.log(500.0), lower=True)
    assert lower == pytest.approx(500)


def test_out_of_range_is_said() -> None:
    curve = np.array([0.6, 0.7, 0.8])
    assert equivalent(COUNTS, curve, 0.81) == (1000.0, "above")
    assert equivalent(COUNTS, curve, 0.59) == (100.0, "below")
    assert equivalent(COUNTS, -curve, -0.81, lower=True) == (1000.0, "above")


def test_a_curve_that_falls_is_worth_its_best() -> None:
    found, where = equivalent(COUNTS, np.array([0.7, 0.65, 0.8]), 0.7)
    assert (found, where) == (100.0, "")
    assert 300 < equivalent(COUNTS, np.array([0.7, 0.65, 0.8]), 0.75)[0] < 1000


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.5, 1.0), min_size=3, max_size=3), st.floats(0.5, 1.0), st.floats(0.0, 0.2))
def test_a_better_value_never_equals_fewer_labels(curve: list[float], value: float, more: float) -> None:
    values = np.array(curve)
    low, high = equivalent(COUNTS, values, value)[0], equivalent(COUNTS, values, value + more)[0]
    assert COUNTS[0] <= low <= high * (1 + 1e-9) <= COUNTS[-1] * (1 + 1e-9)


def rows(**curves: float) -> list[dict[str, Any]]:
    """Three seeds on auc = start + 0.05 ln N."""
    return [
        {"arm": name, "labels": int(n), "seed": seed, "auc": start + 0.05 * float(np.log(n)) + 0.001 * seed}
        for name, start in curves.items()
        for n in COUNTS
        for seed in range(3)
    ]


def test_label_efficiency_of_parallel_curves() -> None:
    """Curves 0.05 ln 2 apart are a factor of 2 in labels apart, for every seed."""
    found = label_efficiency(rows(tuned=0.5 + 0.05 * np.log(2), scratch=0.5), AUC, "scratch")
    assert [(r["labels"], r["equal to"], r["out of range"]) for r in found] == [
        (100, 200, ""),
        (300, 600, ""),
        (1000, 1000, "above"),
    ]
    assert found[0]["ratio"] == pytest.approx(2)
    assert found[0]["low"] == found[0]["high"] == 200  # seeds that move together leave no doubt
    assert "equal 200" in found[0]["statement"]
    assert "better than 1,000 labels of scratch, the most that were tried" in found[2]["statement"]
    assert label_efficiency(rows(tuned=0.5), AUC, "scratch") == []


def test_seeds_are_summed_up_and_drawn() -> None:
    summary = summary_of(rows(scratch=0.5), AUC)
    assert [r["seeds"] for r in summary] == [3, 3, 3]
    assert summary[0]["std"] == pytest.approx(0.001)
    assert summary[0]["mean"] == pytest.approx(0.5 + 0.05 * np.log(100) + 0.001)
    figure = label_curves(rows(tuned=0.6, scratch=0.5), AUC, published=[{"model": "other", "value": 0.9}])
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["tuned", "scratch"]
    assert len(ax.collections) == 2  # bands
    assert sum(len(line.get_xdata()) == 9 for line in ax.lines) == 2  # every seed is a dot


def test_metrics_are_found_by_name() -> None:
    found = {
        "auc": 0.8,
        "ratio": {"resolution": 0.1},
        "rejection/top": [{"signal_efficiency": 0.5, "value": 30.0}, {"signal_efficiency": 0.3, "value": None}],
    }
    assert Metric.parse("auc").of(found) == 0.8
    assert Metric.parse("-ratio.resolution").of(found) == 0.1
    assert Metric.parse("-ratio.resolution").lower
    assert Metric.parse("rejection/top@0.5").of(found) == 30.0
    assert Metric.parse("rejection/top@0.3").of(found) is None
    with pytest.raises(ConfigError, match=r"not measured at 0\.7"):
        Metric.parse("rejection/top@0.7").of(found)
    with pytest.raises(ConfigError, match="signal efficiency"):
        Metric.parse("auc@half")


def test_published_figures_were_read_and_name_their_difference() -> None:
    table = yaml.safe_load(find_preset("sweep/published.yml").read_text())
    for name, entry in table.items():
        assert entry["compare"], name
        for row in entry["figures"]:
            assert row["read"] in ("P", "S"), f"{name}: {row}"
    (first, *_) = published_figures("toplandscape", [Metric.parse("rejection/top@0.5")])
    assert first["value"] == 199
    with pytest.raises(ConfigError, match="toplandscape"):
        published_figures("toplandscpae", [AUC])


@pytest.mark.parametrize("name", ["toplandscape", "deepjet", "l1jets", "jetclass"])
def test_presets_of_sweeps_are_read(name: str) -> None:
    cfg = load_config(SweepConfig, f"sweep/{name}")
    assert cfg.reference in cfg.starts
    assert [Metric.parse(text) for text in cfg.metrics]
    published_figures(cfg.data_set, [])
