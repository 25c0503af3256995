"""`detfm finetune` as users call it: what it refuses, tells and does not do twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from test_leakage import doubled
from toy_jets import SIZES, changed, jets, toy_pretrained, toy_store

from finetune.command import finetune
from finetune.config import FinetuneConfig
from finetune.leakage import check_leakage
from finetune.predict import predict
from finetune.saved import load_tagger
from finetune.task import TaskConfig
from foundation.errors import DataError, SchemaError
from foundation.models import load_encoder
from foundation.runs import Run
from foundation.store.statistics import Moments, constants, normalisation
from foundation.train import TrainConfig

CFG = FinetuneConfig(
    task=TaskConfig(groups={"wide": ["wide"], "narrow": ["narrow"]}),
    mode="linear",
    batch_size=32,
    buckets=1,
    train=TrainConfig(steps=4, learning_rate=1e-2, checkpoint_every=1000),
    encoder=SIZES,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("command"), jets())


@pytest.fixture(scope="module")
def origin(tmp_path_factory, store):
    return toy_pretrained(tmp_path_factory.mktemp("pretrained") / "run", store)


def test_a_finished_run_is_not_trained_again(tmp_path, origin, capsys):
    run = finetune(origin.path, cfg=CFG, out=tmp_path / "run")
    before = (run.path / "metrics.jsonl").stat().st_mtime_ns
    again = finetune(origin.path, cfg=CFG, out=tmp_path / "run", resume=True)
    assert again.path == run.path
    assert "finished already" in capsys.readouterr().err
    assert (run.path / "metrics.jsonl").stat().st_mtime_ns == before


def test_test_examples_among_the_labels_are_refused_unless_allowed(tmp_path, store, origin):
    content = {name: values[:80] for name, values in jets().items()}
    leaky = toy_store(tmp_path / "leaky", doubled(content, content["event"] + 5000))
    with pytest.raises(DataError, match=r"rows of split 'val' are also among the training rows .*\n.*allow_leakage"):
        finetune(origin.path, store=leaky.path, cfg=CFG, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = finetune(
        origin.path, store=leaky.path, cfg=dataclasses.replace(CFG, allow_leakage=True), out=tmp_path / "run"
    )
    leaked = run.read("metrics.json")["leaked"]
    assert leaked["test/labels"] > 0
    assert leaked["test/pretraining"] > 0  # the encoder was pretrained on some of the same jets


def test_test_examples_that_were_pretrained_on_are_found(tmp_path, store, origin):
    """The same jets in another store, whose split has put some of the pretraining's into `test`."""
    other = toy_store(tmp_path / "other", jets(), changed(lambda s: s["split"].update(key="event * 7 + 1")))
    with pytest.raises(DataError, match=rf"rows of split 'val' of {other.path} are also among the training rows of"):
        finetune(origin.path, store=other.path, cfg=CFG, out=tmp_path / "run")
    fresh = toy_store(tmp_path / "fresh", jets(seed=3))
    assert check_leakage(fresh, np.arange(5), origin, allow=False) == ({}, [])


def test_a_pretraining_store_that_is_gone_is_told(tmp_path, store):
    (tmp_path / "gone").symlink_to(store.path)
    run = Run.create(
        tmp_path / "run", "pretrain", config=SIZES, schema=store.schema, inputs={"store": tmp_path / "gone"}
    )
    provenance = run.read("provenance.json")
    provenance["inputs"]["store"] |= {"path": "/nowhere", "relative": "nowhere"}
    run.write("provenance.json", provenance)
    found, notes = check_leakage(store, np.arange(5), run, allow=False)
    assert found == {}
    assert "cannot tell whether test examples were pretrained on" in notes[0]


def test_a_constant_feature_is_named_and_divides_nothing_by_zero(tmp_path, capsys):
    content = jets(120)
    still = toy_store(tmp_path / "still", content | {"d0": content["d0"] * 0 + 3})
    assert still.constants() == ["particles.d0"]
    run = finetune(still.path, cfg=CFG, out=tmp_path / "run")
    assert "particles.d0 is the same in all training examples" in capsys.readouterr().err
    assert np.isfinite(predict(load_tagger(run), still, "test").logits).all()


def test_what_only_the_transform_makes_constant_is_not_divided_by():
    """Of values below what `log` can see the raw ones differ and the deviation is 0."""
    features = changed(dict).modalities["particles"].features
    moments = Moments(features)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(100, 4)).astype(np.float32)
    values[:, 0] = -np.abs(values[:, 0])
    moments.add(values)
    recorded = moments.to_dict()
    assert constants(recorded) == ["pt"]
    found = normalisation(features, recorded)
    assert (found.mean[0], found.std[0]) == (0.0, 1.0)
    assert np.all(found.std > 0)


def test_labels_that_are_not_numbers_are_left_out(tmp_path, store, origin):
    content = jets(120)
    holes = np.where(np.arange(120) % 4 == 0, np.nan, content["ratio"]).astype(np.float32)
    data = toy_store(tmp_path / "holes", content | {"ratio": holes, "event": content["event"] + 10_000})
    cfg = dataclasses.replace(CFG, task=TaskConfig(label="none", regression=("ratio",)), allow_leakage=True)
    run = finetune(origin.path, store=data.path, cfg=cfg, out=tmp_path / "run")
    missing = int(np.isnan(data.labels("train", "ratio")).sum())
    assert run.read("metrics.json")["left_out"]["without a label"] == missing > 0
    assert run.read("metrics.json")["unknown"] == {"ratio": missing}


def test_an_encoder_of_another_schema_is_refused_before_a_run_is_made(tmp_path, store, origin):
    other = toy_store(
        tmp_path / "other",
        jets(60),
        changed(lambda s: s["modalities"]["particles"]["features"]["d0"].update(transform="identity")),
    )
    with pytest.raises(SchemaError, match=r"particles.d0 of the store has transform identity, .* trained on asinh"):
        finetune(origin.path, store=other.path, cfg=CFG, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert load_encoder(origin.path).schema == store.schema
