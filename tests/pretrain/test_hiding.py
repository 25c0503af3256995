"""What each way of hiding hides, what it leaves, and what it refuses."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import batch, schema
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError
from pretrain.objectives.hiding import Hiding, HidingConfig

SPEC = schema(("particles", "muons"))
BOTH_WAYS = [{"from": ["particles"], "to": ["muons"]}, {"from": ["muons"], "to": ["particles"]}]
ONLY = {"tokens": 0.0, "predict": BOTH_WAYS}
WAYS = {
    "tokens": HidingConfig(),
    "regions": HidingConfig(**ONLY, regions=1.0, radius=1.0),
    "modality": HidingConfig(**ONLY, modality=1.0),
    "cross": HidingConfig(**ONLY, cross=1.0),
    "mixed": HidingConfig(tokens=1, regions=1, modality=1, cross=1, radius=1.0, predict=BOTH_WAYS),
}


@functools.cache
def hider(way, fraction=0.3):
    return jax.jit(Hiding.checked(SPEC, fraction, WAYS[way]))


def make(seed, size=64):
    """Some examples lack a modality, some have one token, phi is anywhere on the circle."""
    made = batch(SPEC, size=size, seed=seed)
    rng, modalities = np.random.default_rng(seed), {}
    for name, tokens in made.modalities.items():
        mask = np.asarray(tokens.mask) & (rng.uniform(size=(size, 1)) > 0.2)
        values = np.array(tokens.values)
        if name == "particles":
            values[..., 2] = rng.uniform(-np.pi, np.pi, values.shape[:2])
        modalities[name] = Tokens(jnp.asarray(values * mask[..., None]), jnp.asarray(mask))
    return TokenBatch(modalities, made.globals, made.labels, made.weights, made.index)


def hide(way, seed, **options):
    made = make(seed)
    visible, hidden = hider(way, **options)(made, jax.random.key(seed))
    real, seen = ({n: np.asarray(t.mask) for n, t in b.modalities.items()} for b in (made, visible))
    return made, real, seen, {n: np.asarray(m) for n, m in hidden.items()}


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), way=st.sampled_from(sorted(WAYS)))
def test_seen_and_hidden_are_apart_and_something_always_stays(seed, way):
    _, real, seen, hidden = hide(way, seed)
    for name in real:
        assert not (seen[name] & hidden[name]).any()
        assert not ((seen[name] | hidden[name]) & ~real[name]).any()
        if way != "mixed":  # a cross-modal prediction of some modalities ignores others, of which there are none here
            np.testing.assert_array_equal(seen[name] | hidden[name], real[name])
    some, stays = (np.concatenate([m[n] for n in real], axis=1).any(axis=1) for m in (real, seen))
    np.testing.assert_array_equal(stays, some)


def test_even_of_all_tokens_one_stays():
    _, real, seen, hidden = hide("tokens", 3, fraction=1.0)
    total = sum(real[n].sum(axis=1) for n in real)
    assert np.all(sum(seen[n].sum(axis=1) for n in real)[total > 0] >= 1)
    assert sum(hidden[n].sum() for n in real) > 0.7 * total.sum()


def test_regions_are_all_tokens_within_the_radius_of_one_and_phi_wraps():
    made, real, _, hidden = hide("regions", 1)
    eta, phi = (np.asarray(made.modalities["particles"].values[..., i]) for i in (1, 2))
    across = 0
    for b in range(len(eta)):
        at = np.flatnonzero(real["particles"][b])
        gone = hidden["particles"][b][at]
        if not len(at):
            continue
        dphi = np.abs((phi[b][at][:, None] - phi[b][at] + np.pi) % (2 * np.pi) - np.pi)
        distance = np.hypot(eta[b][at][:, None] - eta[b][at], dphi)
        windows = (distance <= 1.0) & (distance < distance.max(axis=1, keepdims=True))
        assert (windows == gone).all(axis=1).any()
        across += gone.any() and np.ptp(phi[b][at][gone]) > np.pi
        assert not hidden["muons"][b].any()  # they have no phi
    assert across > 0


def test_one_whole_modality_is_hidden_where_there_is_another():
    _, real, _, hidden = hide("modality", 2)
    both = real["particles"].any(axis=1) & real["muons"].any(axis=1)
    whole = {n: np.all(hidden[n] == real[n], axis=1) & hidden[n].any(axis=1) for n in real}
    assert np.all((whole["particles"] ^ whole["muons"])[both])
    assert 0.25 < whole["muons"][both].mean() < 0.75
    alone = real["particles"].any(axis=1) & ~real["muons"].any(axis=1)
    assert not whole["particles"][alone].any()
    assert hidden["particles"][alone].any()  # random tokens instead


def test_cross_modal_prediction_sees_one_side_and_asks_for_the_other():
    _, real, seen, hidden = hide("cross", 4)
    both = real["particles"].any(axis=1) & real["muons"].any(axis=1)
    for source, target in (("particles", "muons"), ("muons", "particles")):
        asked = both & hidden[target].any(axis=1)
        np.testing.assert_array_equal(seen[source][asked], real[source][asked])
        np.testing.assert_array_equal(hidden[target][asked], real[target][asked])
        assert not seen[target][asked].any()
        assert 0.25 < asked[both].mean() < 0.75


def test_modalities_of_neither_side_are_not_seen():
    spec = schema(("particles", "muons"))
    third = {"extra": spec.modalities["muons"]}
    spec = type(spec)(modalities=spec.modalities | third)
    config = HidingConfig(tokens=0, cross=1, predict=[{"from": ["particles"], "to": ["muons"]}])
    made = batch(schema(("particles", "muons")), size=8)
    made = TokenBatch(
        made.modalities | {"extra": made.modalities["muons"]}, made.globals, made.labels, made.weights, made.index
    )
    visible, hidden = jax.jit(Hiding.checked(spec, 0.3, config))(made, jax.random.key(0))
    assert not np.asarray(visible.modalities["extra"].mask).any()
    assert not np.asarray(hidden["extra"]).any()


def test_each_way_takes_its_share():
    config = HidingConfig(tokens=1, modality=3)
    made = batch(SPEC, size=4000)
    _, hidden = jax.jit(Hiding.checked(SPEC, 0.0, config))(made, jax.random.key(0))
    some = np.concatenate([np.asarray(m) for m in hidden.values()], axis=1).any(axis=1)
    assert some.mean() == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    ("spec", "config", "says"),
    [
        (schema(("muons",)), {"regions": 1.0}, r"hide\.regions .*coordinates. name eta and phi.*none"),
        (SPEC, {"regions": 1.0, "radius": 0.0}, "radius above 0"),
        (schema(), {"modality": 1.0}, "has only 'particles'"),
        (SPEC, {"cross": 1.0}, "needs masked.hide.predict"),
        (SPEC, {"predict": [{"from": ["particle"], "to": ["muons"]}]}, "did you mean 'particles'"),
        (SPEC, {"predict": [{"from": ["muons"], "to": ["muons"]}]}, "from itself"),
        (SPEC, {"predict": [{"from": ["muons"]}]}, "expected {from"),
        (SPEC, {"tokens": 0.0}, "not all of them 0"),
    ],
)
def test_what_a_schema_does_not_allow_is_refused_by_name(spec, config, says):
    with pytest.raises(ConfigError, match=says):
        Hiding.checked(spec, 0.3, HidingConfig(**config))
