"""`detfm anomaly rates` on synthetic scores: figures, pictures, limits in words, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from finetune.anomaly.command import COMMAND as GROUP
from finetune.anomaly.rates import COMMAND, RatesConfig, anomaly_rates
from finetune.anomaly.rates_config import BackgroundConfig
from finetune.anomaly.rates_measure import measure
from finetune.anomaly.rates_table import read_scores
from foundation.command import load_config
from foundation.errors import ConfigError, DataError, RunError
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.tables import write_table
from foundation.trigger.menu import MenuConfig

PRESETS = Path(__file__).parents[2] / "configs/anomaly/rates"
ROWS, SIGNAL = 20_000, 400
ZERO_BIAS = BackgroundConfig("process", ("zero_bias",))
MENU = MenuConfig({"HTT": "ht >= 90", "SingleMu": "muon_pt_1 >= 20"})


def columns(rows=ROWS, signal=SIGNAL, integer=False, seed=0):
    rng = np.random.default_rng(seed)
    process = np.repeat([0, 7], [rows, signal])  # zero_bias, haa4b
    npu = rng.poisson(50, rows + signal)
    ht = rng.exponential(14, rows + signal) * npu / 50 + np.where(process, rng.gamma(2, 30, rows + signal), 0)
    multiplicity = rng.poisson(6 + ht / 60).astype(np.float32)
    score = 0.06 * ht + 0.15 * multiplicity + rng.gamma(1, 0.6, rows + signal) + process / 7
    score = np.floor(4 * score).astype(np.int64) if integer else score.astype(np.float32)
    muon = np.where(rng.random(rows + signal) < 0.02, rng.exponential(8, rows + signal), 0)
    found = {"score": score, "label_process": process.astype(np.int32), "npu": npu, "muon_pt_1": muon}
    return found | {"ht": ht, "leading_jet_pt": 0.6 * ht, "multiplicity": multiplicity}


def scored(folder, table, model="model", schema="data/l1events_axol1tl", splits=("test",)):
    """A score run as `detfm anomaly score` writes one."""
    made = folder.parent / model
    made.write_text(model)
    run = Run.create(
        folder, "anomaly_scores", config=RatesConfig(), schema=DetectorSchema.load(schema), inputs={"model": made}
    )
    for split in splits:
        write_table(run.path, split, table)
    run.write("metrics.json", {"rows": len(table["score"])})
    return run.path


def figures_of(paths, cfg):
    """What metrics.json holds, without the pictures."""
    return measure(read_scores([Run.open(path) for path in paths], cfg), cfg).figures


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return scored(tmp_path_factory.mktemp("rates") / "scores", columns())


@pytest.fixture(scope="module")
def measured(scores):
    cfg = RatesConfig(background=ZERO_BIAS, menu=MENU, replicas=30)
    return anomaly_rates([scores], cfg=cfg, out=scores.parent / "rates")


def test_everything_is_written(measured):
    figures, there = measured.read("metrics.json"), {path.name for path in measured.path.iterdir()}
    assert {"rate_against_threshold.png", "efficiency_against_rate_haa4b.png", "score_against_ht.png",
            "rate_by_npu.png", "report.html"} <= there  # fmt: skip
    assert figures["zero_bias"] == ROWS
    assert figures["signals"] == {"haa4b": SIGNAL}
    assert {(r["quantity"], r["counts"]) for r in figures["thresholds"]} == {
        (q, k) for q in ("score", "ht", "leading_jet_pt", "multiplicity") for k in ("total", "pure")
    }
    assert {r["quantity"] for r in figures["separation"]} == {"score", "ht", "leading_jet_pt", "multiplicity"}
    assert {r["quantity"] for r in figures["dependence"]} == {"ht", "multiplicity", "npu"}
    assert figures["stability"][0]["p_value"] < 0.05  # HT rises with pile-up, and the score with it
    page = (measured.path / "report.html").read_text()
    for text in ("Dead time", "Beside the menu", "Is it only measuring energy?", "not measured"):
        assert text in page


def test_figures_agree_with_each_other(measured):
    figures, table = measured.read("metrics.json"), columns()
    background = table["label_process"] == 0
    menu = (table["ht"] >= 90) | (table["muon_pt_1"] >= 20)
    khz = 28_112.5 / ROWS
    assert figures["menu_khz"]["rate"] == pytest.approx(khz * menu[background].sum())
    for record, cut in zip(figures["beside_menu"], figures["thresholds"]):
        assert record["menu_or_score_khz"] == pytest.approx(figures["menu_khz"]["rate"] + record["pure_khz"])
        assert record["total_khz"] == pytest.approx(cut["achieved_khz"])
        assert cut["achieved_khz"] <= cut["rate_khz"]
    cut = figures["thresholds"][4]
    assert (cut["rate_khz"], cut["measured"]) == (100.0, True)
    kept = next(r for r in figures["efficiency"] if r["quantity"] == "score" and r["rate_khz"] == 100)
    assert kept["value"] == pytest.approx(np.mean(table["score"][~background] >= cut["value"]))
    pure = next(r for r in figures["thresholds"] if r["counts"] == "pure" and r["rate_khz"] == 100)
    gain = next(r for r in figures["gain"] if r["quantity"] == "score" and r["rate_khz"] == 100)
    either = (menu | (table["score"] >= pure["value"]))[~background].mean()
    assert gain["value"] == pytest.approx(either / menu[~background].mean() - 1)
    assert gain["low"] <= gain["value"] <= gain["high"]


def test_what_is_not_measured_is_said(measured):
    figures = measured.read("metrics.json")
    low = [r for r in figures["thresholds"] if r["rate_khz"] < 10]
    assert not any(r["measured"] for r in low)
    assert all("not measured" in r["reason"] for r in low)
    said = " ".join(r["limit"] for r in figures["limits"])
    assert "1 kHz (312,362)" in said
    assert "Dead time and prescales are ignored" in said
    assert "100 kHz (" not in said


def test_zero_bias_and_signals_may_be_runs_of_their_own_and_scores_integers(tmp_path):
    table = columns(integer=True)
    background = table["label_process"] == 0
    parts = [
        scored(tmp_path / name, {k: v[chosen] for k, v in table.items()})
        for name, chosen in (("zero_bias", background), ("signal", ~background))
    ]
    figures = figures_of(parts, RatesConfig(background=ZERO_BIAS))
    assert (figures["zero_bias"], figures["signals"]) == (ROWS, {"haa4b": SIGNAL})
    assert all(r["achieved_khz"] <= r["rate_khz"] for r in figures["thresholds"])
    assert "gain" not in figures
    assert "No menu" in " ".join(r["limit"] for r in figures["limits"])
    assert "one factor in common" not in str(figures["limits"])
    twice = figures_of([parts[0], parts[0]], RatesConfig(background=ZERO_BIAS))
    assert "zero bias comes from 2 runs" in str(twice["limits"]).replace("Zero", "zero")


def test_a_menu_that_takes_every_crossing_is_named_and_nothing_beside_it_is_measured(tmp_path):
    table = columns(4000, 50) | {"final_or": np.ones(4050, np.int64)}
    cfg = RatesConfig(background=ZERO_BIAS, menu=MenuConfig({"final_or": "final_or > 0"}))
    figures = figures_of([scored(tmp_path / "scores", table)], cfg)
    assert "zero by construction" in " ".join(r["limit"] for r in figures["limits"])
    assert "beside_menu" not in figures
    assert "gain" not in figures
    assert {r["counts"] for r in figures["thresholds"]} == {"total"}


def test_rows_that_are_no_zero_bias_are_suspected(tmp_path):
    cfg = RatesConfig(background=ZERO_BIAS, menu=MenuConfig({"HTT": "ht >= 5"}))
    path = scored(tmp_path / "scores", columns(3000, 50))
    said = str(figures_of([path], cfg)["limits"])
    assert "these rows are not zero bias" in said


def test_weights_of_enriched_zero_bias_count(tmp_path):
    table = columns(4000, 0)
    weights = np.where(table["ht"] > 40, 0.1, 1.0)
    path = scored(tmp_path / "scores", table | {"weight": weights})
    cfg = RatesConfig(rates_khz=(500.0,), baselines=("ht",))
    figures = figures_of([path], cfg)
    cut = figures["thresholds"][0]
    share = weights[table["score"] >= cut["value"]].sum() / weights.sum()
    assert cut["achieved_khz"] == pytest.approx(28_112.5 * share)
    assert "by their weights" in figures["limits"][0]["limit"]


def test_only_some_years(tmp_path):
    table = columns(3000, 0) | {"label_process": np.repeat([0, 2, 7], 1000).astype(np.int32)}
    cfg = RatesConfig(only={"process": ["zero_bias", "haa4b"]}, background=ZERO_BIAS)
    figures = figures_of([scored(tmp_path / "s", table)], cfg)
    assert (figures["zero_bias"], figures["signals"]) == (1000, {"haa4b": 1000})


def test_scores_that_are_not_finite_are_left_out_and_counted(tmp_path):
    table = columns(2000, 0)
    table["score"][:7] = np.nan
    run = anomaly_rates([scored(tmp_path / "s", table)], cfg=RatesConfig(), out=tmp_path / "out")
    figures = run.read("metrics.json")
    assert figures["zero_bias"] == 1993
    assert "7 of 2,000 crossings have a score that is NaN" in figures["limits"][-1]["limit"]
    json.loads((run.path / "metrics.json").read_text(), parse_constant=pytest.fail)  # no NaN, no Infinity


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"split": "val"}, RunError, "no table 'val'; there is test"),
        ({"baselines": ("hT",)}, ConfigError, "no column 'hT'; did you mean 'ht'"),
        ({"menu": MenuConfig({"MET": "met > 50"})}, ConfigError, "no column 'met'"),
        ({"background": BackgroundConfig("process", ("zerobias",))}, ConfigError, "did you mean 'zero_bias'"),
        ({"background": BackgroundConfig("process", ("suep",))}, DataError, "no crossing with a score is of process"),
        ({"background": BackgroundConfig("process")}, ConfigError, "or neither"),
        ({"rates_khz": (0.0,)}, ConfigError, "above 0 and below 28,11"),
        ({"only": {"process": ["x"]}}, ConfigError, "no class 'x'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, error, message, scores, tmp_path):
    with pytest.raises(error, match=message):
        anomaly_rates([scores], cfg=RatesConfig(**settings), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_energy_is_always_compared_with_and_rows_trained_on_are_named(tmp_path):
    path = scored(tmp_path / "s", columns(500, 20), splits=("train",))
    figures = figures_of([path], RatesConfig(background=ZERO_BIAS, baselines=("multiplicity",)))
    assert [r["quantity"] for r in figures["separation"]] == ["score", "ht", "multiplicity"]
    assert "rows of 'train'" in figures["limits"][-1]["limit"].lower()


def test_scores_of_different_models_are_not_mixed(scores, tmp_path):
    other = scored(tmp_path / "other", columns(100, 10), model="another")
    with pytest.raises(RunError, match="different models"):
        anomaly_rates([scores, other], cfg=RatesConfig(), out=tmp_path / "out")


def test_a_baseline_that_is_nan_is_named(tmp_path):
    table = columns(500, 0)
    table["ht"][3] = np.nan
    with pytest.raises(DataError, match="values of 'ht'"):
        anomaly_rates([scored(tmp_path / "s", table)], cfg=RatesConfig(), out=tmp_path / "out")


def test_presets_are_menus_of_what_scores_have():
    known = set(DetectorSchema.load("data/l1ugt").observers)
    for path in sorted(PRESETS.glob("*.yaml")):
        cfg = load_config(RatesConfig, path)
        cfg.check()
        assert cfg.menu.names
        assert set(cfg.menu.columns()) <= known or path.stem == "run3"
    assert GROUP.command("anomaly", "rates") is COMMAND
