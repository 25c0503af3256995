"""The flat encoder: places, padding, sizes, saving; what it refuses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import batch, schema, statistics
from flax import nnx

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError
from foundation.models import (
    Encoder,
    EncoderConfig,
    FlatEncoder,
    build_encoder,
    count_parameters,
    load_encoder,
    save_encoder,
)
from foundation.models.saved import blank_statistics
from foundation.schema import DetectorSchema

FLAT = EncoderConfig(width=6, flat=(9, 6))


def flat(spec, config=FLAT):
    return build_encoder(spec, statistics(spec), config, rngs=nnx.Rngs(0))


def test_padding_changes_nothing_and_hidden_values_are_never_seen():
    spec = schema(("particles", "muons"))
    model, short, long = flat(spec), batch(spec), batch(spec, padding=5)
    np.testing.assert_allclose(model(short).pooled, model(long).pooled, atol=1e-6)
    tokens = long.modalities["particles"]
    broken = Tokens(jnp.where(tokens.mask[..., None], tokens.values, 1e9), tokens.mask)
    changed = TokenBatch({**long.modalities, "particles": broken}, long.globals, {}, long.weights, long.index)
    np.testing.assert_array_equal(model(changed).pooled, model(long).pooled)


def test_every_place_has_weights_of_its_own():
    spec = schema()
    model, b = flat(spec), batch(spec)
    tokens = b.modalities["particles"]
    swapped = Tokens(tokens.values[:, ::-1], tokens.mask[:, ::-1])
    other = model(TokenBatch({"particles": swapped}, b.globals, {}, b.weights, b.index)).pooled
    assert not np.allclose(model(b).pooled, other, atol=1e-3)
    gradient = jax.grad(lambda values: model(
        TokenBatch({"particles": Tokens(values, tokens.mask)}, b.globals, {}, b.weights, b.index)).pooled.sum()
    )(jnp.asarray(tokens.values))  # fmt: skip
    assert (np.abs(gradient).sum(axis=-1) > 0)[np.asarray(tokens.mask)].mean() > 0.9


def test_the_embedding_of_axol1tl_has_57_inputs_and_1992_numbers():
    spec = DetectorSchema.load("data/axol1tl")
    model = build_encoder(spec, blank_statistics(spec), EncoderConfig(width=10, flat=(29, 10)), rngs=nnx.Rngs(0))
    assert isinstance(model, FlatEncoder)
    assert [layer.linear.kernel.shape for layer in model.blocks] == [(57, 29), (29, 10)]
    assert count_parameters(model) == 57 * 29 + 29 + 29 * 10 + 10


def test_it_is_saved_and_loaded_as_what_it_is(tmp_path):
    spec = schema()
    model, b = flat(spec), batch(spec)
    save_encoder(tmp_path, model)
    again = load_encoder(tmp_path)
    assert isinstance(again, FlatEncoder)
    np.testing.assert_array_equal(again(b).pooled, model(b).pooled)
    plain = build_encoder(spec, statistics(spec), EncoderConfig(width=8, layers=1, heads=2), rngs=nnx.Rngs(0))
    assert isinstance(plain, Encoder)
    assert not isinstance(plain, FlatEncoder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 8, "flat": (9, 6)}, "ends in 6, and encoder.width is 8"),
        ({"width": 6, "flat": (0, 6)}, "at least 1"),
        ({"width": 6, "flat": (9, 6), "pair_features": True}, "encoder.pair_features"),
        ({"width": 6, "flat": (9, 6), "counts": True}, "encoder.counts"),
    ],
)
def test_impossible_sizes_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        flat(schema(), EncoderConfig(**settings))


def test_it_cannot_be_causal():
    with pytest.raises(ConfigError, match="causal"):
        flat(schema())(batch(schema()), causal=True)
