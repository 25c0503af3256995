"""nanoaod, nanoaod_2012, scouting: one schema for many versions and formats; the Z in muons and electrons."""

from __future__ import annotations

from functools import cache

import awkward as ak
import numpy as np
import pytest
import uproot
from preset_reading import assert_split, descending, pair_mass, read

from foundation.errors import DataError

VERSIONS = ["nano_tt_v15.root", "nano_dy.root", "nanoAOD_2015_CMS_Open_Data_ttbar.root"]
COLLECTIONS = {"jets": "Jet", "fat_jets": "FatJet", "muons": "Muon", "electrons": "Electron", "photons": "Photon"}
COLLECTIONS |= {"taus": "Tau", "secondary_vertices": "SV"}


@pytest.fixture(scope="module")
def files(shared_data):
    return shared_data / "files"


@pytest.fixture(scope="module")
def nano(files):
    """File -> its events, read once."""
    return cache(lambda name: read("nanoaod", files / name))


@pytest.mark.parametrize("name", VERSIONS)
def test_every_object_of_every_version(nano, files, name):
    events = nano(name)
    tree = uproot.open(files / name)["Events"]
    assert events.examples.rows == tree.num_entries
    for modality, collection in COLLECTIONS.items():
        raw = tree[f"{collection}_pt"].array()
        np.testing.assert_array_equal(events.counts(modality), ak.num(raw))
        np.testing.assert_array_equal(ak.flatten(events[modality]["pt"]), ak.flatten(ak.sort(raw, ascending=False)))
        np.testing.assert_allclose(
            ak.sum(events[modality]["eta"]), ak.sum(tree[f"{collection}_eta"].array()), rtol=1e-4, atol=1e-3
        )
    absent = {modality for found in events.findings for modality in found.absent}
    assert absent == ({"met"} if "MET_pt" not in tree else set())


@pytest.mark.slow
def test_rntuple_and_tree_give_the_same_bits(nano):
    tree, rntuple = (nano(name).examples for name in ("nano_dy.root", "nano_dy_rntuple.root"))
    for name in tree.modalities:
        np.testing.assert_array_equal(tree.modalities[name].values, rntuple.modalities[name].values)
        np.testing.assert_array_equal(tree.modalities[name].counts, rntuple.modalities[name].counts)
    np.testing.assert_array_equal(tree.keys, rntuple.keys)


def test_drell_yan_pairs_have_the_mass_of_the_z(nano):
    events = nano("nano_dy.root")
    muons, electrons = pair_mass(events["muons"]), pair_mass(events["electrons"])
    assert len(muons) == 6
    assert np.median(muons) == pytest.approx(91.19, abs=4)
    assert np.median(electrons) == pytest.approx(91.19, abs=4)


def test_parquet(nano, files):
    events = nano("nano_dimuon.parquet")
    raw = ak.from_parquet(files / "nano_dimuon.parquet", columns=["Muon_pt", "MET_pt", "PV_npvs"])
    np.testing.assert_array_equal(events.counts("muons"), ak.num(raw["Muon_pt"]))
    np.testing.assert_array_equal(ak.flatten(events["met"]["pt"]), raw["MET_pt"])
    np.testing.assert_array_equal(ak.flatten(events["primary_vertex"]["vertices"]), raw["PV_npvs"])
    assert (np.abs(pair_mass(events["muons"]) - 9.46) < 0.5).any()  # selected for pairs: the Upsilon is in it


def test_top_pairs_have_b_jets_and_drell_yan_does_not(nano):
    tagged = {n: ak.mean(ak.any(nano(n)["jets"]["btag"] > 0.7, axis=1)) for n in VERSIONS[:2]}
    assert tagged["nano_tt_v15.root"] > 0.6 > 0.2 > tagged["nano_dy.root"]


def test_scores_that_were_not_computed_are_minus_one(nano, files):
    raw = uproot.open(files / VERSIONS[2])["Events/Jet_btagDeepFlavB"].array()
    assert ak.all(raw == -3000)
    assert ak.all(nano(VERSIONS[2])["jets"]["btag"] == -1)


def test_vertices_are_put_in_order(nano, files):
    raw = uproot.open(files / VERSIONS[0])["Events/SV_pt"].array()
    assert not descending(raw)
    assert descending(nano(VERSIONS[0])["secondary_vertices"]["pt"])


def test_a_file_without_any_of_the_collections_has_no_tokens(nano):
    events = nano("scouting_nano.root")
    assert events.examples.rows == 40
    assert not any(tokens.counts.any() for tokens in events.examples.modalities.values())
    assert events.findings[0].absent == dict.fromkeys(events.examples.modalities, 40)


def test_a_collection_there_in_part_is_refused_by_name(nano):
    with pytest.raises(DataError, match="'jets' is there in part: column 'Jet_"):
        nano("cms_run2012b_singlemu.parquet")


def test_events_stay_together(nano):
    events = nano(VERSIONS[0])
    assert_split(events, events.examples.observers["event"], 0.09)


@pytest.fixture(scope="module")
def reduced(files):
    return read("nanoaod_2012", files / "cms_run2012b_singlemu.parquet")


def test_reduced_2012_files(reduced, files):
    raw = ak.from_parquet(files / "cms_run2012b_singlemu.parquet")
    assert reduced.examples.rows == 1000
    for modality, collection in [*COLLECTIONS.items()][:1] + [*COLLECTIONS.items()][2:6]:
        np.testing.assert_array_equal(reduced.counts(modality), ak.num(raw[f"{collection}_pt"]))
        assert descending(reduced[modality]["pt"])
    assert not descending(raw["Muon_pt"])
    assert ak.min(raw["Muon_dxy"]) == ak.min(raw["Muon_pfRelIso04_all"]) == -999  # the trap
    assert ak.min(reduced["muons"]["dxy"]) > -100
    assert ak.min(reduced["muons"]["isolation"]) == -1
    np.testing.assert_array_equal(reduced.globals("met"), raw["MET_pt"])
    assert_split(reduced, reduced.examples.observers["event"], 0.04)


def test_single_muon_events_hold_the_z(reduced):
    mass = pair_mass(reduced["muons"])
    assert ((mass > 86) & (mass < 96)).sum() > 5 * ((mass > 60) & (mass < 80)).sum()
    assert np.median(mass[(mass > 84) & (mass < 98)]) == pytest.approx(91.19, abs=0.7)
    assert ak.mean(reduced.counts("muons") > 0) > 0.9  # the trigger's muon


def test_scouting(files):
    events = read("scouting", files / "scouting_nano.root")
    tree = uproot.open(files / "scouting_nano.root")["Events"]
    names = {"jets": "PFJet", "muons": "Muon", "electrons": "Electron", "photons": "Photon"}
    for modality, collection in names.items():
        raw = tree[f"Scouting{collection}_pt"].array()
        np.testing.assert_array_equal(events.counts(modality), ak.num(raw))
    np.testing.assert_array_equal(events.examples.modalities["met"].values[:, 0], tree["ScoutingMET_pt"].array())
    jets = events["jets"]
    energy = np.hypot(jets["pt"] * np.cosh(jets["eta"]), jets["mass"])
    parts = sum(jets[name] for name in ("charged_hadrons", "neutral_hadrons", "photons", "muons"))
    assert ak.all(parts < 1.05 * energy)  # a jet is made of its parts
    assert ak.mean(parts / energy) > 0.9
