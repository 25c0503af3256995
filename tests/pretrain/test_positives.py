"""The two views of an example: re-simulated, or of different modalities."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import batch, schema
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError
from foundation.schema import DetectorSchema
from pretrain.augment import AugmentConfig
from pretrain.views import ModalityViews, make_views, split_modalities

NAMES = ("calo", "tracks", "muons")
SPEC = DetectorSchema.load(
    {
        "name": "three",
        "modalities": {name: {"features": {"pt": {"expression": f"{name}_pt"}}, "max_tokens": 3} for name in NAMES},
        "globals": {"met": {"expression": "met"}},
    }
)


def events(seed: int, size: int = 12) -> TokenBatch:
    """Some without one modality or more."""
    rng, modalities = np.random.default_rng(seed), {}
    for name in NAMES:
        mask = np.arange(3) < rng.integers(0, 4, size)[:, None]
        modalities[name] = Tokens(np.where(mask, rng.uniform(1, 2, (size, 3)), 0)[..., None].astype(np.float32), mask)
    weights = np.where(np.arange(size) < size - 2, 1.0, 0.0).astype(np.float32)
    index = np.where(weights > 0, np.arange(size), -1)
    return jax.tree.map(
        jnp.asarray, TokenBatch(modalities, rng.normal(size=(size, 1)).astype(np.float32), {}, weights, index)
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_views_divide_the_modalities_of_each_example(seed):
    whole = events(seed)
    first, second = split_modalities(whole, ModalityViews(), jax.random.key(seed))
    sides = []
    for view in (first, second):
        assert list(view.modalities) == list(whole.modalities)
        sides.append(np.stack([view.modalities[n].mask.any(1) for n in NAMES], axis=1))
        for tokens in view.modalities.values():
            assert not np.asarray(tokens.values)[~np.asarray(tokens.mask)].any()
    present = np.stack([whole.modalities[n].mask.any(1) for n in NAMES], axis=1)
    assert not (sides[0] & sides[1]).any()
    np.testing.assert_array_equal(sides[0] | sides[1], present)
    enough = present.sum(1) > 1
    assert sides[0][enough].any(1).all()
    assert sides[1][enough].any(1).all()
    for view, side in zip((first, second), sides):
        np.testing.assert_array_equal(view.weights > 0, (np.asarray(whole.weights) > 0) & side.any(1))


def test_every_modality_comes_to_both_sides():
    first, _ = split_modalities(events(0, 300), ModalityViews(), jax.random.key(0))
    shares = [
        float(first.modalities[name].mask.any(1).sum() / events(0, 300).modalities[name].mask.any(1).sum())
        for name in NAMES
    ]
    assert all(0.3 < share < 0.75 for share in shares)


def test_named_modalities_go_where_they_are_said_to_and_globals_to_one_side():
    modalities = ModalityViews(("calo",)).resolved(SPEC)
    assert modalities == ModalityViews(("calo",), ("tracks", "muons"))
    whole = events(1)
    first, second = split_modalities(whole, modalities, jax.random.key(0))
    np.testing.assert_array_equal(first.modalities["calo"].mask, whole.modalities["calo"].mask)
    assert not first.modalities["tracks"].mask.any()
    assert not second.modalities["calo"].mask.any()
    np.testing.assert_array_equal(first.globals, whole.globals)
    assert not np.asarray(second.globals).any()


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (ModalityViews(("calos",)), "no modality 'calos'; did you mean 'calo'"),
        (ModalityViews(("calo",), ("calo", "muons")), "calo would be in both views"),
        (ModalityViews(NAMES), "none is left for the other"),
    ],
)
def test_divisions_that_cannot_be_are_refused(views, message):
    with pytest.raises(ConfigError, match=message):
        views.resolved(SPEC)


def test_one_modality_cannot_be_divided():
    with pytest.raises(ConfigError, match="needs at least two modalities, and 'example' has only 'particles'"):
        ModalityViews().resolved(schema())


def test_simulated_pairs_become_the_two_views():
    spec = schema()
    pairs = batch(spec, size=6)
    still = AugmentConfig()
    first, second = make_views(pairs, spec, still, "resimulation", 2, jax.random.key(0))
    assert first.index.tolist() == [0, 2, 4]
    assert second.index.tolist() == [1, 3, 5]
    (only,) = make_views(pairs, spec, still, "resimulation", 1, jax.random.key(0))
    assert only.index.tolist() == list(range(6))
