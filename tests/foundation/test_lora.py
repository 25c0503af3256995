"""Low-rank adapters: nothing changes before training, nothing is lost in merging."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import batch, schema, statistics
from flax import nnx

from foundation.errors import ConfigError
from foundation.models import Encoder, EncoderConfig, count_parameters
from foundation.models.lora import ADAPTER, Adapter, LoraConfig, add_adapters, merge_adapters

SIZES = EncoderConfig(width=16, layers=2, heads=2, pair_features=True)
LAYERS = 8  # qkv, out, up and down of two blocks


def encoder(config=SIZES):
    return Encoder(schema(), statistics(schema()), config, rngs=nnx.Rngs(0))


def disturb(model):
    """Adapters as training might leave them."""
    for number, (_, module) in enumerate(nnx.iter_modules(model)):
        if isinstance(module, Adapter):
            module.lora_b[...] = 0.1 * jax.random.normal(jax.random.key(number), module.lora_b.shape)


@pytest.mark.parametrize("remat", [False, True])
def test_adapters_start_as_nothing_and_merge_into_the_same_network(remat):
    model, b = encoder(EncoderConfig(width=16, layers=2, heads=2, remat=remat)), batch(schema())
    plain, shapes = model(b).pooled, jax.tree.structure(nnx.state(model))
    assert add_adapters(model, LoraConfig(rank=3, alpha=6.0), rngs=nnx.Rngs(1)) == LAYERS
    np.testing.assert_array_equal(model(b).pooled, plain)
    disturb(model)
    adapted = model(b).pooled
    assert float(jnp.abs(adapted - plain).max()) > 0.1
    assert merge_adapters(model) == LAYERS
    np.testing.assert_allclose(model(b).pooled, adapted, rtol=1e-4, atol=1e-5)
    assert jax.tree.structure(nnx.state(model)) == shapes
    assert merge_adapters(model) == 0


def test_the_change_is_of_low_rank_and_scaled_by_alpha_over_rank():
    changes = {}
    for alpha in (2.0, 8.0):
        model, before = encoder(), np.asarray(encoder().blocks[1].feed.up.kernel[...])
        assert add_adapters(model, LoraConfig("1/feed/up$", rank=2, alpha=alpha), rngs=nnx.Rngs(1)) == 1
        disturb(model)
        merge_adapters(model)
        changes[alpha] = np.asarray(model.blocks[1].feed.up.kernel[...]) - before
    assert np.linalg.matrix_rank(changes[8.0], tol=1e-3) == 2
    np.testing.assert_allclose(changes[8.0], 4 * changes[2.0], rtol=1e-3, atol=1e-6)


def test_adapters_hold_rank_times_inputs_and_outputs():
    model, before = encoder(), count_parameters(encoder())
    add_adapters(model, LoraConfig("qkv$", rank=2), rngs=nnx.Rngs(1))
    assert count_parameters(model) - before == 2 * 2 * (16 + 48)
    paths = ["/".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model, nnx.LoRAParam))]
    assert paths == [f"blocks/{k}/attention/qkv/lora_{x}" for k in (0, 1) for x in "ab"]
    assert all(path.endswith(("lora_a", "lora_b")) for path in paths)
    assert ADAPTER == "lora_[ab]$"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (LoraConfig(rank=0), "must be positive"),
        (LoraConfig(alpha=0.0), "must be positive"),
        (LoraConfig(pattern="qvk"), r"no linear layer .* known: blocks/0/attention"),
        (LoraConfig(pattern="pairs"), "takes no adapter"),
    ],
)
def test_adapters_that_cannot_be_are_refused(config, words):
    with pytest.raises(ConfigError, match=words):
        add_adapters(encoder(), config, rngs=nnx.Rngs(1))
