"""Next-token prediction and generation: what a position may know, and that rules of the data are generated."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from toys import CALO, MUONS, STILL, toy_batch, toy_schema, toy_statistics, toy_tokenizer, train

from foundation.errors import ConfigError
from foundation.models import EncoderConfig
from pretrain.config import PretrainConfig
from pretrain.generator import Generator, draw, generate
from pretrain.model import Pretrainer
from pretrain.objectives import ContrastiveConfig, MaskedConfig, NextTokenConfig
from pretrain.objectives.next_token import next_symbols
from pretrain.tokenizer import NONE


def rule(step: int, size: int = 128):
    """`number` of the globals says how many calorimeter tokens there are; their codes count 0, 1, 2, 0; as many as two
    of them come with a muon of code 2, more with two of code 1."""
    number = np.random.default_rng(step).integers(0, CALO + 1, size)
    calo = np.where(np.arange(CALO) < number[:, None], np.arange(CALO) % 3, np.nan).astype(float)
    muons = np.where((number < 3)[:, None], [2.0, np.nan], [1.0, 1.0])
    return toy_batch(calo, muons, number - 2.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Pretrainer:
    off = {"masked": MaskedConfig(weight=0.0), "contrastive": ContrastiveConfig(weight=0.0)}
    settings = NextTokenConfig(weight=1.0, tokenizer=str(toy_tokenizer(tmp_path_factory.mktemp("toy"))))
    encoder = EncoderConfig(width=32, layers=2, heads=2)
    config = PretrainConfig(encoder=encoder, augment=STILL, next_token=settings, **off)
    return Pretrainer(toy_schema(), toy_statistics(), config, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def trained(model) -> tuple[Pretrainer, list[float]]:
    return train(model, rule, 150, rate=5e-3)


def test_symbols_are_the_codes_and_a_stop():
    symbols, asked = next_symbols(jnp.asarray([[5, 6, NONE], [NONE, NONE, NONE], [1, 2, 3]]), 9)
    np.testing.assert_array_equal(symbols, [[5, 6, 9, 9], [9, 9, 9, 9], [1, 2, 3, 9]])
    np.testing.assert_array_equal(asked, [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])


def test_a_position_knows_nothing_of_what_comes_after_it(model):
    head, batch = model.next_token, rule(0)
    codes = {"calo": jnp.asarray([[0, 1, 2, 0]]), "muons": jnp.asarray([[1, 1]])}
    one = jax.tree.map(lambda a: a[:1], batch)

    def told(codes):
        encoded = model.encoder(head.seen(codes, one), causal=True)
        return {n: np.asarray(head.before(encoded, codes, n))[0] for n in codes}

    before, after = told(codes), told({"calo": jnp.asarray([[0, 1, 1, NONE]]), "muons": jnp.asarray([[0, NONE]])})
    np.testing.assert_allclose(after["calo"][:3], before["calo"][:3], atol=1e-5)  # told: the codes 0, 1, 2
    assert np.abs(after["calo"][3] - before["calo"][3]).max() > 1e-3
    np.testing.assert_allclose(after["muons"][0], after["calo"][3], atol=1e-6)  # from the last calorimeter token
    assert np.abs(after["muons"][0] - before["muons"][0]).max() > 1e-3
    empty = told({"calo": jnp.full((1, 4), NONE), "muons": jnp.asarray([[0, NONE]])})
    np.testing.assert_allclose(empty["muons"][0], before["calo"][0], atol=1e-5)  # from the summary token


def test_the_rule_of_the_data_is_learnt(trained):
    _, losses = trained
    assert losses[0] > 0.9 * np.log(4)
    assert np.mean(losses[-5:]) < 0.1


def test_generated_examples_obey_the_rule(trained):
    model, _ = trained
    wanted = rule(1, size=40)
    made = generate(Generator(model.encoder, model.next_token), np.asarray(wanted.globals), 0, temperature=0.0)
    right = np.ones(40, bool)
    for name, tokens in made.modalities.items():
        there = wanted.modalities[name]
        assert tokens.mask.shape == there.mask.shape
        right &= np.all(np.asarray(tokens.mask) == np.asarray(there.mask), axis=1)
        right &= np.all(np.asarray(tokens.values) == np.asarray(there.values), axis=(1, 2))
    assert right.mean() > 0.9


def test_sampling_is_a_function_of_the_seed_and_stops_at_the_longest(model):
    generator, globals_ = Generator(model.encoder, model.next_token), np.zeros((40, 1), np.float32)
    longest = {"calo": 3, "muons": MUONS}
    one, again, other = (generate(generator, globals_, seed, longest=longest) for seed in (1, 1, 2))
    values = [np.asarray(b.modalities["calo"].values) for b in (one, again, other)]
    np.testing.assert_array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])
    mask = np.asarray(one.modalities["calo"].mask)
    assert mask.shape == (40, 3)
    assert np.all(mask[:, :-1] >= mask[:, 1:])
    assert 0 < mask.sum() < mask.size  # untrained: some stop early


def test_draws_follow_temperature_and_top_k():
    logits = jnp.tile(jnp.log(jnp.asarray([0.5, 0.3, 0.15, 0.05])), (20_000, 1))
    share = [
        np.bincount(draw(logits, jax.random.key(0), t, k), minlength=4) / 20_000
        for t, k in ((1.0, 0), (1.0, 2), (0.5, 0), (0.0, 0), (1.0, 1))
    ]
    np.testing.assert_allclose(share[0], [0.5, 0.3, 0.15, 0.05], atol=0.015)
    np.testing.assert_allclose(share[1], [0.625, 0.375, 0, 0], atol=0.015)
    squared = np.array([0.25, 0.09, 0.0225, 0.0025])
    np.testing.assert_allclose(share[2], squared / squared.sum(), atol=0.015)
    np.testing.assert_array_equal(share[3:], [[1, 0, 0, 0]] * 2)


def test_a_tokenizer_is_needed():
    config = PretrainConfig(next_token=NextTokenConfig(weight=1.0))
    with pytest.raises(ConfigError, match=r"needs next_token\.tokenizer"):
        Pretrainer(toy_schema(), toy_statistics(), config, rngs=nnx.Rngs(0))
