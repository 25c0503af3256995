"""l1ugt and axol1tl: hardware integers of the CMS global trigger, exact; the split by the jets' content."""

from __future__ import annotations

import awkward as ak
import h5py
import numpy as np
import pytest
from preset_reading import assert_hardware_exact, assert_split, descending, read

OBJECTS = {"muons": "muon", "egammas": "eg", "taus": "tau", "jets": "jet"}


@pytest.fixture(scope="module")
def path(shared_data):
    return shared_data / "l1ugt/cms_l1_ugt.h5"


@pytest.fixture(scope="module")
def raw(path):
    with h5py.File(path) as file:
        return {name: file[name][:] for name in ("muon", "eg", "tau", "jet", "met", "category")}


@pytest.fixture(scope="module")
def l1ugt(path):
    return read("l1ugt", path)


@pytest.fixture(scope="module")
def axol1tl(path):
    return read("axol1tl", path)


def jets_of(raw):
    """The jets' directions, in any order: [rows, 12]."""
    counts = np.rint(raw["jet"][..., 1:3] / (0.0435, np.pi / 72)).astype(int)
    return np.sort(1000 * (counts[..., 0] + 200) + counts[..., 1], axis=1)


def test_every_object_is_there(l1ugt, raw):
    assert l1ugt.examples.rows == len(raw["met"]) == 103_686
    for modality, name in OBJECTS.items():
        filled = (raw[name] != 0)[..., :3].any(axis=-1)
        np.testing.assert_array_equal(l1ugt.counts(modality), filled.sum(axis=1))
        assert l1ugt.examples.modalities[modality].values[:, 0].sum(dtype=float) == raw[name][..., 0].sum(dtype=float)
    np.testing.assert_array_equal(l1ugt.examples.modalities["met"].values, raw["met"])
    no_pt = (raw["muon"][..., 0] == 0) & (raw["muon"][..., 1:3] != 0).any(axis=-1)
    assert no_pt.sum() == 8 == ak.sum(l1ugt["muons"]["pt"] == 0)  # the code for 0 GeV is a muon all the same


def test_integers_are_recovered_exactly(l1ugt, axol1tl):
    assert_hardware_exact(l1ugt)
    assert_hardware_exact(axol1tl)
    assert l1ugt.codes("jets", "pt")[1].max() == 2047  # saturated: all eleven bits
    assert l1ugt.codes("met", "pt")[1].max() == 4095
    assert set(np.unique(l1ugt.codes("egammas", "phi")[1])) == set(range(145))  # 144, a full turn, is used


def test_objects_descend_in_pt_although_the_file_does_not(l1ugt, raw):
    unsorted = {name: np.mean((np.diff(raw[name][..., 0], axis=1) > 0).any(axis=1)) for name in OBJECTS.values()}
    assert unsorted["jet"] == pytest.approx(0.13, abs=0.01)
    assert unsorted["eg"] > 0.3
    for modality in OBJECTS:
        assert descending(l1ugt[modality]["pt"])


def test_rows_with_the_same_jets_share_a_split(l1ugt, axol1tl, raw):
    jets = jets_of(raw)
    assert_split(l1ugt, jets, 0.01)
    np.testing.assert_array_equal(axol1tl.examples.keys, l1ugt.examples.keys)
    ttbar = np.char.endswith(raw["category"], b"2023:pp:ttbar_MC")
    _, counts = np.unique(jets[ttbar], axis=0, return_counts=True)
    assert (counts == 2).mean() > 0.99  # both menus re-emulate each event: a split by row would leak nearly all of them
    # distinct jets have distinct keys, so that the fractions are those of many independent draws
    assert len(np.unique(l1ugt.examples.keys)) == len(np.unique(jets, axis=0))


def test_labels_follow_the_category(l1ugt, raw):
    names = l1ugt.schema.class_names("sample")
    suffix = {"data": b":data", "ttbar": b":ttbar_MC", "vbf": b":VBF_MC", "unspecified": b":unspecified"}
    for position, name in enumerate(names):
        expected = np.char.endswith(raw["category"], suffix[name])
        np.testing.assert_array_equal(l1ugt.examples.labels["sample"] == position, expected)
    # the trap: recorded rows passed a trigger, so their leading jet alone gives them away
    leading = ak.to_numpy(ak.fill_none(ak.firsts(l1ugt["jets"]["pt"]), 0))
    data = l1ugt.examples.labels["sample"] == names.index("data")
    assert np.median(leading[data]) == pytest.approx(60, abs=5)


