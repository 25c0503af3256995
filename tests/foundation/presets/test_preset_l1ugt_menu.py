"""The menu of the global trigger's test vectors: its bits, its `final_or`, and what observables make of its seeds."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from preset_reading import read

from foundation.batch import TokenBatch, Tokens
from foundation.schema import DetectorSchema
from foundation.trigger.menu import MenuConfig, fired, nothing_left
from foundation.trigger.observables import missing, observables

# bit of L1Menu_Collisions2024_v1_3_0 (github.com/cms-l1-dpg/L1MenuRun3) -> the same condition here
SEEDS = {
    309: lambda o: o["leading_jet_pt"] >= 180,  # L1_SingleJet180
    318: lambda o: o["jet_pt_1"] >= 180,  # L1_SingleJet180er2p5
    343: lambda o: o["jet_pt_2"] >= 150,  # L1_DoubleJet150er2p5
    402: lambda o: o["ht"] >= 120,  # L1_HTT120er
    406: lambda o: o["ht"] >= 280,  # L1_HTT280er
    408: lambda o: o["ht"] >= 360,  # L1_HTT360er
    168: lambda o: o["egamma_pt_1"] >= 36,  # L1_SingleEG36er2p5
    174: lambda o: o["leading_egamma_pt"] >= 60,  # L1_SingleEG60
    218: lambda o: (o["egamma_pt_1"] >= 25) & (o["egamma_pt_2"] >= 12),  # L1_DoubleEG_25_12_er2p5
    263: lambda o: o["tau_pt_1"] >= 120,  # L1_SingleTau120er2p1
}


@pytest.fixture(scope="module")
def real(shared_data):
    """Columns of the global trigger's test vectors, and the bits as the file has them."""
    path = shared_data / "l1ugt/cms_l1_ugt.h5"
    found = read("l1ugt", path)
    with h5py.File(path) as file:
        return found, file["algorithm_bits"][:], file["category"][:]


@pytest.fixture(scope="module")
def places(shared_data):
    return read("axol1tl", shared_data / "l1ugt/cms_l1_ugt.h5")


def test_the_real_bits_survive_their_words(real):
    found, raw, _ = real
    menu = MenuConfig(bits={str(number): number for number in range(512)})
    taken = fired(menu, found.examples.observers)
    for number in (0, 7, 8, 174, 309, 458, 511):
        expected = raw[:, 63 - number // 8] >> number % 8 & 1
        np.testing.assert_array_equal(taken[:, number], expected == 1)
    assert np.flatnonzero(~taken.any(axis=0)).tolist() == [463, 477, 478]
    assert taken.any(axis=1).all()


def test_the_real_final_or_leaves_nothing_to_measure(real):
    found, _, _ = real
    taken = fired(MenuConfig({"final_or": "final_or > 0"}), found.examples.observers)
    assert taken.shape == (103_686, 1)
    assert "every one of 103,686 crossings (final_or alone does)" in nothing_left(["final_or"], taken)


def test_both_layouts_of_these_vectors_have_the_menu(real):
    for name in ("l1ugt", "axol1tl"):
        schema = DetectorSchema.load(f"data/{name}")
        assert {f"algorithm_bits_{i}" for i in range(16)} <= set(schema.observers)
        assert schema.class_names("period")[-1] == "2024_HI"


def test_the_nineteen_places_give_what_the_lists_give(real, places):
    of_lists, of_places = (observables(*padded(each, slice(0, 4000))) for each in (real[0], places))
    assert {"leading_tau_pt", "tau_pt_1", "tau_pt_2"} == of_lists.keys() - of_places.keys()
    assert "taus" in missing(places.schema)
    for name in ("met", "leading_jet_pt", "muon_pt_1"):  # what four and ten objects suffice for
        same = of_lists[name] == of_places[name]
        assert same.mean() > 0.95, name
    assert (of_places["multiplicity"] <= of_lists["multiplicity"]).all()
    assert np.mean(of_places["ht"] == of_lists["ht"]) > 0.95


def test_the_real_menu_decides_the_same(real):
    reading, raw, category = real
    chosen = np.flatnonzero(category == b"2024:pp:data")
    found, raw = observables(*padded(reading, chosen)), raw[chosen]
    for number, condition in SEEDS.items():
        bit = raw[:, 63 - number // 8] >> number % 8 & 1
        assert bit.sum() > 20
        np.testing.assert_array_equal(condition(found), bit == 1, err_msg=str(number))


def padded(found, rows):
    """Rows of what a preset reads, as a batch with its schema."""
    examples, schema = found.examples, found.schema
    index = np.arange(examples.rows)[rows]
    modalities = {}
    for name, modality in schema.modalities.items():
        ragged = examples.modalities[name]
        values = np.zeros((len(index), modality.max_tokens, len(modality.features)), np.float32)
        mask = np.arange(modality.max_tokens) < ragged.counts[index][:, None]
        start = (np.cumsum(ragged.counts) - ragged.counts)[index][:, None] + np.arange(modality.max_tokens)
        values[mask] = ragged.values[start[mask]]
        modalities[name] = Tokens(values, mask)
    other = examples.globals[index]
    weights = np.ones(len(index), np.float32)
    return TokenBatch(modalities, other, {}, weights, np.arange(len(index), dtype=np.int32)), schema
