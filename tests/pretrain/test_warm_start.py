"""What a warm start takes over, from what, and what it refuses."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import batch, schema, statistics
from flax import nnx

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError, RunError, SchemaError
from foundation.models import Encoder, EncoderConfig, save_encoder
from foundation.models.published import variables
from foundation.runs import Run
from pretrain.config import PretrainConfig
from pretrain.warm_start import warm_start

SIZE = EncoderConfig(width=8, layers=1, heads=2)
OLD, NEW = 1.0, 3.0  # means of the two stores


def encoder(spec, size=SIZE, seed=0, mean=NEW):
    of = {name: (np.full_like(m, mean), s) for name, (m, s) in statistics(spec).items()}
    return Encoder(spec, of, size, rngs=nnx.Rngs(seed))


def earlier(folder, spec, size=SIZE):
    """A finished run whose encoder, made with seed 9 and statistics OLD, is also returned."""
    run = Run.create(folder, "pretrain", config=PretrainConfig(encoder=size), schema=spec)
    made = encoder(spec, size, seed=9, mean=OLD)
    save_encoder(run.path, made)
    return run.path, made


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """The run of an encoder of particles and muons, and that encoder."""
    return earlier(tmp_path_factory.mktemp("two") / "run", schema(("particles", "muons")))


@pytest.fixture(scope="module")
def of_particles(tmp_path_factory):
    return earlier(tmp_path_factory.mktemp("one") / "run", schema())


def pooled(model, b):
    return np.asarray(jax.jit(lambda x: model(x).pooled)(b))


def test_with_the_same_schema_the_embedding_is_the_earlier_one_to_the_last_bit(of_two):
    """The statistics are taken, too: with those of the new store the same weights would see other numbers."""
    path, before = of_two
    spec = schema(("particles", "muons"))
    now = encoder(spec)
    assert not np.array_equal(pooled(now, batch(spec)), pooled(before, batch(spec)))
    taken = warm_start(now, path)
    assert (taken.modalities, taken.fresh, taken.dropped, taken.globals) == (("particles", "muons"), (), (), True)
    np.testing.assert_array_equal(pooled(now, batch(spec)), pooled(before, batch(spec)))


def test_a_new_modality_starts_fresh_with_the_statistics_of_its_store(of_particles):
    path, before = of_particles
    spec = schema(("particles", "muons"))
    now, fresh = encoder(spec), encoder(spec)
    taken = warm_start(now, path)
    assert (taken.modalities, taken.fresh) == (("particles",), ("muons",))
    found, own, old = variables(now), variables(fresh), variables(before)
    for name in found:
        expected = own if "/muons/" in name else old
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert found["inputs/muons/mean"][0] == NEW
    assert found["inputs/particles/mean"][0] == OLD
    # an example without a token of it has the embedding that it had before
    b = batch(spec)
    muons = b.modalities["muons"]
    alone = dataclasses.replace(
        b,
        modalities=b.modalities | {"muons": Tokens(jnp.zeros_like(muons.values), jnp.zeros_like(muons.mask))},
    )
    one = TokenBatch({"particles": b.modalities["particles"]}, b.globals, b.labels, b.weights, b.index)
    np.testing.assert_allclose(pooled(now, alone), pooled(before, one), atol=1e-5)


def test_a_modality_that_is_gone_is_left_out(of_two):
    path, before = of_two
    now = encoder(schema())
    taken = warm_start(now, path)
    assert (taken.modalities, taken.dropped) == (("particles",), ("muons",))
    assert "left out muons" in str(taken)
    old = variables(before)
    for name, array in variables(now).items():
        np.testing.assert_array_equal(array, old[name], err_msg=name)


def test_other_globals_start_fresh(of_particles):
    path, before = of_particles
    spec = schema(with_globals=True)
    now, fresh = encoder(spec), encoder(spec)
    assert not warm_start(now, path).globals
    np.testing.assert_array_equal(variables(now)["global_embed/kernel"], variables(fresh)["global_embed/kernel"])
    np.testing.assert_array_equal(variables(now)["norm/scale"], variables(before)["norm/scale"])


def test_data_far_from_what_it_was_trained_on_is_named(of_particles):
    path, _ = of_particles
    assert warm_start(encoder(schema(), mean=OLD + 1), path).shifted == ()
    taken = warm_start(encoder(schema(), mean=1000.0), path)
    assert "particles.pt" in taken.shifted
    assert "units?" in str(taken)


def test_other_sizes_are_refused_with_the_settings_that_fit(of_particles):
    path, _ = of_particles
    now = encoder(schema(), EncoderConfig(width=16, layers=1, heads=2))
    before = variables(now)
    with pytest.raises(ConfigError, match=r"width 8 there and 16 here\n.*--cfg\.encoder\.width 8"):
        warm_start(now, path)
    for name, array in variables(now).items():
        np.testing.assert_array_equal(array, before[name])
    warm_start(encoder(schema(), dataclasses.replace(SIZE, dropout=0.1)), path)  # no variable depends on it


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda features: features["pt"].update(unit="MeV"), "'pt' is in GeV.* there, in MeV"),
        (lambda features: features.update(d0={"expression": "d0"}), "'d0' is absent there"),
        (lambda features: features.update(eta=features.pop("eta")), "order of features is"),
    ],
    ids=["unit", "another", "order"],
)
def test_a_modality_of_the_same_name_and_other_features_is_refused(of_particles, change, words):
    path, _ = of_particles
    other = schema().to_dict()
    change(other["modalities"]["particles"]["features"])
    with pytest.raises(SchemaError, match=words):
        warm_start(encoder(type(schema()).load(other)), path)


def test_where_a_feature_is_read_from_does_not_matter(of_particles):
    path, _ = of_particles
    other = schema().to_dict()
    other["modalities"]["particles"]["features"]["pt"]["expression"] = "track_pt / 1000"
    assert warm_start(encoder(type(schema()).load(other)), path).modalities == ("particles",)


def test_nothing_in_common_and_an_unfinished_run_are_refused(of_particles, tmp_path):
    path, _ = of_particles
    with pytest.raises(SchemaError, match="none of this store's modalities"):
        warm_start(encoder(schema(("muons",))), path)
    run = Run.create(tmp_path / "run", "pretrain", config=PretrainConfig(), schema=schema())
    with pytest.raises(RunError, match="no finished encoder"):
        warm_start(encoder(schema()), run.path)
