"""Which part of a tagger learns how fast, by mode; and that it does, through the command."""

from __future__ import annotations

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
from flax import nnx
from toy_jets import jets, toy_pretrained, toy_store

from finetune.command import finetune
from finetune.config import AdaptConfig, FinetuneConfig
from finetune.modes import check_mode, encoder_rates
from finetune.predict import predict
from finetune.saved import load_tagger
from finetune.task import TaskConfig
from foundation.command import load_config
from foundation.errors import ConfigError, DataError
from foundation.models import count_parameters, load_encoder
from foundation.models.lora import LoraConfig
from foundation.optimizer import rate_of
from foundation.stopping import StopConfig
from foundation.train import Interrupted, LearningRate, TrainConfig

TASK = TaskConfig(groups={"wide": ["wide"], "narrow": ["narrow"]})
CFG = FinetuneConfig(
    task=TASK, batch_size=32, buckets=1, train=TrainConfig(steps=4, learning_rate=1e-2, checkpoint_every=1000)
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("modes"), jets())


@pytest.fixture(scope="module")
def origin(tmp_path_factory, store):
    return toy_pretrained(tmp_path_factory.mktemp("pretrained") / "run", store)


def variables(model):
    return {"/".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(model))}


def moved(run, origin):
    """Variables of the encoder that a fine-tuning changed."""
    before, after = variables(load_encoder(origin.path)), variables(load_tagger(run).encoder)
    assert before.keys() == after.keys()
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_blocks_near_the_input_learn_least_and_join_last():
    cfg = FinetuneConfig(trunk=0.5, layer_decay=0.5, unfreeze=0.6)
    train = dataclasses.replace(cfg.train, learning_rates=encoder_rates(cfg, 2))
    paths = ["head/out/kernel", "encoder/norm/scale", *(f"encoder/blocks/{k}/feed/up/kernel" for k in (1, 0))]
    found = [rate_of(train, path.split("/")) for path in (*paths, "encoder/embed/particles/kernel")]
    assert [rate.factor for rate in found] == [1.0, 0.5, 0.5, 0.25, 0.125]
    assert [rate.after for rate in found] == pytest.approx([0.0, 0.2, 0.2, 0.4, 0.6])
    behind = rate_of(train, ["encoder", "encoder", "blocks", "0", "feed", "up", "kernel"])  # of an adapted encoder
    assert behind.factor == 0.25
    assert encoder_rates(FinetuneConfig(trunk=0.3), 2) == (LearningRate("^encoder/", 0.3),)


def test_frozen_stays_frozen_whatever_the_rates_say(tmp_path, store, origin):
    train = dataclasses.replace(CFG.train, learning_rates=(LearningRate("kernel", 2.0),))
    run = finetune(origin.path, cfg=dataclasses.replace(CFG, mode="frozen", train=train), out=tmp_path / "run")
    assert moved(run, origin) == set()


def test_lora_changes_the_chosen_matrices_by_low_rank_and_nothing_else(tmp_path, store, origin):
    lora = LoraConfig(pattern="attention/qkv$", rank=1)
    run = finetune(origin.path, cfg=dataclasses.replace(CFG, mode="lora", lora=lora), out=tmp_path / "run")
    assert moved(run, origin) == {f"blocks/{k}/attention/qkv/kernel" for k in (0, 1)}
    before, after = variables(load_encoder(origin.path)), variables(load_tagger(run).encoder)
    change = after["blocks/0/attention/qkv/kernel"] - before["blocks/0/attention/qkv/kernel"]
    assert np.linalg.matrix_rank(change, tol=1e-5) == 1
    found = run.read("metrics.json")
    assert found["mode"] == "lora"
    head = sum(value.size for name, value in variables(load_tagger(run).head).items())
    assert found["trained"] == head + 2 * 1 * (8 + 24)  # two layers of rank 1, from 8 to 24
    assert found["parameters"] == count_parameters(load_tagger(run))  # without adapters


def test_staged_unfreezing_moves_the_last_block_before_the_first(tmp_path, store, origin):
    """Of 4 steps the last block has two, the first one only step 4 of no warm-up, the input none."""
    cfg = dataclasses.replace(CFG, unfreeze=0.99, train=dataclasses.replace(CFG.train, warmup=0.0))
    names = moved(finetune(origin.path, cfg=cfg, out=tmp_path / "run"), origin)
    assert {name.split("/")[0] + "/" + name.split("/")[1] for name in names if "blocks" in name} == {
        "blocks/0",
        "blocks/1",
    }
    assert not any(name.startswith(("embed", "global_embed")) for name in names)


