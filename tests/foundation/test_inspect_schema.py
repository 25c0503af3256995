"""`--suggest-schema`: the suggestion parses, ingests its own file without an error, and sees the obvious."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from detector import columns, write

from foundation.cli import main
from foundation.errors import DataError
from foundation.inspect.collections import Quantity
from foundation.inspect.command import suggest_schema
from foundation.inspect.meaning import Meaning
from foundation.inspect.profile import Numbers, Profile
from foundation.inspect.propose import fit_hardware, grid_of, propose, transform_of
from foundation.schema import DetectorSchema, Hardware
from foundation.store.ingest import ingest
from foundation.store.store import Store

REAL = [
    "l1jets/ggHHbbbb_PU200.root",
    "deepjet/ntuple_ttbar.root",
    "files/uproot-HZZ-zstd.root",
    "files/cms_run2012b_singlemu.parquet",
    "l1calo/HInv.hdf5",
    "cms_events/cms_ispy_events.npz",
    "p2l1/TTbar_PU200_Barrel.npz",
    "jets/jetclass_500.npz",
]
WIDE = ["files/nano_dimuon.parquet", "files/scouting_nano.root", "files/delphes.root"]


def suggested(path, tmp_path, rows=20_000):
    out = tmp_path / "suggested.yaml"
    out.write_text(suggest_schema(path, rows=rows))
    return DetectorSchema.load(out)


def check(path, tmp_path):
    schema = suggested(path, tmp_path)
    store = Store.open(ingest([path], schema=schema, out=tmp_path / "s"))
    accounting = store.manifest["accounting"]
    assert accounting["written"] == accounting["read"] > 0
    return schema, store


@pytest.mark.parametrize("name", REAL)
def test_a_suggestion_ingests_its_file(shared_data, tmp_path, name):
    check(shared_data / name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDE)
def test_a_suggestion_ingests_its_wide_file(shared_data, tmp_path, name):
    schema, _ = check(shared_data / name, tmp_path)
    jets = next(m for n, m in schema.modalities.items() if n.endswith("Jet"))
    assert jets.coordinates.keys() >= {"pt", "eta", "phi", "mass"}
    assert not [n for n in schema.modalities if n.startswith(("Gen", "LHE")) or n == "Particle"]


@pytest.mark.slow
def test_the_shipped_sample(sample, tmp_path):
    schema, _ = check(sample, tmp_path)
    part = schema.modalities["part"]
    assert part.coordinates == {"pt": "pt", "eta": "deta", "phi": "dphi"}
    assert part.features["pt"].expression == "pt(part_px, part_py)"
    assert part.features["energy"].transform == "log"
    assert schema.labels["label"].classes["Hbb"] == "label_Hbb"
    assert schema.split.key == "event_id"
    assert all(feature.hardware is None for feature in part.features.values())


@pytest.mark.slow
def test_hardware_types_of_the_global_trigger(shared_data, tmp_path):
    schema, store = check(shared_data / "l1ugt" / "cms_l1_ugt.h5", tmp_path)
    jet, muon = (schema.modalities[name].features for name in ("jet", "muon"))
    assert jet["pt"].hardware.lsb == 0.5
    assert jet["eta"].hardware == Hardware(0.0435, 8, True)
    assert jet["phi"].hardware.lsb == pytest.approx(2 * np.pi / 144)
    assert muon["eta"].hardware.lsb == 0.010875
    assert muon["phi"].hardware.lsb == pytest.approx(2 * np.pi / 576)
    counts = store.manifest["accounting"]["hardware"]
    assert counts
    assert sum(count["off_grid"] for count in counts.values()) == 0
    assert len(schema.labels["category"].classes) > 3  # read to the end: the first rows hold three


def test_layouts_of_real_collisions(shared_data, tmp_path):
    schema = suggested(shared_data / "cms_events" / "cms_ispy_events.npz", tmp_path)
    assert (schema.layout["eb"].kind, schema.layout["eb"].by) == ("offsets", "eb_off")
    assert schema.modalities["eb"].coordinates == {"energy": "energy", "eta": "eta", "phi": "phi", "time": "time"}
    assert schema.modalities["met"].coordinates == {"pt": "pt", "phi": "phi"}
    assert schema.split.key == ["run", "event"]


def test_padding_is_left_out(shared_data, tmp_path):
    schema, store = check(shared_data / "jets" / "toplandscape_2000.npz", tmp_path)
    (modality,) = schema.modalities.values()
    assert modality.select == "mask > 0"
    mask = np.load(shared_data / "jets" / "toplandscape_2000.npz")["mask"]
    (tokens,) = store.manifest["accounting"]["tokens"].values()
    assert tokens["written"] == mask.sum()


def test_nan_and_unphysical_eta_are_dealt_with(tmp_path):
    content = columns(200)
    content["met"][3] = np.nan
    content["track_eta"] = 0 * content["track_phi"] + 1.5
    content["track_eta"] = ak.where(content["track_pt"] < 1, 40.0, content["track_eta"])
    schema, _ = check(write(tmp_path / "a.root", content), tmp_path)
    assert schema.globals["met"].expression == "where(isfinite(met), met, 0)"
    assert schema.modalities["track"].select == "abs(track_eta) < 10"
    assert schema.labels["is_class"].classes == {"yes": "is_yes", "no": "is_no"}


def test_a_cut_on_the_number_of_tokens_keeps_the_hardest(tmp_path):
    content = columns(300)
    counts = np.full(300, 3)
    counts[7] = 500
    for name in ("track_pt", "track_phi", "track_charge"):
        content[name] = ak.unflatten(np.resize(ak.to_numpy(ak.flatten(content[name])), counts.sum()), counts)
    schema, _ = check(write(tmp_path / "a.root", content), tmp_path)
    track = schema.modalities["track"]
    assert track.max_tokens < 500
    assert track.order == "track_pt"


def test_a_file_is_never_written_over(tmp_path, sample, capsys):
    out = tmp_path / "a.yaml"
    out.write_text("mine")
    assert main(["inspect", str(sample), "--suggest-schema", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(["inspect", str(sample), "--suggest-schema", str(tmp_path / "b.yaml")]) == 0
    assert "guess" in (tmp_path / "b.yaml").read_text()
    assert main(["inspect", str(sample), "--suggest-schema"]) == 0
    assert "coordinates: {pt: pt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "reason"), [("files/uproot-issue79.root", "list of numbers"), ("files/nano_dy_empty.root", "no rows")]
)
def test_files_without_lists_are_refused(shared_data, name, reason):
    with pytest.raises(DataError, match=reason):
        suggest_schema(shared_data / name)


@pytest.mark.parametrize("lsb", [0.5, 0.25, 0.0435, 2 * np.pi / 144, np.pi / 720, 0.01])
def test_a_grid_is_found_from_float32_values(lsb):
    counts = np.random.default_rng(1).integers(-100, 100, 2000)
    values = (counts * np.float64(lsb)).astype(np.float32).astype(np.float64)
    assert grid_of(values) == pytest.approx(lsb)
    assert fit_hardware(values) == Hardware(grid_of(values), 8, True)


def test_floats_are_on_no_grid():
    rng = np.random.default_rng(2)
    assert grid_of(rng.exponential(30, 5000)) is None
    few_bits = rng.exponential(30, 5000).astype(np.float16).astype(np.float64)  # as NanoAOD keeps them
    assert grid_of(few_bits) is None


def test_transforms_follow_the_distribution():
    rng = np.random.default_rng(3)

    def of(values, coordinate=""):
        numbers = Numbers()
        numbers.add(values)
        return transform_of(values, numbers, coordinate)

    tail = rng.lognormal(2, 1.5, 5000)
    assert of(tail) == "log"
    assert of(np.concatenate([tail, np.zeros(50)])) == "log1p"
    assert of(tail * rng.choice([-1, 1], 5000)) == "asinh"
    assert of(rng.normal(size=5000)) == "identity"
    assert of(rng.integers(0, 2, 5000)) == "identity"
    assert of(np.abs(rng.normal(size=5000)) * 100, "phi") == "identity"


def test_units_are_brought_to_those_of_detfm():
    numbers = Numbers()
    numbers.add(np.random.default_rng(4).exponential(50_000.0, 1000) + 20_000)
    quantity = Quantity("jet_pt", "pt", numbers, Meaning("pt", "MeV", 0.001), Profile("jet_pt", "float"))
    proposal = propose(quantity, numbers.finite, False, "pt")
    assert (proposal.expression, proposal.unit) == ("0.001 * jet_pt", "GeV")
