"""The HLS back end: what the C++ says, and that g++ makes of it exactly what the graph says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from example_graphs import every_operation, network
from random_graphs import random_graph

from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, GraphError
from distill_to_fpga.hls import export_graph, simulate
from distill_to_fpga.hls.containers import Container, constants, container, to_words, union
from distill_to_fpga.hls.project import ap_types
from distill_to_fpga.hls.simulate import run_parts
from distill_to_fpga.hls.sources import sources
from distill_to_fpga.project import InputFeature, Interface
from distill_to_fpga.vectors import make_vectors
from distill_to_fpga.verify import output_words
from foundation.errors import RunError, ToolError

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


def test_vectors_shared_out_among_the_cores_come_back_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2})
    program = tmp_path / "copy"
    program.write_text('#!/bin/sh\ncp "$1" "$2"\n')
    program.chmod(0o755)
    for count in (1, 999, 2001, 5003):
        x = np.random.default_rng(0).integers(-99, 99, (count, 2, 3))
        assert (run_parts(program, [x, -x[:, :1]], 9) == np.concatenate([x, -x[:, :1]], axis=1).reshape(-1, 9)).all()
    assert len(list(tmp_path.glob("copy.in*"))) == 3


def test_containers_hold_every_element():
    g = GraphBuilder("mixed")
    x = g.scale(g.input("x", (4,), signed=[1, 0, 0, 1], bits=[4, 4, 0, 2]), shift=[-3, 1, 9, -5])
    # 1.3 signed, 5.-1 unsigned (one more bit for a sign), nothing, -3.5 signed
    assert container(x) == Container(True, 6 + 5, 6)
    assert container(x).cpp == "ap_fixed<11, 6>"
    assert to_words(x, np.array([[-8, 15, 0, 1]])).tolist() == [[-8 * 4, 15 * 64, 0, 1]]
    assert union(Container(False, 3, 3), Container(False, 2, 0)) == Container(False, 5, 3)


def test_a_wire_whose_elements_lie_too_far_apart_is_refused():
    g = GraphBuilder("apart")
    x = g.input("x", (2,), signed=True, bits=8)
    g.output(g.shift(x, [40, -40], name="far"))
    with pytest.raises(GraphError, match="'far' takes 88 bits, more than 63"):
        sources(g.build())


def test_constants_take_the_fewest_bits():
    kind, words = constants(np.array([3, -1, 0]), np.array([1, 2, 0]))  # 1.5, -0.25, 0
    assert (kind, words.tolist()) == (Container(True, 4, 2), [6, -1, 0])


def test_the_top_function_is_what_an_integrator_expects():
    files = sources(every_operation(version=3))
    top, header = files["src/every.cpp"], files["src/every.h"]
    assert "namespace detfm_every_v3 {" in top
    assert "void every(const particles_t particles[12], const jet_t jet[4], scores_t scores[2], best_t best[1])" in top
    assert "#pragma HLS PIPELINE II=1" in top
    arrays = re.findall(r"^  \w+_t (\w+)\[\d+\];", top, re.MULTILINE)
    for name in ["particles", "jet", "scores", "best", *arrays]:
        assert f"#pragma HLS ARRAY_PARTITION variable={name} complete" in top
    assert "AP_RND, AP_SAT" in top
    assert "AP_TRN, AP_WRAP" in top
    assert "DETFM_EVERY_V3_H" in header
    assert max(len(line) for text in files.values() for line in text.splitlines()) <= 120


def test_names_that_are_not_identifiers_never_reach_cpp():
    for name in ("2nd", "a-b", "double", "x__y", "x_", "dense_t", "a b", 'a"'):
        g = GraphBuilder("names")
        with pytest.raises(GraphError, match="cannot name a wire"):
            g.output(g.relu(g.input("x", (1,), True, 4), name=name)) or g.build()


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("seed", "choices"), [(11, False), (12, False), (13, True), (14, True)])
def test_random_graphs_are_exact_in_cpp(seed, choices, tmp_path):
    graph = random_graph(seed, most_nodes=12, choices=choices)
    vectors = make_vectors(graph, count=3000)
    export_graph(graph, tmp_path / "project", vectors=vectors.head(10))
    got = simulate(tmp_path / "project", graph, vectors.inputs, tmp_path)
    np.testing.assert_array_equal(got, output_words(graph, vectors))


@needs_compiler
@pytest.mark.slow
def test_the_exported_project_stands_alone(tmp_path):
    """`make csim` with nothing but g++ and make; a wrong expected output fails it."""
    graph = network((6, 4, 2))
    root = tmp_path / "project"
    names = {"inputs": [InputFeature(f"pt{i}", 0.25, "GeV") for i in range(6)]}
    export_graph(graph, root, vectors=make_vectors(graph, count=50), hardware=Interface(names, {"output": ["b", "c"]}))
    done = subprocess.run(["make", "-C", str(root), "csim"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "50 vectors, 0 mismatching words" in done.stdout
    expected = root / "tb/data/output.txt"
    first, *rest = expected.read_text().splitlines()
    expected.write_text("\n".join([f"{int(first.split()[0]) + 1} {first.split()[1]}", *rest]) + "\n")
    done = subprocess.run(["make", "-C", str(root), "csim"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "vector 0, output word 0" in done.stdout
    text = (root / "README.md").read_text()
    assert "| 5 | pt5 | 10 signed | 0.25 GeV | 0 | -6 |" in text
    assert re.search(r"LUTs \| [\d,]+ \| \*estimate\*", text)


def test_a_project_never_overwrites(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    graph = network((2, 2))
    with pytest.raises(RunError, match="needs a new folder"):
        export_graph(graph, tmp_path, vectors=make_vectors(graph, count=10))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_missing_headers_answer_with_the_install_command(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    graph = network((2, 2))
    with pytest.raises(ToolError, match=r"pip install 'detfm\[fpga\]'"):
        export_graph(graph, tmp_path / "project", vectors=make_vectors(graph, count=10))
    assert not (tmp_path / "project").exists()


def test_export_is_reproducible_and_carries_the_licence(tmp_path):
    graph = network((4, 3, 2))
    for name in ("a", "b"):
        export_graph(graph, tmp_path / name, vectors=make_vectors(graph, count=20), clock_ns=2.5, part="xcku115")
    a, b = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in "ab")
    assert a == b
    assert set(a["sha256"]) == {
        p.relative_to(tmp_path / "a").as_posix() for p in (tmp_path / "a").rglob("*") if p.is_file()
    } - {"manifest.json"}
    assert "Apache License" in (tmp_path / "a/include/ap_types/LICENSE").read_text()
    assert "setting DETFM_PART xcku115" in (tmp_path / "a/build_hls.tcl").read_text()
    assert FixedPointGraph.load(tmp_path / "a/graph.json") == graph


def test_hls4ml_is_found_without_being_imported(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "hls4ml"]:  # of other tests
        monkeypatch.delitem(sys.modules, name)
    ap_types()
    assert "hls4ml" not in sys.modules
