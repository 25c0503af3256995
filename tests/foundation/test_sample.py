"""The shipped sample: the physics that everyone who trains on it relies on."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from foundation.command import load_config
from foundation.simulate import SimulateConfig
from foundation.simulate.columns import PARTICLE_KINDS
from foundation.simulate.processes import PROCESSES

SAMPLE = Path(__file__).parents[2] / "samples" / "jets.root"
PRESET = load_config(SimulateConfig, "simulate/sample")
CLASSES = PRESET.classes


@pytest.fixture(scope="module")
def jets() -> ak.Array:
    with uproot.open(SAMPLE) as file:
        return ak.values_astype(file["tree"].arrays(), np.float64, including_unknown=True)


@pytest.fixture(scope="module")
def raw() -> ak.Array:
    with uproot.open(SAMPLE) as file:
        return file["tree"].arrays()


def labels(jets: ak.Array) -> np.ndarray:
    return np.stack([ak.to_numpy(jets[name]) for name in CLASSES], axis=1)


def of(jets: ak.Array, label: str) -> ak.Array:
    return jets[jets[label] == 1]


def peak(mass: np.ndarray) -> float:
    """Position of the highest 8 GeV of a mass spectrum, from a histogram slid in steps of 1 GeV."""
    counts = np.histogram(mass, np.arange(30, 261))[0]
    return 30 + 4 + int(np.convolve(counts, np.ones(8), "valid").argmax())


def test_sample_fits_into_the_repository_and_is_what_its_preset_says():
    assert SAMPLE.stat().st_size <= 8_000_000
    with uproot.open(SAMPLE) as file:
        stored = json.loads(file["metadata"])
        assert file["tree"].num_entries == PRESET.jets_per_class * len(CLASSES) >= 15_000
    assert load_config(SimulateConfig, stored["settings"]) == PRESET
    assert stored["versions"]["pythia8mc"].startswith("8.")


def test_readme_gives_the_command_and_the_number_of_jets():
    text = SAMPLE.with_name("README.md").read_text()
    assert "detfm simulate --cfg simulate/sample --out samples/jets.root --overwrite" in text
    assert f"{PRESET.jets_per_class * len(CLASSES):,} simulated jets, {PRESET.jets_per_class:,} of each" in text
    with uproot.open(SAMPLE) as file:
        for branch in set(file["tree"].keys()) - {f"jet_tau{n}" for n in (2, 3)}:
            assert branch in text or branch.startswith("label_"), f"samples/README.md does not explain {branch}"


def test_labels_are_one_hot_balanced_and_interleaved(raw):
    one_hot = labels(raw)
    assert set(np.unique(one_hot)) == {0, 1}
    assert (one_hot.sum(axis=1) == 1).all()
    assert (one_hot.sum(axis=0) == PRESET.jets_per_class).all()
    expected = 500 / len(CLASSES)
    for start in range(0, len(one_hot) - 500, 500):
        count = one_hot[start : start + 500].sum(axis=0)
        assert np.abs(count - expected).max() < 5 * np.sqrt(expected), f"rows from {start}: {count}"


def test_every_value_is_finite_and_every_jet_has_its_own_event(raw):
    for name in raw.fields:
        assert np.isfinite(ak.to_numpy(ak.flatten(raw[name], axis=None))).all(), name
    assert len(np.unique(ak.to_numpy(raw.event_id))) == len(raw)


@pytest.mark.parametrize(
    ("label", "mass"), [("label_Wqq", 80.4), ("label_Zqq", 91.2), ("label_Hbb", 122.0), ("label_Tbqq", 172.5)]
)
def test_soft_drop_mass_peaks_at_the_resonance(jets, label, mass):
    # The Higgs boson's peak lies below 125 GeV: neutrinos of the bottom hadrons escape.
    assert abs(peak(ak.to_numpy(of(jets, label).jet_sdmass)) - mass) < 6


def test_qcd_has_no_mass_peak(jets):
    mass = ak.to_numpy(of(jets, "label_QCD").jet_sdmass)
    assert np.median(mass) < 45
    assert np.mean(np.abs(mass - 80) < 12) < 0.12 < 0.5 < np.mean(np.abs(of(jets, "label_Wqq").jet_sdmass - 80) < 12)


def test_constituents_alone_give_the_mass_of_the_w(jets):
    whole = of(jets, "label_Wqq")
    whole = whole[whole.jet_nparticles <= PRESET.max_constituents]
    total = {axis: ak.to_numpy(ak.sum(whole[f"part_{axis}"], axis=1)) for axis in ("px", "py", "pz", "energy")}
    mass = np.sqrt(total["energy"] ** 2 - total["px"] ** 2 - total["py"] ** 2 - total["pz"] ** 2)
    assert abs(peak(mass) - 80.4) < 6


def test_constituents_sum_to_the_jet_where_none_was_left_out(jets):
    whole = jets[jets.jet_nparticles <= PRESET.max_constituents]
    assert len(whole) > 1000
    assert ak.all(ak.num(whole.part_px) == whole.jet_nparticles)
    pt = np.hypot(ak.sum(whole.part_px, axis=1), ak.sum(whole.part_py, axis=1))
    assert ak.max(abs(pt / whole.jet_pt - 1)) < 2e-3  # 9 mantissa bits
    assert ak.max(abs(ak.sum(whole.part_energy, axis=1) / whole.jet_energy - 1)) < 2e-3


def test_clipped_jets_keep_their_leading_constituents(jets):
    clipped = jets[jets.jet_nparticles > PRESET.max_constituents]
    assert ak.all(ak.num(clipped.part_px) == PRESET.max_constituents)
    kept = np.hypot(ak.sum(clipped.part_px, axis=1), ak.sum(clipped.part_py, axis=1)) / clipped.jet_pt
    assert 0.9 < ak.mean(kept) < 1
    pt = np.hypot(jets.part_px, jets.part_py)
    assert ak.max(pt[:, 1:] / pt[:, :-1]) < 1 + 2**-8  # descending, but for the rounding


def test_angles_agree_with_momenta(jets):
    pt = np.hypot(jets.part_px, jets.part_py)
    deta = (np.arcsinh(jets.part_pz / pt) - jets.jet_eta) * np.copysign(1, jets.jet_eta)  # of -0.0 too
    dphi = np.arctan2(jets.part_py, jets.part_px) - jets.jet_phi
    step = PRESET.steps["part_deta"]
    assert ak.max(abs(deta - jets.part_deta)) < 0.6 * step
    assert ak.max(abs((dphi - jets.part_dphi + np.pi) % (2 * np.pi) - np.pi)) < 0.6 * step
    assert ak.max(np.hypot(jets.part_deta, jets.part_dphi)) < 1.2  # anti-kt jets are nearly cones of 0.8


def test_no_constituent_is_tachyonic_and_tracks_have_their_mass(jets):
    momentum2 = jets.part_px**2 + jets.part_py**2 + jets.part_pz**2
    mass2 = jets.part_energy**2 - momentum2
    assert ak.min(mass2 / momentum2) > -3e-7  # float32
    assert ak.max(mass2 / momentum2 * (jets.part_charge == 0)) < 2.1 * 2**-17
    soft_pions = mass2[(jets.part_isChargedHadron == 1) & (momentum2 < 4)]
    assert abs(np.median(ak.to_numpy(ak.flatten(soft_pions))) - 0.13957**2) < 1e-3


def test_particle_kinds_are_one_hot_and_agree_with_the_charge(jets):
    kinds = sum(jets[name] for name in PARTICLE_KINDS)
    assert ak.all(kinds == 1)
    charged = (jets.part_isChargedHadron + jets.part_isElectron + jets.part_isMuon) == 1
    assert ak.all((abs(jets.part_charge) == 1) == charged)
    for name in ("part_d0val", "part_d0err", "part_dzval", "part_dzerr"):
        assert ak.all(jets[name][~charged] == 0), name
    assert ak.all(jets.part_d0err[charged] > 0)


def test_jet_pt_does_not_tell_the_classes_apart(jets):
    spectra = [np.histogram(of(jets, label).jet_pt, np.linspace(500, 1000, 11))[0] for label in CLASSES]
    # Equal by construction; the rounding of jet_pt moves a jet over an edge now and then.
    assert np.abs(np.array(spectra) - PRESET.jets_per_class / 10).max() <= 6
    order = np.argsort(ak.to_numpy(jets.jet_pt), kind="stable")
    rank = np.empty(len(order))
    rank[order] = np.linspace(0, 1, len(order))
    for label in CLASSES:
        assert abs(rank[ak.to_numpy(jets[label]) == 1].mean() - 0.5) < 0.02, label


def test_jets_lie_in_the_window(jets):
    assert ak.min(jets.jet_pt) >= PRESET.pt_min
    assert ak.max(jets.jet_pt) <= PRESET.pt_max
    assert ak.max(abs(jets.jet_eta)) <= PRESET.eta_max


def test_multiplicities_follow_colour_charge_and_decay(jets):
    mean = {label: ak.mean(of(jets, label).jet_nparticles) for label in CLASSES}
    assert 40 < mean["label_QCD"] < 60
    assert mean["label_Wqq"] < mean["label_QCD"] < mean["label_Tbqq"]


def test_substructure_sees_the_prongs(jets):
    tau21 = {label: np.median(ak.to_numpy(of(jets, label).jet_tau2 / of(jets, label).jet_tau1)) for label in CLASSES}
    tau32 = {label: np.median(ak.to_numpy(of(jets, label).jet_tau3 / of(jets, label).jet_tau2)) for label in CLASSES}
    assert max(tau21[label] for label in ("label_Wqq", "label_Zqq", "label_Hbb")) < 0.45 < tau21["label_QCD"]
    assert tau32["label_Tbqq"] < 0.55 < min(tau32[label] for label in CLASSES if label != "label_Tbqq")


def test_bottom_hadrons_leave_displaced_tracks(jets):
    significance = abs(jets.part_d0val) / (jets.part_d0err + (jets.part_charge == 0))
    displaced = ak.to_numpy(ak.sum(significance > 5, axis=1))
    mean = {label: displaced[ak.to_numpy(jets[label]) == 1].mean() for label in CLASSES}
    assert mean["label_Hbb"] > 2.5 * mean["label_QCD"]
    assert mean["label_Tbqq"] > 1.3 * mean["label_Wqq"]


def test_jet_pt_measures_the_partons(jets):
    for label in CLASSES:
        ratio = ak.to_numpy(of(jets, label).jet_pt / of(jets, label).aux_genpart_pt)
        assert 0.93 < np.median(ratio) < 1.05, label
        assert np.mean(np.abs(ratio - 1) < 0.2) > 0.7, label
    for label, pdgids in (("label_Tbqq", {-6, 6}), ("label_Wqq", {-24, 24}), ("label_Zqq", {23}), ("label_Hbb", {25})):
        assert set(np.unique(ak.to_numpy(of(jets, label).aux_genpart_pid))) == pdgids
    assert set(CLASSES) <= set(PROCESSES)
