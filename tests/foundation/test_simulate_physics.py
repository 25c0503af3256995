"""The physics that a simulated jet must have: peaks, multiplicities, spectrum, balance, closure, substructure.

The peaks and shapes are those of the shipped sample, which `test_simulate` proves to be what the code makes. Plots and
numbers with full statistics: benchmarks/physics.py and docs/physics-validation.md.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from foundation.metrics import roc
from foundation.simulate import DetectorConfig, SimulateConfig
from foundation.simulate.columns import CHARGED_HADRON, NEUTRAL_HADRON, PHOTON
from foundation.simulate.detector import NEUTRINOS, Particles, respond

MISSING = [package for package in ("pythia8mc", "fastjet") if importlib.util.find_spec(package) is None]
needs_sim = pytest.mark.skipif(bool(MISSING), reason=f"needs pip install 'detfm[sim]' (missing: {', '.join(MISSING)})")
COLUMNS = ["jet_pt", "jet_sdmass", "jet_tau1", "jet_tau2", "jet_tau3", "jet_nparticles", "aux_genpart_pid"]
LABELS = ["label_QCD", "label_Tbqq", "label_Wqq", "label_Zqq", "label_Hbb"]


@pytest.fixture(scope="module")
def jets(sample: Path) -> dict[str, dict[str, np.ndarray]]:
    """Columns of the shipped sample by class."""
    with uproot.open(sample) as file:
        rows = file["tree"].arrays([*COLUMNS, *LABELS], library="np")
    return {name[6:]: {c: rows[c][rows[name] == 1].astype(np.float64) for c in COLUMNS} for name in LABELS}


def peak(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Centre and width of the Gaussian core: mean and deviation within +-1.5 deviations, iterated."""
    values = values[(values > low) & (values < high)]
    centre, width = np.median(values), values.std()
    for _ in range(30):
        core = values[np.abs(values - centre) < 1.5 * width]
        centre, width = core.mean(), core.std() / 0.7428  # of a unit Gaussian cut at +-1.5
    return float(centre), float(width)


def auc(signal: np.ndarray, background: np.ndarray) -> float:
    labels = np.concatenate([np.ones(len(signal), bool), np.zeros(len(background), bool)])
    return roc(labels, np.concatenate([signal, background])).auc


# Peaks and shapes of the shipped sample


@pytest.mark.parametrize(
    ("name", "mass", "tolerance", "widths", "window"),
    [
        ("Wqq", 80.4, 2, (2.5, 6), (60, 105)),
        ("Zqq", 91.2, 2, (2.5, 6), (70, 115)),
        ("Hbb", 122, 3, (4, 9), (95, 150)),  # below 125 GeV: neutrinos of the bottom hadrons
        ("Tbqq", 172.6, 4, (5, 11), (145, 205)),
    ],
)
def test_groomed_mass_peaks(jets, name, mass, tolerance, widths, window):
    centre, width = peak(jets[name]["jet_sdmass"], *window)
    assert centre == pytest.approx(mass, abs=tolerance)
    assert widths[0] < width < widths[1]


def test_gluon_jets_have_more_constituents(jets):
    qcd = jets["QCD"]
    gluon = qcd["aux_genpart_pid"] == 21
    assert 0.2 < gluon.mean() < 0.8
    ratio = qcd["jet_nparticles"][gluon].mean() / qcd["jet_nparticles"][~gluon].mean()
    assert 1.4 < ratio < 1.75
    for low, high in ((500, 700), (700, 1000)):
        inside = (qcd["jet_pt"] > low) & (qcd["jet_pt"] < high)
        n = qcd["jet_nparticles"]
        assert n[inside & gluon].mean() > 1.4 * n[inside & ~gluon].mean()


def test_substructure_separates_two_and_three_prongs(jets):
    def ratio(name: str, upper: int) -> np.ndarray:
        return jets[name][f"jet_tau{upper}"] / np.maximum(jets[name][f"jet_tau{upper - 1}"], 1e-6)

    for boson in ("Wqq", "Zqq", "Hbb"):
        assert auc(-ratio(boson, 2), -ratio("QCD", 2)) > 0.75
    assert auc(-ratio("Tbqq", 3), -ratio("QCD", 3)) > 0.85
    assert auc(-ratio("Tbqq", 3), -ratio("Wqq", 3)) > 0.75
    distance = {name: -np.abs(jets[name]["jet_sdmass"] - 80.4) for name in ("Wqq", "QCD")}
    assert auc(distance["Wqq"], distance["QCD"]) > 0.78


