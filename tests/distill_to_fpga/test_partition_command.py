"""`detfm partition` from the command line: runs, presets and graphs in, a run folder out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from example_graphs import network

from distill_to_fpga.partition import given
from distill_to_fpga.partition.command import InfeasibleError, partition
from distill_to_fpga.partition.config import ChipConfig, GoalConfig, LinksConfig, NumbersConfig, PartitionConfig
from distill_to_fpga.partition.graphs import graph_network
from foundation.cli import main
from foundation.command import load_config, to_yaml
from foundation.errors import ConfigError, RunError
from foundation.models import EncoderConfig
from foundation.runs import Run
from foundation.schema import DetectorSchema

SCHEMA = DetectorSchema.load(
    {"name": "jets", "modalities": {"particles": {"max_tokens": 6, "features": {"pt": {"expression": "pt"}}}}}
)
TINY = EncoderConfig(width=8, layers=1, heads=2, hidden=1)
CHEAP = NumbersConfig(weight_bits=2, zeros=0.9)  # quickly estimated
CFG = PartitionConfig(chip=ChipConfig("XC7VX690T", utilisation=0.02), numbers=CHEAP)
GRAPH = network((6, 12, 8, 3), weight_bits=3)
FILES = {"config.yaml", "metrics.json", "plan.json", "provenance.json", "schema.yaml", "systems.png", "time_chart.png",
         "utilisation.png"}  # fmt: skip


def encoder_run(folder, stage: str = "pretrain", schema_file: str = "") -> Run:
    run = Run.create(folder, stage, config={}, schema=SCHEMA)
    (run.path / "encoder.yaml").write_text(to_yaml(TINY))
    if schema_file:
        SCHEMA.save(run.path / schema_file)
    return run


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("partition")
    return partition(encoder_run(folder / "encoder").path, cfg=CFG, out=folder / "out")


def test_the_run_says_who_does_what_and_with_which_links(written):
    assert {path.name for path in written.path.iterdir()} == FILES
    plan, figures = written.read("plan.json"), written.read("metrics.json")
    assert figures["feasible"]
    assert figures["chips"] == figures["copies"] * len(plan["chips"]) > 1
    layers = {part["layer"] for chip in plan["chips"] for part in chip["layers"]}
    assert {"embed", "block0.attend", "block0.down", "pool"} <= layers
    assert all(chip["share"]["luts"] <= 0.02 and chip["share"]["dsps"] <= 0.02 for chip in plan["chips"])
    assert {"outside"} < {str(link["from"]) for link in plan["links"]}
    assert all(0 < link["share"] <= 1 and link["gbps"] <= 25 * link["links"] for link in plan["links"])
    assert sum(figures["latency_parts_us"].values()) == pytest.approx(figures["latency_without_contention_us"])
    assert figures["latency_without_contention_us"] <= figures["fastest_us"] <= figures["latency_us"] <= 12
    assert figures["rate_mhz"] == pytest.approx(40, rel=0.02)
    assert figures["most_mhz"] >= 39.999
    assert "LUTs per weight" in figures["method"]
    assert set(figures["bottleneck"]) == {"rate", "chips", "latency"}


def test_settings_are_kept_and_the_input_is_recorded(written):
    assert written.config(PartitionConfig) == CFG
    assert written.stage == "partition"
    assert written.input("encoder").name == "encoder"
    with pytest.raises(RunError, match="overwrite"):
        partition(written.input("encoder"), cfg=CFG, out=written.path)


def test_a_finetune_run_is_read_with_the_schema_of_its_encoder(tmp_path):
    run = encoder_run(tmp_path / "tagger", "finetune", "encoder_schema.yaml")
    assert given.read_network(run.path, "", CFG).network.tokens == 7
    (run.path / "encoder.yaml").unlink()
    with pytest.raises(RunError, match="did not finish, or trained another model"):
        partition(run.path, cfg=CFG, out=tmp_path / "other")


def test_a_student_is_lowered_to_its_graph(tmp_path, monkeypatch):
    run = Run.create(tmp_path / "student", "distill", config={}, schema=SCHEMA)
    monkeypatch.setattr(given, "load_student", lambda folder: (folder, "layout"))
    monkeypatch.setattr(given, "lower", lambda *parts: GRAPH if parts == (run.path / "student", "layout") else None)
    found = given.read_network(run.path, "", CFG)
    assert found.network == graph_network(GRAPH, 5.0)
    assert found.inputs == {"distill": run.path}


def test_an_export_is_its_graph_with_or_without_the_run(tmp_path):
    export = Run.create(tmp_path / "firmware", "export", config={}, schema=SCHEMA)
    with pytest.raises(RunError, match="only bundles"):
        given.read_network(export.path, "", CFG)
    (export.path / "project" / "hls").mkdir(parents=True)
    GRAPH.save(export.path / "project" / "hls" / "graph.json")
    of_run = given.read_network(export.path, "", CFG)
    of_file = given.read_network(export.path / "project" / "hls" / "graph.json", "", CFG)
    assert of_run.network == of_file.network == graph_network(GRAPH, 5.0)
    assert of_run.schema == SCHEMA
    assert of_file.schema.modalities["inputs"].features.keys() == {f"c{i}" for i in range(6)}


def test_what_cannot_be_is_said_by_how_much(tmp_path, capsys):
    run = encoder_run(tmp_path / "encoder")
    late = replace(CFG, lanes=2, goal=GoalConfig(latency_us=0.3))
    with pytest.raises(
        InfeasibleError, match=r"latency in us of the system: .* needed, 0.3 allowed \(\d\.\d\d times\)"
    ):
        partition(run.path, cfg=late, out=tmp_path / "late")
    assert not Run.open(tmp_path / "late", "partition").read("metrics.json")["feasible"]
    words = ["partition", str(run.path), "--out", str(tmp_path / "never"), "--cfg.chip.utilisation", "0.0001"]
    words += ["--cfg.numbers.weight_bits", "2", "--cfg.numbers.zeros", "0.9", "--cfg.lanes", "2"]
    assert main(words) == 2
    assert "fits on no system" in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def test_a_preset_by_name_from_the_command_line(tmp_path):
    words = ["partition", "pretrain/50k", "--cfg", "partition/level1", "--cfg.numbers.tokens", "7", "--cfg.lanes", "8"]
    words += ["--cfg.numbers.weight_bits", "2", "--cfg.numbers.zeros", "0.9", "--cfg.goal.chips", "4"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert figures["tokens"] == 8
    assert figures["copies"] == 1
    with pytest.raises(ConfigError, match="no such file or preset"):
        partition("pretrain/50", cfg=CFG, out=tmp_path / "none")


def test_the_presets_ask_for_what_their_names_say():
    level1, microsecond = (load_config(PartitionConfig, f"partition/{name}") for name in ("level1", "microsecond"))
    assert (level1.goal, level1.links) == (GoalConfig(), LinksConfig())
    assert level1.numbers == NumbersConfig()
    assert microsecond.goal.latency_us <= 2
    assert microsecond.goal.chips == 1000
    assert microsecond.clocks_between(1) == 9.0
