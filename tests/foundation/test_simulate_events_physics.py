"""Whole events from Pythia to columns, files and stores: physics with tolerances, and the same seed, same events."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from typing import Any

import awkward as ak
import numpy as np
import pytest
import vector

from foundation.io import open_reader
from foundation.schema import DetectorSchema
from foundation.simulate.config import SimulateConfig, check
from foundation.simulate.engine import simulate
from foundation.simulate.event_processes import EVENT_PROCESSES, process_settings
from foundation.simulate.events_config import COLLECTIONS, CalorimeterConfig, EventsConfig, PileupConfig
from foundation.simulate.plan import Task, run_task
from foundation.store.examples import examples
from foundation.store.ingest import ingest
from foundation.store.store import Store

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pythia8mc") is None, reason="needs pip install 'detfm[sim]' (missing: pythia8mc)"
)

# Without diffraction Pythia starts in a tenth of the time, and the pile-up is nearly the same.
PILEUP = PileupConfig(mean=0, pool=300, settings=("SoftQCD:nonDiffractive = on",))


def settings(mean: float = 0.0, seed: int = 1, **changes: Any) -> SimulateConfig:
    changes.setdefault("processes", {"zero_bias": 1})
    events = EventsConfig(pileup=dataclasses.replace(PILEUP, mean=mean), **changes)
    # Several parton interactions take most of Pythia's time, and are not what the events without pile-up are for.
    return SimulateConfig(sample="events", seed=seed, events=events, pythia=() if mean else ("PartonLevel:MPI = off",))


@functools.cache
def chunk(name: str, rows: int, mean: float = 0.0, seed: int = 1) -> dict[str, Any]:
    return run_task(settings(mean, seed, processes={name: rows}), Task(name, 0, rows))


def leading_pair_mass(columns: dict[str, Any], name: str) -> np.ndarray:
    """Mass of the two leading massless objects of the events that have two."""
    pt, eta, phi = (columns[f"{name}_{key}"] for key in ("pt", "eta", "phi"))
    two = ak.num(pt) >= 2
    (pt_a, pt_b), (eta_a, eta_b), (phi_a, phi_b) = (
        ak.to_numpy(column[two][:, :2]).astype(np.float64).T for column in (pt, eta, phi)
    )
    return np.sqrt(2 * pt_a * pt_b * (np.cosh(eta_a - eta_b) - np.cos(phi_a - phi_b)))


# Physics without pile-up


def test_momentum_balances_where_nothing_is_invisible():
    """Towers and neutrinos of dijets add up to zero within the resolution of the calorimeters."""
    columns = chunk("qcd", 60)
    x = columns["met"] * np.cos(columns["met_phi"]) - columns["gen_met"] * np.cos(columns["gen_met_phi"])
    scaled = x / np.sqrt(columns["et"] + 20)
    assert abs(scaled.mean()) < 4 * scaled.std() / np.sqrt(60)
    assert 0.3 < scaled.std() < 1.5  # GeV^(1/2): jets of CMS's calorimeters have about 1


def test_invisible_higgs_bosons_are_seen_as_missing_energy():
    columns = chunk("vbf_hinv", 60)
    measured = columns["met"] * np.exp(1j * columns["met_phi"])
    true = columns["gen_met"] * np.exp(1j * columns["gen_met_phi"])
    hard = columns["gen_met"] > 60
    assert hard.sum() > 20
    response = (measured[hard] / true[hard]).real
    assert np.median(response) == pytest.approx(0.9, abs=0.12)
    assert abs(np.angle(measured[hard] / true[hard])).mean() < 0.3
    assert ak.sum(abs(columns["jet_eta"]) > 2) / 60 > 0.8  # the tagging jets


def test_z_bosons_peak_in_pairs_of_level1_muons():
    mass = leading_pair_mass(chunk("z_mumu", 200), "muon")
    assert len(mass) > 40
    low, middle, high = np.percentile(mass, [16, 50, 84])
    assert middle == pytest.approx(91, abs=7)
    assert (high - low) / 2 / middle == pytest.approx(0.22 / np.sqrt(2), abs=0.06)  # pt_width of the two


def test_z_bosons_peak_in_pairs_of_egammas():
    columns = chunk("z_ee", 100)
    mass = leading_pair_mass(
        {key: column[columns["eg_pt"] > 20] for key, column in columns.items() if "eg_" in key}, "eg"
    )
    assert len(mass) > 15
    assert np.median(mass) == pytest.approx(90, abs=4)


def test_heavy_resonances_peak_in_pairs_of_jets():
    columns = chunk("wprime", 40)
    assert np.median(leading_pair_mass(columns, "jet")) == pytest.approx(3500, rel=0.12)
    of_x = columns["truth_mass"][abs(columns["truth_pdgid"]) == 37]
    assert ak.to_numpy(ak.flatten(of_x)) == pytest.approx(np.full(40, 500), abs=20)


@pytest.mark.parametrize("name", [n for n in EVENT_PROCESSES if n not in ("zero_bias", "qcd", "z_mumu", "z_ee")])
def test_every_process_gives_its_particles(name):
    columns = chunk(name, *{"wprime": (40,), "vbf_hinv": (60,)}.get(name, (4,)))
    wanted = {
        "ttbar": 6, "w_lnu": 24, "z_tautau": 15, "haa4b": 36, "vbf_hinv": 25, "wprime": 34, "leptoquark": 42,
        "hidden_valley": 4900101, "high_multiplicity": 36, "suep": 35,
    }[name]  # fmt: skip
    assert ak.all(ak.any(abs(columns["truth_pdgid"]) == wanted, axis=1))
    assert (columns["process"] == EVENT_PROCESSES[name].index).all()
    masses = {36: 15.0 if name == "haa4b" else 50.0, 42: 1000.0}
    if wanted in masses:
        found = ak.to_numpy(ak.flatten(columns["truth_mass"][abs(columns["truth_pdgid"]) == wanted]))
        assert np.median(found) == pytest.approx(masses[wanted], rel=0.05)


def test_dark_matter_leaves_the_hidden_valley_unseen():
    visible = SimulateConfig(
        sample="events",
        events=EventsConfig({"hidden_valley": 15}, {"hidden_valley": {"r_inv": 0.0}}, pileup=PILEUP),
    )
    seen = run_task(visible, Task("hidden_valley", 0, 15))
    unseen = chunk("hidden_valley", 15)
    assert np.median(unseen["gen_met"]) > 5 * max(np.median(seen["gen_met"]), 5)


def dark_mesons(name: str, resonance: int) -> tuple[float, float]:
    """Number, and mean linear sphericity in the frame of the resonance, of the dark mesons of 20 events."""
    from foundation.simulate.events import start

    settings = ("Print:quiet = on", "Random:setSeed = on", "Random:seed = 3", "Beams:eCM = 13600")
    numbers, sphericities = [], []
    for record in start(name, (*settings, *process_settings(name, {}))).nextBatch(20).prt:
        momenta = vector.array({key: ak.to_numpy(record.p[key]) for key in ("px", "py", "pz", "e")})
        pdgid = np.abs(ak.to_numpy(record.id))
        mesons = momenta[np.isin(pdgid, (4900111, 4900113))].boostCM_of(momenta[pdgid == resonance][-1])
        p = np.stack([mesons.px, mesons.py, mesons.pz])
        length = np.linalg.norm(p, axis=0)
        low, middle, _ = np.linalg.eigvalsh((p / length) @ p.T / length.sum())
        numbers.append(len(length))
        sphericities.append(1.5 * (low + middle))
    return float(np.mean(numbers)), float(np.mean(sphericities))


def test_soft_unclustered_energy_is_many_mesons_in_all_directions():
    number, sphericity = dark_mesons("suep", 35)
    assert number == pytest.approx(80, abs=10)
    assert sphericity == pytest.approx(0.58, abs=0.08)
    assert dark_mesons("hidden_valley", 4900023)[1] < 0.3


# Pile-up


@functools.cache
def zero_bias(mean: float) -> dict[str, Any]:
    return chunk("zero_bias", 20, mean)


def test_the_density_of_pile_up_is_linear_in_the_mean():
    means = np.array([30.0, 80.0, 140.0, 200.0])
    full = [zero_bias(mean) for mean in means]
    number = np.array([columns["npu"].mean() for columns in full])
    rho = np.array([columns["rho"].mean() for columns in full])
    assert number == pytest.approx(means, rel=0.05)
    slope, offset = np.polyfit(number, rho, 1)
    assert abs(rho - slope * number - offset).max() < 0.05 * rho.max()
    # Of the 1.06 GeV per unit area and collision, the median loses the tails and zero suppression the soft part.
    assert 0.4 < slope < 1.0
    assert offset < 0  # zero suppression bites at low pile-up
    bare = dataclasses.replace(
        CalorimeterConfig(), ecal_threshold=0, hcal_threshold=0, ecal_noise=0, hcal_noise=0, forward_noise=0
    )
    rho = [run_task(settings(m, calorimeter=bare), Task("zero_bias", 0, 20))["rho"].mean() for m in (80, 160)]
    assert rho[1] / rho[0] == pytest.approx(2, rel=0.12)  # without it the line goes through zero


def test_occupancy_grows_with_pile_up_and_is_pile_up_in_truth():
    occupancy = [ak.num(zero_bias(mean)["tower_et"]).to_numpy().mean() for mean in (30.0, 80.0, 200.0)]
    assert 400 < occupancy[0] < occupancy[1] < occupancy[2] < 4500
    columns = zero_bias(200.0)
    assert ak.all(columns["track_pileup"] == 1)
    assert ak.mean(columns["tower_pileup"]) > 0.99
    assert ak.sum(columns["vertex_hard"]) == 0
    assert ak.all(ak.num(columns["vertex_z"]) == columns["npu"])


def test_rates_fall_with_the_threshold():
    lead = ak.to_numpy(ak.fill_none(ak.max(chunk("zero_bias", 100, 60.0)["jet_pt"], axis=1), 0))
    rates = [(lead > threshold).mean() for threshold in (20, 30, 50, 90)]
    assert rates[0] > rates[1] > rates[2] > rates[3]


def test_top_quarks_stand_out_of_zero_bias():
    top, soft = chunk("ttbar", 40, 60.0), chunk("zero_bias", 100, 60.0)
    assert np.median(top["ht"]) > np.percentile(soft["ht"], 95)
    assert ak.mean(top["track_pileup"]) > 0.4
    primary = top["track_primary"] == 1
    hard = top["track_pileup"] == 0
    assert ak.sum(primary & hard) / ak.sum(hard) > 0.7  # the vertex is mostly the right one
    neutral = (top["candidate_charge"] == 0) & (abs(top["candidate_eta"]) < 2.4) & (top["candidate_pt"] > 5)
    of_hard, of_pileup = (ak.mean(top["candidate_puppi"][neutral & (top["candidate_pileup"] == p)]) for p in (0, 1))
    assert of_hard > 0.5
    assert of_pileup < 0.2


# Columns, files, stores


@pytest.mark.parametrize(("name", "mean"), [("zero_bias", 20.0), ("ttbar", 0.0)])
def test_a_chunk_depends_on_its_settings_seed_and_number_alone(name, mean):
    cfg = settings(mean, processes={name: 50})
    first, again, other = (run_task(cfg, Task(name, number, 22)) for number in (1, 1, 2))
    for key, column in first.items():
        assert ak.array_equal(column, again[key], equal_nan=True), key
    assert not set(first["event_id"].tolist()) & set(other["event_id"].tolist())
    assert not np.array_equal(first["et"], other["et"])
    if name == "ttbar":
        assert not np.array_equal(first["et"], run_task(settings(seed=2), Task(name, 1, 22))["et"])


def test_hardware_integers_are_those_of_the_values():
    columns = chunk("ttbar", 40, 60.0)
    for name, most, turn, lsb in (("muon", 511, 576, 0.010875), ("eg", 511, 144, 0.0435), ("jet", 2047, 144, 0.0435)):
        pt, eta, phi = (ak.to_numpy(ak.flatten(columns[f"{name}_{key}"])).astype(float) for key in ("pt", "eta", "phi"))
        hw_pt, hw_eta, hw_phi = (ak.to_numpy(ak.flatten(columns[f"{name}_hw_{key}"])) for key in ("pt", "eta", "phi"))
        assert ((hw_pt == most) | (abs(pt - 0.5 * hw_pt - 0.25) <= 0.2501)).all()
        assert abs(eta - lsb * hw_eta).max() <= lsb / 2 + 1e-6
        assert 0 <= hw_phi.min() <= hw_phi.max() < turn
        assert np.cos(phi - hw_phi * 2 * np.pi / turn).min() >= np.cos(np.pi / turn) - 1e-6
    # Jets sit on tower centres, whose eta and phi in the barrel the integers give back exactly.
    central = abs(columns["jet_eta"]) < 1.74
    eta, integer = ak.flatten(columns["jet_eta"][central]), ak.flatten(columns["jet_hw_eta"][central])
    assert ak.to_numpy(eta) == pytest.approx(ak.to_numpy(integer) * 0.0435, abs=1e-6)
    assert np.array_equal(columns["hw_met"], np.minimum(columns["met"] // 0.5, 4095).astype(int))


def test_collections_that_are_not_wanted_are_not_written():
    few = run_task(settings(5.0, collections=("jet",)), Task("zero_bias", 0, 2))
    assert {name.split("_")[0] for name, column in few.items() if isinstance(column, ak.Array)} == {"jet"}
    everything = chunk("zero_bias", 20, 30.0)
    prefixes = {name.split("_")[0] for name, column in everything.items() if isinstance(column, ak.Array)}
    assert prefixes == set(COLLECTIONS)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    cfg = settings(20.0, processes={"zero_bias": 24, "ttbar": 16})
    check(cfg)
    path = tmp_path_factory.mktemp("events") / "events.root"
    assert simulate(cfg, path).rows == 40
    return path


@pytest.mark.parametrize("schema", ["data/l1events", "data/l1events_axol1tl", "data/l1events_image"])
def test_the_shipped_schemas_ingest_the_sample(sample, schema, tmp_path):
    ingest([sample], schema=schema, out=tmp_path / "store")
    store = Store.open(tmp_path / "store")
    counts = store.manifest["splits"]
    assert sum(split["rows"] for split in counts.values()) == 40
    assert sum(split["classes"]["process"]["ttbar"] for split in counts.values()) == 16


def test_the_layout_of_axol1tl_has_every_object_in_its_place(sample):
    schema = DetectorSchema.load("data/l1events_axol1tl")
    columns = next(iter(open_reader(sample, "tree").chunks(schema.required_columns(), 100)))
    found = (
        examples(schema, {name: columns[name] for name in columns.fields}, len(columns))[0]
        .modalities["objects"]
        .values.reshape(-1, 19, 3)
    )
    assert np.array_equal(found[:, 0, 0], 0.5 * ak.to_numpy(columns["hw_met"]))
    for first, most, name in ((1, 4, "eg"), (5, 4, "muon"), (9, 10, "jet")):
        padded = ak.fill_none(ak.pad_none(columns[f"{name}_hw_pt"], most, clip=True), 0)
        assert np.array_equal(found[:, first : first + most, 0], 0.5 * ak.to_numpy(padded))
