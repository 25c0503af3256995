"""`detfm simulate`: what it refuses, and that what it makes is reproducible, complete and whole."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from foundation.cli import main
from foundation.command import load_config
from foundation.errors import ConfigError, DataError, RunError, ToolError
from foundation.simulate import DetectorConfig, SimulateConfig, engine, plan
from foundation.simulate.columns import SUBSTRUCTURE_FLOATS
from foundation.simulate.config import check
from foundation.simulate.engine import simulate
from foundation.simulate.parts import make_chunk
from foundation.simulate.plan import Task
from foundation.simulate.processes import PROCESSES

SAMPLE = Path(__file__).parents[2] / "samples" / "jets.root"
MISSING = [package for package in ("pythia8mc", "fastjet") if importlib.util.find_spec(package) is None]
needs_sim = pytest.mark.skipif(bool(MISSING), reason=f"needs pip install 'detfm[sim]' (missing: {', '.join(MISSING)})")

# Settings and refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("label_Wq",)}, r"unknown jet class 'label_Wq'.*did you mean.*label_Wqq"),
        ({"classes": ("zebra",)}, r"known: label_QCD, .*, label_b"),
        ({"classes": ("label_QCD", "label_QCD")}, "named twice"),
        ({"classes": ()}, "at least one"),
        ({"pt_min": 700.0, "pt_max": 600.0}, "pt window is empty"),
        ({"pt_max": 7000.0}, "cannot be reached"),
        ({"beam_energy": 2010.0, "classes": ("label_Hbb",)}, r"label_Hbb: .* 125 and 91.2 GeV .* above the threshold"),
        ({"radius": 0.4, "pt_min": 200.0, "classes": ("label_Tbqq",)}, r"out of reach.* of about 432 GeV"),
        ({"radius": 0.0}, "radius = 0.0"),
        ({"eta_max": 2.5}, "within the calorimeter"),
        ({"jets_per_class": 0}, "at least 1"),
        ({"mantissa_bits": {"part_pt": 9}}, "no float column 'part_pt'"),
        ({"mantissa_bits": {"part_px": 24}}, "not between 0 and 23"),
        ({"mantissa_bits": {"part_px": 9}, "steps": {"part_px": 0.1}}, "both"),
        ({"steps": {"part_energy": 0.5}}, "mantissa_bits"),
        ({"detector": DetectorConfig(hadron_efficiency=1.5)}, r"detector\.hadron_efficiency: 1\.5"),
        ({"detector": DetectorConfig(ecal_stochastic=math.nan)}, r"detector\.ecal_stochastic: nan"),
        ({"beam_energy": -5.0}, "beam_energy = -5.0 GeV"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_generating(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        simulate(dataclasses.replace(SimulateConfig(), **change), tmp_path / "jets.root")
    assert list(tmp_path.iterdir()) == []


def test_presets_and_defaults_are_accepted():
    check(SimulateConfig())
    for preset in sorted((SAMPLE.parents[1] / "configs" / "simulate").glob("*.yaml")):
        check(load_config(SimulateConfig, preset))
    assert len({process.index for process in PROCESSES.values()}) == len(PROCESSES)


def test_missing_package_is_answered_with_the_install_command(tmp_path, monkeypatch):
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"pip install 'detfm\[sim\]'"):
        simulate(SimulateConfig(), tmp_path / "jets.root")


def test_existing_files_stay(tmp_path, capsys):
    foreign = tmp_path / "precious.root"
    foreign.write_bytes(b"measured for three years")
    assert main(["simulate", "--out", str(foreign)]) == 2
    assert "--overwrite to replace it" in capsys.readouterr().err
    with pytest.raises(RunError, match="was not written by `detfm simulate`"):
        simulate(SimulateConfig(), foreign, overwrite=True)
    assert foreign.read_bytes() == b"measured for three years"


# Generation

FAST = ("PartonLevel:MPI = off",)
SMALL = SimulateConfig(classes=("label_Wqq", "label_QCD"), jets_per_class=15, seed=3, pythia=FAST)


def read(path: Path) -> ak.Array:
    with uproot.open(path) as file:
        return file["tree"].arrays()


@pytest.fixture
def short_chunks(monkeypatch):
    monkeypatch.setattr(plan, "CHUNK_JETS", 10)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """15 jets of two classes, each in a chunk of 10 and a short one."""
    out = tmp_path_factory.mktemp("simulate") / "one.root"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "CHUNK_JETS", 10)
        simulate(SMALL, out)
    assert list(out.parent.iterdir()) == [out]
    return out


@needs_sim
@pytest.mark.slow
def test_any_number_of_processes_writes_the_same_bytes(small, tmp_path, short_chunks):
    simulate(SMALL, tmp_path / "two.root", processes=2)
    assert small.read_bytes() == (tmp_path / "two.root").read_bytes()


@needs_sim
@pytest.mark.slow
def test_a_cluster_writes_the_same_bytes(small, tmp_path, short_chunks):
    distributed = pytest.importorskip("distributed", reason="needs pip install 'detfm[cluster]'")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        simulate(SMALL, tmp_path / "dask.root", scheduler=cluster.scheduler_address)
    assert small.read_bytes() == (tmp_path / "dask.root").read_bytes()


@needs_sim
@pytest.mark.slow
def test_interrupted_work_continues_to_the_same_bytes(small, tmp_path, short_chunks, monkeypatch):
    made: list[int] = []

    def fragile(cfg, task, number, path):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(number)
        return make_chunk(cfg, task, number, path)

    out = tmp_path / "again.root"
    monkeypatch.setattr(engine, "make_chunk", fragile)
    with pytest.raises(KeyboardInterrupt):
        simulate(SMALL, out)
    assert not out.exists()
    with pytest.raises(RunError, match=r"unfinished work of other settings \(settings.seed: 3 then, 4 now\)"):
        simulate(dataclasses.replace(SMALL, seed=4), out)
    made[:] = [0, 1, 2]  # counts no more
    simulate(SMALL, out)
    assert made == [0, 1, 2, 2, 3]  # what was finished was not made again
    assert out.read_bytes() == small.read_bytes()
    assert list(tmp_path.iterdir()) == [out]


def test_foreign_folders_and_work_under_way_stay(tmp_path):
    from foundation.simulate.parts import open_partial

    (tmp_path / "a.root.partial").mkdir()
    (tmp_path / "a.root.partial" / "thesis.tex").touch()
    with pytest.raises(RunError, match="was not written by `detfm simulate`"), open_partial(tmp_path / "a.root", {}):
        pass
    with (
        open_partial(tmp_path / "b.root", {"seed": 1}),
        pytest.raises(RunError, match="another `detfm simulate` is at work"),
        open_partial(tmp_path / "b.root", {"seed": 1}),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.root.partial"]


@needs_sim
@pytest.mark.slow
def test_a_store_is_made_of_the_file_and_its_ingest_continues(tmp_path, capsys):
    arguments = ["simulate", "--out", str(tmp_path / "jets.root"), "--processes", "1", "--cfg.jets_per_class", "4"]
    arguments += ['--cfg.pythia=["PartonLevel:MPI = off", "HadronLevel:all = off"]', "--store", str(tmp_path / "store")]
    assert main(arguments) == 2
    assert "--store and --schema belong together" in capsys.readouterr().err
    assert main([*arguments, "--schema", "data/no_such"]) == 2
    assert list(tmp_path.iterdir()) == []
    assert main([*arguments, "--schema", "data/jets"]) == 0
    manifest = (tmp_path / "store" / "manifest.json").read_bytes()
    assert json.loads(manifest)["accounting"]["written"] == 20
    made = (tmp_path / "jets.root").stat().st_mtime_ns
    (tmp_path / "store").rename(tmp_path / "elsewhere")  # as if the ingest had not ended
    assert main([*arguments, "--schema", "data/jets"]) == 0
    assert (tmp_path / "jets.root").stat().st_mtime_ns == made


@needs_sim
@pytest.mark.slow
def test_a_class_is_the_same_whichever_others_are_made_and_seeds_differ(small):
    from foundation.simulate.chunks import generate_chunk

    jets = read(small)
    alone = generate_chunk(dataclasses.replace(SMALL, classes=("label_QCD",)), Task("label_QCD", 0, 10))
    other = generate_chunk(dataclasses.replace(SMALL, seed=4), Task("label_QCD", 0, 10))
    together = jets[np.isin(ak.to_numpy(jets.event_id), alone["event_id"])]
    assert sorted(ak.to_list(together.jet_pt)) == sorted(alone["jet_pt"].tolist())
    assert not set(other["jet_pt"]) & set(alone["jet_pt"])


@needs_sim
@pytest.mark.slow
def test_fresh_jets_are_unrounded_balanced_and_complete(small):
    jets = read(small)
    assert ak.sum(jets.label_Wqq) == ak.sum(jets.label_QCD) == 15
    assert len(np.unique(ak.to_numpy(jets.event_id))) == 30
    assert ak.all(ak.num(jets.part_px) == jets.jet_nparticles)
    pt = np.hypot(*(ak.sum(ak.values_astype(jets[f"part_{axis}"], float), axis=1) for axis in ["px", "py"]))
    assert ak.max(abs(pt / jets.jet_pt - 1)) < 1e-5
    window = np.linspace(SMALL.pt_min, SMALL.pt_max, 11)
    for label in SMALL.classes:
        counts = np.histogram(jets.jet_pt[jets[label] == 1], window)[0]
        assert set(counts) == {1, 2}  # 15 jets in 10 bins
    with uproot.open(small) as file:
        stored = json.loads(file["metadata"])
    assert stored["settings"]["seed"] == SMALL.seed
    assert set(stored["versions"]) >= {"pythia8mc", "fastjet", "detfm"}


@needs_sim
@pytest.mark.slow
def test_failed_generation_leaves_nothing_behind(tmp_path, monkeypatch):
    out = tmp_path / "jets.root"
    with pytest.raises(ConfigError, match="does not know the setting 'No:such = on'"):
        simulate(dataclasses.replace(SMALL, pythia=("No:such = on",)), out)
    from foundation.simulate import quota

    monkeypatch.setattr(quota, "MOST_EVENTS_PER_JET", 10)
    low = SimulateConfig(classes=("label_Tbqq",), jets_per_class=10, pt_min=180.0, pt_max=190.0, pythia=FAST)
    with pytest.raises(DataError, match=r"label_Tbqq: after \d+ events, jets are still missing"):
        simulate(low, out)
    assert list(tmp_path.iterdir()) == []


@needs_sim
@pytest.mark.slow
def test_the_shipped_sample_is_what_its_command_makes():
    from importlib.metadata import version

    from foundation.simulate.chunks import generate_chunk

    with uproot.open(SAMPLE) as file:
        stored = json.loads(file["metadata"])["versions"]["pythia8mc"]
        jets = file["tree"].arrays()
    if version("pythia8mc") != stored:
        pytest.skip(f"the sample was made with pythia8mc {stored}, installed is {version('pythia8mc')}")
    cfg = load_config(SimulateConfig, "simulate/sample")
    last = cfg.jets_per_class // plan.CHUNK_JETS
    again = generate_chunk(cfg, Task("label_Wqq", last, cfg.jets_per_class % plan.CHUNK_JETS))
    shipped = jets[np.isin(ak.to_numpy(jets.event_id), again["event_id"])]
    shipped = shipped[ak.argsort(shipped.event_id)]
    assert ak.to_list(shipped.event_id) == sorted(again["event_id"])
    order = np.argsort(again["event_id"])
    for name in again:
        if name in SUBSTRUCTURE_FLOATS:  # on another processor the axes of a jet in a hundred are others
            same = ak.to_numpy(shipped[name]) == ak.to_numpy(again[name][order])
            assert same.mean() > 0.98, name
        else:
            assert ak.to_list(shipped[name]) == ak.to_list(again[name][order]), name


@needs_sim
@pytest.mark.slow
@pytest.mark.parametrize(("number", "processes"), [(signal.SIGINT, 2), (signal.SIGTERM, 2), (signal.SIGTERM, 1)])
def test_signals_end_all_processes_at_once_and_leave_finished_chunks(tmp_path, number, processes):
    command = ["simulate", "--processes", str(processes), "--out", "jets.root", "--cfg.jets_per_class=100000"]
    quick = ["--cfg.substructure=false", '--cfg.pythia=["PartonLevel:MPI = off", "HadronLevel:all = off"]']
    process = subprocess.Popen(
        [sys.executable, "-m", "foundation.cli", *command, *quick],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(SAMPLE.parents[1])},
        start_new_session=True,  # a process group of its own, as a shell gives its foreground job
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    chunks = tmp_path / "jets.root.partial" / "chunks"
    try:
        while not list(chunks.glob("*.npz")) and process.poll() is None:
            time.sleep(0.05)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as the terminal does
        else:
            process.send_signal(number)
        _, errors = process.communicate(timeout=30)  # ends when the last process has closed its end
        assert process.returncode == 128 + number
        assert "the same command continues" in errors
    finally:
        process.kill()
        process.wait()
    assert list(chunks.glob("*.npz"))
    assert [path.name for path in tmp_path.iterdir()] == ["jets.root.partial"]
