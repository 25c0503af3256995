"""Masked modelling of several modalities: cross-modal prediction learns, codes as targets, what the loss counts."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx
from toys import CALO, MUONS, STILL, toy_batch, toy_schema, toy_statistics, toy_tokenizer, train

from foundation.errors import ConfigError, SchemaError
from foundation.models import EncoderConfig
from foundation.schema import DetectorSchema
from pretrain.config import PretrainConfig
from pretrain.model import Pretrainer
from pretrain.objectives import ContrastiveConfig, MaskedConfig
from pretrain.objectives.hiding import HidingConfig

ENCODER = EncoderConfig(width=16, layers=1, heads=2)
TO_MUONS = HidingConfig(tokens=0, cross=1, predict=[{"from": ["calo"], "to": ["muons"]}])


def pretrainer(**masked) -> Pretrainer:
    off = ContrastiveConfig(weight=0.0)
    config = PretrainConfig(encoder=ENCODER, augment=STILL, masked=MaskedConfig(**masked), contrastive=off)
    return Pretrainer(toy_schema(), toy_statistics(), config, rngs=nnx.Rngs(0))


def muon_follows_calo(step: int):
    """The one muon is the mean of the calorimeter's tokens, twice over; 2 * mean has the variance of 1."""
    calo = np.random.default_rng(step).normal(size=(128, CALO))
    muons = np.full((128, MUONS), np.nan)
    muons[:, 0] = 2 * calo.mean(axis=1)
    return toy_batch(calo, muons)


def test_muons_are_told_from_calorimeter_tokens():
    model, losses = train(pretrainer(hide=TO_MUONS), muon_follows_calo, 100)
    x = np.random.default_rng(0).normal(size=100_000)
    trivial = np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5).mean()  # Huber loss of always answering the mean
    assert np.mean(losses[-10:]) < 0.15 * trivial
    _, terms = model.loss(muon_follows_calo(999), jax.random.key(0))
    assert float(terms["masked/calo"]) == 0  # nothing of it was asked for
    assert float(terms["masked/muons"]) == pytest.approx(float(terms["loss/masked"]))


def test_what_is_to_be_predicted_reaches_the_loss_as_target_only():
    """Hidden muons may change at will: the encoder's output stays."""
    model, batch = pretrainer(hide=TO_MUONS), muon_follows_calo(0)
    other = toy_batch(np.asarray(batch.modalities["calo"].values[..., 0]), np.full((128, MUONS), 7.0))
    seen = [model.masked.hide(b, jax.random.key(0))[0] for b in (batch, other)]
    one, two = (model.encoder(s) for s in seen)
    np.testing.assert_allclose(one.pooled, two.pooled, atol=1e-6)


def test_codes_as_targets_are_learnt(tmp_path):
    """A muon of code 0, 1 or 2 for each event, and calorimeter tokens of the same code."""

    def same_codes(step: int):
        code = np.random.default_rng(step).integers(0, 3, 128).astype(float)
        return toy_batch(np.repeat(code[:, None], CALO, axis=1), np.stack([code, np.full(128, np.nan)], axis=1))

    model = pretrainer(hide=TO_MUONS, targets="codes", tokenizer=str(toy_tokenizer(tmp_path)))
    fixed = jax.tree.leaves(nnx.state(model.masked.tokenizer, nnx.Param))
    assert not fixed  # nothing of the tokenizer is trained
    model, losses = train(model, same_codes, 60)
    assert np.mean(losses[-5:]) < 0.1 * np.log(3)


def test_weights_of_modalities_weigh_the_tokens():
    batch, key = muon_follows_calo(1), jax.random.key(1)
    terms = {}
    for factor in (0.0, 1.0, 3.0):
        model = pretrainer(fraction=0.5, weights={"muons": factor}, hide=HidingConfig(tokens=1, modality=1))
        loss, terms = model.loss(batch, key)
        hidden = model.masked.hide(batch, jax.random.split(key, 4)[2])[1]
        calo, muons = (float(hidden[n].sum()) for n in ("calo", "muons"))
        assert muons > 0
        each = {n: float(terms[f"masked/{n}"]) for n in ("calo", "muons")}
        expected = (each["calo"] * calo + factor * each["muons"] * muons) / (calo + factor * muons)
        assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_settings_that_contradict_each_other_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"needs masked\.tokenizer"):
        pretrainer(targets="codes")
    with pytest.raises(ConfigError, match=r"for masked\.targets 'codes'"):
        pretrainer(tokenizer="runs/tokenizer")
    with pytest.raises(ConfigError, match="did you mean 'muons'"):
        pretrainer(weights={"muon": 2.0})
    path = toy_tokenizer(tmp_path)
    other = toy_schema(globals={})
    assert isinstance(other, DetectorSchema)
    config = PretrainConfig(encoder=ENCODER, masked=MaskedConfig(targets="codes", tokenizer=str(path)))
    with pytest.raises(SchemaError, match=r"does not fit 'toy': the list of globals is \['number'\] there, \[\] here"):
        Pretrainer(other, toy_statistics(), config, rngs=nnx.Rngs(0))
