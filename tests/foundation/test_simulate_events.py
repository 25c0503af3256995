"""Whole events: geometry, response, windows and hardware integers on inputs with a known answer."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import DataError
from foundation.simulate.conditions import Effects
from foundation.simulate.conditions_config import Change
from foundation.simulate.detector import CURVATURE_RADIUS
from foundation.simulate.events_config import (
    CalorimeterConfig,
    Level1Config,
    MuonConfig,
    PileupConfig,
    PuppiConfig,
    TrackerConfig,
)
from foundation.simulate.hardware import PT_BITS, hardware_eta, hardware_phi, hardware_pt
from foundation.simulate.level1 import density, find_egs, find_jets, find_taus, leading, sums_of
from foundation.simulate.muons import muons_of
from foundation.simulate.pileup import ELECTRON, HADRON, KAON, MUON, PHOTON, Crossing, Pool, cross, load_pool, save_pool
from foundation.simulate.puppi import candidates_of, missing_pt
from foundation.simulate.towers import (
    BARREL_RADIUS,
    CENTRAL,
    COLUMN_PHI,
    COLUMNS,
    EDGES,
    ENDCAP_Z,
    FORWARD,
    RING_ETA,
    RINGS,
    SIDE,
    Towers,
    hadron_response,
    reach,
    regions_of,
    ring_of,
    towers_of,
)
from foundation.simulate.tracker import associated, primary_vertex, pt_width, tracks_of, z0_width

QUIET = dataclasses.replace(
    CalorimeterConfig(),
    ecal_noise=0,
    hcal_noise=0,
    forward_noise=0,
    ecal_threshold=0,
    hcal_threshold=0,
    forward_threshold=0,
)
KINDS = {22: PHOTON, 11: ELECTRON, 13: MUON}


def particles(pdgid, charge, pt, eta, phi, z=0.0, vertex=0, event=None) -> Crossing:
    """Massless prompt particles; scalars are broadcast against `pt`."""
    pt = np.atleast_1d(np.asarray(pt, np.float64))
    full = [np.broadcast_to(np.asarray(value), pt.shape) for value in (vertex, pdgid, charge, eta, phi, z)]
    vertex, pdgid, charge, eta, phi, z = full
    event = np.zeros(len(pt), np.int64) if event is None else event
    kind = np.array([KINDS.get(abs(int(p)), HADRON) for p in pdgid], np.int8)
    energy = pt * np.cosh(eta)
    return Crossing(event, vertex, kind, pdgid, charge * 1.0, pt, eta * 1.0, phi * 1.0, energy, 0 * pt, z * 1.0)


def grid(*cells, events: int = 1) -> Towers:
    """Towers with this HCAL Et in (event, ring, column, et)."""
    hcal = np.zeros((events, RINGS, COLUMNS))
    for event, ring, column, et in cells:
        hcal[event, ring, column] = et
    return Towers(np.zeros_like(hcal), hcal, np.zeros_like(hcal))


# Geometry


@given(st.floats(-5.19, 5.19))
def test_a_ring_is_where_its_edges_say(eta):
    ring = int(ring_of(np.array([eta]))[0])
    edges = np.concatenate([-EDGES[::-1], EDGES[1:]])
    assert edges[ring] - 1e-3 <= eta <= edges[ring + 1] + 1e-3
    assert RING_ETA[ring] * eta >= 0


def test_the_grid_is_that_of_cms():
    assert ring_of(np.array([5.2, -5.2])).tolist() == [-1, -1]
    assert RINGS == 80
    assert FORWARD.sum() == 24
    # Tower centres of the barrel are odd multiples of the global trigger's LSB, so that jets lose nothing in it.
    assert np.allclose(RING_ETA[SIDE : SIDE + 20] / 0.0435, 2 * np.arange(20) + 1)
    assert np.allclose(COLUMN_PHI / (2 * np.pi / 144), 2 * np.arange(72) + 1)


@settings(max_examples=50)
@given(
    pt=st.floats(0.3, 50),
    eta=st.floats(-3.5, 3.5).filter(lambda eta: abs(eta) > 0.05),
    phi=st.floats(0, 6.28),
    charge=st.sampled_from([-1, 1]),
    z=st.floats(-100, 100),
)
def test_particles_reach_the_calorimeter_where_small_steps_take_them(pt, eta, phi, charge, z):
    cfg = dataclasses.replace(QUIET, turns_max=100)
    found_eta, found_phi, arrives = reach(particles(211, charge, pt, eta, phi, z), cfg)
    radius = CURVATURE_RADIUS * pt / cfg.magnetic_field
    step = 0.002 * radius  # mm of path in the transverse plane
    turn = np.arange(0, 200_000) * step / radius
    x = radius * (np.sin(phi) - np.sin(phi - charge * turn)) * charge
    y = -radius * (np.cos(phi) - np.cos(phi - charge * turn)) * charge
    along = z + turn * radius * math.sinh(eta)
    outside = np.flatnonzero((np.hypot(x, y) > BARREL_RADIUS) | (np.abs(along) > ENDCAP_Z))
    if not len(outside):
        return
    i = outside[0]
    distance = math.hypot(x[i], y[i])
    if distance < 50:  # a curl that ends near the beam line has no phi that steps could find
        return
    assert arrives[0]
    assert found_eta[0] == pytest.approx(math.asinh(along[i] / distance), abs=0.02 + 8 * step / distance)
    assert math.cos(found_phi[0] - math.atan2(y[i], x[i])) == pytest.approx(1, abs=1e-4 + (2 * step / distance) ** 2)


def test_curling_particles_do_not_reach_the_barrel():
    assert not reach(particles(211, 1, [0.3], 0.05, 0.0), QUIET)[2][0]
    assert reach(particles(22, 0, [0.3], 0.05, 0.0), QUIET)[2][0]


# Response


@pytest.mark.parametrize("energy", [20.0, 100.0])
def test_photons_and_pions_close_on_the_configured_response(energy):
    count, eta = 20_000, 0.4
    rng = np.random.default_rng(1)
    phi, event = rng.uniform(0, 2 * np.pi, count), np.arange(count) % 50
    pt = energy / np.cosh(eta)
    one = {"pt": np.full(count, pt), "eta": eta, "phi": phi, "event": event}
    photons = towers_of(particles(22, 0, **one), 50, QUIET, rng)
    scale = 1 / np.cosh(RING_ETA[ring_of(np.array([eta]))[0]]) * np.cosh(eta)  # Et is of the tower's centre
    assert photons.ecal.sum() == pytest.approx(count * pt * scale, rel=0.002)
    assert photons.hcal.sum() == pytest.approx(0, abs=1e-6 * count)
    neutral = towers_of(particles(2112, 0, **one), 50, QUIET, rng)
    response = float(hadron_response(np.array([energy]), QUIET)[0])
    mip = QUIET.hadron_mip * QUIET.mip_ecal
    shower = (1 - QUIET.hadron_mip) * response * energy
    ecal = mip + 0.5 * shower
    hcal = QUIET.hcal_calibration * (QUIET.hadron_mip * (response * energy - QUIET.mip_ecal) + 0.5 * shower)
    assert neutral.ecal.sum() == pytest.approx(count * ecal * pt / energy * scale, rel=0.02)
    assert neutral.hcal.sum() == pytest.approx(count * hcal * pt / energy * scale, rel=0.02)


def test_photon_energies_have_the_configured_width():
    count, pt = 5_000, 30.0
    event = np.arange(count)  # one per event: no two in a tower
    towers = towers_of(
        particles(22, 0, np.full(count, pt), 0.0435, 1.0, event=event), count, QUIET, np.random.default_rng(2)
    )
    energy = towers.ecal.sum(axis=(1, 2)) * np.cosh(0.0435)
    width = math.hypot(QUIET.ecal_stochastic / math.sqrt(pt), QUIET.ecal_constant)
    assert energy.std() / energy.mean() == pytest.approx(width, rel=0.05)


def test_zero_suppression_cuts_noise_and_knows_no_negative_energy():
    towers = towers_of(particles(22, 0, [], 0.0, 0.0), 20, CalorimeterConfig(), np.random.default_rng(3))
    cfg = CalorimeterConfig()
    assert towers.ecal[towers.ecal > 0].min() >= cfg.ecal_threshold
    # Above 2.5 sigma on one side: 0.62% of the towers.
    assert (towers.ecal[:, ~FORWARD] > 0).mean() == pytest.approx(0.0062, rel=0.15)
    assert towers.ecal.min() >= 0
    assert towers.hcal.min() >= 0
    assert (towers.ecal[:, FORWARD] == 0).all()


def test_the_true_part_of_pile_up_is_that_of_the_energy():
    both = particles(22, 0, [30.0, 10.0], 0.0435, 1.0, vertex=[0, 1])
    towers = towers_of(
        both, 1, dataclasses.replace(QUIET, ecal_stochastic=0, ecal_constant=0), np.random.default_rng(1)
    )
    assert towers.pileup[towers.et > 0].tolist() == pytest.approx([0.25])


def test_regions_hold_all_of_the_central_towers():
    towers = towers_of(
        particles(22, 0, np.full(500, 5.0), np.linspace(-2.9, 2.9, 500), np.linspace(0, 6.2, 500)),
        1, QUIET, np.random.default_rng(4),
    )  # fmt: skip
    regions = regions_of(towers)
    assert regions.shape == (1, 14, 18)
    assert regions.sum() == pytest.approx(towers.et[:, SIDE - CENTRAL : SIDE + CENTRAL].sum())
    one = regions_of(grid((0, SIDE, 71, 5.0), (0, SIDE, 1, 7.0), (0, SIDE, 2, 1.0)))
    assert one[0, 7, 0] == 12
    assert one[0, 7, 1] == 1


# Tracks and muons


def test_tracks_close_on_the_configured_efficiency_and_resolution():
    count, cfg = 40_000, TrackerConfig()
    rng = np.random.default_rng(5)
    for pt, eta in ((5.0, 0.2), (40.0, 2.0)):
        true = particles(211, 1, np.full(count, pt), eta, 2.0, z=20.0)
        found = tracks_of(true, cfg, rng)
        assert len(found.pt) / count == pytest.approx(cfg.hadron_efficiency, abs=0.005)
        width = float(pt_width(np.array([pt]), np.array([eta]), cfg)[0])
        assert found.pt.mean() == pytest.approx(pt, rel=0.002)
        assert found.pt.std() / pt == pytest.approx(width, rel=0.03)
        assert (found.z0 - 20).std() == pytest.approx(float(z0_width(np.array([eta]), cfg)[0]), rel=0.03)
        assert (found.phi - 2).std() == pytest.approx(math.hypot(cfg.phi_constant, cfg.phi_scattering / pt), rel=0.03)
        assert (found.eta - eta).std() == pytest.approx(cfg.eta_width, rel=0.03)


def test_tracks_are_charged_prompt_and_within_the_tracker():
    cfg = dataclasses.replace(TrackerConfig(), hadron_efficiency=1.0)
    true = particles([22, 211, 211, 211], [0, 1, 1, 1], [9.0, 1.0, 9.0, 9.0], [0, 0, 2.6, 0.0], 0.0)
    found = tracks_of(true, cfg, np.random.default_rng(6))
    assert found.pt.tolist() == pytest.approx([9.0], rel=0.1)
    late = dataclasses.replace(true, radius=np.full(4, cfg.birth_radius_max))
    assert len(tracks_of(late, cfg, np.random.default_rng(6)).pt) == 0


def test_the_primary_vertex_is_the_heaviest_and_has_its_tracks():
    cfg = dataclasses.replace(TrackerConfig(), z0_constant=0.1, z0_eta=0.0, hadron_efficiency=1.0)
    true = particles(211, 1, [20.0, 15.0, 3.0, 3.0], 0.5, [0, 1, 2, 3.0], z=[30.0, 30.0, -40.0, 60.0])
    tracks = tracks_of(true, cfg, np.random.default_rng(7))
    vertex = primary_vertex(tracks, 2, cfg)
    assert vertex[0] == pytest.approx(30, abs=0.5)
    assert vertex[1] == 0
    assert associated(tracks, vertex, cfg).tolist() == [True, True, False, False]


def test_muons_cross_the_iron_or_not():
    cfg = dataclasses.replace(MuonConfig(), efficiency=1.0, decays_in_flight=False)
    true = particles([13, 13, 13, 211], [-1, -1, -1, 1], [30.0, 2.0, 30.0, 30.0], [1.0, 0.0, 2.6, 0.0], 1.0)
    found = muons_of(true, cfg, np.random.default_rng(8))
    assert len(found.pt) == 1
    assert found.prompt.all()
    assert abs(found.eta[0] - 1) < 0.1


def test_kaons_decay_in_flight_as_often_as_their_lifetime_says():
    count, pt = 200_000, 20.0
    cfg = dataclasses.replace(MuonConfig(), efficiency=1.0, pt_min=0.0, momentum_min=0.0)
    found = muons_of(particles(KAON, 1, np.full(count, pt), 0.0, 0.0), cfg, np.random.default_rng(9))
    expected = 0.6356 * (1 - math.exp(-BARREL_RADIUS * 0.49368 / (pt * 3711.0)))
    assert len(found.pt) / count == pytest.approx(expected, rel=0.05)
    assert not found.prompt.any()
    assert (found.pt.mean() / pt) == pytest.approx((1 + 0.046) / 2, rel=0.03)


# Windows


@pytest.mark.parametrize("subtraction", ["ring", "donut", "none"])
def test_a_jet_is_the_sum_of_its_window_wherever_it_is(subtraction):
    cfg = dataclasses.replace(Level1Config(), jet_subtraction=subtraction, jet_scale=1.0)
    jets = find_jets(
        grid((0, 45, 0, 30.0), (0, 46, 70, 10.0), (0, 44, 3, 5.0), (0, 20, 30, 50.0), (0, 20, 36, 3.0)), cfg
    )
    assert jets.pt == pytest.approx([50, 45], abs=1.2 if subtraction == "ring" else 1e-9)
    assert jets.eta.tolist() == [RING_ETA[20], RING_ETA[45]]
    assert jets.phi.tolist() == [COLUMN_PHI[30], COLUMN_PHI[0]]


@given(st.integers(8, 71), st.integers(0, 71), st.integers(-4, 4), st.integers(-4, 4))
def test_of_two_equal_towers_in_a_window_one_is_the_jet(ring, column, rings, columns):
    if (rings, columns) == (0, 0):
        return
    cells = [(0, ring, column, 20.0), (0, ring + rings, (column + columns) % COLUMNS, 20.0)]
    jets = find_jets(grid(*cells), dataclasses.replace(Level1Config(), jet_subtraction="none", jet_scale=1.0))
    assert jets.pt.tolist() == [40.0]


def test_even_pile_up_makes_no_jet_and_no_missing_energy():
    even = Towers(np.full((1, RINGS, COLUMNS), 0.5), np.full((1, RINGS, COLUMNS), 4.0), np.zeros((1, RINGS, COLUMNS)))
    for subtraction in ("ring", "donut"):
        jets = find_jets(even, dataclasses.replace(Level1Config(), jet_subtraction=subtraction))
        assert len(jets.pt) == 0 or subtraction == "donut"  # a donut is cut off beyond the last ring
    pileup = density(even)
    assert pileup[0] == pytest.approx(4.5)
    sums = sums_of(even, jets[np.zeros(0, int)], pileup, Level1Config())
    assert sums.met[0] == pytest.approx(0, abs=1e-6)
    assert sums.et[0] == 0


def test_sums_balance_what_is_there():
    cfg = Level1Config()
    towers = grid((0, 40, 0, 100.0), (0, 2, 36, 40.0))
    sums = sums_of(towers, find_jets(towers, cfg), np.zeros(1), cfg)
    assert sums.et[0] == 100  # HF does not count
    assert sums.met[0] == pytest.approx(60)
    assert math.cos(sums.met_phi[0] - COLUMN_PHI[0] - math.pi) == pytest.approx(1)
    assert sums.ht[0] == pytest.approx(100 * cfg.jet_scale) == sums.mht[0]


def test_electrons_are_electromagnetic_and_isolated_or_not():
    towers = grid((0, 45, 10, 1.0), (0, 50, 40, 30.0))
    towers.ecal[0, 45, 10:12] = 30.0, 10.0
    towers.ecal[0, 50, 40] = 20.0  # as much in the HCAL
    towers.ecal[0, 60, 20] = 20.0
    towers.hcal[0, 60, 23] = 30.0
    egs = find_egs(towers, np.zeros(1), Level1Config())
    assert egs.pt.tolist() == [40.0, 20.0]
    assert egs.isolation.tolist() == [3, 0]
    assert COLUMN_PHI[10] < egs.phi[0] < COLUMN_PHI[11]
    taus = find_taus(towers, np.zeros(1), Level1Config())
    assert taus.pt.tolist() == [50.0, 41.0, 30.0, 20.0]


def test_leading_objects_are_by_event_and_pt():
    jets = find_jets(grid(*[(e, 40, c, 10.0 + c + e) for e in range(2) for c in (0, 20, 40)], events=2), Level1Config())
    kept = leading(jets, 2)
    assert kept.event.tolist() == [0, 0, 1, 1]
    assert (np.diff(kept.pt)[[0, 2]] < 0).all()


# Hardware


@given(st.floats(0, 5000), st.sampled_from(sorted(PT_BITS)))
def test_pt_integers_are_cut_off_and_saturate(pt, name):
    integer = int(hardware_pt(np.array([pt]), name)[0])
    most = 2 ** PT_BITS[name] - 1
    assert integer == most if pt >= 0.5 * most else 0.5 * integer <= pt < 0.5 * (integer + 1)


@given(st.integers(-115, 115), st.integers(0, 143))
def test_hardware_integers_come_back_from_their_values(eta, phi):
    assert hardware_eta(np.array([eta * 0.0435]), 0.0435)[0] == eta
    assert hardware_phi(np.array([phi * 2 * np.pi / 144]), 144)[0] == phi
    assert hardware_phi(np.array([2 * np.pi - 1e-9]), 144)[0] == 0


# Pile-up


def pool(collisions: int = 40) -> Pool:
    rng = np.random.default_rng(10)
    counts = rng.integers(5, 40, collisions)
    total = counts.sum()
    soft = particles(22, 0, rng.exponential(1, total), rng.uniform(-4, 4, total), rng.uniform(0, 6, total))
    return Pool(np.concatenate([[0], np.cumsum(counts)]), soft, rng.exponential(5, collisions))


def test_pile_up_is_poisson_with_the_vertex_spread_and_keeps_every_particle():
    drawn, cfg = pool(), PileupConfig(mean=60)
    hard = particles(22, 0, [50.0], 0.0, 0.0)
    crossing, vertices = cross(hard, 400, drawn, False, cfg, np.random.default_rng(11))
    number = np.bincount(vertices.event[vertices.index > 0], minlength=400)
    assert number.mean() == pytest.approx(60, abs=1.5)
    assert number.var() == pytest.approx(60, rel=0.25)
    assert (vertices.index[np.searchsorted(vertices.event, np.arange(400))] == 0).all()
    assert vertices.z.std() == pytest.approx(cfg.vertex_z, rel=0.03)
    assert vertices.t.std() == pytest.approx(cfg.vertex_t, rel=0.03)
    soft = crossing[crossing.vertex > 0]
    mean = len(drawn.particles.pt) / 40
    assert len(soft.pt) == pytest.approx(number.sum() * mean, rel=0.03)
    assert soft.pt.sum() == pytest.approx(number.sum() * drawn.particles.pt.sum() / 40, rel=0.03)
    assert np.cos(soft.phi).mean() == pytest.approx(0, abs=0.02)
    assert soft.eta.mean() == pytest.approx(0, abs=0.05)
    # Particles of one collision stay together: they have the z of its vertex.
    place = {(e, i): z for e, i, z in zip(vertices.event, vertices.index, vertices.z)}
    assert all(soft.z[k] == place[soft.event[k], soft.vertex[k]] for k in range(0, len(soft.z), 997))


def test_zero_bias_has_no_hard_vertex():
    nothing = particles(22, 0, [], 0.0, 0.0)
    crossing, vertices = cross(nothing, 50, pool(), True, PileupConfig(mean=3), np.random.default_rng(12))
    assert vertices.index.min() == 1
    assert crossing.vertex.min() == 1


def test_a_pool_file_gives_the_pool_again_and_refuses_another(tmp_path):
    path = tmp_path / "deep" / "pool.npz"
    assert load_pool(path, "a") is None
    save_pool(path, pool(), "a")
    again = load_pool(path, "a")
    assert (again.first == pool().first).all()
    assert (again.particles.pt == pool().particles.pt).all()
    with pytest.raises(DataError, match=r"other settings(.|\n)*in the file: a(.|\n)*wanted: b"):
        load_pool(path, "b")
    path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="not a pool"):
        load_pool(path, "a")


def test_puppi_keeps_what_is_near_the_vertex_and_drops_the_rest():
    rng = np.random.default_rng(13)
    count = 300
    soft_phi, soft_eta = rng.uniform(0, 6.28, count), rng.uniform(-2.3, 2.3, count)
    charged = particles(
        211, 1, np.concatenate([[30.0, 20.0, 10.0], np.full(count, 2.5)]),
        np.concatenate([[1.0, 1.1, 0.9], soft_eta]), np.concatenate([[2.0, 2.1, 1.9], soft_phi]),
        z=np.concatenate([np.zeros(3), rng.normal(0, 45, count) + 20]), vertex=np.r_[0, 0, 0, np.ones(count, int)],
    )  # fmt: skip
    near = particles(22, 0, [20.0], 1.05, 2.05)
    far = particles(22, 0, np.full(40, 4.0), np.linspace(-2, 0, 40), np.linspace(3.5, 5.5, 40), vertex=1)
    everything = Crossing(
        *(np.concatenate([getattr(p, f.name) for p in (charged, near, far)]) for f in dataclasses.fields(Crossing))
    )
    tracker = dataclasses.replace(TrackerConfig(), hadron_efficiency=1.0)
    tracks = tracks_of(everything, tracker, rng)
    towers = towers_of(everything, 1, QUIET, rng)
    primary = associated(tracks, np.zeros(1), tracker)
    found = candidates_of(tracks, primary, towers, np.zeros(1), PuppiConfig(), QUIET, tracker.eta_max)
    neutral = found.charge == 0
    assert np.array_equal(found.weight[~neutral] == 1, primary)
    close = neutral & (np.hypot(found.eta - 1.05, found.phi - 2.05) < 0.15) & (found.pt > 5)
    assert close.any()
    assert (found.weight[close] > 0.9).all()
    assert not found.pileup[close].any()
    away = neutral & (found.eta < -0.3)
    assert away.sum() > 20
    assert found.weight[away].mean() < 0.2
    assert found.pileup[away].all()
    kept, everything_met = missing_pt(found, 1)[0][0], np.sum(found.pt)
    assert 30 < kept < everything_met


# Conditions


def effects(kind: str, size: float, events: int = 1) -> Effects:
    return Effects((Change(kind, size),), np.full((1, events), size))


def test_conditions_act_on_towers_tracks_and_pile_up():
    rng = np.random.default_rng
    some = particles(22, 0, np.full(400, 5.0), np.linspace(-2.9, 2.9, 400), np.linspace(0, 6.2, 400))
    plain = towers_of(some, 1, QUIET, rng(1))
    gained = towers_of(some, 1, QUIET, rng(1), effects("ecal_gain", 0.1))
    assert np.allclose(gained.ecal, 1.1 * plain.ecal)
    dead = towers_of(some, 1, QUIET, rng(1), effects("ecal_dead", 0.3))
    lost = (dead.ecal == 0) & (plain.ecal > 0)
    assert lost.sum() / (plain.ecal > 0).sum() == pytest.approx(0.3, abs=0.1)
    assert (dead.ecal[~lost] == plain.ecal[~lost]).all()
    charged = particles(211, 1, np.full(20_000, 5.0), 0.0, 0.0)
    cfg = TrackerConfig()
    share = len(tracks_of(charged, cfg, rng(1), effects("track_loss", 0.5)).pt) / len(
        tracks_of(charged, cfg, rng(1)).pt
    )
    assert share == pytest.approx(0.5, abs=0.02)
    nothing = particles(22, 0, [], 0.0, 0.0)
    more = cross(nothing, 300, pool(), True, PileupConfig(mean=20), rng(1), effects("pileup", 1.0, 300))[1]
    assert len(more.z) / 300 == pytest.approx(40, rel=0.05)
    moved = cross(nothing, 300, pool(), True, PileupConfig(mean=20), rng(1), effects("beam_spot_z", 25.0, 300))[1]
    assert moved.z.mean() == pytest.approx(25, abs=3)
