"""p2l1: correlator inputs; the bending and the vertex show what the columns are."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from preset_reading import assert_hardware_exact, descending, read

NAMES = {"tracks": "track", "clusters": "calo", "egammas": "emcalo", "muons": "muon"}
CALORIMETER = 1.29  # m: radius of the barrel calorimeter's face
FIELD = 3.8  # T


@pytest.fixture(scope="module")
def paths(shared_data):
    return {region: shared_data / f"p2l1/TTbar_PU200_{region}.npz" for region in ("Barrel", "HGCal")}


@pytest.fixture(scope="module")
def regions(paths):
    return {region: read("p2l1", path) for region, path in paths.items()}


@pytest.fixture(scope="module")
def barrel_tracks(regions):
    return {name: ak.to_numpy(ak.flatten(values)) for name, values in regions["Barrel"]["tracks"].items()}


@pytest.mark.parametrize("region", ["Barrel", "HGCal"])
def test_rows_go_to_their_events(regions, paths, region):
    with np.load(paths[region]) as file:
        for modality, name in NAMES.items():
            events = file[name][:, 0].astype(int)
            np.testing.assert_array_equal(regions[region].counts(modality), np.bincount(events, minlength=100))
            pt = np.bincount(events, weights=file[name][:, 1], minlength=100)
            np.testing.assert_allclose(ak.sum(regions[region][modality]["pt"], axis=1), pt, rtol=1e-6)
            assert descending(regions[region][modality]["pt"])
        np.testing.assert_array_equal(regions[region].examples.observers["event"], file["event_id"][:, 2])
    assert_hardware_exact(regions[region])


def test_both_files_hold_the_same_events_and_split_them_alike(regions):
    barrel, hgcal = (regions[region].examples for region in ("Barrel", "HGCal"))
    np.testing.assert_array_equal(barrel.keys, hgcal.keys)
    assert len(np.unique(barrel.keys)) == 100
    assert regions["HGCal"].counts("egammas").sum() == 0  # an empty array of fewer columns is no error


def test_charge_bends_tracks_as_the_solenoid_does(barrel_tracks):
    """phi at the calorimeter is that at the vertex less 0.15 B R q / pt (rad, T, m, GeV), to a few mrad."""
    t = barrel_tracks
    turn = (t["phi"] - t["phi_vertex"] + np.pi) % (2 * np.pi) - np.pi
    stiff = t["pt"] > 4
    expected = -np.arcsin(0.15 * FIELD * CALORIMETER * t["charge"] / t["pt"])
    assert np.std(turn[stiff]) > 0.1
    assert np.std((turn - expected)[stiff]) < 0.02
    assert set(t["charge"]) == {-1, 1}


def test_z0_moves_eta_as_a_straight_line_does(barrel_tracks):
    """sinh(eta) at the calorimeter is that at the vertex plus z0 / R."""
    t = barrel_tracks
    stiff = (t["pt"] > 5) & (np.abs(t["eta"]) < 1.3)
    moved = (np.sinh(t["eta"]) - np.sinh(t["eta_vertex"]))[stiff]
    slope = np.polyfit(t["z0"][stiff], moved, 1)[0]
    assert slope == pytest.approx(1 / (1000 * CALORIMETER), rel=0.1)


def test_hard_tracks_start_at_the_events_vertex(regions):
    tracks = regions["Barrel"]["tracks"]
    distance = abs(tracks["z0"] - regions["Barrel"].globals("vertex_z")[:, None])
    assert np.median(ak.to_numpy(ak.flatten(distance[tracks["pt"] > 10]))) < 1.5  # mm
    assert np.median(ak.to_numpy(ak.flatten(distance[tracks["pt"] < 3]))) > 10  # pile-up


def test_the_trap_of_overlapping_regions(paths):
    with np.load(paths["Barrel"]) as file:
        repeated = {name: 1 - len(np.unique(file[name], axis=0)) / len(file[name]) for name in NAMES.values()}
    assert min(repeated.values()) > 0.5


def test_energies_are_those_of_calorimeters(regions):
    clusters = regions["Barrel"]["clusters"]
    assert ak.all(clusters["em_pt"] <= clusters["pt"])
    assert ak.max(abs(clusters["eta"])) < 1.5
    outer = abs(regions["HGCal"]["clusters"]["eta"])
    assert ak.min(outer) > 1.3
    assert ak.max(outer) < 3
