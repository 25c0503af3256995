"""Presets on files that are damaged, foreign, or not quite what they say: each is refused, naming what is wrong."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from preset_reading import read

from foundation.errors import DataError, SchemaError
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.examples import Policies
from foundation.store.ingest import ingest
from foundation.store.settings import IngestConfig


def changed(preset, change):
    """A preset with one entry changed."""
    schema = DetectorSchema.load(f"data/{preset}").to_dict()
    change(schema)
    return DetectorSchema.load(schema)


def expression(modality, feature, text):
    return lambda schema: schema["modalities"][modality]["features"][feature].update(expression=text)


@pytest.mark.parametrize(
    ("preset", "file", "message"),
    [
        ("delphes", "files/bad_delphes.root", r"bad_delphes\.root: holds no tree"),
        ("nanoaod", "files/nano_dy_malformed.parquet", r"nano_dy_malformed\.parquet"),
        ("jetclass", "files/delphes.root", r"has no tree 'tree'"),
        ("deepjet", "l1jets/ggHHbbbb_PU200.root", r"has no tree 'deepntuplizer/tree'"),
        ("toplandscape", "jets/hls4ml150p_2000.npz", r"'px_py_pz_e'"),
        ("l1ugt", "l1calo/HInv.hdf5", r"'(algorithm_bits|category|bx|eg|final_or|jet)'"),
        ("hgcal", "jets/jetclass_500.npz", r"'data'"),
    ],
)
def test_a_file_that_is_damaged_or_foreign_is_named(preset, file, message, shared_data):
    with pytest.raises(DataError, match=message):
        read(preset, shared_data / file)


@pytest.mark.parametrize(
    ("preset", "file", "change", "close"),
    [
        ("deepjet", "deepjet/ntuple_ttbar.root", expression("charged", "pt", "Cpfcand_pt"), "Cpfcan_pt"),
        ("delphes", "files/delphes.root", expression("jets", "pt", "Jet.Pt"), "Jet.PT"),
        ("l1ugt", "l1ugt/cms_l1_ugt.h5", expression("muons", "quality", "muons[..., 3]"), "muon"),
        ("scouting", "files/scouting_nano.root", expression("jets", "pt", "ScoutingPfJet_pt"), "ScoutingPFJet_pt"),
    ],
)  # fmt: skip
def test_a_missing_branch_is_named_with_close_ones(preset, file, change, close, shared_data):
    with pytest.raises(DataError, match=rf"did you mean .*'{close}'"):
        read(changed(preset, change), shared_data / file)


@pytest.mark.parametrize(
    ("preset", "file", "modality", "text"),
    [
        ("p2l1", "p2l1/TTbar_PU200_Barrel.npz", "tracks", "track[..., 2] * 720 / pi"),  # counts instead of eta
        ("deepjet", "deepjet/ntuple_ttbar.root", "vertices", "sv_phi"),  # phi instead of a difference in eta
        ("scouting", "files/scouting_nano.root", "jets", "ScoutingPFJet_eta * 180 / pi"),  # degrees
    ],
)
def test_a_wrong_unit_puts_eta_out_of_range(preset, file, modality, text, shared_data, tmp_path):
    """Among the features of the modality the one is named whose values cannot be; the policy then decides."""
    feature = "deta" if preset == "deepjet" else "eta"
    schema = changed(preset, expression(modality, feature, text))
    found = read(schema, shared_data / file, Policies(out_of_range="keep")).findings[0].problems["out_of_range"]
    assert list(found.counts) == [f"modalities.{modality}.features.{feature}"]
    assert found.rows.any()
    with pytest.raises(DataError, match=rf"modalities\.{modality}\.features\.{feature}"):
        ingest([shared_data / file], schema=schema, out=tmp_path / "store", processes=1)


def test_columns_without_their_layout_are_explained(shared_data):
    schema = changed("cms_events", lambda s: s["layout"].pop("eb"))
    with pytest.raises(DataError, match=r"column 'eb'.*`layout: \{eb: \{kind: offsets"):
        read(schema, shared_data / "cms_events/cms_ispy_events.npz")


def test_offsets_of_another_column_are_refused(shared_data):
    schema = changed("cms_events", lambda s: s["layout"]["eb"].update(by="ee_off"))
    with pytest.raises(DataError, match="column 'eb'"):
        read(schema, shared_data / "cms_events/cms_ispy_events.npz")


def test_an_array_of_another_shape_is_named(shared_data):
    """The e/gamma clusters of the HGCal file have four columns, not seven."""
    schema = changed("p2l1", expression("egammas", "phi", "emcalo[..., 5]"))
    assert read(schema, shared_data / "p2l1/TTbar_PU200_Barrel.npz").examples.rows == 100
    with pytest.raises(SchemaError, match=r"modalities\.egammas\.features\.phi"):
        read(schema, shared_data / "p2l1/TTbar_PU200_HGCal.npz")


def test_a_file_of_unknown_name_has_no_label(shared_data, tmp_path):
    """l1calo takes its labels from the file's name; another name is an unknown label, not a guess."""
    other = shutil.copy(shared_data / "l1calo/Region_ZeroBias.hdf5", tmp_path / "run3.hdf5")
    with pytest.raises(DataError, match=r"labels\.sample"):
        ingest([other], schema="data/l1calo", out=tmp_path / "store", processes=1)
    kept = IngestConfig(unknown_label="unlabelled")
    store = Store.open(ingest([other], schema="data/l1calo", cfg=kept, out=tmp_path / "store", processes=1))
    assert all((store.labels(split, "sample") == -1).all() for split in store.splits)


def test_labels_that_are_not_one_hot_are_counted(shared_data):
    schema = changed("deepjet", lambda s: s["labels"]["flavour"]["classes"].pop("gluon"))
    problem = read(schema, shared_data / "deepjet/ntuple_ttbar.root", Policies(unknown_label="unlabelled"))
    assert problem.findings[0].problems["unknown_label"].counts == {"labels.flavour = one-hot sum 0": 1792}
    assert (problem.examples.labels["flavour"] == -1).sum() == 1792


def test_an_event_of_fifty_thousand_tokens_is_cut_to_the_hardest(shared_data):
    schema = changed("hgcal", lambda s: s["modalities"]["hits"].update(max_tokens=10_000))
    event = read(schema, shared_data / "hgcal/rechits_0.npy")
    energy = np.load(shared_data / "hgcal/rechits_0.npy")[:, 0]
    np.testing.assert_array_equal(event["hits"]["energy"][0], np.sort(energy)[::-1][:10_000])
    assert event.findings[0].tokens["hits"]["max_tokens"] == len(energy) - 10_000
