"""`detfm simulate`: what it refuses, and that what it makes is reproducible, complete and whole."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
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
from foundation.simulate import DetectorConfig, SimulateConfig
from foundation.simulate import command as simulate_command
from foundation.simulate.command import simulate
from foundation.simulate.config import check
from foundation.simulate.processes import PROCESSES

SAMPLE = Path(__file__).parents[2] / "samples" / "jets.root"
MISSING = [package for package in ("pythia8mc", "fastjet") if importlib.util.find_spec(package) is None]
needs_sim = pytest.mark.skipif(bool(MISSING), reason=f"needs pip install 'detfm[sim]' (missing: {', '.join(MISSING)})")

# Settings and refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("label_Wq",)}, r"unknown jet class 'label_Wq'.*did you mean.*label_Wqq"),
        ({"classes": ("label_QCD", "label_QCD")}, "named twice"),
        ({"classes": ()}, "at least one"),
        ({"pt_min": 700.0, "pt_max": 600.0}, "pt window is empty"),
        ({"pt_max": 7000.0}, "cannot be reached"),
        ({"eta_max": 2.5}, "within the calorimeter"),
        ({"jets_per_class": 0}, "at least 1"),
        ({"mantissa_bits": {"part_pt": 9}}, "no float column 'part_pt'"),
        ({"mantissa_bits": {"part_px": 24}}, "not between 0 and 23"),
        ({"mantissa_bits": {"part_px": 9}, "steps": {"part_px": 0.1}}, "both"),
        ({"steps": {"part_energy": 0.5}}, "mantissa_bits"),
        ({"detector": DetectorConfig(hadron_efficiency=1.5)}, r"detector\.hadron_efficiency: 1\.5"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_generating(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        simulate(dataclasses.replace(SimulateConfig(), **change), tmp_path / "jets.root")
    assert list(tmp_path.iterdir()) == []


def test_preset_and_defaults_are_accepted():
    check(SimulateConfig())
    check(load_config(SimulateConfig, "simulate/sample"))
    assert len({process.index for process in PROCESSES.values()}) == len(PROCESSES)


def test_missing_package_is_answered_with_the_install_command(tmp_path, monkeypatch):
    monkeypatch.setattr(simulate_command.importlib.util, "find_spec", lambda name: None)
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


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """15 jets of two classes, each in a chunk of 10 and a short one."""
    out = tmp_path_factory.mktemp("simulate") / "one.root"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate_command, "CHUNK_JETS", 10)
        simulate(SMALL, out)
    return out


@needs_sim
@pytest.mark.slow
def test_any_number_of_workers_writes_the_same_columns(small, tmp_path, monkeypatch):
    monkeypatch.setattr(simulate_command, "CHUNK_JETS", 10)
    simulate(SMALL, tmp_path / "two.root", workers=2)
    one, two = read(small), read(tmp_path / "two.root")
    assert one.fields == two.fields
    for name in one.fields:
        assert ak.to_list(one[name]) == ak.to_list(two[name]), name


@needs_sim
@pytest.mark.slow
def test_a_class_is_the_same_whichever_others_are_made_and_seeds_differ(small):
    from foundation.simulate.chunks import generate_chunk

    jets = read(small)
    alone = generate_chunk(dataclasses.replace(SMALL, classes=("label_QCD",)), "label_QCD", 0, 10)
    other = generate_chunk(dataclasses.replace(SMALL, seed=4), "label_QCD", 0, 10)
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
@pytest.mark.parametrize(("label", "mass"), [("label_Hcc", 125), ("label_Hgg", 125), ("label_Tbqq", 172)])
def test_every_other_class_makes_its_resonance(label, mass):
    from foundation.simulate.chunks import generate_chunk

    jets = generate_chunk(SimulateConfig(classes=(label,), pythia=FAST), label, 0, 20)
    assert np.median(jets["jet_sdmass"]) == pytest.approx(mass, rel=0.12)
    assert (jets[label] == 1).all()


@needs_sim
@pytest.mark.slow
def test_failed_generation_leaves_nothing_behind(tmp_path, monkeypatch):
    out = tmp_path / "jets.root"
    with pytest.raises(ConfigError, match="does not know the setting 'No:such = on'"):
        simulate(dataclasses.replace(SMALL, pythia=("No:such = on",)), out)
    from foundation.simulate import quota

    monkeypatch.setattr(quota, "MOST_EVENTS_PER_JET", 10)
    low = SimulateConfig(classes=("label_Tbqq",), jets_per_class=10, pt_min=60.0, pt_max=80.0, pythia=FAST)
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
    last = cfg.jets_per_class // simulate_command.CHUNK_JETS
    again = generate_chunk(cfg, "label_Wqq", last, cfg.jets_per_class % simulate_command.CHUNK_JETS)
    shipped = jets[np.isin(ak.to_numpy(jets.event_id), again["event_id"])]
    shipped = shipped[ak.argsort(shipped.event_id)]
    assert ak.to_list(shipped.event_id) == sorted(again["event_id"])
    order = np.argsort(again["event_id"])
    for name in again:
        assert ak.to_list(shipped[name]) == ak.to_list(again[name][order]), name


@needs_sim
@pytest.mark.slow
def test_ctrl_c_ends_workers_at_once_and_leaves_nothing_behind(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "foundation.cli", "simulate", "--workers", "2", "--out", str(tmp_path / "jets.root")],
        cwd=SAMPLE.parents[1],
        start_new_session=True,  # a process group of its own, as a shell gives its foreground job
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(3)  # the workers are up
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
        process.wait()
    assert list(tmp_path.iterdir()) == []