@pytest.mark.parametrize(
    ("cfg", "pretrained", "words"),
    [
        (FinetuneConfig(mode="lora"), False, "mode lora changes a pretrained encoder"),
        (FinetuneConfig(layer_decay=0.5), False, "layer_decay is of mode full .* training from scratch"),
        (FinetuneConfig(unfreeze=0.5, mode="frozen"), True, "unfreeze is of mode full .* mode frozen"),
        (FinetuneConfig(layer_decay=0.0), True, "layer_decay is a factor"),
        (FinetuneConfig(unfreeze=1.0), True, "unfreeze is a fraction"),
        (FinetuneConfig(adapt=AdaptConfig(statistics="data")), False, "adapt is how a pretrained"),
        (FinetuneConfig(model="pfn"), True, "model pfn is trained from scratch"),
    ],
)
def test_settings_without_use_are_refused(cfg, pretrained, words):
    with pytest.raises(ConfigError, match=words):
        check_mode(cfg, pretrained=pretrained)


@pytest.mark.parametrize("name", ["linear", "frozen", "lora", "full", "staged"])
def test_presets_are_settings_of_their_mode(name):
    cfg = load_config(FinetuneConfig, f"finetune/{name}")
    check_mode(cfg, pretrained=True)
    assert cfg.mode == ("full" if name == "staged" else name)


def test_metrics_say_what_was_done_and_what_was_left_out(tmp_path, store, origin, capsys):
    cfg = dataclasses.replace(CFG, labels=60, mode="linear")
    found = finetune(origin.path, cfg=cfg, out=tmp_path / "run").read("metrics.json")
    unknown = int((store.labels("train", "kind") < 0).sum())
    assert unknown > 0
    assert found["left_out"] == {"without a label": unknown, "not drawn": store.length("train") - unknown - 60}
    assert found["labels"] == 60 == sum(found["labels_per_class"].values())
    assert (found["steps"], found["model_of_step"], found["stopped"]) == (4, 4, "all steps taken")
    assert found["mode"] == "linear"
    assert found["seconds"] > 0
    assert (
        f"{unknown} rows of 'train' without a label of this task are left out (kind: {unknown})"
        in capsys.readouterr().err
    )


STOP = StopConfig(metric="auc", every=2, patience=2, rows=40)
LONG = dataclasses.replace(
    CFG, mode="linear", stop=STOP, train=TrainConfig(steps=60, learning_rate=3e-2, ema=0.5, checkpoint_every=1000)
)


@pytest.mark.slow
def test_early_stopping_keeps_the_best_and_resumes_exactly(tmp_path, monkeypatch, store, origin):
    whole = finetune(origin.path, cfg=LONG, out=tmp_path / "whole")
    found = whole.read("metrics.json")
    rows = [json.loads(line) for line in (whole.path / "metrics.jsonl").read_text().splitlines()]
    curve = {row["step"]: row["val/auc"] for row in rows if "val/auc" in row}
    assert found["val/auc"] == max(curve.values()) == curve[found["model_of_step"]]
    assert found["steps"] == found["model_of_step"] + 4 < 60
    assert "no better than at step" in found["stopped"]
    assert not list((whole.path / "checkpoints").glob("[0-9]*"))  # none was due

    stop_at, calls = found["steps"] - 1, []
    from foundation.loader import Loader

    following = Loader.__next__

    def interrupted(self):
        calls.append(self.step)
        if len(calls) == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        return following(self)

    with monkeypatch.context() as patch:
        patch.setattr(Loader, "__next__", interrupted)
        with pytest.raises(Interrupted):
            finetune(origin.path, cfg=LONG, out=tmp_path / "parts")
    parts = finetune(origin.path, cfg=LONG, out=tmp_path / "parts", resume=True)
    again = parts.read("metrics.json")
    assert {k: again[k] for k in found if k != "seconds"} == {k: found[k] for k in found if k != "seconds"}
    one, two = (variables(load_tagger(run)) for run in (whole, parts))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert predict(load_tagger(parts), store, "val").logits.shape == (store.length("val"), 2)


@pytest.mark.parametrize(
    ("edit", "error", "words"),
    [
        ({"stop": dataclasses.replace(STOP, metric="f1")}, ConfigError, "'f1' is not measured"),
        ({"task": TaskConfig(label="none", regression=("ratio",)), "stop": STOP}, ConfigError, "known: loss"),
        ({"labels": 10_000}, DataError, "10000 labelled training rows were asked for"),
        ({"task": TaskConfig(groups={"wide": ["wide"], "x": ["never"]})}, DataError, "no labelled example of x"),
    ],
)
def test_what_cannot_be_is_refused_before_a_run_is_made(tmp_path, store, origin, edit, error, words):
    with pytest.raises(error, match=words):
        finetune(origin.path, cfg=dataclasses.replace(CFG, **edit), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_early_stopping_without_val_is_refused(tmp_path, origin):
    from toy_jets import changed

    halves = changed(lambda s: s["split"].update(fractions={"train": 0.5, "test": 0.5}))
    data = toy_store(tmp_path / "halves", jets(), halves)
    with pytest.raises(DataError, match=r"no labelled row in split 'val'.*stop\.metric auc"):
        finetune(origin.path, store=data.path, cfg=LONG, out=tmp_path / "run")
