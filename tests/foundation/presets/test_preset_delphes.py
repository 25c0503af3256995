"""delphes: columns with dots, towers consistent in themselves, bit fields."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot
from preset_reading import descending, read

NAMES = {"tracks": "Track", "towers": "Tower", "electrons": "Electron", "muons": "Muon", "photons": "Photon"}
NAMES |= {"jets": "Jet", "met": "MissingET"}


@pytest.fixture(scope="module")
def path(shared_data):
    return shared_data / "files/delphes.root"


@pytest.fixture(scope="module")
def events(path):
    return read("delphes", path)


@pytest.fixture(scope="module")
def tree(path):
    return uproot.open(path)["Delphes"]


def test_every_object(events, tree):
    for modality, name in NAMES.items():
        np.testing.assert_array_equal(events.counts(modality), tree[f"{name}_size"].array())
        assert descending(next(iter(events[modality].values())))
    np.testing.assert_array_equal(events.examples.observers["event"], np.arange(25))
    np.testing.assert_array_equal(events.globals("ht"), ak.flatten(tree["ScalarHT/ScalarHT.HT"].array()))


def test_towers_are_consistent(events):
    t = {name: ak.flatten(values) for name, values in events["towers"].items()}
    np.testing.assert_allclose(t["et"] * np.cosh(t["eta"]), t["energy"], rtol=1e-3)
    parts = t["em_energy"] + t["hadronic_energy"]
    assert ak.all(parts < 1.001 * t["energy"])
    assert ak.mean(abs(parts / t["energy"] - 1) < 1e-3) > 0.999  # of six towers in 13,450 no part is given


def test_missing_energy_balances_the_towers(events):
    """Towers see charged particles too: their vector sum nearly cancels the missing energy."""
    towers, met = events["towers"], events["met"]
    visible = ak.to_numpy(ak.sum(towers["et"] * np.exp(1j * towers["phi"]), axis=1))
    missing = ak.to_numpy(met["pt"][:, 0]) * np.exp(1j * ak.to_numpy(met["phi"][:, 0]))
    hard = np.abs(missing) > 20
    assert np.cos(np.angle(visible) - np.angle(missing))[hard].mean() < -0.8


def test_tags_are_bits_and_masses_not_negative(events, tree):
    bits = tree["Jet/Jet.BTag"].array()
    assert ak.max(bits) == 3
    np.testing.assert_array_equal(ak.flatten(events["jets"]["btag"]), ak.flatten(bits % 2))
    assert ak.min(tree["Jet/Jet.Mass"].array()) < 0 == ak.min(events["jets"]["mass"])


def test_jets_contain_their_tracks(events):
    """The tracks within 0.5 of a central jet carry about 60% of its pt."""
    jets, tracks = events["jets"], events["tracks"]
    pairs = ak.cartesian({"jet": ak.zip(jets), "track": ak.zip(tracks)}, nested=True)
    turn = (pairs.jet.phi - pairs.track.phi + np.pi) % (2 * np.pi) - np.pi
    inside = np.hypot(pairs.jet.eta - pairs.track.eta, turn) < 0.5
    fraction = ak.sum(ak.where(inside, pairs.track.pt, 0), axis=2) / jets["pt"]
    assert np.median(ak.to_numpy(ak.flatten(fraction[abs(jets["eta"]) < 2]))) == pytest.approx(0.6, abs=0.15)
