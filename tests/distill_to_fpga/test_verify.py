"""The check of the check: `verify` passes what is exact and catches one flipped bit, one edited file, one lost file."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from example_graphs import every_operation, network

from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.hls import export_graph
from distill_to_fpga.manifest import HLS, write_manifest
from distill_to_fpga.vectors import make_vectors
from distill_to_fpga.verify import MismatchError, verify, verify_export
from foundation.errors import DataError, RunError, ToolError

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    graph = network((6, 5, 4, 2))
    root = tmp_path_factory.mktemp("verify") / "project"
    export_graph(graph, root, vectors=make_vectors(graph, count=100))
    return root


@pytest.fixture
def project(exported, tmp_path) -> Path:
    return shutil.copytree(exported, tmp_path / "project")


def sign_again(project: Path) -> None:
    """Make the manifest agree with changed files, as a fault in the back end itself would."""
    graph = FixedPointGraph.load(project / "graph.json")
    write_manifest(project, graph, HLS)


def mutate_weight(project: Path, array: str) -> None:
    """Flip the lowest bit of the first weight of an array in weights.h."""
    path = project / "src" / "weights.h"
    found = re.search(rf"{array}\[[^\]]*\] = {{\s*(-?\d+)", path.read_text())
    text, value = path.read_text(), int(found[1])
    path.write_text(text[: found.start(1)] + str(value ^ 1) + text[found.end(1) :])


@needs_compiler
@pytest.mark.slow
def test_an_honest_project_is_exact_on_ten_thousand_vectors(project):
    before = {p: p.stat().st_mtime_ns for p in project.rglob("*")}
    (project.parent / "provenance.json").write_text('{"stage": "export"}')
    result = verify(project.parent)
    assert json.loads((project.parent / "verify.json").read_text())["exact"]
    assert result.exact
    assert result.first is None
    assert result.vectors >= 10_000
    assert result.mismatches == {"firmware": 0, "shipped outputs": 0}
    assert result.words == 2 * result.vectors
    assert {p: p.stat().st_mtime_ns for p in project.rglob("*")} == before, "verify wrote into the project"


@needs_compiler
@pytest.mark.slow
def test_one_flipped_weight_bit_is_caught_and_traced_to_its_layer(project):
    mutate_weight(project, "dense_2_weight")
    sign_again(project)
    message = r"NOT bit-exact: .* in firmware, 0 in shipped outputs\.\n  first: wire 'dense_2' element \[0\]"
    with pytest.raises(MismatchError, match=message):
        verify(project, count=1000)


@needs_compiler
@pytest.mark.slow
def test_a_wrong_rounding_mode_is_caught(project):
    top = project / "src" / "network.cpp"
    top.write_text(top.read_text().replace("AP_RND", "AP_TRN"))
    sign_again(project)
    result = verify_export(project, count=1000)
    assert result.mismatches["firmware"] > 0
    assert result.first.wire.startswith("quantize")
    assert result.first.golden - result.first.firmware == 1


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
    (tmp_path / "provenance.json").write_text('{"stage": "distill"}')
    with pytest.raises(RunError, match="is a run of stage 'distill'; expected 'export'"):
        verify(tmp_path)


def test_a_missing_compiler_is_named_with_its_package(project, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ToolError, match=r"'no-such-compiler', which is not on PATH.*\n.*apt install g\+\+"):
        verify_export(project)


@needs_compiler
@pytest.mark.slow
def test_cpp_that_does_not_compile_says_so(project):
    (project / "src/network.h").write_text("#error broken\n")
    sign_again(project)
    with pytest.raises(ToolError, match=r"failed in .*[\s\S]*broken"):
        verify_export(project)


@needs_compiler
@pytest.mark.slow
def test_several_inputs_and_outputs_are_exact(tmp_path):
    graph = every_operation()
    export_graph(graph, tmp_path / "project", vectors=make_vectors(graph, count=60))
    extra = make_vectors(graph, count=500, seed=9)
    result = verify_export(tmp_path / "project", extra_vectors=extra, count=2000)
    assert (result.exact, result.vectors) == (True, 2000)
