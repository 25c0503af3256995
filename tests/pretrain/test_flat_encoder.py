"""Pretraining of a flat encoder: objectives of examples work, those of tokens refuse; trigger objects keep places."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from toys import STILL, toy_batch, toy_schema, toy_statistics

from foundation.batch import TokenBatch, Tokens
from foundation.command import load_config
from foundation.errors import ConfigError
from foundation.models import EncoderConfig, FlatEncoder
from foundation.models.saved import blank_statistics
from foundation.schema import DetectorSchema
from pretrain.augment import anomalous, augment
from pretrain.config import PretrainConfig
from pretrain.model import Pretrainer
from pretrain.objectives import ContrastiveConfig, MaskedConfig, NextTokenConfig, VicregConfig

FLAT = EncoderConfig(width=4, flat=(8, 4))
OFF = {"masked": MaskedConfig(weight=0.0), "contrastive": ContrastiveConfig(weight=0.0)}
PRESETS = ("pretrain/axol1tl_vicreg", "pretrain/anomaly_clr")


def model(**objectives) -> Pretrainer:
    cfg = PretrainConfig(encoder=FLAT, augment=STILL, **{**OFF, **objectives})
    return Pretrainer(toy_schema(), toy_statistics(), cfg, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", ["contrastive", "vicreg"])
def test_objectives_of_examples_reach_every_layer(name):
    settings = ContrastiveConfig(weight=1.0, projection=4) if name == "contrastive" else VicregConfig(weight=1.0)
    pretrainer = model(**{name: settings})
    rng = np.random.default_rng(0)
    batch = toy_batch(rng.normal(size=(16, 4)), rng.normal(size=(16, 2)), rng.normal(size=16))
    graph, params, rest = nnx.split(pretrainer, nnx.Param, ...)
    gradient = jax.grad(lambda p: nnx.merge(graph, p, rest).loss(batch, jax.random.key(0))[0])(params)
    sizes = [float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(gradient["encoder"])]
    assert len(sizes) == 4
    assert sum(size > 0 for size in sizes) >= 3  # vicreg: the last bias shifts all rows alike


@pytest.mark.parametrize(
    ("name", "settings"),
    [("masked", MaskedConfig(weight=1.0)), ("next_token", NextTokenConfig(weight=1.0, tokenizer="none"))],
)
def test_objectives_of_tokens_refuse_by_name(name, settings):
    with pytest.raises(ConfigError, match=rf"{name}.weight: .* needs vectors of tokens"):
        model(**{name: settings})


def crossings(size: int = 64) -> TokenBatch:
    """Objects in the 19 places of data/axol1tl, some of them empty."""
    rng = np.random.default_rng(3)
    values = np.stack(
        [rng.exponential(30, (size, 19)), rng.uniform(-2, 2, (size, 19)), rng.uniform(0, 6.28, (size, 19))], axis=-1
    ).astype(np.float32)
    values[rng.random((size, 19)) < 0.5] = 0
    values[:, 0] = (25, 0, 1)
    # As in descending pt, which elsewhere is restored by sorting.
    values[0] = 0
    values[0, :2] = ((50, 0, 1), (20, 0.5, 2))
    tokens = Tokens(jnp.asarray(values), jnp.ones((size, 19), bool))
    index = jnp.arange(size, dtype=jnp.int32)
    return TokenBatch({"objects": tokens}, jnp.zeros((size, 0)), {}, jnp.ones(size), index)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("data", ["data/axol1tl", "data/l1events_axol1tl"])
def test_augmentations_move_no_object_to_another_place(preset, data):
    cfg, schema, batch = load_config(PretrainConfig, preset), DetectorSchema.load(data), crossings()
    before = np.asarray(batch.modalities["objects"].values)
    view = augment(batch, schema, cfg.augment, jax.random.key(1)).modalities["objects"]
    after = np.asarray(view.values)
    there, still = (before != 0).any(-1), (after != 0).any(-1)
    assert not (still & ~there).any()  # nothing appears in an empty place
    assert 0.01 < (there & ~still).sum() / there.sum() < 0.15  # a lost object leaves its place empty
    assert np.asarray(view.mask).all()
    assert (after[:, 0, 1] == 0).all()  # the missing momentum has no eta
    ratio = np.log(after[there & still, 0] / before[there & still, 0])
    assert np.abs(np.median(ratio)) < 0.1
    assert (np.abs(ratio) < 1.5).mean() > 0.97  # the object of this place, smeared: not another one
    eta = np.abs(np.abs(after[..., 1]) - np.abs(before[..., 1]))[there & still]
    assert eta.max() < 1e-6


def test_anomalous_versions_keep_places_and_change_pt_or_number():
    cfg, schema, batch = load_config(PretrainConfig, PRESETS[1]), DetectorSchema.load("data/axol1tl"), crossings()
    odd = anomalous(batch, schema, cfg.contrastive.anomalous, jax.random.key(2)).modalities["objects"].values
    before, after = np.asarray(batch.modalities["objects"].values), np.asarray(odd)
    there, still = (before != 0).any(-1), (after != 0).any(-1)
    assert not (still & ~there).any()
    fewer = still.sum(1) < there.sum(1)
    assert 0.3 < fewer.mean() < 0.7
    sums = after[..., 0].sum(1) / before[..., 0].sum(1)
    np.testing.assert_allclose(sums[fewer], 1, rtol=1e-4)
    assert (np.abs(np.log(sums[~fewer])) > np.log(1.45)).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_build_for_both_layouts(preset):
    for data in ("data/axol1tl", "data/l1events_axol1tl"):
        cfg, schema = load_config(PretrainConfig, preset), DetectorSchema.load(data)
        quick = dataclasses.replace(cfg, train=dataclasses.replace(cfg.train, steps=1))
        made = Pretrainer(schema, blank_statistics(schema), quick, rngs=nnx.Rngs(0))
        loss, _ = made.loss(crossings(8), jax.random.key(0))
        assert np.isfinite(float(loss))
    assert isinstance(made.encoder, FlatEncoder) == (preset == PRESETS[0])
