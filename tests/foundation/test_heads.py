"""Heads on tokens and pairs: what does not depend on the order of tokens, or on padding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from foundation.batch import Tokens
from foundation.models.edges import EdgeHead, all_pairs, pair_values, pair_width, places
from foundation.models.encoder import Encoded
from foundation.models.heads import AttentionPool, HeadConfig
from foundation.schema import Feature, Modality

PARTICLES = Modality(
    {name: Feature(name) for name in ("pt", "eta", "phi")}, {name: name for name in ("pt", "eta", "phi")}
)
HITS = Modality({name: Feature(name) for name in ("z", "x", "y")}, {name: name for name in ("x", "y", "z")})


def encoded(rng: np.random.Generator, tokens: int = 5, width: int = 8) -> Encoded:
    x = jnp.asarray(rng.normal(size=(2, tokens, width)), jnp.float32)
    mask = jnp.asarray([[True] * tokens, [True] * 2 + [False] * (tokens - 2)])
    return Encoded(x * mask[..., None], x[:, 0], mask, x[:, 1])


def test_attention_pooling_knows_neither_order_nor_padding():
    given = encoded(np.random.default_rng(0))
    pool = AttentionPool(8, rngs=nnx.Rngs(0))
    before, order = np.asarray(pool(given)), np.asarray([3, 0, 4, 1, 2])
    turned = Encoded(given.tokens[:, order], given.pooled, given.mask[:, order], given.summary)
    np.testing.assert_allclose(pool(turned), before, atol=1e-5)
    junk = jnp.where(given.mask[..., None], given.tokens, 1e3)
    np.testing.assert_allclose(pool(Encoded(junk, given.pooled, given.mask, given.summary)), before, atol=1e-5)


def test_attention_pooling_sees_every_token_and_the_summary():
    given = encoded(np.random.default_rng(0))
    pool = AttentionPool(8, rngs=nnx.Rngs(0))

    @jax.jit
    def gradient(tokens: jax.Array, pooled: jax.Array, summary: jax.Array) -> tuple:
        of = jax.grad(lambda t, p, s: pool(Encoded(t, p, given.mask, s)).sum(), argnums=(0, 1, 2))
        return of(tokens, pooled, summary)

    tokens, pooled, summary = map(np.asarray, gradient(given.tokens, given.pooled, given.summary))
    np.testing.assert_array_equal(tokens.any(axis=2), given.mask)
    assert summary.any(axis=1).all()
    assert not pooled.any()


@pytest.mark.parametrize("modality", [PARTICLES, HITS, Modality(PARTICLES.features)])
@pytest.mark.parametrize("hidden", [0, 6])
def test_an_edge_is_the_same_whichever_token_comes_first(modality, hidden):
    rng = np.random.default_rng(1)
    values = Tokens(jnp.asarray(rng.exponential(size=(1, 4, 3)), jnp.float32), jnp.ones((1, 4), bool))
    head = EdgeHead(8, modality, HeadConfig(hidden=hidden), rngs=nnx.Rngs(0))
    tokens, pairs = jnp.asarray(rng.normal(size=(1, 4, 8)), jnp.float32), all_pairs(4)[None]
    logits = np.asarray(head(tokens, values, pairs))
    np.testing.assert_allclose(head(tokens, values, pairs[..., ::-1]), logits, atol=1e-6)
    assert len(np.unique(logits.round(6))) == 6
    if pair_width(places(modality)):
        moved = Tokens(values.values.at[0, 0, 0].multiply(3), values.mask)
        changed = np.abs(np.asarray(head(tokens, moved, pairs)) - logits)[0] > 1e-6
        np.testing.assert_array_equal(changed, np.asarray(pairs)[0].min(axis=1) == 0)  # those of the moved token


def test_two_hits_of_a_straight_track_point_to_their_vertex():
    """A track from z0 = 30 mm at phi = 0.7, dz/dr = 2, through radii 100 and 250 mm; then bent by 1 mrad per mm."""
    r, z0 = np.array([100.0, 250.0]), 30.0
    for bend in (0.0, 1e-3):
        phi = 0.7 + bend * r
        hits = np.stack([z0 + 2 * r, r * np.cos(phi), r * np.sin(phi)], axis=1)
        tokens = Tokens(jnp.asarray(hits[None], jnp.float32), jnp.ones((1, 2), bool))
        found = np.exp(np.asarray(pair_values(tokens, places(HITS), all_pairs(2)[None]))[0, 0])
        distance = np.linalg.norm(hits[0] - hits[1])
        np.testing.assert_allclose(found[[0, 1, 3]], [distance, 150.0, z0], rtol=1e-3)
        assert found[4] == pytest.approx(bend, rel=1e-3, abs=2e-6)


def test_pair_features_of_particles_are_those_of_the_particle_transformer():
    values = jnp.asarray([[[10.0, 0.1, 3.1], [40.0, 0.4, -3.0]]])
    tokens = Tokens(values, jnp.ones((1, 2), bool))
    found = np.asarray(pair_values(tokens, places(PARTICLES), all_pairs(2)[None]))[0, 0]
    distance = np.hypot(0.3, 2 * np.pi - 6.1)
    mass2 = 2 * 400 * (np.cosh(0.3) - np.cos(6.1))
    np.testing.assert_allclose(found, np.log([distance, 10 * distance, 0.2, mass2]), rtol=1e-4)
