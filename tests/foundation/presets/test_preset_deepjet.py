"""deepjet: charged and neutral candidates and vertices; candidates sum to the jet, b jets have displaced vertices."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot
from preset_reading import assert_split, read


@pytest.fixture(scope="module")
def path(shared_data):
    return shared_data / "deepjet/ntuple_ttbar.root"


@pytest.fixture(scope="module")
def jets(path):
    return read("deepjet", path)


@pytest.fixture(scope="module")
def raw(path):
    names = ["n_Cpfcand", "n_Npfcand", "n_sv", "isB", "isC", "isUDS", "isG", "event_no", "jet_pt"]
    return uproot.open(path)["deepntuplizer/tree"].arrays(names, library="np")


def test_every_candidate_is_there(jets, raw):
    for modality, count in {"charged": "n_Cpfcand", "neutral": "n_Npfcand", "vertices": "n_sv"}.items():
        np.testing.assert_array_equal(jets.counts(modality), raw[count])
    assert jets.examples.rows == 7199
    assert not any(t["max_tokens"] for found in jets.findings for t in found.tokens.values())


def test_candidates_sum_to_the_jet(jets):
    both = [jets["charged"], jets["neutral"]]
    total = sum(ak.to_numpy(ak.sum(c["pt"] * np.exp(1j * c["dphi"]), axis=1)) for c in both)
    ratio = np.abs(total) / jets.globals("jet_pt")
    assert np.median(ratio) == pytest.approx(1, abs=0.03)
    assert np.percentile(ratio, [2, 98]) == pytest.approx([1, 1], abs=0.25)  # jet energy corrections
    assert np.abs(np.angle(total)).max() < 1e-3  # phi is relative to the jet's


def test_labels_are_one_hot(jets, raw):
    flags = np.stack([raw[name] for name in ("isB", "isC", "isUDS", "isG")], axis=1)
    assert (flags.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(jets.examples.labels["flavour"], flags.argmax(axis=1))


def test_b_jets_have_displaced_vertices(jets):
    b = jets.examples.labels["flavour"] == 0
    with_vertex = jets.counts("vertices") > 0
    assert with_vertex[b].mean() > 0.7
    assert with_vertex[~b].mean() < 0.3
    flight = np.asarray(ak.fill_none(ak.max(jets["vertices"]["d3d"], axis=1), 0))
    assert np.median(flight[b & with_vertex]) > 3  # mm: gamma beta c tau of a B
    assert ak.max(abs(jets["vertices"]["deta"])) < 0.4  # inside the cone
    leading = np.abs(ak.to_numpy(jets["charged"]["dxy"][:, 0]))  # the most significant impact parameter
    assert np.median(leading[b]) > 1.5 * np.median(leading[~b])


def test_jets_of_an_event_stay_together(jets, raw):
    assert len(np.unique(raw["event_no"])) < len(raw["event_no"]) / 2
    assert_split(jets, raw["event_no"], 0.02)