def test_muons_and_jets_fit_their_detectors(l1ugt):
    muons, jets = l1ugt["muons"], l1ugt["jets"]
    assert ak.max(abs(muons["eta"])) < 2.5
    assert 4.5 < ak.max(abs(jets["eta"])) < 5.2
    phi = ak.to_numpy(ak.flatten(muons["phi"]))
    assert abs(np.exp(1j * phi).mean()) < 0.03  # no direction is preferred


def test_missing_energy_opposes_the_jets_where_it_is_there(l1ugt, raw):
    jets, met = l1ugt["jets"], raw["met"]
    visible = np.angle(ak.to_numpy(ak.sum(jets["pt"] * np.exp(1j * jets["phi"]), axis=1)))
    real = (raw["category"] == b"2024:pp:data") & (met[:, 0] > 30)
    assert np.cos(visible - met[:, 1])[real].mean() < -0.6
    simulated = np.char.endswith(raw["category"], b":ttbar_MC") & (met[:, 0] > 30)
    assert abs(np.cos(visible - met[:, 1])[simulated].mean()) < 0.2  # the trap: no relation to the jets
    absent = np.isin(raw["category"], [b"2022:pp:data", b"2022:pp:ttbar_MC", b"2023:pp:data", b"2024:HI:data"])
    assert (met[absent] == 0).all()  # the trap: no sums were recorded here
    assert (met[~absent, 0] > 0).mean() > 0.9


def test_e_gammas_and_taus_are_jets_in_all_but_data_and_the_top_pairs_of_2022(raw):
    real = np.char.endswith(raw["category"], b":data") | (raw["category"] == b"2022:pp:ttbar_MC")
    assert (~real).sum() == 80_119
    for name, others in (("eg", 17), ("tau", 2)):  # the trap
        leading, jet = raw[name][..., 0].max(axis=1), raw["jet"][..., 0].max(axis=1)
        assert (leading != np.minimum(jet, 127.5))[~real].sum() == others
        assert (leading == np.minimum(jet, 127.5))[real & (jet > 0)].mean() < 0.01
    for name, ends in (("muon", (127, 255)), ("eg", (127.5, 255.5)), ("tau", (127.5, 255.5)), ("jet", (511.5, 1023.5))):
        assert (raw[name][~real, :, 0].max(), raw[name][real, :, 0].max()) == ends


def test_the_same_events_are_under_several_categories(raw):
    jets = {name: {tuple(row) for row in jets_of({"jet": raw["jet"][raw["category"] == name]})}
            for name in (b"2017:pp:unspecified", b"2018:pp:unspecified", b"2018:HI:unspecified")}  # fmt: skip
    assert jets[b"2018:HI:unspecified"] < jets[b"2018:pp:unspecified"]
    assert len(jets[b"2017:pp:unspecified"] & jets[b"2018:pp:unspecified"]) > 3500


def test_axol1tl_is_the_19_objects_in_their_places(axol1tl, raw):
    assert set(axol1tl.counts("objects")) == {19}
    box = axol1tl.examples.modalities["objects"].values.reshape(-1, 19, 3)
    assert box[0].size == 57
    np.testing.assert_array_equal(box[:, 0, [0, 2]], raw["met"])
    np.testing.assert_array_equal(box[:, 0, 1], 0)
    np.testing.assert_array_equal(box[:, 1:5], raw["eg"][:, :4, :3])
    np.testing.assert_array_equal(box[:, 5:9], raw["muon"][:, :4, :3])
    np.testing.assert_array_equal(box[:, 9:], raw["jet"][:, :10, :3])
    _, eta = axol1tl.codes("objects", "eta")
    assert (eta.reshape(-1, 19)[:, 9:] % 4 == 0).all()  # calorimeter objects on the coarser grid,
    assert (eta.reshape(-1, 19)[:, 5:9] % 4 != 0).any()  # muons on the finer
