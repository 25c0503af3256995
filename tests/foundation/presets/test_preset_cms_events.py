"""cms_events: real collisions, all subdetectors; the Z in its muons."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from preset_reading import assert_split, descending, pair_mass, read

from foundation.schema import DetectorSchema

NAMES = {
    "ecal_barrel": "eb",
    "ecal_endcap": "ee",
    "hcal_barrel": "hb",
    "hcal_endcap": "he",
    "hcal_forward": "hf",
    "tracks": "tr",
    "muons": "mu",
    "jets": "jet",
    "met": "met",
}
# |eta| that each calorimeter covers
COVERS = {
    "ecal_barrel": (0, 1.48),
    "ecal_endcap": (1.47, 3.0),
    "hcal_barrel": (0, 1.4),
    "hcal_endcap": (1.3, 3.0),
    "hcal_forward": (2.8, 5.2),
}


@pytest.fixture(scope="module")
def path(shared_data):
    return shared_data / "cms_events/cms_ispy_events.npz"


@pytest.fixture(scope="module")
def raw(path):
    with np.load(path) as file:
        return dict(file)


@pytest.fixture(scope="module")
def events(path):
    return read("cms_events", path, rows=100)


def test_every_row_belongs_to_its_event(events, raw):
    assert events.examples.rows == 931
    for modality, name in NAMES.items():
        bounds = raw[f"{name}_off"]
        np.testing.assert_array_equal(events.counts(modality), np.diff(bounds))
        first = next(iter(events[modality]))
        for event in (0, 17, 930):
            mine = np.sort(raw[name][bounds[event] : bounds[event + 1], 0])[::-1]
            np.testing.assert_array_equal(events[modality][first][event], mine)
    assert not any(t["max_tokens"] for found in events.findings for t in found.tokens.values())


def test_events_without_and_with_thousands_of_tokens(events):
    assert (events.counts("hcal_endcap") == 0).sum() == 905
    assert (events.counts("hcal_forward") == 0).sum() == 636
    assert sum(events.counts(name) for name in COVERS).max() > 2500


def test_calorimeters_are_where_they_are(events):
    for name, (inner, outer) in COVERS.items():
        eta = abs(events[name]["eta"])
        assert inner <= ak.min(eta)
        assert ak.max(eta) <= outer
        assert descending(events[name]["energy"])
    assert ak.min(events["ecal_barrel"]["energy"]) < 0  # pedestal subtracted: noise on both sides


def test_muon_pairs_have_the_mass_of_the_z(events):
    mass = pair_mass(events["muons"])
    window = mass[(mass > 80) & (mass < 100)]
    assert len(window) > 100
    assert np.median(window) == pytest.approx(91.19, abs=0.5)
    assert ((mass > 2.8) & (mass < 3.4)).any()  # the J/psi of the masterclass files
    assert set(ak.flatten(events["muons"]["charge"])) == {-1, 1}


def test_missing_energy_opposes_the_jets(events, raw):
    pt, phi, px, py = raw["met"].T
    np.testing.assert_allclose(px, pt * np.cos(phi), atol=2e-3)
    np.testing.assert_allclose(py, pt * np.sin(phi), atol=2e-3)
    np.testing.assert_array_equal(events.examples.modalities["met"].values, raw["met"][:, :2])
    jets = events["jets"]
    balance = ak.to_numpy(-ak.sum(jets["pt"] * np.exp(1j * jets["phi"]), axis=1))
    assert np.corrcoef(balance.real, px)[0, 1] > 0.75
    assert np.corrcoef(balance.imag, py)[0, 1] > 0.75


def test_the_jets_fourth_number_is_theta(raw):
    eta, theta = raw["jet"][:, 1], raw["jet"][:, 3]
    np.testing.assert_allclose(theta, 2 * np.arctan(np.exp(-eta)), atol=1e-5)


def test_streams_and_splits(events, raw):
    names = events.schema.class_names("stream")
    stream = np.array(names)[events.examples.labels["stream"]]
    assert set(stream) == set(names)
    assert (stream == "minimum_bias").sum() == 50
    np.testing.assert_array_equal(stream == "four_lepton", np.char.find(raw["source"], "4l") >= 0)
    soft = np.array([ak.sum(event) for event in events["tracks"]["pt"]])
    assert np.median(soft[stream == "minimum_bias"]) < np.median(soft[stream == "four_lepton"])
    assert_split(events, np.stack([raw["run"], raw["event"]], axis=1), 0.04)


def test_a_cut_on_tokens_keeps_the_most_energetic_and_counts_the_rest(path, raw):
    schema = DetectorSchema.load("data/cms_events").to_dict()
    schema["modalities"]["ecal_barrel"]["max_tokens"] = 100
    cut = read(DetectorSchema.load(schema), path)
    lengths = np.diff(raw["eb_off"])
    assert sum(f.tokens["ecal_barrel"]["max_tokens"] for f in cut.findings) == np.maximum(lengths - 100, 0).sum() > 0
    event = int(lengths.argmax())
    energies = np.sort(raw["eb"][raw["eb_off"][event] : raw["eb_off"][event + 1], 0])
    np.testing.assert_array_equal(np.sort(cut["ecal_barrel"]["energy"][event]), energies[-100:])
