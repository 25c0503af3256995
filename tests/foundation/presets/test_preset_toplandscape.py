"""toplandscape: the top mass, the pt window, blocks of one label."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from preset_reading import assert_split, descending, four_momentum, read


def mass_of(path):
    """Invariant mass straight from the arrays; GeV."""
    with np.load(path) as file:
        total = (file["px_py_pz_e"].astype(np.float64) * file["mask"][:, None]).sum(axis=2)
    return np.sqrt(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1))


@pytest.fixture(scope="module")
def path(shared_data):
    return shared_data / "jets/toplandscape_2000.npz"


@pytest.fixture(scope="module")
def jets(path):
    return read("toplandscape", path)


def test_constituents_and_classes(jets, path):
    with np.load(path) as file:
        np.testing.assert_array_equal(jets.counts("particles"), file["mask"].sum(axis=1))
        np.testing.assert_array_equal(jets.examples.labels["jet_class"], file["labels"])
        energy = file["px_py_pz_e"][:, 3][file["mask"] > 0]
        blocks = np.count_nonzero(np.diff(file["labels"]))
    np.testing.assert_array_equal(ak.flatten(jets["particles"]["energy"]), energy)
    assert blocks < 100 < len(jets.examples.labels["jet_class"]) / 4  # the trap: labels come in blocks


def test_top_mass_and_pt_window(jets, path):
    momentum = four_momentum(jets["particles"], "deta", "dphi")  # relative to the axis
    px, py = (ak.to_numpy(ak.sum(momentum[name], axis=1)) for name in ("px", "py"))
    pt, mass = np.hypot(px, py), mass_of(path)
    np.testing.assert_allclose(pt, jets.globals("jet_pt"), rtol=1e-4)
    assert 545 < pt.min() < pt.max() < 655
    assert np.abs(np.arctan2(py, px)).max() < 1e-3
    top = jets.examples.labels["jet_class"] == 1
    assert np.median(mass[top]) == pytest.approx(174, abs=3)
    assert np.median(mass[~top]) < 100


def test_points_are_relative_to_the_jet_axis(jets, path):
    """deta is that of the constituent times the sign of the jet's eta."""
    with np.load(path) as file:
        p, real = file["px_py_pz_e"].astype(np.float64), file["mask"] > 0
    pt = np.where(real, np.hypot(p[:, 0], p[:, 1]), 1)
    jet = p.sum(axis=2)
    jet_eta = np.arcsinh(jet[:, 2] / np.hypot(jet[:, 0], jet[:, 1]))
    expected = ((np.arcsinh(p[:, 2] / pt) - jet_eta[:, None]) * np.sign(jet_eta)[:, None])[real]
    np.testing.assert_allclose(ak.flatten(jets["particles"]["deta"]), expected, atol=1e-5)
    np.testing.assert_allclose(jets.examples.observers["jet_eta"], jet_eta, rtol=1e-4, atol=1e-5)


def test_order_and_fractions(jets):
    particles = jets["particles"]
    assert descending(particles["pt"])
    np.testing.assert_allclose(ak.sum(particles["energy_rel"], axis=1), 1, rtol=1e-5)
    assert_split(jets, np.arange(jets.examples.rows), 0.04)
