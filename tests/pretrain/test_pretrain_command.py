"""One tiny `detfm pretrain`: what it leaves behind, its page, and what the next one may begin with."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
from few_jets import ingest_few

from foundation.errors import ConfigError, RunError
from foundation.mesh import MeshConfig
from foundation.models import EncoderConfig, load_encoder
from foundation.models.published import variables
from foundation.report import pictures_of
from foundation.runs import Run
from foundation.train import TrainConfig
from pretrain.command import pretrain
from pretrain.config import MonitorConfig, PretrainConfig
from pretrain.objectives import ContrastiveConfig, SelfDistillationConfig
from pretrain.publish import PublishConfig, publish

pytestmark = pytest.mark.slow
CONFIG = PretrainConfig(
    encoder=EncoderConfig(width=8, layers=1, heads=2),
    contrastive=ContrastiveConfig(weight=0.5, projection=4),
    train=TrainConfig(steps=2, log_every=1, evaluate_every=1),
    monitor=MonitorConfig(rows=30, report_rows=30, batches=1, k=3),
    batch_tokens=256,
    buckets=1,
)
QUIET = dataclasses.replace(CONFIG, monitor=MonitorConfig(rows=0, report_rows=0, batches=0))


@pytest.fixture(scope="module")
def store(sample, tmp_path_factory):
    return ingest_few(sample, tmp_path_factory.mktemp("command"))


@pytest.fixture(scope="module")
def run(store) -> Run:
    return pretrain(store, cfg=CONFIG, out=store.parent / "run")


def test_the_monitor_joins_the_metrics_at_its_intervals(run):
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    measured = [row for row in rows if "effective_rank" in row]
    assert [row["step"] for row in measured] == [1, 2]
    assert {"knn_accuracy", "alignment", "val/loss/contrastive", "restored/particles"} <= measured[0].keys()
    assert run.read("metrics.json")["probe_accuracy"] == measured[-1]["probe_accuracy"]


def test_the_page_has_every_picture_and_needs_nothing_else(run):
    page = (run.path / "report.html").read_text()
    for title in (
        "Map of the embedding",
        "Nearest neighbours",
        "Invariance",
        "Hidden tokens restored",
        "Settings and inputs",
    ):
        assert f"<h2>{title}</h2>" in page, title
    assert page.count("<img") == 8
    assert not re.findall(r"(?:src|href)=\"(?!data:image/png|#s\d)", page)
    assert "rotation" in page
    shown = {picture.caption for picture in pictures_of(run)}
    assert sum("embedding" in caption for caption in shown) >= 3
    with np.load(run.path / "embedding" / "restored.npz") as stored:
        assert stored["particles.true"].shape == stored["particles.predicted"].shape
        assert stored["particles.hidden"].any()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train": TrainConfig(mesh=MeshConfig(fsdp=3))}, "does not fit the"),
        ({"train": TrainConfig(ema=2.0)}, "train.ema"),
        ({"self_distillation": SelfDistillationConfig(weight=1.0)}, "momentum teacher"),
    ],
    ids=["mesh", "decay", "teacher"],
)
def test_settings_that_cannot_be_leave_no_folder(store, change, says):
    """So that the corrected command needs no --overwrite."""
    out = store.parent / "refused"
    with pytest.raises(ConfigError, match=says):
        pretrain(store, cfg=dataclasses.replace(QUIET, **change), out=out)
    assert not out.exists()


def test_watching_changes_nothing(run, store):
    quiet = pretrain(store, cfg=QUIET, out=store.parent / "quiet")
    assert not (quiet.path / "report.html").exists()
    ours, theirs = variables(load_encoder(run.path)), variables(load_encoder(quiet.path))
    for name, array in ours.items():
        np.testing.assert_array_equal(theirs[name], array, err_msg=name)


def test_resume_comes_before_start_and_start_before_fresh(run, store):
    """No step is taken, so what a run began with is what it leaves."""
    none = dataclasses.replace(QUIET, train=dataclasses.replace(QUIET.train, steps=0, seed=7))
    published = publish(run.path, cfg=PublishConfig(licence="MIT"), out=store.parent / "published")
    began = pretrain(store, cfg=none, out=store.parent / "began", start=published.path)
    fresh = pretrain(store, cfg=none, out=store.parent / "fresh")
    kernel = "blocks/0/feed/up/kernel"
    taken, other, before = (variables(load_encoder(r.path))[kernel] for r in (began, fresh, run))
    np.testing.assert_array_equal(taken, before)
    assert not np.array_equal(other, before)
    assert began.input("encoder").resolve() == published.path.resolve()
    with pytest.raises(RunError, match="another encoder"):
        pretrain(store, cfg=none, out=began.path, resume=True)

    two = dataclasses.replace(QUIET, train=dataclasses.replace(QUIET.train, seed=7))
    trained = pretrain(store, cfg=two, out=store.parent / "trained", start=published.path)
    moved = variables(load_encoder(trained.path))[kernel]
    assert not np.array_equal(moved, before)
    again = pretrain(store, cfg=two, out=trained.path, start=published.path, resume=True)
    np.testing.assert_array_equal(variables(load_encoder(again.path))[kernel], moved)
