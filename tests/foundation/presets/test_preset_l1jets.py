"""l1jets: hardware counts of CMS Phase-2 Level-1 jets, exact."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot
from preset_reading import descending, read


@pytest.fixture(scope="module")
def jets(shared_data):
    return read("l1jets", shared_data / "l1jets/ggHHbbbb_PU200.root")


@pytest.fixture(scope="module")
def raw(shared_data):
    tree = uproot.open(shared_data / "l1jets/ggHHbbbb_PU200.root")["data"]
    return tree.arrays(["nn_inputs", "class_label", "jet_pt_phys", "target_pt"], library="np")


def test_every_filled_slot_is_a_token(jets, raw):
    np.testing.assert_array_equal(jets.counts("particles"), (raw["nn_inputs"][..., 16] > 0).sum(axis=1))
    assert jets.examples.rows == 3626
    assert descending(jets["particles"]["pt"])


@pytest.mark.parametrize("feature", ["pt", "deta", "dphi", "mass", "z0", "dxy", "puppiweight", "emid", "quality"])
def test_counts_are_recovered_exactly(jets, feature):
    values, codes = jets.codes("particles", feature)
    spec = jets.schema.modalities["particles"].features[feature].hardware
    np.testing.assert_array_equal((codes * spec.lsb).astype(np.float32), values)
    assert spec.low <= codes.min() <= codes.max() <= spec.high


def test_features_agree_with_each_other(jets):
    particles = jets["particles"]
    flags = [v for n, v in particles.items() if n.startswith("is")]
    assert ak.all(sum(flags) == 1)  # one particle hypothesis each
    ratio = 4 * particles["pt"] / jets.globals("jet_pt")
    wrong = ak.to_numpy(ak.any(abs(particles["pt_rel"] / ratio - 1) > 0.01, axis=1))
    np.testing.assert_array_equal(jets.globals("jet_pt")[wrong], [65535 / 32])  # one jet: its pt is saturated
    charged = particles["isChargedHadronPlus"] + particles["isChargedHadronMinus"]
    assert ak.all(particles["z0"][particles["isPhoton"] == 1] == 0)  # no track, no vertex
    assert ak.any(particles["z0"][charged == 1] != 0)


def test_classes_and_target(jets, raw):
    np.testing.assert_array_equal(jets.examples.labels["flavour"], raw["class_label"])
    assert set(raw["class_label"]) == {0, 1, 2, 3}
    assert 0.3 <= jets.examples.labels["pt_ratio"].min() <= jets.examples.labels["pt_ratio"].max() <= 2