# Closure of the detector: what is configured comes out


def gun(pdgid: int, charge: float, energy: float, count: int, radius: float = 0.0) -> Particles:
    """Particles at eta = 0, one per event, born at `radius` mm in their own direction."""
    phi, zero = np.linspace(-np.pi, np.pi, count, endpoint=False), np.zeros(count)
    return Particles(
        event=np.arange(count),
        pdgid=np.full(count, pdgid),
        charge=np.full(count, charge),
        px=energy * np.cos(phi),
        py=energy * np.sin(phi),
        pz=zero,
        energy=np.full(count, energy),
        x=radius * np.cos(phi),
        y=radius * np.sin(phi),
        z=zero,
    )


@pytest.mark.parametrize("pt", [1.0, 10.0, 100.0])
def test_track_resolution_closes(pt):
    cfg = DetectorConfig()
    seen = respond(gun(211, 1.0, pt, 20_000), cfg, np.random.default_rng(1))
    track = seen.kind == CHARGED_HADRON
    measured = np.hypot(seen.px, seen.py)[track]
    assert track.sum() / 20_000 == pytest.approx(cfg.hadron_efficiency, abs=0.01)
    assert measured.mean() == pytest.approx(pt, rel=2e-3)
    assert measured.std() / pt == pytest.approx(np.hypot(cfg.track_pt_constant, cfg.track_pt_linear * pt), rel=0.03)
    assert seen.d0[track].std() == pytest.approx(np.hypot(cfg.d0_constant, cfg.d0_scattering / pt), rel=0.03)
    assert seen.dz[track].std() == pytest.approx(np.hypot(cfg.dz_constant, cfg.dz_scattering / pt), rel=0.03)


@pytest.mark.parametrize(
    ("name", "pdgid", "kind", "energy"),
    [("ecal", 22, PHOTON, 5.0), ("ecal", 22, PHOTON, 100.0), ("hcal", 130, NEUTRAL_HADRON, 20.0)],
)
def test_tower_response_closes(name, pdgid, kind, energy):
    cfg = DetectorConfig()
    seen = respond(gun(pdgid, 0.0, energy, 20_000), cfg, np.random.default_rng(2))
    assert (seen.kind == kind).all()
    terms = [getattr(cfg, f"{name}_{term}") for term in ("stochastic", "noise", "constant")]
    width = np.sqrt(terms[0] ** 2 / energy + (terms[1] / energy) ** 2 + terms[2] ** 2)
    assert seen.energy.mean() == pytest.approx(energy, rel=5e-3)
    assert seen.energy.std() / energy == pytest.approx(width, rel=0.03)


# Dijets as nature makes them


@pytest.fixture(scope="module")
def dijets() -> dict[str, Any]:
    """300 dijet events by weights above a pTHat of 400 GeV, without underlying event; jets of two levels."""
    from foundation.simulate.events import stable_particles, start, world_settings

    cfg = SimulateConfig()
    settings = (
        *world_settings(cfg, 3),
        "HardQCD:all = on",
        "PartonLevel:MPI = off",
        "PhaseSpace:pTHatMin = 400",
        "PhaseSpace:bias2Selection = on",
        "PhaseSpace:bias2SelectionPow = 5",
        "PhaseSpace:bias2SelectionRef = 400",
    )
    pythia = start("dijets", settings)
    batch = pythia.nextBatch(300)
    stable = stable_particles(batch.prt, pythia)
    info = pythia.infoPython()
    return {
        "weight": ak.to_numpy(batch.info.weights[:, 0]) * info.sigmaGen() / info.weightSum(),  # mb
        "pt_hat": np.sqrt(ak.to_numpy(batch.info.pT2Hat)),
        "stable": stable,
        "truth": leading(stable[~np.isin(np.abs(stable.pdgid), NEUTRINOS)], 300),
        "seen": leading(respond(stable, cfg.detector, np.random.default_rng(3)), 300),
    }


def leading(particles: Any, events: int) -> ak.Array:
    """The two leading anti-kt R = 0.8 jets of each event: pt, eta, phi."""
    import fastjet

    from foundation.simulate.jets import four_vectors

    counts = np.bincount(particles.event, minlength=events)
    inputs = four_vectors(particles.px, particles.py, particles.pz, particles.energy, counts)
    jets = fastjet.ClusterSequence(inputs, fastjet.JetDefinition(fastjet.antikt_algorithm, 0.8)).inclusive_jets(50.0)
    pt = np.hypot(jets.px, jets.py)
    columns = {"pt": pt, "eta": np.arcsinh(jets.pz / pt), "phi": np.arctan2(jets.py, jets.px)}
    return ak.zip(columns)[ak.argsort(pt, ascending=False)][:, :2]


