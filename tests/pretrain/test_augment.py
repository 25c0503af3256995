"""What each augmentation conserves, at which rate it acts, and that it never breaks the contract of TokenBatch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.batch import TokenBatch, Tokens
from foundation.command import load_config
from foundation.errors import ConfigError
from foundation.physics import jet_kinematics
from foundation.schema import DetectorSchema
from pretrain.augment import (
    AugmentConfig,
    Dropout,
    Rotation,
    Smearing,
    Soft,
    Splitting,
    Translation,
    augment,
)

SIZE, SLOTS = 32, 12
QUICK = {"xla_backend_optimization_level": 0}
COORDINATES = {"pt": "pt", "eta": "deta", "phi": "dphi", "energy": "energy"}


def feature(recompute=""):
    return {"expression": "x", "recompute": recompute}


SCHEMA = DetectorSchema.load(
    {
        "name": "test",
        "modalities": {
            "charged": {
                "features": {
                    "log_share": feature("log(pt / jet_pt)"),
                    "pt": feature(),
                    "deta": feature(),
                    "dphi": feature(),
                    "energy": feature(),
                    "distance": feature("hypot(deta, dphi)"),
                    "charge": feature(),
                },
                "coordinates": COORDINATES,
            },
            "neutral": {
                "features": {"pt": feature(), "deta": feature(), "dphi": feature()},
                "coordinates": {"pt": "pt", "eta": "deta", "phi": "dphi"},
            },
            "hits": {"features": {"x": feature(), "time": feature()}},
        },
        "globals": {"jet_pt": {"expression": "x"}},
    }
)
OFF = AugmentConfig(
    splitting=Splitting(0.0), soft=Soft(0.0), smearing=Smearing(0.0), dropout=Dropout(0.0), rotation=Rotation(0.0),
    translation=Translation(0.0),
)  # fmt: skip


def only(**chosen):
    return AugmentConfig(**{**{k: getattr(OFF, k) for k in OFF.__dataclass_fields__}, **chosen})


def make_batch(seed, descending=False):
    """Charged, neutral and hit tokens of each example; some modalities of some examples empty; a filler last."""
    rng = np.random.default_rng(seed)
    modalities = {}
    for name, width in (("charged", 7), ("neutral", 3), ("hits", 2)):
        mask = np.arange(SLOTS) < rng.integers(0, SLOTS + 1, (SIZE, 1))
        mask[-1] = False
        values = rng.normal(size=(SIZE, SLOTS, width))
        if name != "hits":
            i = SCHEMA.modalities[name].index("pt")
            values[..., i] = np.sort(np.exp(rng.normal(1, 1, mask.shape)))  # ascending: what augment must not re-sort
            if descending:
                values[..., i] = values[:, ::-1, i]
            values[..., i + 1 : i + 3] = rng.normal(0, 0.3, (*mask.shape, 2))
        if name == "charged":
            values[..., 4] = values[..., 1] * np.cosh(values[..., 2]) * 1.02
            values[..., 5] = np.hypot(values[..., 2], values[..., 3])
            values[..., 0] = np.log(values[..., 1] / 100)
            values[..., 6] = rng.choice([-1, 1], mask.shape)
        modalities[name] = Tokens(jnp.asarray(values * mask[..., None], jnp.float32), jnp.asarray(mask))
    weights = jnp.ones(SIZE).at[-1].set(0)
    index = jnp.arange(SIZE, dtype=jnp.int32).at[-1].set(-1)
    return TokenBatch(modalities, jnp.full((SIZE, 1), 100.0), {}, weights, index)


@functools.cache
def compiled(config):
    """Hardly optimised: these batches are small, and there are many programs."""
    return jax.jit(functools.partial(augment, schema=SCHEMA, config=config), compiler_options=QUICK)


def apply(batch, seed, **chosen):
    return compiled(only(**chosen))(batch, key=jax.random.key(seed))


def column(batch, modality, coordinate):
    return np.asarray(batch.modalities[modality].values[..., SCHEMA.modalities[modality].coordinate_index(coordinate)])


def mask(batch, modality):
    return np.asarray(batch.modalities[modality].mask)


def pairwise(batch):
    """deltaR between all slots of charged and neutral together: the relative place of modalities counts."""
    eta, phi = (np.concatenate([column(batch, n, c) for n in ("charged", "neutral")], axis=1) for c in ("eta", "phi"))
    real = np.concatenate([mask(batch, "charged"), mask(batch, "neutral")], axis=1)
    dphi = (phi[:, :, None] - phi[:, None, :] + np.pi) % (2 * np.pi) - np.pi
    return np.hypot(eta[:, :, None] - eta[:, None, :], dphi) * (real[:, :, None] & real[:, None, :])


kinematics = jax.jit(jet_kinematics)


def jets(batch, modality="charged"):
    """Massless jets, which is what the relative coordinates of the schema define."""
    pt, eta, phi = (jnp.asarray(column(batch, modality, c)) for c in ("pt", "eta", "phi"))
    return kinematics(pt, eta, phi, None, batch.modalities[modality].mask)


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def unchanged(before, after):
    """Which examples are equal to the last bit."""
    same = np.ones(SIZE, bool)
    for name, tokens in before.modalities.items():
        same &= np.all(np.asarray(tokens.values == after.modalities[name].values), axis=(1, 2))
        same &= np.all(np.asarray(tokens.mask == after.modalities[name].mask), axis=1)
    return same


ALL = {
    "splitting": Splitting(0.7, 0.5),
    "soft": Soft(0.7, 0.3),
    "smearing": Smearing(0.7, 1.0, 0.05, 1.0),
    "dropout": Dropout(0.7, 0.3, 0.5, 1.0),
    "rotation": Rotation(0.7),
    "translation": Translation(0.7, 0.5, 4.0),
}
seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=10, deadline=None)


@given(seed=seeds)
@few
def test_rotation_and_translation_conserve_pairwise_distances_across_modalities(seed):
    batch = make_batch(seed)
    for chosen in ({"rotation": Rotation(1.0)}, {"translation": Translation(1.0, 0.5, 4.0)}):
        after = apply(batch, seed, **chosen)
        np.testing.assert_allclose(pairwise(after), pairwise(batch), atol=3e-5)
        np.testing.assert_array_equal(column(after, "charged", "pt"), column(batch, "charged", "pt"))
        moved = mask(batch, "charged").any(axis=1) & mask(batch, "neutral").any(axis=1)
        assert not np.any(unchanged(batch, after) & moved)
        assert np.all(np.abs(column(after, "neutral", "phi")) <= np.float32(np.pi))


def test_rotation_turns_about_the_common_axis_by_every_angle():
    batch = make_batch(5)
    angles = []
    for seed in range(8):
        after = apply(batch, seed, rotation=Rotation(1.0))
        pt, weighted = 0.0, {"eta": 0.0, "phi": 0.0}
        for name in ("charged", "neutral"):
            pt = pt + column(batch, name, "pt").sum(axis=1)
            for c in weighted:
                weighted[c] = weighted[c] + (column(batch, name, "pt") * (column(after, name, c))).sum(axis=1)
        before = {
            c: sum((column(batch, n, "pt") * column(batch, n, c)).sum(axis=1) for n in ("charged", "neutral"))
            for c in weighted
        }
        for c in weighted:
            np.testing.assert_allclose(weighted[c], before[c], atol=1e-3 * (1 + pt.max()))
        full = pt > 0
        x, y = (column(batch, "charged", c)[:, 0] - before[c] / np.maximum(pt, 1e-9) for c in ("eta", "phi"))
        u, v = (column(after, "charged", c)[:, 0] - before[c] / np.maximum(pt, 1e-9) for c in ("eta", "phi"))
        use = full & mask(batch, "charged")[:, 0] & (np.hypot(x, y) > 1e-3)
        angles.append((np.arctan2(v, u) - np.arctan2(y, x))[use])
    turned = (np.concatenate(angles) + np.pi) % (2 * np.pi) - np.pi
    assert np.all(np.histogram(turned, bins=4, range=(-np.pi, np.pi))[0] > 0.15 * len(turned))


@given(seed=seeds)
@few
def test_splitting_conserves_pt_energy_and_leaves_infrared_collinear_safe_quantities(seed):
    batch = make_batch(seed)
    after = apply(batch, seed, splitting=Splitting(1.0, 0.6))
    for modality, coordinate in (("charged", "pt"), ("charged", "energy"), ("neutral", "pt")):
        total = column(batch, modality, coordinate).sum(axis=1, dtype=np.float64)
        np.testing.assert_allclose(column(after, modality, coordinate).sum(axis=1, dtype=np.float64), total, rtol=3e-7)
    before, split = jets(batch), jets(after)
    np.testing.assert_allclose(split.pt, before.pt, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(split.mass, before.mass, rtol=1e-4, atol=2e-3)
    grown = mask(after, "charged").sum(axis=1) - mask(batch, "charged").sum(axis=1)
    assert np.all(grown >= 0)
    assert grown.sum() > 0


def test_each_daughter_is_collinear_with_a_mother_and_shares_its_momentum():
    batch = make_batch(3)
    after = apply(batch, 3, splitting=Splitting(1.0, 1.0, z_min=0.2))
    old, new = batch.modalities["charged"], after.modalities["charged"]
    for b in range(SIZE):
        count, grown = int(old.mask[b].sum()), int(new.mask[b].sum())
        assert grown == min(SLOTS, 2 * count)  # every token splits while slots last
        before, after_ = np.asarray(old.values[b]), np.asarray(new.values[b])
        for s in range(count, grown):
            same = np.flatnonzero(np.all(before[:count, 2:4] == after_[s, 2:4], axis=1))
            assert len(same) == 1
            mother, daughter, sister = before[same[0]], after_[s], after_[same[0]]
            z = daughter[1] / mother[1]
            assert 0.199 < z < 0.801
            assert daughter[4] / mother[4] == pytest.approx(z, rel=1e-5)
            assert daughter[1] + sister[1] == pytest.approx(mother[1], rel=2e-7)
            assert daughter[6] == mother[6]


def test_splitting_takes_any_token_when_slots_are_few():
    """The one free slot goes to each of the tokens alike, not to the leading one."""
    values = jnp.sort(jax.random.uniform(jax.random.key(0), (2000, 4, 3), minval=1, maxval=2), axis=1).at[:, 3].set(0)
    mask = jnp.ones((2000, 4), bool).at[:, 3].set(False)
    schema = DetectorSchema(modalities={"neutral": SCHEMA.modalities["neutral"]})
    batch = TokenBatch({"neutral": Tokens(values, mask)}, jnp.zeros((2000, 0)), {}, jnp.ones(2000), jnp.arange(2000))
    after = augment(batch, schema, only(splitting=Splitting(1.0, 1.0)), jax.random.key(0)).modalities["neutral"]
    assert bool(after.mask.all())
    split = np.asarray(after.values[:, :3, 0] != values[:, :3, 0])
    assert np.all(split.sum(axis=1) == 1)
    np.testing.assert_allclose(split.mean(axis=0), 1 / 3, atol=0.05)


@given(seed=seeds)
@few
def test_smearing_conserves_the_count_and_the_velocity(seed):
    batch = make_batch(seed)
    after = apply(batch, seed, smearing=Smearing(1.0, 0.5, 0.05, 0.2, 0.1))
    for name in batch.modalities:
        np.testing.assert_array_equal(mask(after, name), mask(batch, name))
    real = mask(batch, "charged")
    pt, pt_after = column(batch, "charged", "pt")[real], column(after, "charged", "pt")[real]
    factor = column(after, "charged", "energy")[real] / column(batch, "charged", "energy")[real]
    np.testing.assert_allclose(pt_after / pt, factor, rtol=1e-5)
    assert np.all(pt_after > 0)
    assert np.all(pt_after != pt)


def test_smearing_has_the_stated_resolution_and_no_bias():
    pt = jnp.full((400, 500), 4.0)
    values = jnp.stack([pt, jnp.zeros_like(pt), jnp.zeros_like(pt)], axis=-1)
    tokens = Tokens(values, jnp.ones(pt.shape, bool))
    schema = DetectorSchema(modalities={"neutral": SCHEMA.modalities["neutral"]})
    batch = TokenBatch({"neutral": tokens}, jnp.zeros((400, 0)), {}, jnp.ones(400), jnp.arange(400))
    settings_ = Smearing(1.0, stochastic=0.6, constant=0.1, noise=0.4, direction=0.1)
    after = np.asarray(augment(batch, schema, only(smearing=settings_), jax.random.key(1)).modalities["neutral"].values)
    sigma = np.sqrt(0.6**2 / 4 + 0.1**2 + (0.4 / 4) ** 2)
    assert after[..., 0].mean() / 4 == pytest.approx(1, abs=4 * sigma / np.sqrt(pt.size))
    assert after[..., 0].std() / 4 == pytest.approx(sigma, rel=0.02)
    np.testing.assert_allclose(after[..., 1:].std(axis=(0, 1)), 0.1 / 4, rtol=0.02)


def test_soft_radiation_moves_the_jet_by_no_more_than_its_momentum():
    batch = make_batch(8)
    after = apply(batch, 8, soft=Soft(1.0, 0.5, pt=1e-3, radius=0.4))
    added = mask(after, "charged") & ~mask(batch, "charged")
    assert added.sum() > 20
    soft = np.where(added, column(after, "charged", "pt"), 0).sum(axis=1)
    assert np.all(np.abs(jets(after).pt - jets(batch).pt) < 1.001 * soft + 1e-4)
    some = mask(batch, "charged").sum(axis=1) > 1
    np.testing.assert_allclose(np.asarray(jets(after).mass)[some], np.asarray(jets(batch).mass)[some], atol=0.1)
    np.testing.assert_array_equal(
        np.where(mask(batch, "charged"), column(after, "charged", "pt"), 0), column(batch, "charged", "pt")
    )
    assert np.abs(column(after, "charged", "eta")[added]).max() < 1.5


@given(seed=seeds)
@few
def test_dropout_keeps_the_hardest_token_and_the_order(seed):
    batch = make_batch(seed)
    after = apply(batch, seed, dropout=Dropout(1.0, 0.5))
    lost = 0
    for name in batch.modalities:
        old, new = (np.asarray(b.modalities[name].values[..., -1]) for b in (batch, after))
        real, still = mask(batch, name), mask(after, name)
        leading = column(batch, name, "pt").argmax(axis=1) if name != "hits" else np.zeros(SIZE, int)
        for b in range(SIZE):
            where = [int(np.flatnonzero(old[b, real[b]] == value)[0]) for value in new[b, still[b]]]
            if name != "charged":  # whose last column, the charge, does not tell tokens apart
                assert where == sorted(set(where))
                assert not where or leading[b] in where
        lost += real.sum() - still.sum()
    assert lost > 0


def test_dropout_rates_of_hard_and_soft_tokens():
    counts = {True: [0, 0], False: [0, 0]}
    for seed in range(20):
        batch = make_batch(seed)
        after = apply(batch, seed, dropout=Dropout(1.0, 0.2, 0.5, 2.5))
        pt, pt_after = column(batch, "neutral", "pt"), column(after, "neutral", "pt")
        for b in range(SIZE):
            for value in pt[b][mask(batch, "neutral")[b]]:
                if value < pt[b].max():
                    counts[bool(value < 2.5)][0] += 1
                    counts[bool(value < 2.5)][1] += int(value not in pt_after[b])
    assert counts[False][1] / counts[False][0] == pytest.approx(0.2, abs=0.05)
    assert counts[True][1] / counts[True][0] == pytest.approx(1 - 0.8 * 0.5, abs=0.05)


@given(seed=seeds)
@few
def test_whatever_acts_the_batch_stays_a_token_batch(seed):
    batch = make_batch(seed)
    after = apply(batch, seed, **ALL)
    for name, tokens in after.modalities.items():
        values, real = np.asarray(tokens.values), np.asarray(tokens.mask)
        assert values.shape == batch.modalities[name].values.shape
        assert np.all(np.isfinite(values))
        assert np.all(values[~real] == 0)
        assert np.all(real[:, :-1] >= real[:, 1:])  # real tokens first
        np.testing.assert_array_equal(real.any(axis=1), mask(batch, name).any(axis=1))
    assert equal((after.weights, after.index), (batch.weights, batch.index))
    log_share, pt = (np.asarray(after.modalities["charged"].values[..., i]) for i in (0, 1))
    real = mask(after, "charged")
    jet_pt = np.broadcast_to(after.globals, real.shape)[real]
    np.testing.assert_allclose(log_share[real], np.log(pt[real] / jet_pt), rtol=1e-4, atol=1e-4)
    charged = np.asarray(after.modalities["charged"].values)
    np.testing.assert_allclose(charged[..., 5], np.hypot(charged[..., 2], charged[..., 3]), rtol=1e-4, atol=1e-5)


def test_the_jets_pt_follows_its_constituents():
    batch = make_batch(3)
    after = apply(batch, 3, smearing=Smearing(1.0, 1.0, 0.1, 0.5))
    before, now = (sum(column(b, n, "pt").sum(axis=1) for n in ("charged", "neutral")) for b in (batch, after))
    some = before > 0
    np.testing.assert_allclose(after.globals[some, 0], 100 * now[some] / before[some], rtol=1e-5)
    assert equal(after.globals[~some], batch.globals[~some])
    assert equal(apply(batch, 3, rotation=Rotation(1.0)).globals, batch.globals)
    split = apply(batch, 3, splitting=Splitting(1.0, 0.6)).globals
    np.testing.assert_allclose(split, batch.globals, rtol=1e-6)


def test_hits_without_coordinates_are_left_alone_but_for_dropout():
    batch = make_batch(1)
    kept = apply(batch, 1, rotation=Rotation(1.0), splitting=Splitting(1.0, 0.6))
    after = apply(batch, 1, dropout=Dropout(1.0, 0.5))
    assert equal(kept.modalities["hits"], batch.modalities["hits"])
    assert not equal(kept.modalities["neutral"], batch.modalities["neutral"])
    assert not equal(after.modalities["hits"], batch.modalities["hits"])


def test_probability_zero_is_the_identity_to_the_last_bit():
    batch = make_batch(2)
    assert equal(apply(batch, 0), batch)


@pytest.mark.parametrize("name", sorted(ALL))
def test_each_acts_at_its_rate_and_leaves_the_rest_bit_for_bit(name):
    probability, acted, able = 0.3, 0, 0
    strong = {
        "splitting": Splitting(probability, 1.0),
        "soft": Soft(probability, 1.0),
        "smearing": Smearing(probability),
        "dropout": Dropout(probability, 0.95),
        "rotation": Rotation(probability),
        "translation": Translation(probability),
    }[name]
    for seed in range(30):
        batch = make_batch(seed)
        after = apply(batch, seed, **{name: strong})
        count = mask(batch, "neutral").sum(axis=1)
        usable = (count >= 4) & (count < SLOTS)
        acted += int((~unchanged(batch, after) & usable).sum())
        able += int(usable.sum())
    assert able > 300
    assert acted / able == pytest.approx(probability, abs=4 * np.sqrt(0.3 * 0.7 / able))


def test_equal_keys_give_equal_results_and_others_do_not():
    batch = make_batch(4)
    assert equal(apply(batch, 1, **ALL), apply(batch, 1, **ALL))
    assert not equal(apply(batch, 1, **ALL), apply(batch, 2, **ALL))


def test_the_order_of_modalities_in_the_dict_does_not_matter():
    """jit hands dicts back sorted by name, so eager and compiled results would differ."""
    batch = make_batch(4)
    chosen = {"splitting": Splitting(1.0, 0.5), "dropout": Dropout(1.0)}
    eager = augment(batch, SCHEMA, only(**chosen), jax.random.key(1))
    for a, b in zip(jax.tree.leaves(eager), jax.tree.leaves(apply(batch, 1, **chosen)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_tokens_in_descending_pt_stay_so():
    batch = make_batch(9, descending=True)
    after = apply(batch, 9, splitting=Splitting(1.0, 0.6))
    pt = column(after, "charged", "pt")
    assert np.all(pt[:, :-1] >= pt[:, 1:])
    assert mask(after, "charged").sum() > mask(batch, "charged").sum()
    ascending = make_batch(9)
    first = apply(ascending, 9, splitting=Splitting(1.0, 0.6)).modalities["charged"].values[:, :, 2]
    real = mask(ascending, "charged")
    np.testing.assert_array_equal(np.asarray(first)[real], column(ascending, "charged", "eta")[real])


def test_named_modalities_alone_radiate():
    batch = make_batch(6)
    after = apply(batch, 6, splitting=Splitting(1.0, 1.0, modalities=("neutral",)))
    assert equal(after.modalities["charged"].mask, batch.modalities["charged"].mask)
    assert not equal(after.modalities["neutral"].mask, batch.modalities["neutral"].mask)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"rotation": {"probability": 1.5}}, "augment.rotation.probability must be between 0 and 1"),
        ({"smearing": {"stochastic": -1}}, "augment.smearing.stochastic must be at least 0"),
        ({"splitting": {"z_min": 0.7}}, "augment.splitting.z_min"),
        ({"splitting": {"modalities": ["neutrals"]}}, "did you mean 'neutral'"),
    ],
)
def test_settings_out_of_range_are_named(bad, says):
    config = load_config(AugmentConfig, bad)
    with pytest.raises(ConfigError, match=says):
        augment(make_batch(0), SCHEMA, config, jax.random.key(0))
