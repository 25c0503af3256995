"""Masked modelling and contrastive learning: what they may see, and what they reward."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import batch, schema, statistics
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError
from foundation.models import EncoderConfig
from pretrain.augment import AugmentConfig
from pretrain.config import PretrainConfig
from pretrain.model import Pretrainer
from pretrain.objectives import ContrastiveConfig, MaskedConfig
from pretrain.objectives.contrastive import nt_xent
from pretrain.objectives.hiding import hide_tokens

ENCODER = EncoderConfig(width=16, layers=1, heads=2)
STILL = AugmentConfig()


def pretrainer(spec, **settings):
    config = PretrainConfig(**{"encoder": ENCODER, "augment": STILL, **settings})
    return Pretrainer(spec, statistics(spec), config, rngs=nnx.Rngs(0))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), fraction=st.floats(0, 1))
def test_hidden_and_visible_tokens_partition_the_real_ones(seed, fraction):
    spec = schema(("particles", "muons"))
    b = batch(spec, seed=seed)
    visible, hidden = hide_tokens(b, fraction, jax.random.key(seed))
    for name, tokens in b.modalities.items():
        seen = np.asarray(visible.modalities[name].mask)
        assert not (seen & np.asarray(hidden[name])).any()
        np.testing.assert_array_equal(seen | np.asarray(hidden[name]), tokens.mask)
        alone = tokens.mask.sum(1) == 1
        assert seen[alone].sum() == alone.sum()


def test_the_stated_fraction_is_hidden():
    spec = schema()
    b = batch(spec, size=2000)
    _, hidden = hide_tokens(b, 0.3, jax.random.key(0))
    mask = b.modalities["particles"].mask
    enough = mask.sum(1) > 1
    assert np.asarray(hidden["particles"])[enough].sum() / mask[enough].sum() == pytest.approx(0.3, abs=0.02)


def test_the_encoder_never_sees_a_hidden_token():
    """What is hidden may change at will: the visible side's embedding stays as it is."""
    spec = schema()
    model, b = pretrainer(spec), batch(spec)
    visible, hidden = hide_tokens(b, 0.5, jax.random.key(1))
    tokens = visible.modalities["particles"]
    other = Tokens(jnp.where(hidden["particles"][..., None], 5.0, tokens.values), tokens.mask)
    changed = TokenBatch({"particles": other}, b.globals, b.labels, b.weights, b.index)
    assert np.asarray(hidden["particles"]).any()
    np.testing.assert_allclose(model.encoder(visible).pooled, model.encoder(changed).pooled, atol=1e-6)


def test_the_masked_loss_reads_the_visible_tokens():
    """Its gradient reaches every part of the encoder, the summary's too."""
    spec = schema(with_globals=True)
    model, b = pretrainer(spec, contrastive=ContrastiveConfig(weight=0)), batch(spec)
    gradients = nnx.grad(lambda m: m.loss(b, jax.random.key(0))[0])(model)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients.encoder):
        assert float(jnp.abs(leaf).max()) > 0, jax.tree_util.keystr(path)


def test_nt_xent_is_what_the_paper_says():
    rng = np.random.default_rng(0)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(2, 5, 7)))
    rows, total = np.concatenate([a, b]), 0.0
    for i in range(10):
        similar = np.exp(rows @ rows[i] / 0.3)
        total -= np.log(similar[(i + 5) % 10] / (similar.sum() - similar[i]))
    found = nt_xent(jnp.asarray(a), jnp.asarray(b), jnp.ones(5), 0.3)
    assert float(found) == pytest.approx(total / 10, rel=1e-5)


def test_nt_xent_leaves_out_rows_that_only_fill_the_batch():
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True)) for x in rng.normal(size=(2, 6, 7)))
    weights = jnp.asarray([1.0, 1, 1, 1, 0, 0])
    full, part = nt_xent(a, b, weights, 0.2), nt_xent(a[:4], b[:4], jnp.ones(4), 0.2)
    assert float(full) == pytest.approx(float(part), rel=1e-5)


def test_nt_xent_rewards_agreement():
    a = jnp.eye(8)
    assert float(nt_xent(a, a, jnp.ones(8), 0.2)) < float(nt_xent(a, jnp.roll(a, 1, axis=0), jnp.ones(8), 0.2))


def test_weights_of_the_objectives_add_up():
    spec = schema()
    b, key = batch(spec), jax.random.key(3)
    model = pretrainer(spec, masked=MaskedConfig(weight=2.0), contrastive=ContrastiveConfig(weight=0.5))
    total, terms = model.loss(b, key)
    assert {name for name in terms if name.startswith("loss/")} == {"loss/masked", "loss/contrastive"}
    assert float(total) == pytest.approx(2.0 * float(terms["loss/masked"]) + 0.5 * float(terms["loss/contrastive"]))


@pytest.mark.parametrize("off", ["masked", "contrastive"])
def test_an_objective_of_weight_zero_is_not_there(off):
    spec = schema()
    settings = {off: (MaskedConfig if off == "masked" else ContrastiveConfig)(weight=0.0)}
    model = pretrainer(spec, **settings)
    _, terms = model.loss(batch(spec), jax.random.key(0))
    assert f"loss/{off}" not in terms
    assert len([name for name in terms if name.startswith("loss/")]) == 1


def test_no_objective_is_refused():
    with pytest.raises(ConfigError, match="no objective"):
        pretrainer(schema(), masked=MaskedConfig(weight=0), contrastive=ContrastiveConfig(weight=0))
