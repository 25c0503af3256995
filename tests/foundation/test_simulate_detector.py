"""The parametrised detector, the match of jets to partons and the substructure, on inputs with a known answer."""

from __future__ import annotations

import dataclasses
import importlib.util
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.simulate import DetectorConfig, SimulateConfig
from foundation.simulate.columns import CHARGED_HADRON, NEUTRAL_HADRON, PHOTON, round_mantissa, round_step
from foundation.simulate.detector import CURVATURE_RADIUS, Particles, impact_parameters, log_normal, respond

needs_fastjet = pytest.mark.skipif(
    importlib.util.find_spec("fastjet") is None, reason="needs pip install 'detfm[sim]' (missing: fastjet)"
)

# Nothing is lost, nothing is smeared, every particle is its own candidate.
PERFECT = DetectorConfig(
    **{f.name: 0.0 for f in dataclasses.fields(DetectorConfig) if f.name.startswith(("track_pt_", "d0_", "dz_"))},
    **{f"{c}_{t}": 0.0 for c in ("ecal", "hcal") for t in ("stochastic", "noise", "constant")},
    photon_pt_min=0.0,
    neutral_hadron_pt_min=0.0,
    hadron_efficiency=1.0,
    electron_efficiency=1.0,
    muon_efficiency=1.0,
    track_birth_radius_max=1e12,
)


def particles(pdgid, charge, pt, eta, phi, vertex=(0.0, 0.0, 0.0), event=None) -> Particles:
    """Massless particles; scalars are broadcast against `pt`."""
    pt = np.atleast_1d(np.asarray(pt, np.float64))
    eta, phi, charge = (np.broadcast_to(np.asarray(v, np.float64), pt.shape) for v in (eta, phi, charge))
    x, y, z = (np.broadcast_to(np.asarray(v, np.float64), pt.shape) for v in vertex)
    return Particles(
        event=np.zeros(len(pt), np.int64) if event is None else event,
        pdgid=np.broadcast_to(np.asarray(pdgid), pt.shape),
        charge=charge,
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pt * np.sinh(eta),
        energy=pt * np.cosh(eta),
        x=x,
        y=y,
        z=z,
    )


# Rounding


@given(st.floats(-(2.0**99), 2.0**99, width=32).filter(lambda v: abs(v) > 1e-30), st.integers(0, 23), st.booleans())
def test_round_mantissa_keeps_its_promise(value, bits, up):
    rounded = round_mantissa(np.array([value], np.float32), bits, up)
    error = (float(rounded[0]) - value) / value
    assert (0 <= error <= 2.0**-bits) if up else (abs(error) <= 2.0 ** -(bits + 1))
    assert int(rounded.view(np.uint32)[0]) % (1 << (23 - bits)) == 0
    assert (round_mantissa(rounded, bits, up) == rounded).all()


@given(st.floats(-100, 100, width=32), st.integers(1, 12))
def test_round_step_keeps_its_promise(value, power):
    step = 2.0**-power
    rounded = float(round_step(np.array([value], np.float32), step)[0])
    assert abs(rounded - value) <= step / 2
    assert rounded % step == 0


# Detector


@given(
    pt=st.floats(0.5, 500),
    charge=st.sampled_from([-1.0, 1.0]),
    phi=st.floats(-3.1, 3.1),
    eta=st.floats(-2.4, 2.4),
    d0=st.floats(-20, 20),
    dz=st.floats(-100, 100),
    path=st.floats(0, 150),
)
def test_impact_parameters_are_those_of_the_helix_wherever_the_particle_is_born(pt, charge, phi, eta, d0, dz, path):
    """A track is laid out from its closest approach; born anywhere on it, it must show the same d0 and dz."""
    radius = CURVATURE_RADIUS * pt / (charge * 3.8)
    turned = phi - path / radius
    # Closest approach at d0 (-sin, cos); the centre lies at `radius` along (sin, -cos).
    centre = np.array([-d0 * math.sin(phi) + radius * math.sin(phi), d0 * math.cos(phi) - radius * math.cos(phi)])
    x, y = centre + radius * np.array([-math.sin(turned), math.cos(turned)])
    born = particles(211, charge, pt, eta, turned, vertex=(x, y, dz + path * math.sinh(eta)))
    found_d0, found_dz = impact_parameters(born, magnetic_field=3.8)
    assert found_d0[0] == pytest.approx(d0, abs=1e-6)
    assert found_dz[0] == pytest.approx(dz, abs=1e-4)


