"""The check of the check: `verify` passes what is exact and catches one flipped bit, one edited file, one lost file."""

from __future__ import annotations

import json
import re
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from example_graphs import every_operation, network
from paper_target import PaperTarget, ToollessTarget, only, sign_again, spoil
from random_graphs import random_graph

from distill_to_fpga.graph import as_read, run
from distill_to_fpga.hls import export_graph
from distill_to_fpga.hls.containers import to_words
from distill_to_fpga.mutate import mutants
from distill_to_fpga.target import Asked
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import make_vectors, out_of_range
from distill_to_fpga.verify import MismatchError, output_words, session, verify, verify_export
from distill_to_fpga.verify.bisect import bisected
from distill_to_fpga.verify.result import GOLDEN
from distill_to_fpga.verify.subject import Subject
from foundation.errors import DataError, MissingToolError, RunError, ToolError

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
PAPER, BLURRED, TOOLLESS = PaperTarget("paper"), PaperTarget("blurred", traces=False), ToollessTarget("toolless")

ROUNDING = '"rounding": "half_up", "overflow": "wrap"', '"rounding": "truncate", "overflow": "wrap"'


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    graph = network((6, 5, 4, 2))
    root = tmp_path_factory.mktemp("verify") / "project"
    export_graph(graph, root, vectors=make_vectors(graph, count=100))
    return root


@pytest.fixture
def project(exported, tmp_path) -> Path:
    return shutil.copytree(exported, tmp_path / "project")


@pytest.fixture
def run_of_three(tmp_path, monkeypatch) -> Path:
    """An export run for three back ends, one of which lacks its simulator."""
    only(monkeypatch, PAPER, BLURRED, TOOLLESS)
    graph = every_operation()
    for name, target in TARGETS.items():
        target.write(graph, tmp_path / "run/project" / name, Asked(make_vectors(graph, count=100)))
    (tmp_path / "run/provenance.json").write_text('{"stage": "export", "inputs": {}}')
    return tmp_path / "run"


def test_every_executor_is_compared_or_named(run_of_three, capsys):
    before = {p: p.stat().st_mtime_ns for p in (run_of_three / "project").rglob("*")}
    result = verify(run_of_three, count=3000)
    assert result.mismatches == {"paper": 0, "blurred": 0, "shipped outputs": 0}
    assert result.not_run["toolless"] == "toolless needs a simulator.\n  apt install simulator"
    assert "records no input 'student'" in result.not_run["student"]
    assert result.vectors == sum(result.kinds.values()) == 3000
    assert result.words == 3 * result.vectors
    assert result.kinds["out_of_range"] == session.STRANGE
    kept = json.loads((run_of_three / "verify.json").read_text())
    assert kept["exact"]
    assert kept["vectors"] == 3000
    assert {p: p.stat().st_mtime_ns for p in (run_of_three / "project").rglob("*")} == before, "verify wrote into it"
    said = capsys.readouterr().err
    assert "bit-exact, 0 mismatches in 3,000 vectors" in said
    assert "apt install simulator" in said


def test_what_is_required_must_run(run_of_three):
    assert verify_export(run_of_three, count=500, require=["paper"]).passed
    with pytest.raises(MissingToolError, match=r"--require toolless: toolless needs a simulator"):
        verify_export(run_of_three, count=500, require=["toolless"])
    with pytest.raises(RunError, match=r"--require student: .* records no input 'student'"):
        verify_export(run_of_three, count=500, require=["student"])
    with pytest.raises(RunError, match=r"--require rtl: there is no project of it, only of paper, blurred, toolless"):
        verify_export(run_of_three, count=500, require=["rtl"])
    with pytest.raises(MissingToolError, match="toolless needs a simulator"):
        verify_export(run_of_three / "project/toolless", count=500)


@pytest.mark.parametrize(("rate", "total"), [(10.0, 100_000), (5000.0, 300_000)])
def test_as_many_vectors_as_run_in_a_minute_and_100_000_at_least(rate, total):
    """A first piece measures the rate; the others are small enough for the memory."""
    graph = network((2, 2))
    nothing = make_vectors(graph, count=0).head(0)
    stub = session.Session(Subject(graph, nothing, np.zeros((0, 2), np.int64), {}), [])
    sizes = []
    for vectors in session.pieces(stub, None, 1):
        sizes.append(len(vectors))
        stub.kinds.update(vectors.counts())
        stub.seconds[GOLDEN] += len(vectors) / rate
    assert sizes[0] == session.FIRST
    assert total - session.WORTH <= stub.vectors <= total
    assert len(sizes) == 2


def test_pieces_fit_the_memory(run_of_three, monkeypatch):
    monkeypatch.setattr(session, "PIECE_WORDS", 19 * 4000)
    monkeypatch.setattr(session, "FIRST", 1000)
    result = verify_export(run_of_three / "project/paper", count=10_000)
    assert (result.vectors, result.mismatches) == (10_000, {"paper": 0, "shipped outputs": 0})


def test_the_first_wire_that_differs_is_named_with_both_values(run_of_three):
    spoil(run_of_three / "project/paper", *ROUNDING)
    result = verify_export(run_of_three, count=1000)
    assert result.mismatches["blurred"] == 0 < result.mismatches["paper"]
    first = result.differences["paper"]
    assert (first.wire, first.golden - first.firmware, first.traced) == ("quantize_3", 1, True)
    with pytest.raises(
        MismatchError, match=r"is NOT bit-exact: .* in paper, 0 in blurred.*\n  first: wire 'quantize_3'"
    ):
        verify(run_of_three, count=1000)
    assert not json.loads((run_of_three / "verify.json").read_text())["exact"]


