"""jetclass_npz: Higgs to bb, by its mass."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from preset_reading import descending, read


def mass_of(path):
    """Invariant mass straight from the arrays; GeV."""
    with np.load(path) as file:
        total = (file["px_py_pz_e"].astype(np.float64) * file["mask"][:, None]).sum(axis=2)
    return np.sqrt(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1))


@pytest.fixture(scope="module")
def path(shared_data):
    return shared_data / "jets/jetclass_500.npz"


@pytest.fixture(scope="module")
def jets(path):
    return read("jetclass_npz", path)


def test_all_are_higgs_to_bb(jets, path):
    names = jets.schema.class_names("jet_class")
    assert len(names) == 10
    assert {names[label] for label in jets.examples.labels["jet_class"]} == {"Hbb"}
    mass = mass_of(path)
    assert np.median(mass) == pytest.approx(120, abs=3)  # 125 GeV less neutrinos
    assert np.percentile(mass, 84) < 135


def test_constituents(jets, path):
    with np.load(path) as file:
        np.testing.assert_array_equal(jets.counts("particles"), file["mask"].sum(axis=1))
    assert descending(jets["particles"]["pt"])
    assert 490 < jets.globals("jet_pt").min() < jets.globals("jet_pt").max() < 1010


def test_points_are_relative_to_the_jet_axis(jets, path):
    """deta times the sign of the jet's eta, as in JetClass; within what dropped constituents shift the axis."""
    with np.load(path) as file:
        p, real = file["px_py_pz_e"].astype(np.float64), file["mask"] > 0
    with np.errstate(all="ignore"):
        eta = np.arcsinh(p[:, 2] / np.hypot(p[:, 0], p[:, 1]))
    jet = p.sum(axis=2)
    jet_eta = np.arcsinh(jet[:, 2] / np.hypot(jet[:, 0], jet[:, 1]))
    expected = ((eta - jet_eta[:, None]) * np.sign(jet_eta)[:, None])[real]
    deta = ak.to_numpy(ak.flatten(jets["particles"]["deta"]))
    assert np.abs(deta - expected).max() < 0.03
    assert np.percentile(np.abs(deta - expected), 90) < 0.003