def test_smearing_keeps_the_mean_and_has_the_width():
    smeared = log_normal(np.full(200_000, 7.0), np.full(200_000, 0.4), np.random.default_rng(0))
    assert smeared.min() > 0
    assert smeared.mean() == pytest.approx(7.0, rel=5e-3)
    assert smeared.std() / smeared.mean() == pytest.approx(0.4, rel=2e-2)


def test_a_perfect_detector_conserves_energy():
    rng = np.random.default_rng(1)
    n = 2000
    made = particles(rng.choice([22, 130, 2112], n), 0.0, rng.exponential(3, n) + 0.1, rng.uniform(-2.5, 2.5, n), 1.0)
    seen = respond(made, PERFECT, rng)
    assert len(seen.energy) < n  # cells merge
    assert seen.energy.sum() == pytest.approx(made.energy.sum(), rel=1e-12)
    assert np.allclose(seen.energy**2, seen.px**2 + seen.py**2 + seen.pz**2)


def test_photons_merge_in_a_cell_and_hadrons_do_not_join_them():
    made = particles([22, 22, 22, 130], 0.0, [1.0, 2.0, 4.0, 8.0], 0.0087, [0.003, 0.012, 0.5, 0.003])
    seen = respond(made, PERFECT, np.random.default_rng(0))
    assert sorted(zip(seen.kind, np.round(np.hypot(seen.px, seen.py), 2))) == [
        (NEUTRAL_HADRON, pytest.approx(8.0, abs=0.02)),
        (PHOTON, 3.0),
        (PHOTON, 4.0),
    ]


def test_a_lost_track_leaves_its_energy_in_the_calorimeter():
    blind = dataclasses.replace(PERFECT, hadron_efficiency=0.0, electron_efficiency=0.0, muon_efficiency=0.0)
    made = particles([211, -11, 13], [1.0, 1.0, -1.0], [5.0, 6.0, 7.0], 0.3, [0.0, 1.0, 2.0])
    seen = respond(made, blind, np.random.default_rng(0))
    assert list(seen.kind) == [PHOTON, NEUTRAL_HADRON]
    assert (seen.charge == 0).all()
    assert seen.energy.sum() == pytest.approx(made.energy[:2].sum())  # the muon deposits nothing


def test_efficiency_falls_with_the_radius_of_birth():
    detector = dataclasses.replace(PERFECT, hadron_efficiency=0.9, track_birth_radius_max=100.0)
    for radius, expected in ((0.0, 0.9), (50.0, 0.45), (120.0, 0.0)):
        made = particles(211, 1.0, np.full(20_000, 5.0), 0.1, 0.2, vertex=(radius, 0.0, 0.0), event=np.arange(20_000))
        seen = respond(made, detector, np.random.default_rng(2))
        assert np.mean(seen.kind == CHARGED_HADRON) == pytest.approx(expected, abs=0.02)


def test_thresholds_neutrinos_and_empty_photons():
    made = particles([12, -14, 22, 22], 0.0, [50.0, 50.0, 0.4, 0.0], 0.1, [0.0, 1.0, 2.0, 3.0])
    seen = respond(made, dataclasses.replace(PERFECT, photon_pt_min=0.5), np.random.default_rng(0))
    assert len(seen.energy) == 0


def test_resolutions_are_the_pulls():
    made = particles(211, 1.0, np.full(50_000, 2.0), 0.3, 0.4, vertex=(0.1, -0.2, 3.0), event=np.arange(50_000))
    detector = DetectorConfig(hadron_efficiency=1.0)
    seen = respond(made, detector, np.random.default_rng(5))
    tracks = seen.kind == CHARGED_HADRON
    d0, dz = impact_parameters(made, detector.magnetic_field)
    for pull in ((seen.d0[tracks] - d0[0]) / seen.d0err[tracks], (seen.dz[tracks] - dz[0]) / seen.dzerr[tracks]):
        assert abs(pull.mean()) < 0.02
        assert pull.std() == pytest.approx(1, abs=0.02)
    assert np.std(np.hypot(seen.px, seen.py)[tracks]) == pytest.approx(2 * 0.008, rel=0.02)


