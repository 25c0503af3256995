"""Re-simulation: the same hard partons in every view, and nothing else the same."""

from __future__ import annotations

import dataclasses
import importlib.util
from itertools import islice
from typing import Any

import awkward as ak
import numpy as np
import pytest

from foundation.command import load_config
from foundation.errors import ConfigError, ToolError
from foundation.schema import DetectorSchema, Label
from foundation.simulate import SimulateConfig
from foundation.simulate.config import check
from foundation.simulate.plan import Task, kind_of
from foundation.simulate.views_config import Variation, ViewsConfig
from foundation.simulate.write import shuffled

MISSING = [package for package in ("pythia8mc", "fastjet") if importlib.util.find_spec(package) is None]
needs_sim = pytest.mark.skipif(bool(MISSING), reason=f"needs pip install 'detfm[sim]' (missing: {', '.join(MISSING)})")
FAST = ("PartonLevel:MPI = off",)
PERFECT_TRACKS = Variation("tracks", detector={"track_pt_constant": 0.0, "track_pt_linear": 0.0})
VIEWS = ViewsConfig(2, (Variation("seed"), Variation("no_fsr", ("PartonLevel:FSR = off",)), PERFECT_TRACKS))
CFG = SimulateConfig(classes=("label_Wqq", "label_QCD"), pythia=FAST, views=VIEWS)
JETS = 12


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (ViewsConfig(0), "at least one view"),
        (ViewsConfig(1, (Variation("a"),)), "views.count = 1 shows none"),
        (ViewsConfig(2, (Variation("a"), Variation("a"))), "name of its own.*got 'a'"),
        (ViewsConfig(2, (Variation("nominal"),)), "name of its own"),
        (ViewsConfig(2, (Variation("a", detector={"hadron_efficiency": 1.5}),)), r"hadron_efficiency: 1\.5"),
        (ViewsConfig(2, (Variation("a", detector={"hcal": 1.0}),)), "a: detector: no setting 'hcal'; did you mean"),
    ],
)
def test_views_that_cannot_be_are_refused(views, message):
    with pytest.raises(ConfigError, match=message):
        check(dataclasses.replace(SimulateConfig(), views=views))


def test_view_0_is_nominal_and_the_others_take_turns():
    views = ViewsConfig(3, (Variation("a"), Variation("b")))
    events = np.arange(6)
    assert views.variation_of(0, events).tolist() == [0] * 6
    assert views.variation_of(1, events).tolist() == [1, 2, 1, 2, 1, 2]
    assert views.variation_of(2, events).tolist() == [2, 1, 2, 1, 2, 1]
    assert ViewsConfig(2).variation_of(1, events).tolist() == [0] * 6


def test_shuffling_keeps_the_views_of_a_jet_together():
    columns = {"event_id": np.repeat(np.arange(50), 3), "view": np.tile(np.arange(3), 50)}
    mixed = shuffled(columns, np.random.default_rng(0), together=3)
    assert (mixed["view"] == columns["view"]).all()
    assert (mixed["event_id"].reshape(-1, 3) == mixed["event_id"][::3, None]).all()
    assert (mixed["event_id"] != columns["event_id"]).any()


def test_the_preset_has_a_schema_that_keeps_pairs_in_one_split():
    check(load_config(SimulateConfig, "simulate/views"))
    jets, views = (load_config(DetectorSchema, f"data/{name}") for name in ("jets", "jetviews"))
    assert set(views.observers) - set(jets.observers) == {"view", "variation"}
    assert (views.modalities, views.labels, views.split) == (jets.modalities, jets.labels, jets.split)
    assert views.split.key == "event_id"


@needs_sim
@pytest.mark.slow
@pytest.mark.parametrize("label", ["label_Tbqq", "label_Hqql", "label_Hgg", "label_QCD", "label_b"])
def test_hard_partons_are_equal_in_every_shower(label):
    from foundation.simulate.hard import Shower, hard_events, hard_records
    from foundation.simulate.processes import PROCESSES

    process, cfg = PROCESSES[label], SimulateConfig(pythia=FAST)
    events = list(islice(hard_events(process, cfg, seed=5), 10))
    showers = [Shower(process, cfg, seed) for seed in (1, 1, 2)]
    runs = [shower.run(events) for shower in showers]
    last = events[-1].particles
    for shower in showers:
        record = shower._pythia.process
        assert [record[i + 3].id() for i in range(record.size() - 3)] == [p[0] for p in last]
        ours = np.array([p[6:10] for p in last])
        theirs = [[getattr(record[i + 3], axis)() for axis in ("px", "py", "pz", "e")] for i in range(len(last))]
        assert np.abs(ours - np.array(theirs)).max() < 1e-9  # GeV, of some hundreds
    assert all(alive.tolist() == list(range(10)) for alive, _, _ in runs)
    # The two partons of a 2 -> 2 scattering without resonances are in the event record as they were made.
    if label in ("label_QCD", "label_b"):
        made = ak.to_numpy(hard_records(events).p.px[:, 2:4])
        assert np.array_equal(made, [ak.to_numpy(r.p.px[abs(r.status) == 23][:2]) for r in runs[2][1]])
    same, other = (ak.to_numpy(ak.flatten(runs[i][1].p.px)) for i in (1, 2))
    first = ak.to_numpy(ak.flatten(runs[0][1].p.px))
    assert np.array_equal(first, same)
    assert len(first) != len(other) or not np.array_equal(first, other)


