"""conifer projects: the trees of a graph, the same integers through conifer."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from example_graphs import network
from small_students import LAYOUT

from distill_to_fpga.conifer_project.model import ensemble, score_type
from distill_to_fpga.conifer_project.trees import Leaf, Split, read_trees
from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, GraphError, as_read, run
from distill_to_fpga.hls.containers import to_words
from distill_to_fpga.manifest import check_manifest
from distill_to_fpga.mutate import mutants
from distill_to_fpga.students.trees import Trees
from distill_to_fpga.target import Asked
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import Vectors, make_vectors
from distill_to_fpga.verify import verify_export
from foundation.errors import MissingToolError, RunError

pytest.importorskip("conifer", reason="conifer is not installed: pip install 'detfm[trees]'")
CONIFER = TARGETS["conifer"]


def grown(outputs: int = 2, rounds: int = 3, depth: int = 3, fraction: int = 6, seed: int = 0) -> FixedPointGraph:
    """The network of a student's layer of trees, with random splits and leaves; some thresholds cut nothing."""
    rng = np.random.default_rng(seed)
    made = Trees(len(LAYOUT.features), outputs, rounds, depth, fraction)
    feature = rng.integers(0, LAYOUT.tokens * len(LAYOUT.features), made.feature.shape)
    made.feature[...] = feature
    made.threshold[...] = rng.integers(np.tile(LAYOUT.low, 4)[feature], np.tile(LAYOUT.high, 4)[feature] + 2)
    made.leaves[...] = rng.integers(-40, 40, made.leaves.shape)
    g = GraphBuilder("forest", 4)
    x = g.input("particles", (LAYOUT.tokens, len(LAYOUT.features)), LAYOUT.signed, LAYOUT.bits)
    g.output(made.lower(g, x), "outputs")
    return g.build()


def golden_words(graph: FixedPointGraph, vectors: Vectors) -> np.ndarray:
    golden = run(graph, as_read(graph, vectors.inputs))
    return np.concatenate([to_words(graph.wires[w], golden[port]) for port, w in graph.outputs.items()], axis=1)


@pytest.mark.slow
def test_a_student_of_trees_is_exact(tmp_path):
    graph = grown()
    CONIFER.write(graph, tmp_path / "p", Asked(make_vectors(graph, count=60)))
    result = verify_export(tmp_path / "p", count=3000)
    assert (result.exact, result.mismatches["conifer"]) == (True, 0)


@pytest.mark.slow
def test_a_flipped_leaf_gives_the_mutant_and_not_the_network(tmp_path):
    graph = grown(outputs=1, rounds=2, depth=2)
    vectors = make_vectors(graph, count=2000)
    found = ((flip, mutant) for flip, mutant in mutants(graph, 1) if score_type(mutant) == score_type(graph))
    flip, mutant = next(found)
    assert flip.constant == "entries"
    CONIFER.write(mutant, tmp_path / "p", Asked(vectors.head(40)))
    (tmp_path / "build").mkdir()
    manifest = check_manifest(tmp_path / "p")
    words = CONIFER.execute(tmp_path / "p", manifest, mutant, vectors.inputs, tmp_path / "build").words
    np.testing.assert_array_equal(words, golden_words(mutant, vectors))
    assert (words != golden_words(graph, vectors)).any()


@pytest.mark.parametrize(("outputs", "depth"), [(1, 1), (2, 3), (3, 2), (5, 4)])
def test_conifers_own_model_has_the_same_scores(outputs, depth):
    """conifer's Python back end, in float64, which holds them exactly."""
    from conifer.model import make_model

    graph = grown(outputs, depth=depth, seed=depth)
    vectors = make_vectors(graph, count=400)
    scores = make_model(ensemble(graph)).decision_function(vectors.inputs["particles"].reshape(len(vectors), -1))
    golden = run(graph, vectors.inputs)["outputs"] * 2.0 ** -graph.wires[graph.outputs["outputs"]].fraction
    np.testing.assert_array_equal(scores.reshape(len(vectors), -1)[:, :outputs], golden)
    if outputs == 2:
        assert (scores[:, 2] == 0).all(), "two classes of conifer are one score"