# Jets


@needs_fastjet
def test_a_jet_carries_a_label_only_if_it_holds_every_parton():
    from foundation.simulate.jets import find_jets
    from foundation.simulate.truth import HeavyHadrons, PartonGroup, Truth

    made = particles(22, 0.0, [600.0, 600.0, 600.0], 0.0, [0.0, 0.0, 0.0], event=np.arange(3))
    seen = respond(made, PERFECT, np.random.default_rng(0))
    # The second parton: inside, outside, absent.
    phi = np.array([[0.1, -0.3], [0.1, 0.9], [np.nan, np.nan]])
    px, py, pz = 300 * np.cos(phi), 300 * np.sin(phi), np.zeros((3, 2))
    sums = px.sum(axis=1) + 5, py.sum(axis=1), pz.sum(axis=1)  # a neutrino of 5 GeV along x
    group = PartonGroup(np.full(3, 24), px, py, pz, np.full((3, 2), 300.0), *sums)
    # Bottom hadrons in the first jet, beside it, and in an event without any jet that counts; charm in the first too.
    hadrons = HeavyHadrons(
        np.array([0, 0, 0, 2]), np.array([5, 5, 4, 5]), np.array([0.2, 0.9, 0.0, 0.0]), np.array([0.0, 0.0, -0.7, 0.0])
    )
    found = find_jets(seen, Truth([group], hadrons), SimulateConfig(), np.random.default_rng(0))
    assert list(found.event) == [0]
    assert found.pt[0] == pytest.approx(600, rel=1e-3)
    assert found.truth_px[0] == pytest.approx(300 * (math.cos(0.1) + math.cos(0.3)) + 5)
    assert (found.flavour[0], found.b_hadrons[0], found.c_hadrons[0]) == (5, 1, 1)
    charm = find_jets(seen, Truth([group], hadrons, flavour=4), SimulateConfig(), np.random.default_rng(0))
    assert len(charm.event) == 0


def constituents(*jets):
    """Massless constituents given as (pt, eta, phi)."""
    from foundation.simulate.jets import four_vectors

    pt, eta, phi = np.array([p for jet in jets for p in jet]).T
    counts = np.array([len(jet) for jet in jets])
    return four_vectors(pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta), counts)


@needs_fastjet
def test_subjettiness_of_known_jets():
    from foundation.simulate.substructure import subjettiness

    taus = subjettiness(
        constituents(
            [(100, 0.0, 0.2), (100, 0.0, -0.2)],  # two equal prongs 0.2 from their axis
            [(100, 0.0, 0.3), (100, 0.0, -0.3), (10, 0.0, 0.31), (10, 0.0, -0.31)],
            [(500, 0.0, 3.1)],
        ),
        0.8,
    )
    assert taus[0] == pytest.approx([0.2 / 0.8, 0, 0, 0], abs=1e-9)
    assert taus[1, 0] == pytest.approx((0.3 * 200 + 0.31 * 20) / (0.8 * 220), rel=1e-6)
    assert taus[1, 1] == pytest.approx(4 * 0.01 * 100 * 10 / 110 / (0.8 * 220), rel=1e-3)  # pt-weighted axes
    assert taus[1, 3] == 0
    assert (taus[2] == 0).all()


@needs_fastjet
def test_soft_drop_removes_soft_wide_radiation_and_keeps_hard_prongs():
    from foundation.simulate.substructure import soft_drop_mass

    prongs = [(300, 0.0, 0.15), (300, 0.0, -0.15)]
    mass = math.sqrt(2 * 300 * 300 * (1 - math.cos(0.3)))
    found = soft_drop_mass(constituents(prongs, [*prongs, (20, 0.7, 0.0)], [(600, 0.0, 0.0), (20, 0.7, 0.0)]), 0.8)
    assert found == pytest.approx([mass, mass, 0], abs=1e-3)
