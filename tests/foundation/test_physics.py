"""Kinematics: identities, invariances, and agreement with float64 numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation import physics

seeds = st.integers(0, 2**32 - 1)
jet_kinematics, pair_features = jax.jit(physics.jet_kinematics), jax.jit(physics.pair_features)


def constituents(seed, mass=0.0, radius=0.4, batch=3, tokens=12, centre=None):
    """Jets of `tokens` slots, each with at least one real token: float64 pt, eta, phi, energy and the mask."""
    rng = np.random.default_rng(seed)
    mask = np.arange(tokens) < rng.integers(1, tokens + 1, size=(batch, 1))
    eta0, phi0 = centre if centre else (rng.uniform(-2.5, 2.5, (batch, 1)), rng.uniform(-np.pi, np.pi, (batch, 1)))
    pt = np.where(mask, np.exp(rng.normal(1.5, 1.5, mask.shape)), 0)
    eta = np.where(mask, eta0 + rng.normal(0, radius, mask.shape), 0)
    phi = np.where(mask, (phi0 + rng.normal(0, radius, mask.shape) + np.pi) % (2 * np.pi) - np.pi, 0)
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + np.where(mask, mass, 0) ** 2)
    return pt, eta, phi, energy, mask


def device(*arrays):
    return [jnp.asarray(a, jnp.bool_ if a.dtype == bool else jnp.float32) for a in arrays]


def momentum64(pt, eta, phi, energy):
    return np.stack([energy, pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=-1)


def mass64(p):
    return np.sqrt(np.maximum(p[..., 0] ** 2 - (p[..., 1:] ** 2).sum(-1), 0))


@given(st.floats(-3, 3, width=32), st.integers(-3, 3))
@settings(deadline=None)
def test_delta_phi_is_wrapped_and_periodic(phi, turns):
    far = jnp.float32(phi + 2 * np.pi * turns)
    wrapped = float(physics.wrap_phi(far))
    assert -np.pi <= wrapped < np.pi
    assert np.cos(wrapped - phi) == pytest.approx(1, abs=1e-6)
    assert float(physics.delta_phi(far, jnp.float32(phi))) == pytest.approx(0, abs=1e-5)


def test_wrapping_leaves_an_azimuth_in_range_bit_for_bit():
    phi = jax.random.uniform(jax.random.key(0), (1000,), minval=-jnp.pi, maxval=jnp.pi)
    np.testing.assert_array_equal(physics.wrap_phi(phi), phi)
    edge = jnp.asarray([np.pi, -np.pi, 3 * np.pi, 100.0], jnp.float32)
    assert bool(jnp.all((physics.wrap_phi(edge) >= -jnp.pi) & (physics.wrap_phi(edge) < jnp.float32(jnp.pi))))


def test_delta_r_across_the_seam():
    near = physics.delta_r(jnp.zeros(1), jnp.asarray([3.1]), jnp.zeros(1), jnp.asarray([-3.1]))
    np.testing.assert_allclose(near, 2 * np.pi - 6.2, rtol=1e-5)


def test_invariant_mass_of_the_z_from_two_leptons():
    pt, eta, phi = jnp.asarray([45.0, 45.0]), jnp.asarray([0.7, 0.7]), jnp.asarray([0.3, 0.3 - np.pi])
    total = physics.four_momentum(pt, eta, phi).sum(axis=0)
    assert float(physics.invariant_mass(total)) == pytest.approx(90.0, rel=1e-5)


@pytest.mark.parametrize("mass", [None, 0.1396])
@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_jet_agrees_with_float64(mass, seed):
    pt, eta, phi, energy, mask = constituents(seed, mass or 0.0)
    jets = jet_kinematics(*device(pt, eta, phi), None if mass is None else device(energy)[0], *device(mask))
    total = momentum64(pt, eta, phi, energy).sum(axis=1)
    pt_true = np.hypot(total[:, 1], total[:, 2])
    np.testing.assert_allclose(jets.pt, pt_true, rtol=2e-6)
    np.testing.assert_allclose(jets.eta, np.arcsinh(total[:, 3] / pt_true), atol=3e-6)
    np.testing.assert_allclose(np.cos(jets.phi - np.arctan2(total[:, 2], total[:, 1])), 1, atol=1e-6)
    # energies given in float32 carry m^2 = (E-p)(E+p) only to E^2 * 2^-23: that much, and no more, may be lost
    floor = 2e-3 if mass is None else 0.02 + 2e-3 * np.sqrt((energy**2).sum(axis=1))
    assert np.all(np.abs(np.asarray(jets.mass) - mass64(total)) < 2e-5 * mass64(total) + floor)


def test_light_jet_of_several_tev_keeps_its_mass():
    """The textbook E^2 - p^2 in float32 loses this 1 GeV entirely."""
    pt, eta, phi = np.asarray([[1000.0, 1000.0]]), np.asarray([[1.9995, 2.0005]]), np.asarray([[0.5, 0.5]])
    exact = mass64(momentum64(pt, eta, phi, pt * np.cosh(eta)).sum(axis=1))
    assert exact == pytest.approx(1.0, rel=1e-3)
    jets = jet_kinematics(*device(pt, eta, phi), None, jnp.ones((1, 2), bool))
    np.testing.assert_allclose(jets.mass, exact, rtol=1e-3)


@given(seed=seeds, boost=st.floats(-2, 2, width=32), turn=st.floats(-3, 3, width=32))
@settings(max_examples=25, deadline=None)
def test_mass_is_invariant_under_longitudinal_boost_and_rotation(seed, boost, turn):
    pt, eta, phi, _, mask = constituents(seed)
    before = jet_kinematics(*device(pt, eta, phi), None, *device(mask))
    moved_eta, moved_phi = np.where(mask, eta + boost, 0), np.where(mask, phi + turn, 0)
    after = jet_kinematics(*device(pt, moved_eta, moved_phi), None, *device(mask))
    np.testing.assert_allclose(after.mass, before.mass, rtol=2e-4, atol=5e-3)
    np.testing.assert_allclose(after.pt, before.pt, rtol=1e-5)
    shift = rapidity(after) - rapidity(before)  # the jet is massive: its rapidity shifts, not its pseudorapidity
    np.testing.assert_allclose(shift, boost, atol=3e-4)  # float32: a difference of two logarithms of size 4


def rapidity(jets):
    energy = jnp.sqrt((jets.pt * jnp.cosh(jets.eta)) ** 2 + jets.mass**2)
    return physics.rapidity(jets.pt, jets.eta, energy)


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_pair_features_agree_with_float64_and_are_symmetric(seed):
    pt, eta, phi, energy, mask = constituents(seed, mass=0.5)
    got = np.asarray(pair_features(*device(pt, eta, phi, energy, mask)))
    np.testing.assert_allclose(got, got.swapaxes(1, 2), atol=1e-4)
    p = momentum64(pt, eta, phi, energy)
    y = np.arctanh(np.divide(p[..., 3], energy, where=mask, out=np.zeros_like(energy)))
    dphi = (phi[:, :, None] - phi[:, None, :] + np.pi) % (2 * np.pi) - np.pi
    distance = np.hypot(y[:, :, None] - y[:, None, :], dphi)
    softer = np.minimum(pt[:, :, None], pt[:, None, :])
    pairs = mask[:, :, None] & mask[:, None, :] & ~np.eye(mask.shape[1], dtype=bool)
    np.testing.assert_allclose(np.exp(got[pairs, 0]), distance[pairs], rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose(np.exp(got[pairs, 1]), (softer * distance)[pairs], rtol=1e-2, atol=1e-3)
    share = softer / (pt[:, :, None] + pt[:, None, :] + 1e-30)
    np.testing.assert_allclose(np.exp(got[pairs, 2]), share[pairs], rtol=1e-4)
    m2 = mass64(p[:, :, None] + p[:, None, :]) ** 2
    scale = 1e-6 * (energy[:, :, None] ** 2 + energy[:, None, :] ** 2)  # what float32 energies can carry
    assert np.all(np.abs(np.exp(got[..., 3]) - m2)[pairs] < (2e-4 * m2 + scale + 1e-3)[pairs])


def test_pair_features_are_zero_where_masked_and_clipped_on_the_diagonal():
    pt, eta, phi, _, mask = constituents(0)
    got = np.asarray(pair_features(*device(pt, eta, phi), None, *device(mask)))
    pairs = mask[:, :, None] & mask[:, None, :]
    assert np.all(got[~pairs] == 0)
    diagonal = got[:, np.arange(12), np.arange(12)][mask]
    np.testing.assert_allclose(diagonal[:, [0, 1, 3]], np.log(physics.LOG_FLOOR), rtol=1e-6)
    np.testing.assert_allclose(diagonal[:, 2], np.log(0.5), rtol=1e-6)


@pytest.mark.parametrize("massive", [False, True])
def test_gradients_are_finite_at_masked_coincident_and_zero_tokens(massive):
    pt, eta, phi, energy, mask = device(*constituents(1))
    pt, eta, phi, energy = (x.at[0, 1].set(x[0, 0]) for x in (pt, eta, phi, energy))  # two tokens at one point
    mask = mask.at[0].set(False).at[0, :2].set(True).at[2].set(False)  # and an empty example

    def total(values):
        given = values[3] if massive else None
        jets = jet_kinematics(*values[:3], given, mask)
        return pair_features(*values[:3], given, mask).sum() + sum(x.sum() for x in jets)

    value, gradient = jax.jit(jax.value_and_grad(total))(jnp.stack([pt, eta, phi, energy]))
    assert bool(jnp.isfinite(value))
    assert bool(jnp.all(jnp.isfinite(gradient)))
    assert bool(jnp.any(gradient != 0))


def test_padding_changes_nothing():
    pt, eta, phi, energy, mask = device(*constituents(2, mass=0.1))
    padded = [jnp.pad(x, ((0, 0), (0, 5))) for x in (pt, eta, phi, energy, mask)]
    short = pair_features(pt, eta, phi, energy, mask)
    np.testing.assert_allclose(pair_features(*padded)[:, :12, :12], short, rtol=1e-6)
    for a, b in zip(jet_kinematics(*padded), jet_kinematics(pt, eta, phi, energy, mask)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


FORWARD = st.floats(-8, 8, width=32)
PT = st.floats(0.0625, 2000, width=32)
AZIMUTH = st.floats(-3.125, 3.125, width=32)


@given(PT, FORWARD, AZIMUTH, st.one_of(st.just(0.0), st.floats(0.001953125, 500, width=32)))
@settings(deadline=None)
def test_every_set_of_coordinates_gives_the_same_four_vector(pt, eta, phi, mass):
    """Against float64: massless, light at TeV energies (boosted), heavy and slow, and as forward as |eta| = 8."""
    energy = np.hypot(pt * np.cosh(eta), mass)
    expected = momentum64(pt, eta, phi, energy)
    cylinder = {"pt": jnp.float32(pt), "eta": jnp.float32(eta), "phi": jnp.float32(phi)}
    forms = [cylinder | {"energy": jnp.float32(energy)}, cylinder | {"mass": jnp.float32(mass)}]
    forms += [dict(zip(("energy", "px", "py", "pz"), jnp.asarray(expected, jnp.float32)))]
    forms += [cylinder] if mass == 0 else []
    for parts in forms:
        np.testing.assert_allclose(physics.momentum_of(parts), expected, rtol=4e-6, atol=1e-6 * pt)


@given(PT, FORWARD, AZIMUTH, st.floats(0, 500, width=32))
@settings(deadline=None)
def test_coordinates_survive_the_round_trip(pt, eta, phi, mass):
    parts = {"pt": pt, "eta": eta, "phi": phi, "mass": mass}
    momentum = physics.momentum_of({name: jnp.float32(value) for name, value in parts.items()})
    found = physics.coordinates_of(momentum)
    energy = np.hypot(pt * np.cosh(eta), mass)
    assert float(found["pt"]) == pytest.approx(pt, rel=1e-6)
    assert float(found["eta"]) == pytest.approx(eta, abs=5e-6)
    assert float(physics.delta_phi(found["phi"], jnp.float32(phi))) == pytest.approx(0, abs=1e-6)
    assert float(found["energy"]) == pytest.approx(energy, rel=4e-6)
    assert float(found["mass"]) ** 2 == pytest.approx(mass**2, rel=1e-4, abs=1e-5 * energy**2)
    again = physics.momentum_of({name: found[name] for name in ("pt", "eta", "phi", "energy")})
    np.testing.assert_allclose(again, momentum, rtol=1e-5, atol=1e-6 * pt)


def test_a_boost_along_the_beam_changes_neither_pt_nor_mass():
    pt, eta, phi, _, mask = constituents(3)
    parts = dict(zip(("pt", "eta", "phi"), device(pt, eta, phi)), mass=jnp.float32(2.0))
    momentum = physics.momentum_of(parts)
    energy, pz = momentum[..., 0], momentum[..., 3]
    cosh, sinh = np.float32(np.cosh(1.5)), np.float32(np.sinh(1.5))
    boosted = momentum.at[..., 0].set(energy * cosh + pz * sinh).at[..., 3].set(pz * cosh + energy * sinh)
    found = physics.coordinates_of(boosted)
    np.testing.assert_allclose(found["pt"][mask], parts["pt"][mask], rtol=1e-6)
    before = physics.rapidity(parts["pt"], parts["eta"], energy)
    after = physics.rapidity(found["pt"], found["eta"], found["energy"])
    np.testing.assert_allclose((after - before)[mask], 1.5, atol=2e-3)


def test_zero_tokens_have_finite_coordinates_and_gradients():
    def total(momentum):
        return sum(jnp.sum(value) for value in physics.coordinates_of(momentum).values())

    for momentum in (jnp.zeros((2, 4)), jnp.asarray([[5.0, 0.0, 0.0, 5.0]])):
        assert all(bool(jnp.all(jnp.isfinite(value))) for value in physics.coordinates_of(momentum).values())
        assert bool(jnp.all(jnp.isfinite(jax.grad(total)(momentum))))


def test_an_incomplete_four_vector_is_named():
    with pytest.raises(ValueError, match=r"without eta, phi; given are pt, mass"):
        physics.momentum_of({"pt": jnp.ones(3), "mass": jnp.ones(3)})