@needs_sim
@pytest.mark.slow
def test_every_event_balances(dijets):
    stable = dijets["stable"]
    for axis in ("px", "py"):
        assert np.abs(np.bincount(stable.event, getattr(stable, axis))).max() < 1e-2  # GeV, of 13,000
    assert np.bincount(stable.event, stable.energy) == pytest.approx(13_000, rel=1e-5)
    two = dijets["seen"][ak.num(dijets["seen"]) == 2]
    turn = ak.to_numpy(two.phi[:, 0] - two.phi[:, 1]) % (2 * np.pi)
    assert np.mean(np.abs(turn - np.pi) < 0.5) > 0.75
    asymmetry = ak.to_numpy((two.pt[:, 0] - two.pt[:, 1]) / (two.pt[:, 0] + two.pt[:, 1]))
    assert np.median(asymmetry) < 0.12


@needs_sim
@pytest.mark.slow
def test_jets_measure_the_particles(dijets):
    truth, seen = dijets["truth"], dijets["seen"]
    both = ak.to_numpy((ak.num(truth) == 2) & (ak.num(seen) == 2))
    truth, seen = truth[both][:, 0], seen[both]
    turn = (seen.phi - truth.phi + np.pi) % (2 * np.pi) - np.pi
    near = np.hypot(seen.eta - truth.eta, turn) < 0.2
    matched = ak.to_numpy(ak.any(near, axis=1) & (abs(truth.eta) < 2))
    assert matched.mean() > 0.8
    ratio = ak.to_numpy(ak.firsts(seen.pt[near])[matched] / truth.pt[matched], allow_missing=False)
    assert np.median(ratio) == pytest.approx(0.993, abs=0.01)
    low, high = np.quantile(ratio, [0.16, 0.84])
    assert 0.008 < (high - low) / 2 < 0.04


@needs_sim
@pytest.mark.slow
def test_the_spectrum_falls_as_the_cross_section(dijets):
    from foundation.simulate.events import start, world_settings

    settings = ("HardQCD:all = on", "PhaseSpace:pTHatMin = 700", "PartonLevel:all = off")
    pythia = start("cross section", (*world_settings(SimulateConfig(), 4), *settings))
    for _ in range(2000):
        pythia.next()
    expected = pythia.infoPython().sigmaGen()
    above = dijets["pt_hat"] > 700
    weight = dijets["weight"]
    error = np.sqrt((weight[above] ** 2).sum()) / weight[above].sum()
    assert weight[above].sum() / expected == pytest.approx(1, abs=4 * error)
    assert error < 0.15
    # The local power between 500 and 1000 GeV: 3 of the scattering, the rest of the falling parton densities.
    pt, jet_weight = ak.to_numpy(dijets["seen"].pt[:, 0]), weight
    counts = [jet_weight[(pt > low) & (pt < high)].sum() / (high - low) for low, high in ((500, 625), (800, 1000))]
    power = -np.log(counts[1] / counts[0]) / np.log(894 / 559)  # the bins' geometric centres
    assert 5.3 < power < 8


# Views


@needs_sim
@pytest.mark.slow
def test_a_view_has_the_physics_of_the_ordinary_sample():
    """The hard event, taken out and showered again, is showered as Pythia showers its own."""
    from itertools import islice

    from foundation.simulate.events import generate_events
    from foundation.simulate.hard import Shower, hard_events
    from foundation.simulate.processes import PROCESSES

    process = PROCESSES["label_Tbqq"]
    cfg = dataclasses.replace(SimulateConfig(), pythia=("PartonLevel:MPI = off",))
    _, own = next(generate_events(process, cfg, 8))
    _, _, ours = Shower(process, cfg, 8).run(list(islice(hard_events(process, cfg, 9), 200)))
    for quantity in ("count", "ht"):
        values = []
        for stable in (own, ours):
            chosen = (stable.charge != 0) & (np.hypot(stable.px, stable.py) > 0.5)
            weight = np.ones(len(stable.px)) if quantity == "count" else np.hypot(stable.px, stable.py)
            values.append(np.bincount(stable.event[chosen], weight[chosen], minlength=200))
        error = np.hypot(*(v.std() / np.sqrt(len(v)) for v in values))
        assert abs(values[0].mean() - values[1].mean()) < 4 * error
        assert error < 0.04 * values[0].mean()
