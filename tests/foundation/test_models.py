"""The encoder: permutation and padding invariance, gradients, modalities, saving."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import batch, schema, statistics
from flax import nnx

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError, RunError, SchemaError
from foundation.models import Encoder, EncoderConfig, count_parameters, load_encoder, save_encoder
from foundation.models.layers import HIDDEN, PairBias, attend

SMALL = {"width": 16, "layers": 2, "heads": 2}


def encoder(spec, **settings):
    return Encoder(spec, statistics(spec), EncoderConfig(**{**SMALL, **settings}), rngs=nnx.Rngs(0))


def replaced(b: TokenBatch, **modalities) -> TokenBatch:
    return TokenBatch({**b.modalities, **modalities}, b.globals, b.labels, b.weights, b.index)


@pytest.mark.parametrize("pair_features", [False, True])
def test_the_embedding_does_not_depend_on_the_order_of_constituents(pair_features):
    spec = schema()
    model, b = encoder(spec, pair_features=pair_features), batch(spec)
    tokens = b.modalities["particles"]
    order = np.random.default_rng(1).permutation(tokens.mask.shape[1])
    shuffled = replaced(b, particles=Tokens(tokens.values[:, order], tokens.mask[:, order]))
    before, after = model(b), model(shuffled)
    np.testing.assert_allclose(before.pooled, after.pooled, atol=2e-5)
    np.testing.assert_allclose(before.tokens[:, order], after.tokens, atol=2e-5)


@pytest.mark.parametrize("pair_features", [False, True])
def test_padding_changes_nothing(pair_features):
    spec = schema(("particles", "muons"))
    model = encoder(spec, pair_features=pair_features)
    short, long = batch(spec), batch(spec, padding=5)
    np.testing.assert_allclose(model(short).pooled, model(long).pooled, atol=2e-5)


def test_values_behind_the_mask_are_never_seen():
    spec = schema()
    model, b = encoder(spec, pair_features=True), batch(spec)
    tokens = b.modalities["particles"]
    garbage = jnp.where(tokens.mask[..., None], tokens.values, 7.0)
    dirty = replaced(b, particles=Tokens(garbage, tokens.mask))
    np.testing.assert_allclose(model(b).pooled, model(dirty).pooled, atol=2e-5)


def test_counts_of_every_modality_reach_the_output():
    """The columns of the counts alone set to zero: the embedding must move, and then know nothing of `counts`."""
    spec = schema(("particles", "muons"), with_globals=True)
    counted, b = encoder(spec, counts=True), batch(spec)
    plain = encoder(spec)
    kernel = counted.global_embed.kernel
    assert kernel.shape[0] == plain.global_embed.kernel.shape[0] + 2
    before = counted(b).pooled
    kernel[...] = kernel[...].at[-2:].set(0.0)
    after = counted(b).pooled
    assert float(jnp.abs(before - after).max()) > 1e-2
    plain.global_embed.kernel[...] = kernel[...][:-2]
    np.testing.assert_allclose(plain(b).pooled, after, atol=1e-6)


def test_pair_bias_reaches_the_output():
    """Same parameters elsewhere; the pair network alone moved: the embedding must move with it."""
    spec = schema()
    model, b = encoder(spec, pair_features=True), batch(spec)
    before = model(b).pooled
    model.pairs.down.kernel[...] = model.pairs.down.kernel[...] + 1.0
    assert float(jnp.abs(model(b).pooled - before).max()) > 1e-3


@pytest.mark.parametrize("pair_features", [False, True])
def test_gradients_are_finite_with_empty_examples(pair_features):
    spec = schema(("particles", "muons"), with_globals=True)
    model, b = encoder(spec, pair_features=pair_features), batch(spec)
    empty = {n: Tokens(0 * t.values, jnp.zeros_like(t.mask)) for n, t in b.modalities.items()}
    gradients = nnx.grad(lambda m: m(replaced(b, **empty)).pooled.std())(model)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_every_modality_and_the_globals_matter():
    spec = schema(("particles", "muons"), with_globals=True)
    model, b = encoder(spec), batch(spec)
    base = model(b).pooled
    muons = b.modalities["muons"]
    moved = replaced(b, muons=Tokens(muons.values + 1.0, muons.mask))
    shifted = TokenBatch(b.modalities, b.globals + 1.0, b.labels, b.weights, b.index)
    assert float(jnp.abs(model(moved).pooled - base).max()) > 1e-3
    assert float(jnp.abs(model(shifted).pooled - base).max()) > 1e-3


def test_bfloat16_stays_close_and_returns_float32():
    spec = schema()
    b = batch(spec)
    full, half = encoder(spec)(b).pooled, encoder(spec, precision="bfloat16")(b).pooled
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(full, half, atol=0.15)


def naive_attention(q, k, v, bias, unseen):
    weights = jax.nn.softmax(jnp.einsum("bhnk,bhmk->bhnm", q, k) + bias + unseen, axis=-1)
    return jnp.einsum("bhnm,bhmk->bhnk", weights, v)


def test_attention_and_its_gradient_agree_with_the_textbook():
    """The gradient is written by hand; large logits would overflow without the shift by their maximum."""
    rng = np.random.default_rng(0)
    q, k, v, weight = (jnp.asarray(rng.normal(size=(2, 3, 5, 4)), jnp.float32) for _ in range(4))
    bias = jnp.asarray(rng.normal(size=(2, 3, 5, 5)), jnp.float32).at[0, 0, 0].add(200.0)
    unseen = jnp.where(np.arange(5) < np.array([[5], [3]]), 0.0, HIDDEN)[:, None, None]

    def total(attention):
        return jax.jit(jax.value_and_grad(lambda *a: jnp.sum(attention(*a, unseen) * weight), argnums=(0, 1, 2, 3)))

    ours, theirs = total(attend)(q, k, v, bias), total(naive_attention)(q, k, v, bias)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_the_pair_network_is_a_dense_network_on_each_pair():
    """Rows of pairs are worked through one after another, and again for the gradient: that must not be seen."""
    rng = np.random.default_rng(0)
    network = PairBias(4, 3, 8, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0))
    pairs_PBNN = jnp.asarray(rng.normal(size=(4, 2, 5, 5)), jnp.float32)
    weight_BHNN = jnp.asarray(rng.normal(size=(2, 3, 5, 5)), jnp.float32)

    def plain(network, pairs_PBNN):
        return jnp.moveaxis(network.down(jax.nn.gelu(network.up(jnp.moveaxis(pairs_PBNN, 0, -1)))), -1, 1)

    def gradient(function):
        return nnx.value_and_grad(lambda n, p: jnp.sum(function(n, p) * weight_BHNN), argnums=(0, 1))

    ours, theirs = gradient(lambda n, p: n(p))(network, pairs_PBNN), gradient(plain)(network, pairs_PBNN)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_rematerialisation_keeps_the_gradient_and_frees_memory():
    spec = schema()
    b = batch(spec, size=64)

    def compiled(remat):
        model = encoder(spec, layers=4, pair_features=True, dropout=0.2, remat=remat)
        graph, state = nnx.split(model)
        step = jax.jit(jax.grad(lambda s: nnx.merge(graph, s)(b, jax.random.key(0)).pooled.std()))
        return step.lower(state).compile(), state

    (kept, state), (again, _) = compiled(False), compiled(True)
    for one, other in zip(jax.tree.leaves(kept(state)), jax.tree.leaves(again(state)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert again.memory_analysis().temp_size_in_bytes < 0.7 * kept.memory_analysis().temp_size_in_bytes


def test_dropout_acts_only_with_a_key():
    spec = schema()
    model, b = encoder(spec, dropout=0.5), batch(spec)
    np.testing.assert_array_equal(model(b).pooled, model(b).pooled)
    assert float(jnp.abs(model(b, jax.random.key(0)).pooled - model(b).pooled).max()) > 1e-3


def test_saved_and_loaded_without_the_store(tmp_path):
    spec = schema()
    model, b = encoder(spec), batch(spec)
    save_encoder(tmp_path, model)
    loaded = load_encoder(tmp_path)
    np.testing.assert_array_equal(model(b).pooled, loaded(b).pooled)
    assert loaded.schema == spec
    assert count_parameters(loaded) == count_parameters(model)


def test_errors_name_what_is_wrong(tmp_path):
    with pytest.raises(ConfigError, match="multiple"):
        encoder(schema(), width=15)
    with pytest.raises(ConfigError, match="pt, eta and phi"):
        encoder(schema(("muons",)), pair_features=True)
    with pytest.raises(SchemaError, match="needs modality 'muons'"):
        encoder(schema(("particles", "muons")))(batch(schema()))
    with pytest.raises(RunError, match="no finished encoder"):
        load_encoder(tmp_path)


def test_a_causal_encoder_does_not_look_ahead():
    spec = schema()
    model, b = encoder(spec), batch(spec)
    tokens = b.modalities["particles"]
    later = jnp.arange(tokens.mask.shape[1])[None, :, None] >= 3
    changed = replaced(b, particles=Tokens(jnp.where(later, 1.5, tokens.values), tokens.mask))
    before, after = (model(x, causal=True).tokens for x in (b, changed))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert np.abs(np.asarray(before - after))[:, 3:].max() > 1e-3
