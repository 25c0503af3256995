"""What the augmentations of whole events conserve: frames, detector, pile-up, vertex, missing momentum."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_events import (
    HALF,
    SCHEMA,
    SIZE,
    apply,
    column,
    features,
    make_batch,
    mask,
    missing,
    only,
    rows_changed,
    survivors,
    turned,
    vector,
)

from foundation.batch import TokenBatch, Tokens
from foundation.command import load_config
from foundation.errors import ConfigError
from foundation.schema import DetectorSchema
from pretrain.augment import (
    AugmentConfig,
    DeadCells,
    DeadRegion,
    Dropout,
    EtaFlip,
    ModalityDropout,
    PhiRotation,
    Pileup,
    Scale,
    Smearing,
    Soft,
    Splitting,
    Vertex,
    augment,
)
from pretrain.augment.radiation import read_pool

seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=6, deadline=None)


@given(seed=seeds)
@few
def test_a_rotation_about_the_beam_turns_everything_by_one_angle(seed):
    batch, step = make_batch(seed), 2 * np.pi / 72
    after = apply(batch, seed, phi_rotation=PhiRotation(HALF, step=step))
    angle = turned(np.asarray(after.globals[:, 1]), np.asarray(batch.globals[:, 1]))
    np.testing.assert_allclose(angle / step, np.round(angle / step), atol=1e-4)
    for name in ("towers", "tracks"):
        real = mask(batch, name)
        each = turned(column(after, name, "phi"), column(batch, name, "phi"))
        np.testing.assert_allclose(turned(each[real], np.broadcast_to(angle[:, None], real.shape)[real]), 0, atol=1e-5)
    assert np.all((column(after, "tracks", "phi") >= 0) & (column(after, "tracks", "phi") < 6.2832))
    assert np.all(np.abs(column(after, "towers", "phi")) <= np.float32(np.pi))
    x, y = column(batch, "hits", "x"), column(batch, "hits", "y")
    np.testing.assert_allclose(column(after, "hits", "x"), np.cos(angle)[:, None] * x - np.sin(angle)[:, None] * y,
                               atol=1e-3)  # fmt: skip
    for name, feature in (("towers", "et"), ("towers", "eta"), ("tracks", "z0"), ("hits", "z"), ("image", "et")):
        np.testing.assert_array_equal(column(after, name, feature), column(batch, name, feature))
    np.testing.assert_array_equal(after.globals[:, [0, 2]], batch.globals[:, [0, 2]])


@given(seed=seeds)
@few
def test_the_mirror_image_changes_the_sign_of_what_is_along_the_beam_and_nothing_else(seed):
    batch = make_batch(seed)
    after = apply(batch, seed, eta_flip=EtaFlip(HALF))
    flipped = rows_changed(batch, after)
    assert 0 < flipped.sum() < SIZE
    sign = np.where(flipped, -1, 1)
    for name, modality in SCHEMA.modalities.items():
        for feature in modality.features:
            expected = column(batch, name, feature)
            if feature in ("eta", "z0", "z"):
                expected = expected * sign[:, None]
            np.testing.assert_array_equal(column(after, name, feature), expected)
    np.testing.assert_array_equal(after.globals[:, 2], np.asarray(batch.globals[:, 2]) * sign)
    np.testing.assert_array_equal(after.globals[:, :2], batch.globals[:, :2])


@given(seed=seeds)
@few
def test_the_energy_scale_is_one_factor_for_all_tokens_and_the_missing_momentum_takes_it_up(seed):
    batch = make_batch(seed)
    after = apply(batch, seed, met_from=("towers",), scale=Scale(HALF, 0.1, {"tracks": 0.0}))
    real = mask(batch, "towers")
    factor = column(after, "towers", "et")[:-1] / np.where(real, column(batch, "towers", "et"), 1)[:-1]
    first = np.broadcast_to(factor[:, :1], factor.shape)
    np.testing.assert_allclose(factor[real[:-1]], first[real[:-1]], rtol=1e-5)
    assert 1 < np.sum(factor[:, 0] != 1) < SIZE - 1
    assert np.abs(np.log(factor[:, 0])).max() < 0.6
    ecal = column(batch, "towers", "ecal")[:-1] * factor[:, :1]  # an energy, though no coordinate
    np.testing.assert_allclose(column(after, "towers", "ecal")[:-1], ecal, rtol=1e-5)
    for feature in ("eta", "phi"):
        np.testing.assert_array_equal(column(after, "towers", feature), column(batch, "towers", feature))
    np.testing.assert_array_equal(after.modalities["tracks"].values, batch.modalities["tracks"].values)
    total = missing(batch) + vector(batch, "towers", "et")
    np.testing.assert_allclose(missing(after) + vector(after, "towers", "et"), total, atol=2e-4)


def test_the_energy_scale_has_the_stated_width_and_no_bias():
    logs = []
    for seed in range(40):
        after = apply(make_batch(0), seed, scale=Scale(1.0, 0.1))
        logs.append(column(after, "towers", "et")[:-1, 0] / column(make_batch(0), "towers", "et")[:-1, 0])
    factor = np.concatenate(logs)
    assert factor.std() == pytest.approx(0.1, rel=0.1)
    assert factor.mean() == pytest.approx(1, abs=4 * 0.1 / np.sqrt(factor.size))


@given(seed=seeds)
@few
def test_pile_up_adds_soft_tokens_of_other_examples_and_leaves_the_own_ones(seed):
    batch = make_batch(seed)
    after = apply(batch, seed, pileup=Pileup(HALF, fraction=0.7, pt_max=4.0, scale=0.5))
    added_somewhere = 0
    for name, pt in (("towers", "et"), ("tracks", "pt")):
        own = mask(batch, name)
        np.testing.assert_array_equal(
            np.asarray(after.modalities[name].values)[own], np.asarray(batch.modalities[name].values)[own]
        )
        added = mask(after, name) & ~own
        added_somewhere += added.sum()
        for b, slot in zip(*np.nonzero(added)):
            twice = 2 * column(after, name, pt)[b, slot]
            assert twice < 4.0
            from_row, _ = np.nonzero((column(batch, name, pt) == twice) & own)
            assert len(from_row)
            assert b not in from_row
            assert column(after, name, "eta")[b, slot] in column(batch, name, "eta")[from_row]
        for b in np.flatnonzero(added.any(axis=1)):  # one collision, turned about the beam by one angle
            places = [int(np.flatnonzero(column(batch, name, pt).ravel() == 2 * v)[0]) for v in
                      column(after, name, pt)[b][added[b]]]  # fmt: skip
            angle = turned(column(after, name, "phi")[b][added[b]], column(batch, name, "phi").ravel()[places])
            np.testing.assert_allclose(turned(angle, angle[0]), 0, atol=1e-5)
    assert added_somewhere > 5
    more = column(after, "image", "et") - column(batch, "image", "et")
    assert np.all(more >= 0)
    assert (more > 0).sum() > 0
    assert more.max() <= 2.0 * 1.0001


def test_a_view_of_the_same_example_is_no_pile_up():
    batch = make_batch(1)
    twins = TokenBatch(batch.modalities, batch.globals, {}, batch.weights, jnp.zeros(SIZE, jnp.int32))
    after = apply(twins, 1, pileup=Pileup(HALF, fraction=0.7, pt_max=4.0, scale=0.5))
    assert not rows_changed(twins, after).any()


def test_pile_up_from_a_store(tmp_path, monkeypatch):
    stored = jax.tree.map(np.asarray, make_batch(77))

    class Rows:
        schema, splits, path = SCHEMA, {"train": 0.5}, tmp_path

        def length(self, split):
            return SIZE

        def read(self, split, rows):
            assert len(rows) == 8
            return jax.tree.map(lambda a: a[rows], stored)

    monkeypatch.setattr("pretrain.augment.radiation.Store.open", lambda path: Rows())
    batch, other = make_batch(1), make_batch(77)
    after = apply(batch, 1, pileup=Pileup(1.0, str(tmp_path), 8, fraction=1.0, pt_max=0.0, modalities=("towers",)))
    added = mask(after, "towers") & ~mask(batch, "towers")
    assert added.sum() > 10
    assert np.all(np.isin(column(after, "towers", "et")[added], column(other, "towers", "et")))
    unlike = DetectorSchema.load({"name": "u", "modalities": {"towers": {"features": features("et")}}})
    with pytest.raises(ConfigError, match="has not the features of modality 'towers' of schema 'u'"):
        read_pool(str(tmp_path), 8, unlike)


@given(seed=seeds)
@few
def test_a_shifted_vertex_moves_tracks_along_the_beam_and_what_the_calorimeter_sees(seed):
    batch = make_batch(seed)
    chosen = Vertex(HALF, 80.0, calorimeters=("towers",), radius=1000.0, half_length=2000.0)
    after = apply(batch, seed, vertex=chosen)
    real = mask(batch, "tracks")
    moved = column(after, "tracks", "z0") - column(batch, "tracks", "z0")
    dz = moved[:, :1]
    np.testing.assert_allclose(moved[real], np.broadcast_to(dz, moved.shape)[real], atol=1e-3)
    assert 1 < np.sum(dz != 0) < SIZE - 1
    eta, seen = (column(b, "towers", "eta").astype(np.float64) for b in (batch, after))
    energies = [column(b, "towers", "et") * np.cosh(column(b, "towers", "eta")) for b in (batch, after)]
    np.testing.assert_allclose(energies[1], energies[0], rtol=1e-4)
    # where the flight from dz and from 0 along eta, and from 0 along the eta seen, meets the calorimeter
    barrel = np.abs(np.sinh(eta)) < 2.0
    z = 1000.0 * np.sinh(eta) + dz
    np.testing.assert_allclose((1000.0 * np.sinh(seen))[barrel & mask(batch, "towers")],
                               z[barrel & mask(batch, "towers")], rtol=1e-3, atol=0.5)  # fmt: skip
    endcap = ~barrel & mask(batch, "towers")
    r = (2000.0 - np.sign(eta) * dz) / np.abs(np.sinh(np.where(endcap, eta, 1)))
    np.testing.assert_allclose(2000.0 / np.abs(np.sinh(np.where(endcap, seen, 1)))[endcap], r[endcap], rtol=1e-3)
    np.testing.assert_array_equal(after.modalities["hits"].values, batch.modalities["hits"].values)


@given(seed=seeds)
@few
def test_dead_cells_lose_all_their_tokens_and_no_others(seed):
    batch = make_batch(seed)
    after = apply(batch, seed, dead_cells=DeadCells(1.0, 0.4, eta=1.0, phi=1.0, modalities=("towers", "image")))
    kept, real = survivors(batch, after, "towers"), mask(batch, "towers")
    cells = np.floor(column(batch, "towers", "eta")) * 100 + np.floor(column(batch, "towers", "phi") % (2 * np.pi))
    for b in range(SIZE):
        for cell in np.unique(cells[b][real[b]]):
            assert len(set(kept[b][real[b] & (cells[b] == cell)])) == 1
    lost = (real & ~kept).sum() / real.sum()
    assert 0.2 < lost < 0.6
    image, dark = column(batch, "image", "et"), column(after, "image", "et")
    np.testing.assert_array_equal(mask(after, "image"), mask(batch, "image"))  # a grid keeps its cells
    np.testing.assert_array_equal(dark[dark != 0], image[dark != 0])
    assert 0.2 < np.sum((image != 0) & (dark == 0)) / np.sum(image != 0) < 0.6
    np.testing.assert_array_equal(after.modalities["tracks"].values, batch.modalities["tracks"].values)


@given(seed=seeds)
@few
def test_a_dead_region_is_one_window_for_all_modalities(seed):
    batch = make_batch(seed)
    after = apply(batch, seed, dead_region=DeadRegion(HALF, eta=1.5, phi=2.0))
    kept = {name: survivors(batch, after, name) for name in ("towers", "tracks")}
    eta, phi, gone, real = (
        np.concatenate(parts, axis=1)
        for parts in zip(
            *((column(batch, n, "eta"), column(batch, n, "phi"), mask(batch, n) & ~k, mask(batch, n))
              for n, k in kept.items())
        )
    )  # fmt: skip
    dead = gone.any(axis=1)
    np.testing.assert_array_equal(dead, rows_changed(batch, after))
    assert 1 < dead.sum() < SIZE - 1
    for b in np.flatnonzero(dead):
        assert np.ptp(eta[b][gone[b]]) <= 1.5
        around = turned(phi[b], phi[b][gone[b]][0])
        assert np.ptp(around[gone[b]]) <= 2.0001
        inside = (eta[b] > eta[b][gone[b]].min()) & (eta[b] < eta[b][gone[b]].max())
        inside &= (around > around[gone[b]].min()) & (around < around[gone[b]].max())
        assert np.all(gone[b][inside & real[b]])


def test_whole_modalities_are_lost_at_the_stated_rate_and_one_stays():
    lost = dict.fromkeys(SCHEMA.modalities, 0)
    for seed in range(30):
        batch = make_batch(seed)
        after = apply(batch, seed, modality_dropout=ModalityDropout(1.0, 0.7, modalities=("towers", "tracks", "hits")))
        for name, tokens in after.modalities.items():
            there = mask(after, name).any(axis=1)
            assert np.all(np.asarray(tokens.values)[~there] == 0)
            np.testing.assert_array_equal(np.asarray(tokens.values)[there], batch.modalities[name].values[there])
            lost[name] += np.sum(~there[:-1])
    assert lost.pop("image") == 0  # may not be lost, and so is the one that stays
    for count in lost.values():
        assert count / (30 * (SIZE - 1)) == pytest.approx(0.7, abs=0.07)


EVERY = {
    "soft": Soft(0.4, 0.3),
    "splitting": Splitting(0.4, 0.3),
    "smearing": Smearing(0.4),
    "dropout": Dropout(0.4, 0.3),
    "pileup": Pileup(0.4, pt_max=2.0),
    "vertex": Vertex(0.4, calorimeters=("towers",)),
    "scale": Scale(0.4),
    "dead_cells": DeadCells(0.4, 0.5, 0.5, 0.5),
    "dead_region": DeadRegion(0.4, 2.0, 2.0),
    "modality_dropout": ModalityDropout(0.4, 0.6),
    "phi_rotation": PhiRotation(0.4),
    "eta_flip": EtaFlip(0.4),
}


def test_whatever_acts_the_batch_stays_a_token_batch():
    for seed in range(5):
        batch = make_batch(seed)
        after = apply(batch, seed, met_from=("towers",), **EVERY)
        for name, tokens in after.modalities.items():
            values, real = np.asarray(tokens.values), np.asarray(tokens.mask)
            assert values.shape == batch.modalities[name].values.shape
            assert np.all(np.isfinite(values))
            assert np.all(values[~real] == 0)
            assert np.all(real[:, :-1] >= real[:, 1:])  # real tokens first
        towers = np.asarray(after.modalities["towers"].values)
        np.testing.assert_array_equal(towers[..., 4], np.abs(towers[..., 1]))  # recomputed
        some = np.any([mask(after, n).any(axis=1) for n in SCHEMA.modalities], axis=0)
        np.testing.assert_array_equal(some, np.asarray(batch.index) >= 0)  # no example lost everything
        assert np.all(np.isfinite(np.asarray(after.globals)))
        assert not rows_changed(batch, after)[-1]  # the filler
        again = apply(batch, seed, met_from=("towers",), **EVERY)
        assert not rows_changed(after, again).any()
        assert rows_changed(after, apply(batch, seed + 1, met_from=("towers",), **EVERY)).any()


def test_compiled_and_eager_agree():
    chosen = {name: EVERY[name] for name in ("scale", "dead_region", "phi_rotation", "eta_flip")}
    batch = make_batch(4)
    eager = augment(batch, SCHEMA, only(**chosen), jax.random.key(1))
    for a, b in zip(jax.tree.leaves(eager), jax.tree.leaves(apply(batch, 1, **chosen)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


RATED = ["scale", "vertex", "dead_region", "phi_rotation", "eta_flip", "pileup", "dead_cells", "modality_dropout"]


@pytest.mark.parametrize("name", RATED)
def test_each_acts_at_its_rate(name):
    """The first five with the settings that the tests above have compiled; the others such that acting is seen."""
    chosen = {
        "scale": {"scale": Scale(HALF, 0.1, {"tracks": 0.0}), "met_from": ("towers",)},
        "vertex": {"vertex": Vertex(HALF, 80.0, calorimeters=("towers",), radius=1000.0, half_length=2000.0)},
        "dead_region": {"dead_region": DeadRegion(HALF, eta=1.5, phi=2.0)},
        "phi_rotation": {"phi_rotation": PhiRotation(HALF, step=2 * np.pi / 72)},
        "eta_flip": {"eta_flip": EtaFlip(HALF)},
        "pileup": {"pileup": Pileup(HALF, fraction=1.0, pt_max=1e9)},
        "dead_cells": {"dead_cells": DeadCells(HALF, 1.0, eta=1.0, phi=1.0)},
        "modality_dropout": {"modality_dropout": ModalityDropout(HALF, 1.0)},
    }[name]
    acted = np.concatenate([rows_changed(make_batch(3), apply(make_batch(3), s, **chosen))[:-1] for s in range(20)])
    unmoved = 1 / 72 if name == "phi_rotation" else 0  # turned by no step at all
    assert acted.mean() == pytest.approx(HALF * (1 - unmoved), abs=4 * 0.5 / np.sqrt(len(acted)))


@pytest.mark.parametrize("name", sorted(EVERY))
def test_each_is_the_identity_at_probability_zero(name):
    """Beside another one that acts, so that the whole machinery runs."""
    batch = make_batch(5)
    off = dataclasses.replace(EVERY[name], probability=0.0)
    beside = "eta_flip" if name != "eta_flip" else "phi_rotation"
    acting = {"eta_flip": EtaFlip(HALF), "phi_rotation": PhiRotation(HALF, step=2 * np.pi / 72)}[beside]
    expected = apply(batch, 1, **{beside: acting})
    assert rows_changed(batch, expected).any()
    found = apply(batch, 1, **{beside: acting, name: off})
    assert not rows_changed(expected, found).any()


def test_what_is_off_by_default_is_off_and_untouched_settings_do_whole_events_no_harm():
    chosen = AugmentConfig(splitting=Splitting(0.0), smearing=Smearing(0.0), dropout=Dropout(0.0))
    batch = make_batch(2)
    assert augment(batch, SCHEMA, chosen, jax.random.key(0)) is batch  # rotation and translation are of jets


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"phi_rotation": {"probability": 2.0}}, "augment.phi_rotation.probability must be between 0 and 1"),
        ({"scale": {"sigmas": {"towers": -1.0}}}, "augment.scale.sigmas.towers must be at least 0"),
        ({"scale": {"sigmas": {"tower": 1.0}}}, "augment.scale.sigmas: .*did you mean 'towers'"),
        ({"vertex": {"calorimeters": ["hits"]}}, "augment.vertex.calorimeters: modality 'hits' has not"),
        ({"dead_cells": {"eta": 0.0}}, "augment.dead_cells.eta must be above 0"),
        ({"pileup": {"interactions": 0}}, "augment.pileup.interactions must be at least 1"),
        ({"pileup": {"modalities": ["hits"]}}, "augment.pileup.modalities: modality 'hits' has not coordinates pt"),
        ({"met_from": ["hits"]}, "augment.met_from: modality 'hits' has no pt and phi"),
    ],
)
def test_settings_that_cannot_be_are_named(bad, says):
    with pytest.raises(ConfigError, match=says):
        augment(make_batch(0), SCHEMA, load_config(AugmentConfig, bad), jax.random.key(0))


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("phi_rotation", "an azimuth about the beam"),
        ("eta_flip", "a coordinate eta, z or pz"),
        ("dead_region", "coordinates eta and phi"),
        ("vertex", "a coordinate z without x and y"),
        ("modality_dropout", "a second modality"),
        ("soft", "coordinates pt, eta and phi"),
    ],
)
def test_what_a_schema_cannot_carry_is_refused_by_name(name, needs):
    schema = DetectorSchema.load({"name": "pulse", "modalities": {"adc": {"features": features("pt")}}})
    values = jnp.ones((2, 3, 1))
    batch = TokenBatch(
        {"adc": Tokens(values, jnp.ones((2, 3), bool))}, jnp.zeros((2, 0)), {}, jnp.ones(2), jnp.arange(2)
    )
    config = load_config(AugmentConfig, {name: {"probability": 0.5}})
    with pytest.raises(ConfigError, match=f"augment.{name}: no modality of schema 'pulse' has {needs}"):
        augment(batch, schema, config, jax.random.key(0))
