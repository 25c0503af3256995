"""hgcal and trackml: one file is one event; hits lie where the detectors are."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from preset_reading import read

BARREL = [32, 72, 116, 172]  # mm: TrackML pixel layers
DISKS = [600, 700, 820, 960, 1100, 1300, 1500]  # mm: TrackML pixel disks, either side


@pytest.mark.parametrize(("number", "hits", "side"), [(0, 51177, 1), (1, 47253, -1), (2, 44477, 1)])
def test_hgcal(shared_data, number, hits, side):
    path = shared_data / f"hgcal/rechits_{number}.npy"
    event, raw = read("hgcal", path), np.load(path)
    assert list(event.counts("hits")) == [hits] == [len(raw)]
    h = {name: ak.to_numpy(values[0]).astype(np.float64) for name, values in event["hits"].items()}
    raw = raw[np.argsort(-raw[:, 0], kind="stable")]  # in order of energy the file is nearly, not quite
    np.testing.assert_array_equal(h["energy"].astype(np.float32), raw[:, 0])
    np.testing.assert_allclose(np.arcsinh(h["z"] / np.hypot(h["x"], h["y"])), h["eta"], atol=1e-5)
    distance = np.sqrt(h["x"] ** 2 + h["y"] ** 2 + h["z"] ** 2)
    np.testing.assert_allclose(distance / 10, raw[:, 4], rtol=1e-5)  # the file's fifth number, in cm
    assert (np.sign(h["z"]) == side).all()  # one endcap
    assert 3220 < np.abs(h["z"]).min() < np.abs(h["z"]).max() < 5140
    assert len(np.unique(np.round(h["z"]))) < 70  # hits are on some fifty layers, not anywhere
    measured = raw[:, 8] > -1
    np.testing.assert_array_equal(h["timed"], measured)
    assert h["time"][~measured].max() == 0
    assert 0 < measured.mean() < 0.5


@pytest.fixture(scope="module", params=["event000001000_g000", "event000001001_g000", "event000001002_g000"])
def tracking(request, shared_data):
    path = shared_data / f"trackml/{request.param}.npz"
    return read("trackml", path), dict(np.load(path))


def test_trackml_hits_lie_on_cylinders_and_disks(tracking):
    event, raw = tracking
    assert list(event.counts("hits")) == [len(raw["X"])]
    h = {name: ak.to_numpy(values[0]) for name, values in event["hits"].items()}
    np.testing.assert_allclose(np.hypot(h["x"], h["y"]), h["r"], rtol=1e-5)
    layer = np.abs(h["r"][:, None] - BARREL).min(axis=1) < 6
    disk = np.abs(np.abs(h["z"])[:, None] - DISKS).min(axis=1) < 6
    assert (layer | disk).mean() > 0.995
    assert layer[np.abs(h["z"]) < 490].mean() > 0.995
    assert np.abs(h["phi"]).max() <= np.float32(np.pi)


def test_trackml_groups_are_particles(tracking):
    event, raw = tracking
    group = ak.to_numpy(event.label("particle")[0])
    assert group.min() == 1  # no hit is of no particle
    for particle in (0, 1, 2, 500):
        hits = raw["pid"] == particle
        assert len(set(group[hits])) == 1
        assert (group == group[hits][0]).sum() == hits.sum()
    # the graph's edges say the same: an edge is true where both its hits are of one particle
    ends = [group[raw[f"{end}_rows"][np.argsort(raw[f"{end}_cols"])]] for end in ("Ri", "Ro")]
    assert ((ends[0] == ends[1]) == (raw["y"] > 0.5)).mean() > 0.9999


def test_trackml_particles_come_from_the_beam_line(tracking):
    """z is linear in r along a track; extrapolated to r = 0 it is in the luminous region. Particle 0 is one of them."""
    event, raw = tracking
    h = {name: ak.to_numpy(values[0]).astype(np.float64) for name, values in event["hits"].items()}
    origins, residuals = [], []
    for particle in range(200):
        mine = raw["pid"] == particle
        if mine.sum() < 4 or np.ptp(h["r"][mine]) < 50:
            continue
        slope, origin = np.polyfit(h["r"][mine], h["z"][mine], 1)
        residuals.append(np.abs(h["z"][mine] - slope * h["r"][mine] - origin).max())
        origins.append(origin)
    assert np.median(residuals) < 1 < 100 < np.median(np.abs(h["z"]))  # mm
    assert np.median(np.abs(origins - np.median(origins))) < 10
    assert residuals[0] < 1  # number 0 is a track like the others, hence `pid + 1`
