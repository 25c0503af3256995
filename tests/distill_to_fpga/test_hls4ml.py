"""hls4ml projects: what hls4ml makes of a graph is the graph, bit for bit."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import yaml
from example_graphs import every_operation, network
from small_students import LAYOUT, jets, student
from untrained_runs import untrained

from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, GraphError, as_read, run
from distill_to_fpga.hls.containers import to_words
from distill_to_fpga.hls4ml_project.layers import Layer
from distill_to_fpga.hls4ml_project.model import Settings, check_types, converted, layer_list
from distill_to_fpga.hls4ml_project.target import Hls4mlTarget
from distill_to_fpga.lower import lower
from distill_to_fpga.manifest import check_manifest
from distill_to_fpga.mutate import mutants
from distill_to_fpga.students import StudentConfig, freeze
from distill_to_fpga.target import Asked
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import Vectors, make_vectors, out_of_range
from distill_to_fpga.verify import verify_export
from foundation.cli import dispatch
from foundation.errors import ConfigError, MissingToolError

pytest.importorskip("hls4ml", reason="hls4ml is not installed: pip install 'detfm[hls4ml]'")
HLS4ML = TARGETS["hls4ml"]
SHARED = Hls4mlTarget(Settings(reuse=2))


def mixed() -> FixedPointGraph:
    """Every operation that goes through, with signs, widths and binary points that vary from element to element."""
    rng = np.random.default_rng(7)
    g = GraphBuilder("mixed", 3)
    x = g.input("particles", (3, 4), signed=[1, 0, 1, 0], bits=[7, 5, 1, 0])
    y = g.input("jet", (4,), signed=False, bits=[9, 8, 3, 4])
    x = g.scale(x, offset=[3, 0, -1, 2], shift=[-2, 1, 0, -3])
    x = g.quantize(x, [1, 1, 0, 1], [5, 6, 2, 0], [2, -2, 1, 4], "half_up", "saturate")
    x = g.relu(g.dense(x, rng.integers(-7, 8, (4, 5)), rng.integers(-1, 4, (4, 5)), rng.integers(-9, 9, 5), 2))
    x = g.quantize(x, False, rng.integers(0, 6, (3, 5)), rng.integers(-1, 4, (3, 5)), "truncate", "wrap")
    pooled = g.concat([g.sum(x, axis=0), g.sum(x, axis=1), y])
    x = g.quantize(g.shift(pooled, rng.integers(-3, 3, 12)), True, 6, 2, "half_up", "wrap")
    x = g.sub(g.mul(x, x), g.add(x, x))
    x = g.take(x, np.arange(12).reshape(4, 3).T)
    g.output(g.slice(x, 0, 4, 3), "ends")
    g.output(g.dense(x, rng.integers(-3, 4, (4, 2)), 1), "each")
    g.output(g.reshape(g.sum(g.flatten(x)), (1,)), "total")
    return g.build()


def golden_words(graph: FixedPointGraph, vectors: Vectors) -> np.ndarray:
    golden = run(graph, as_read(graph, vectors.inputs))
    return np.concatenate([to_words(graph.wires[w], golden[port]) for port, w in graph.outputs.items()], axis=1)


def found_words(target: Hls4mlTarget, graph: FixedPointGraph, vectors: Vectors, root: Path) -> np.ndarray:
    target.write(graph, root / "p", Asked(vectors.head(60)))
    (root / "build").mkdir()
    return target.execute(root / "p", check_manifest(root / "p"), graph, vectors.inputs, root / "build").words


@pytest.mark.slow
def test_every_operation_that_it_takes_is_exact_at_reuse_two(tmp_path):
    graph = mixed()
    vectors = make_vectors(graph, count=2000) + out_of_range(graph, 64)
    np.testing.assert_array_equal(found_words(SHARED, graph, vectors, tmp_path), golden_words(graph, vectors))
    assert "strategy = nnet::resource" in (tmp_path / "p/firmware/parameters.h").read_text()


@pytest.mark.slow
def test_a_deepsets_student_is_exact(tmp_path):
    made = freeze(student(StudentConfig(kind="deepsets", tokens=4, phi=(5, 3), rho=(4,))), jets(300))
    graph = lower(made, LAYOUT)
    HLS4ML.write(graph, tmp_path / "p", Asked(make_vectors(graph, count=60)))
    result = verify_export(tmp_path / "p", count=3000)
    assert (result.exact, result.mismatches["hls4ml"]) == (True, 0)


@pytest.mark.slow
def test_an_mlp_with_a_flipped_weight_is_the_mutant_and_not_the_network(tmp_path):
    graph = network((6, 5, 3))
    vectors = make_vectors(graph, count=2000)
    flip, mutant = next(mutants(graph, 1))
    assert flip.constant == "weight"
    found = found_words(HLS4ML, mutant, vectors, tmp_path)
    np.testing.assert_array_equal(found, golden_words(mutant, vectors))
    assert (found != golden_words(graph, vectors)).any()


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    graph = network((4, 3, 2))
    root = tmp_path_factory.mktemp("small") / "p"
    HLS4ML.write(graph, root, Asked(make_vectors(graph, count=40), clock_ns=2.5))
    return root


def test_the_types_in_the_project_are_those_of_the_graph(small):
    graph = network((4, 3, 2))
    defines = (small / "firmware/defines.h").read_text()
    for layer in layer_list(graph):
        for kind in layer.types.values():
            assert f"ap_{'' if kind.signed else 'u'}fixed<{kind.width},{kind.integer}>" in defines
    assert "namespace detfm_network_v1" in defines


def test_two_exports_are_the_same_bytes(small, tmp_path):
    graph = network((4, 3, 2))
    HLS4ML.write(graph, tmp_path / "again", Asked(make_vectors(graph, count=40), clock_ns=2.5))
    assert check_manifest(tmp_path / "again") == check_manifest(small)
    config = yaml.safe_load((small / "hls4ml_config.yml").read_text())
    assert (config["OutputDir"], config["Stamp"], config["ClockPeriod"]) == (".", "v1", 2.5)


def test_vectors_are_there_as_hls4ml_reads_them(small):
    graph = network((4, 3, 2))
    given, expected = (
        np.loadtxt(small / f"tb_data/tb_{name}.dat") for name in ("input_features", "output_predictions")
    )
    golden = run(graph, {"inputs": given.astype(np.int64)})["output"]
    np.testing.assert_array_equal(expected, golden * 2.0 ** -graph.wires[graph.outputs["output"]].fraction)


@pytest.mark.parametrize("kind", ["max", "compare"])
def test_an_operation_without_an_exact_layer_is_named(kind, tmp_path):
    g = GraphBuilder("other")
    x = g.input("x", (2, 3), True, 5)
    wire = getattr(g, kind)(x, {"max": 0, "compare": 3}[kind])
    g.output(wire)
    with pytest.raises(GraphError, match=rf"{kind} '{wire.name}' has no exact layer in hls4ml; use --target hls"):
        HLS4ML.write(g.build(), tmp_path / "p", Asked(make_vectors(network((4, 2)), count=20)))
    assert not (tmp_path / "p").exists()


def test_the_first_such_operation_is_named_in_a_larger_network(tmp_path):
    graph = every_operation()
    with pytest.raises(GraphError, match="max 'max_1' has no exact layer"):
        HLS4ML.write(graph, tmp_path / "p", Asked(make_vectors(graph, count=20)))


def test_a_constant_beyond_float64_is_refused():
    g = GraphBuilder("wide")
    g.output(g.dense(g.input("x", (1,), False, 1), [[(1 << 54) + 1]], 0))
    with pytest.raises(GraphError, match="'dense_1': a constant of 55 bits, hls4ml takes 53"):
        layer_list(g.build())


def test_a_type_that_hls4ml_changed_is_noticed(tmp_path):
    graph = network((4, 3, 2))
    made = {layer.name: layer for layer in layer_list(graph)}
    model = converted(graph, tmp_path, "xcvu13p-flga2577-2-e", 5.0, Settings())
    check_types(model, made)
    dense = made["dense_1"]
    wrong = {"dense_1": Layer(dense.attributes, dense.types | {"accum": dense.types["weight"]})}
    with pytest.raises(GraphError, match=r"hls4ml made the accum of 'dense_1' \(Dense\) a .*: not exact"):
        check_types(model, made | wrong)


def test_oneapi_is_written_and_says_that_it_was_not_compiled(tmp_path):
    graph, target = network((4, 3, 2)), Hls4mlTarget(Settings(backend="oneAPI"))
    target.write(graph, tmp_path / "p", Asked(make_vectors(graph, count=40)))
    assert (tmp_path / "p/src/firmware/network.cpp").is_file()
    assert "**not compiled** here" in (tmp_path / "p/README.md").read_text()
    with pytest.raises(MissingToolError, match="is for oneAPI, which detfm does not compile"):
        target.execute(tmp_path / "p", check_manifest(tmp_path / "p"), graph, {}, tmp_path)


def test_the_command_sets_back_end_and_reuse_factor(tmp_path):
    made = untrained(tmp_path, score=False)
    words = [str(made.path), "--target", "hls4ml", "--cfg.synthesis", "false", "--cfg.vectors", "20"]
    for backend, reuse in (("Vitis", "2"), ("oneAPI", "1")):
        out = tmp_path / backend
        more = ["--cfg.hls4ml.backend", backend, "--cfg.hls4ml.reuse", reuse, "--out", str(out)]
        dispatch("export", words + more)
        manifest = check_manifest(out / "project")
        assert (manifest["backend"], manifest["reuse"]) == (backend, int(reuse))
        config = (out / "project/hls4ml_config.yml").read_text()
        assert (f"Backend: {backend}" in config, "ReuseFactor: 2" in config) == (True, reuse == "2")


@pytest.mark.parametrize("settings", [{"backend": "Catapult"}, {"reuse": 0}])
def test_settings_that_it_does_not_have(settings):
    with pytest.raises(ConfigError, match="hls4ml: expected Vitis or oneAPI and a reuse factor of 1 or more, got"):
        Settings(**settings)


def test_without_hls4ml_the_message_is_the_install_command(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "hls4ml" else find(name, *rest)
    )
    graph = network((4, 2))
    with pytest.raises(MissingToolError, match=r"needs the package 'hls4ml', .*\n  pip install 'detfm\[hls4ml\]'"):
        HLS4ML.write(graph, tmp_path / "p", Asked(make_vectors(graph, count=20)))