def test_splits_that_decide_nothing_are_none():
    g = GraphBuilder("one")
    x = g.input("x", (3,), False, 4)
    bits = g.compare(x, [5, 16, 0])
    g.output(g.sum(g.table(bits, [[-3, 7], [1, 2], [4, 9]], 0, 1)))
    (trees,) = read_trees(g.build())
    assert trees == (Split(0, 5, Leaf(-1.5), Leaf(3.5)), Leaf(0.5), Leaf(4.5))


def test_a_choice_with_the_same_on_both_sides_is_none():
    g = GraphBuilder("same")
    bits = g.compare(g.input("x", (2,), False, 4), [5, 7])
    values = g.table(bits, [[2, 2], [1, 3]], 0, 0)
    g.output(g.select(bits, values, values))
    assert read_trees(g.build()) == [(Leaf(2.0),), (Split(1, 7, Leaf(1.0), Leaf(3.0)),)]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda g, x: g.dense(x, [[1], [2]], 0), "dense 'dense_1' is not an operation of trees"),
        (lambda g, x: g.take(x, [1, 0]), "output 'other' is of an input itself"),
        (lambda g, x: g.sum(x), "sum 'sum_1' is of an input itself"),
        (lambda g, x: g.compare(g.compare(x, 3), 1), "compare 'compare_2' is of a sum"),
        (lambda g, x: g.quantize(g.sum(g.compare(x, 3)), False, 1, 0), "quantize 'quantize_1' is not an operation of"),
    ],
)
def test_what_is_no_forest_is_named(build, message, tmp_path):
    g = GraphBuilder("other")
    g.output(build(g, g.input("x", (2,), True, 5)))
    with pytest.raises(GraphError, match=f"{message}.*use --target hls"):
        CONIFER.write(g.build(), tmp_path / "p", Asked(make_vectors(network((4, 2)), count=20)))
    assert not (tmp_path / "p").exists()


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("small") / "p"
    CONIFER.write(grown(rounds=1), root, Asked(make_vectors(grown(rounds=1), count=40)))
    return root


def test_two_exports_are_the_same_bytes_and_tell_of_no_machine(small, tmp_path):
    CONIFER.write(grown(rounds=1), tmp_path / "again", Asked(make_vectors(grown(rounds=1), count=40)))
    assert check_manifest(tmp_path / "again") == check_manifest(small)
    data = json.loads((small / "forest.json").read_text())
    assert (data["metadata"], data["config"]["output_dir"]) == ([], ".")
    texts = [path.read_text() for path in small.rglob("*") if path.is_file()]
    assert not [text for text in texts if str(small) in text]


def test_the_model_file_is_conifers(small):
    from conifer.model import load_model

    graph, loaded = grown(rounds=1), load_model(small / "forest.json")
    assert (loaded.n_features, loaded.n_trees, loaded.splitting_convention) == (12, 1, "<")
    readme = (small / "README.md").read_text()
    assert "is given a third, `score[2]`" in readme
    assert f"scores and leaves are `{score_type(graph).cpp}`" in readme


def test_an_existing_folder_and_missing_packages_are_named(small, tmp_path, monkeypatch):
    graph, find = grown(rounds=1), importlib.util.find_spec
    asked = Asked(make_vectors(graph, count=40))
    with pytest.raises(RunError, match="needs a new folder"):
        CONIFER.write(graph, small, asked)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "conifer" else find(name))
    with pytest.raises(MissingToolError, match=r"needs the package 'conifer', .*\n  pip install 'detfm\[trees\]'"):
        CONIFER.write(graph, tmp_path / "p", asked)
    assert not (tmp_path / "p").exists()
