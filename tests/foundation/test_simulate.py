"""The detector, the jets and their substructure on inputs with a known answer; the generator; the command."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from foundation.cli import main
from foundation.command import load_config
from foundation.errors import ConfigError, DataError, RunError, ToolError
from foundation.simulate import DetectorConfig, SimulateConfig
from foundation.simulate import command as simulate_command
from foundation.simulate.columns import CHARGED_HADRON, NEUTRAL_HADRON, PHOTON, round_mantissa, round_step
from foundation.simulate.command import simulate
from foundation.simulate.config import check
from foundation.simulate.detector import CURVATURE_RADIUS, Particles, impact_parameters, log_normal, respond
from foundation.simulate.processes import PROCESSES

SAMPLE = Path(__file__).parents[2] / "samples" / "jets.root"
MISSING = [package for package in ("pythia8mc", "fastjet") if importlib.util.find_spec(package) is None]
needs_sim = pytest.mark.skipif(bool(MISSING), reason=f"needs pip install 'detfm[sim]' (missing: {', '.join(MISSING)})")

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


@needs_sim
def test_a_jet_carries_a_label_only_if_it_holds_every_parton():
    from foundation.simulate.jets import PartonGroup, find_jets

    made = particles(22, 0.0, [600.0, 600.0, 600.0], 0.0, [0.0, 0.0, 0.0], event=np.arange(3))
    seen = respond(made, PERFECT, np.random.default_rng(0))
    # The second parton: inside, outside, absent.
    phi = np.array([[0.1, -0.3], [0.1, 0.9], [np.nan, np.nan]])
    group = PartonGroup(np.full(3, 24), 300 * np.cos(phi), 300 * np.sin(phi), np.zeros((3, 2)), np.full((3, 2), 300.0))
    found = find_jets(seen, [group], SimulateConfig(), np.random.default_rng(0))
    assert list(found.event) == [0]
    assert found.pt[0] == pytest.approx(600, rel=1e-3)
    assert found.truth_px[0] == pytest.approx(300 * (math.cos(0.1) + math.cos(0.3)))


def constituents(*jets):
    """Massless constituents given as (pt, eta, phi)."""
    from foundation.simulate.jets import four_vectors

    pt, eta, phi = np.array([p for jet in jets for p in jet]).T
    counts = np.array([len(jet) for jet in jets])
    return four_vectors(pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta), counts)


@needs_sim
def test_subjettiness_of_known_jets():
    from foundation.simulate.substructure import subjettiness

    taus = subjettiness(
        constituents(
            [(100, 0.0, 0.2), (100, 0.0, -0.2)],  # two equal prongs 0.2 from their axis
            [(100, 0.0, 0.3), (100, 0.0, -0.3), (10, 0.0, 0.31), (10, 0.0, -0.31)],
            [(500, 0.0, 3.1)],
        )
    )
    assert taus[0] == pytest.approx([0.2 / 0.8, 0, 0, 0], abs=1e-9)
    assert taus[1, 0] == pytest.approx((0.3 * 200 + 0.31 * 20) / (0.8 * 220), rel=1e-6)
    assert taus[1, 1] == pytest.approx(4 * 0.01 * 100 * 10 / 110 / (0.8 * 220), rel=1e-3)  # pt-weighted axes
    assert taus[1, 3] == 0
    assert (taus[2] == 0).all()


@needs_sim
def test_soft_drop_removes_soft_wide_radiation_and_keeps_hard_prongs():
    from foundation.simulate.substructure import soft_drop_mass

    prongs = [(300, 0.0, 0.15), (300, 0.0, -0.15)]
    mass = math.sqrt(2 * 300 * 300 * (1 - math.cos(0.3)))
    found = soft_drop_mass(constituents(prongs, [*prongs, (20, 0.7, 0.0)], [(600, 0.0, 0.0), (20, 0.7, 0.0)]))
    assert found == pytest.approx([mass, mass, 0], abs=1e-3)


# Settings and refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("label_Wq",)}, r"unknown jet class 'label_Wq'.*did you mean.*label_Wqq"),
        ({"classes": ("label_QCD", "label_QCD")}, "named twice"),
        ({"classes": ()}, "at least one"),
        ({"pt_min": 700.0, "pt_max": 600.0}, "pt window is empty"),
        ({"pt_max": 7000.0}, "cannot be reached"),
        ({"eta_max": 2.5}, "within the calorimeter"),
        ({"jets_per_class": 0}, "at least 1"),
        ({"mantissa_bits": {"part_pt": 9}}, "no float column 'part_pt'"),
        ({"mantissa_bits": {"part_px": 24}}, "not between 0 and 23"),
        ({"mantissa_bits": {"part_px": 9}, "steps": {"part_px": 0.1}}, "both"),
        ({"steps": {"part_energy": 0.5}}, "mantissa_bits"),
        ({"detector": DetectorConfig(hadron_efficiency=1.5)}, r"detector\.hadron_efficiency: 1\.5"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_generating(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        simulate(dataclasses.replace(SimulateConfig(), **change), tmp_path / "jets.root")
    assert list(tmp_path.iterdir()) == []


def test_preset_and_defaults_are_accepted():
    check(SimulateConfig())
    check(load_config(SimulateConfig, "simulate/sample"))
    assert len({process.index for process in PROCESSES.values()}) == len(PROCESSES)


def test_missing_package_is_answered_with_the_install_command(tmp_path, monkeypatch):
    monkeypatch.setattr(simulate_command.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"pip install 'detfm\[sim\]'"):
        simulate(SimulateConfig(), tmp_path / "jets.root")


def test_existing_files_stay(tmp_path, capsys):
    foreign = tmp_path / "precious.root"
    foreign.write_bytes(b"measured for three years")
    assert main(["simulate", "--out", str(foreign)]) == 2
    assert "--overwrite to replace it" in capsys.readouterr().err
    with pytest.raises(RunError, match="was not written by `detfm simulate`"):
        simulate(SimulateConfig(), foreign, overwrite=True)
    assert foreign.read_bytes() == b"measured for three years"


# Generation

FAST = ("PartonLevel:MPI = off",)
SMALL = SimulateConfig(classes=("label_Wqq", "label_QCD"), jets_per_class=15, seed=3, pythia=FAST)


def read(path: Path) -> ak.Array:
    with uproot.open(path) as file:
        return file["tree"].arrays()


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """15 jets of two classes, each in a chunk of 10 and a short one."""
    out = tmp_path_factory.mktemp("simulate") / "one.root"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate_command, "CHUNK_JETS", 10)
        simulate(SMALL, out)
    return out


@needs_sim
@pytest.mark.slow
def test_any_number_of_workers_writes_the_same_columns(small, tmp_path, monkeypatch):
    monkeypatch.setattr(simulate_command, "CHUNK_JETS", 10)
    simulate(SMALL, tmp_path / "two.root", workers=2)
    one, two = read(small), read(tmp_path / "two.root")
    assert one.fields == two.fields
    for name in one.fields:
        assert ak.to_list(one[name]) == ak.to_list(two[name]), name


@needs_sim
@pytest.mark.slow
def test_a_class_is_the_same_whichever_others_are_made_and_seeds_differ(small):
    from foundation.simulate.chunks import generate_chunk

    jets = read(small)
    alone = generate_chunk(dataclasses.replace(SMALL, classes=("label_QCD",)), "label_QCD", 0, 10)
    other = generate_chunk(dataclasses.replace(SMALL, seed=4), "label_QCD", 0, 10)
    together = jets[np.isin(ak.to_numpy(jets.event_id), alone["event_id"])]
    assert sorted(ak.to_list(together.jet_pt)) == sorted(alone["jet_pt"].tolist())
    assert not set(other["jet_pt"]) & set(alone["jet_pt"])


@needs_sim
@pytest.mark.slow
def test_fresh_jets_are_unrounded_balanced_and_complete(small):
    jets = read(small)
    assert ak.sum(jets.label_Wqq) == ak.sum(jets.label_QCD) == 15
    assert len(np.unique(ak.to_numpy(jets.event_id))) == 30
    assert ak.all(ak.num(jets.part_px) == jets.jet_nparticles)
    pt = np.hypot(*(ak.sum(ak.values_astype(jets[f"part_{axis}"], float), axis=1) for axis in ["px", "py"]))
    assert ak.max(abs(pt / jets.jet_pt - 1)) < 1e-5
    window = np.linspace(SMALL.pt_min, SMALL.pt_max, 11)
    for label in SMALL.classes:
        counts = np.histogram(jets.jet_pt[jets[label] == 1], window)[0]
        assert set(counts) == {1, 2}  # 15 jets in 10 bins
    with uproot.open(small) as file:
        stored = json.loads(file["metadata"])
    assert stored["settings"]["seed"] == SMALL.seed
    assert set(stored["versions"]) >= {"pythia8mc", "fastjet", "detfm"}


@needs_sim
@pytest.mark.slow
@pytest.mark.parametrize(("label", "mass"), [("label_Hcc", 125), ("label_Hgg", 125), ("label_Tbqq", 172)])
def test_every_other_class_makes_its_resonance(label, mass):
    from foundation.simulate.chunks import generate_chunk

    jets = generate_chunk(SimulateConfig(classes=(label,), pythia=FAST), label, 0, 20)
    assert np.median(jets["jet_sdmass"]) == pytest.approx(mass, rel=0.12)
    assert (jets[label] == 1).all()


@needs_sim
@pytest.mark.slow
def test_failed_generation_leaves_nothing_behind(tmp_path, monkeypatch):
    out = tmp_path / "jets.root"
    with pytest.raises(ConfigError, match="does not know the setting 'No:such = on'"):
        simulate(dataclasses.replace(SMALL, pythia=("No:such = on",)), out)
    from foundation.simulate import chunks

    monkeypatch.setattr(chunks, "MOST_EVENTS_PER_JET", 10)
    low = SimulateConfig(classes=("label_Tbqq",), jets_per_class=10, pt_min=60.0, pt_max=80.0, pythia=FAST)
    with pytest.raises(DataError, match=r"label_Tbqq: after \d+ events, jets are still missing"):
        simulate(low, out)
    assert list(tmp_path.iterdir()) == []


@needs_sim
@pytest.mark.slow
def test_the_shipped_sample_is_what_its_command_makes():
    from importlib.metadata import version

    from foundation.simulate.chunks import generate_chunk

    with uproot.open(SAMPLE) as file:
        stored = json.loads(file["metadata"])["versions"]["pythia8mc"]
        jets = file["tree"].arrays()
    if version("pythia8mc") != stored:
        pytest.skip(f"the sample was made with pythia8mc {stored}, installed is {version('pythia8mc')}")
    cfg = load_config(SimulateConfig, "simulate/sample")
    last = cfg.jets_per_class // simulate_command.CHUNK_JETS
    again = generate_chunk(cfg, "label_Wqq", last, cfg.jets_per_class % simulate_command.CHUNK_JETS)
    shipped = jets[np.isin(ak.to_numpy(jets.event_id), again["event_id"])]
    shipped = shipped[ak.argsort(shipped.event_id)]
    assert ak.to_list(shipped.event_id) == sorted(again["event_id"])
    order = np.argsort(again["event_id"])
    for name in again:
        assert ak.to_list(shipped[name]) == ak.to_list(again[name][order]), name
