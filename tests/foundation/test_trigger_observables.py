"""Observables of every layout; against the decisions of CMS's own menu: presets/test_preset_l1ugt_menu.py."""

from __future__ import annotations

import numpy as np
import pytest

from foundation.batch import TokenBatch, Tokens
from foundation.schema import DetectorSchema
from foundation.trigger.observables import BASELINES, missing, observables


def batch_of(schema, objects, rows, globals_=None):
    """kind -> [(row, pt, eta)], other features 0."""
    modalities = {}
    for name, modality in schema.modalities.items():
        values = np.zeros((rows, modality.max_tokens, len(modality.features)), np.float32)
        mask = np.zeros(values.shape[:2], bool)
        for row, pt, eta in objects.get(name, ()):
            place = int(mask[row].sum())
            values[row, place, modality.index("pt")], mask[row, place] = pt, True
            if "eta" in modality.features:
                values[row, place, modality.index("eta")] = eta
        modalities[name] = Tokens(values, mask)
    other = np.zeros((rows, len(schema.globals)), np.float32) if globals_ is None else globals_
    return TokenBatch(modalities, other, {}, np.ones(rows, np.float32), np.arange(rows, dtype=np.int32))


def test_hand_made_crossings():
    schema = DetectorSchema.load("data/l1ugt")
    objects = {
        "jets": [(0, 31.0, 2.4), (0, 90.0, -2.6), (0, 30.0, 0.0), (0, 200.0, 1.0)],
        "muons": [(0, 5.0, 0.1), (0, 7.0, -2.0)],
        "taus": [(0, 60.0, 0.0)],
        "met": [(0, 44.0, 0.0)],
    }
    found = {name: value.tolist() for name, value in observables(batch_of(schema, objects, 2), schema).items()}
    assert found["ht"] == [231.0, 0.0]  # above 30 GeV, within 2.5
    assert found["jets"] == [2, 0]
    assert found["multiplicity"] == [6, 0]  # a tau does not count again
    assert [found[f"jet_pt_{k}"][0] for k in (1, 2, 3, 4)] == [200, 31, 30, 0]
    assert (found["leading_jet_pt"][0], found["muon_pt_1"][0], found["muon_pt_2"][0]) == (200, 7, 5)
    assert found["leading_muon_pt"][0] == 7
    assert found["met"] == [44.0, 0.0]
    assert found["egamma_pt_1"] == [0.0, 0.0]
    assert "total_et" in missing(schema)


def test_missing_energy_of_events_is_a_global():
    schema = DetectorSchema.load("data/l1events")
    values = np.zeros((1, len(schema.globals)), np.float32)
    values[0, list(schema.globals).index("met")] = 33.0
    found = observables(batch_of(schema, {"jets": [(0, 50.0, 0.0)]}, 1, values), schema)
    assert (found["met"].tolist(), found["ht"].tolist()) == ([33.0], [50.0])
    assert set(BASELINES) - found.keys() == {"total_et"}


def test_an_image_has_a_total():
    schema = DetectorSchema.load("data/l1events_image")
    et = np.zeros((2, 252, 1), np.float32)
    et[0, [3, 100]] = [[4.5], [20.0]]
    tokens = {"image": Tokens(et, np.ones((2, 252), bool))}
    batch = TokenBatch(tokens, np.zeros((2, 0), np.float32), {}, np.ones(2, np.float32), np.arange(2, dtype=np.int32))
    found = observables(batch, schema)
    assert found["total_et"].tolist() == [24.5, 0.0]
    assert found["leading_region_et"].tolist() == [20.0, 0.0]
    assert found["multiplicity"].tolist() == [2, 0]
    assert "image" in missing(schema)["met"]


@pytest.mark.parametrize("name", ["data/l1ugt", "data/axol1tl", "data/l1events", "data/l1calo", "data/jets"])
def test_what_is_missing_is_named_and_what_is_there_is_not(name):
    schema = DetectorSchema.load(name)
    if name == "data/jets":
        assert set(missing(schema)) == {"jets", "egammas", "muons", "taus", "met", "total_et"}
        return
    reasons = missing(schema)
    assert all(reasons.values())
    for kind in ("jets", "muons"):
        assert (kind in reasons) == (name == "data/l1calo")