@needs_sim
@pytest.mark.slow
def test_a_process_in_the_settings_would_mix_in_and_is_refused():
    from foundation.simulate.hard import Shower, hard_events
    from foundation.simulate.processes import PROCESSES

    process, cfg = PROCESSES["label_QCD"], SimulateConfig(pythia=FAST)
    events = list(islice(hard_events(process, cfg, seed=5), 20))
    with pytest.raises(ToolError, match="one by one"):
        Shower(process, cfg, 1, ("Top:gg2ttbar = on", "Top:all = on", "HardQCD:all = on")).run(events)


@pytest.fixture(scope="module")
def pairs() -> dict[str, Any]:
    from foundation.simulate.view_chunks import generate_views

    return generate_views(CFG, Task("label_Wqq", 0, JETS))


def split(columns: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return tuple({name: column[i::2] for name, column in columns.items()} for i in range(2))


@needs_sim
@pytest.mark.slow
def test_pairs_share_the_partons_and_the_window(pairs):
    first, second = split(pairs)
    assert len(pairs["event_id"]) == 2 * JETS
    assert (first["view"] == 0).all()
    assert (second["view"] == 1).all()
    assert len(np.unique(first["event_id"])) == JETS
    for name in ("event_id", "aux_genpart_pid", *(f"aux_hard_{x}" for x in ("pt", "eta", "phi"))):
        assert np.array_equal(first[name], second[name]), name
    assert (first["variation"] == 0).all()
    event = first["event_id"] & ((1 << 24) - 1)
    assert np.array_equal(second["variation"], event % 3 + 1)
    for view in (first, second):
        assert ((view["jet_pt"] > CFG.pt_min) & (view["jet_pt"] < CFG.pt_max)).all()
        assert (view["label_Wqq"] == 1).all()
        assert (view["label_QCD"] == 0).all()
    assert (np.histogram(first["jet_pt"], np.linspace(500, 1000, 11))[0] >= 1).all()  # the spectrum is view 0's
    assert (first["jet_pt"] != second["jet_pt"]).all()
    assert pairs["views_lost"].sum() >= 0
    assert (pairs["views_lost"][1::2] == 0).all()
    recoil = first["aux_genpart_pt"] / first["aux_hard_pt"]  # of initial-state radiation, which moves the W boson
    assert (recoil != 1).any()
    assert np.median(recoil) == pytest.approx(1, abs=0.1)


@needs_sim
@pytest.mark.slow
def test_views_are_reproducible_and_the_showers_setting_acts(pairs):
    from foundation.simulate.view_chunks import generate_views

    assert kind_of(CFG).generate == "foundation.simulate.view_chunks:generate_views"
    again = generate_views(CFG, Task("label_Wqq", 0, JETS))
    for name, column in pairs.items():
        assert ak.to_list(column) == ak.to_list(again[name]), name
    # Without final-state radiation a W boson is two quarks' hadrons and no more.
    bare = pairs["jet_nparticles"][pairs["variation"] == 2].mean()
    assert bare < 0.8 * pairs["jet_nparticles"][pairs["variation"] == 0].mean()


@needs_sim
@pytest.mark.slow
def test_from_the_command_to_a_store_pairs_stay_in_one_split_and_time_is_ordered(tmp_path):
    import json

    import uproot

    from foundation.simulate.conditions_config import Change, ConditionsConfig
    from foundation.simulate.engine import simulate
    from foundation.store import Store
    from foundation.store.ingest import ingest

    run = ConditionsConfig(100.0, (Change("track_loss", 0.5, start=50.0),))
    views = ViewsConfig(2, (Variation("no_fsr", ("PartonLevel:FSR = off",)),))
    cfg = dataclasses.replace(CFG, jets_per_class=10, views=views, conditions=run)
    made = simulate(cfg, tmp_path / "views.root")
    with uproot.open(tmp_path / "views.root") as file:
        rows, stored = file["tree"].arrays(library="np"), json.loads(file["metadata"])
    assert made.rows == len(rows["event_id"]) == 2 * 10 * 2
    assert made.lost == rows["views_lost"].sum()
    assert stored["settings"]["views"]["variations"][0]["name"] == "no_fsr"
    assert (np.diff(rows["time"]) >= 0).all()
    assert np.array_equal(rows["event_id"][::2], rows["event_id"][1::2])
    assert np.array_equal(rows["time"][::2], rows["time"][1::2])
    assert np.array_equal(rows["condition_track_loss"], np.float32(0.5) * (rows["time"] >= 50))
    assert rows["view"].tolist() == [0, 1] * 20
    schema = load_config(DetectorSchema, "data/jetviews")
    schema = dataclasses.replace(
        schema, labels={"jet_class": Label(kind="class", classes={"QCD": "label_QCD", "Wqq": "label_Wqq"})}
    )
    store = Store.open(ingest([made.path], schema=schema, out=tmp_path / "store", processes=1))
    found = [store.observers(split)["event_id"] for split in store.splits]
    assert sum(len(ids) for ids in found) == 40
    assert all((np.unique(ids, return_counts=True)[1] == 2).all() for ids in found)