def test_an_executor_without_wires_names_the_output(run_of_three):
    spoil(run_of_three / "project/blurred", *ROUNDING)
    first = verify_export(run_of_three, count=1000).first
    assert (first.executor, first.traced) == ("blurred", False)
    assert first.wire in ("dense_2", "argmax_1")
    assert "an output: the wires before it cannot be seen" in str(first)


def test_wrong_shipped_outputs_are_found(run_of_three):
    for folder in (run_of_three / "project").iterdir():
        path = folder / "tb/data/best.txt"
        first, rest = path.read_text().split("\n", 1)
        path.write_text(f"{int(first) ^ 1}\n{rest}")
        sign_again(folder)
    result = verify_export(run_of_three, count=500)
    assert result.mismatches == {"paper": 0, "blurred": 0, "shipped outputs": 1}
    assert (result.first.executor, result.first.vector, result.first.kind) == ("shipped outputs", 0, "zero")


def test_projects_of_different_networks_do_not_pass_as_one(run_of_three):
    shutil.rmtree(run_of_three / "project/blurred")
    other = network((3, 2))
    BLURRED.write(other, run_of_three / "project/blurred", Asked(make_vectors(other, count=10)))
    with pytest.raises(DataError, match="are not firmware of the same network"):
        verify_export(run_of_three, count=500)


def test_integers_out_of_range_are_read_by_their_low_bits():
    graph = every_operation()
    raw = out_of_range(graph, 200)
    read = as_read(graph, raw.inputs)
    run(graph, read)  # refuses what is out of range
    with pytest.raises(DataError, match="hardware bits hold"):
        run(graph, raw.inputs)
    wire = graph.wires["particles"]
    assert ((read["particles"] - raw.inputs["particles"]) % (1 << wire.bits) == 0).all()
    assert (raw.inputs["particles"] < wire.low).any()
    assert (raw.inputs["particles"] > wire.high).any()
    inside = make_vectors(graph, count=100).inputs
    assert all((as_read(graph, inside)[name] == inside[name]).all() for name in inside)


@needs_compiler
@pytest.mark.slow
def test_an_honest_hls_project_is_exact_beyond_its_range_too(tmp_path):
    graph = every_operation()
    export_graph(graph, tmp_path / "project", vectors=make_vectors(graph, count=60))
    extra = make_vectors(graph, count=500, seed=9)
    result = verify_export(tmp_path / "project", extra_vectors=extra, count=12_000)
    assert (result.exact, result.vectors, result.first) == (True, 12_000, None)
    assert result.mismatches == {"hls": 0, "shipped outputs": 0}
    assert result.kinds["out_of_range"] > 0


@pytest.mark.parametrize("name", ["src/weights.h", "graph.json", "tb/data/output.txt", "include/ap_types/ap_fixed.h"])
def test_an_edited_file_is_named(project, name):
    with (project / name).open("a") as file:
        file.write("\n")
    with pytest.raises(DataError, match=f"{re.escape(name)} has been changed"):
        verify_export(project)


def test_a_lost_file_a_broken_manifest_and_a_strange_folder_are_named(project, tmp_path):
    (project / "src/layers.h").unlink()
    with pytest.raises(DataError, match=r"src/layers\.h is missing"):
        verify_export(project)
    (project / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        verify_export(project)
    with pytest.raises(RunError, match="is not an exported project"):
        verify_export(tmp_path)
    with pytest.raises(RunError, match=r"gone\.tar\.gz: no such bundle, export run or project"):
        verify_export(tmp_path / "gone.tar.gz")
    (tmp_path / "provenance.json").write_text('{"stage": "distill"}')
    with pytest.raises(RunError, match="is a run of stage 'distill'; expected 'export'"):
        verify(tmp_path)


def test_a_missing_compiler_is_named_with_its_package(project, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(MissingToolError, match=r"'no-such-compiler', which is not on PATH.*\n.*apt install g\+\+"):
        verify_export(project)


@needs_compiler
def test_cpp_that_does_not_compile_is_an_error_and_not_a_missing_tool(project):
    (project / "src/network.h").write_text("#error broken\n")
    sign_again(project)
    with pytest.raises(ToolError, match=r"failed in .*[\s\S]*broken") as caught:
        verify_export(project)
    assert not isinstance(caught.value, MissingToolError)


@pytest.mark.parametrize("graph", [every_operation(), random_graph(1, most_nodes=8)])
def test_cuts_find_the_operation_that_a_back_end_gets_wrong(graph, tmp_path, monkeypatch):
    """In a network of branches, for some bits that show; the firmware has no wires to look at."""
    only(monkeypatch, BLURRED)
    vectors = make_vectors(graph, count=300)
    tried = 0
    for flip, mutant in islice(mutants(graph, 1), 4):
        wrong = (output_words(graph, vectors) != output_words(mutant, vectors)).any(1)
        if not wrong.any():
            continue
        one = {name: values[wrong][:1] for name, values in vectors.inputs.items()}
        folder = tmp_path / f"{tried}"
        BLURRED.write(mutant, folder / "project", Asked(vectors.head(20)))
        (folder / "build").mkdir()
        ((name, words),) = bisected(BLURRED, folder / "project", mutant, graph, one, folder / "build").items()
        golden = to_words(graph.wires[name], run(graph, one, keep=True)[name])
        assert name == flip.wire
        assert (words != golden).any()
        tried += 1
    assert tried
