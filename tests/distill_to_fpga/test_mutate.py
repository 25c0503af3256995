"""Faults put in on purpose: each is one bit, each that shows is caught, and a check that misses one is called blind."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from example_graphs import every_operation, network
from paper_target import PaperTarget, ToollessTarget, only

from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, ops
from distill_to_fpga.manifest import GRAPH
from distill_to_fpga.mutate import mutants
from distill_to_fpga.target import Asked
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import make_vectors
from distill_to_fpga.verify.mutation import UnnoticedError, mutate, visible
from distill_to_fpga.verify.subject import opened
from foundation.cli import main
from foundation.errors import MissingToolError

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


def write(target: PaperTarget, graph: FixedPointGraph, folder: Path) -> Path:
    target.write(graph, folder, Asked(make_vectors(graph, count=50)))
    return folder


def choices() -> FixedPointGraph:
    """A graph without weights: thresholds, choices, a table."""
    g = GraphBuilder("choices")
    bits = g.compare(g.input("x", (3,), True, 5), [3, -2, 7])
    g.output(g.sum(g.table(bits, np.array([[1, 4], [-3, 2], [5, 9]]), 0, 2)), "outputs")
    return g.build()


@pytest.mark.parametrize("graph", [every_operation(), network((5, 4, 2)), choices()])
def test_a_mutant_is_one_bit_away_in_the_same_units(graph):
    found = list(islice(mutants(graph, 3), 8))
    assert len(found) >= 6
    for flip, mutant in found:
        assert flip.before ^ flip.after == 1 << flip.bit
        different = [
            node for node, other in zip(graph.nodes, mutant.nodes) if str(vars(node.op)) != str(vars(other.op))
        ]
        assert [node.name for node in different] == [flip.wire]
        before, after = (
            getattr(next(n.op for n in g.nodes if n.name == flip.wire), flip.constant) for g in (graph, mutant)
        )
        assert np.argwhere(before != after).tolist() == [list(flip.index)]
        assert (before[flip.index], after[flip.index]) == (flip.before, flip.after)
    assert [flip for flip, _ in islice(mutants(graph, 3), 8)] == [flip for flip, _ in found]
    assert [flip for flip, _ in islice(mutants(graph, 4), 8)] != [flip for flip, _ in found]


def test_the_flip_is_caught_in_its_layer_for_each_target(tmp_path, monkeypatch, capsys):
    only(monkeypatch, PaperTarget("paper"), PaperTarget("blurred", traces=False), ToollessTarget("toolless"))
    for name, target in TARGETS.items():
        write(target, network((5, 4, 2)), tmp_path / "run/project" / name)
    (tmp_path / "run/provenance.json").write_text('{"stage": "export", "inputs": {}}')
    assert main(["verify", str(tmp_path / "run"), "--mutate", "--count", "300"]) == 0
    said = capsys.readouterr().err
    assert "paper: caught bit" in said
    assert "toolless: not run: toolless needs a simulator. apt install simulator" in said
    paper, blurred = mutate(tmp_path / "run", count=300)
    assert paper.first.wire == paper.flip.wire
    assert (blurred.first.wire, blurred.first.traced) == (paper.flip.wire, True), "found by cutting the network"
    assert (blurred.first.golden, blurred.first.firmware) == (paper.first.golden, paper.first.firmware)
    assert paper.words == blurred.words > 0
    with pytest.raises(MissingToolError, match="needs a simulator"):
        mutate(tmp_path / "run", count=300, require=["toolless"])


def test_a_check_that_misses_it_is_called_blind(tmp_path, monkeypatch, capsys):
    """This back end's firmware is always the unchanged network, so no mutant of it can fail."""

    class Blind(PaperTarget):
        def write(self, graph, project, asked):
            return super().write(network((5, 4, 2)), project, asked)

    only(monkeypatch, Blind("blind"))
    write(TARGETS["blind"], network((5, 4, 2)), tmp_path / "project")
    with pytest.raises(
        UnnoticedError, match=r"blind: firmware with bit \d of weight .* passed in .*: this check is blind"
    ):
        mutate(tmp_path / "project", count=300)
    assert main(["verify", str(tmp_path / "project"), "--mutate", "--count", "300"]) == 2


def test_bits_that_cannot_show_are_passed_over(tmp_path, monkeypatch):
    """All but the last of these channels are cut to nothing behind the layer."""
    only(monkeypatch, PaperTarget("paper"))
    g = GraphBuilder("dead")
    x = g.dense(g.input("x", (2,), True, 4), np.full((2, 40), 5), 0)
    g.output(g.slice(x, 39, 40))
    graph = g.build()
    with opened(write(TARGETS["paper"], graph, tmp_path / "project")) as subject:
        flip, mutant, invisible = visible(subject, 0)
    assert flip.index[1] == 39
    assert invisible > 0
    assert mutant.wires.keys() == graph.wires.keys()
    (caught,) = mutate(tmp_path / "project", count=200, seed=0)
    assert (caught.flip, caught.invisible) == (flip, invisible)


def test_a_network_whose_weights_never_show_is_an_error(tmp_path, monkeypatch):
    only(monkeypatch, PaperTarget("paper"))
    g = GraphBuilder("deaf")
    x = g.dense(g.input("x", (2,), False, 4), [[3], [5]], 0)
    g.output(g.compare(x, -1))
    with pytest.raises(UnnoticedError, match=r"no bit shows: \d mutants give the same outputs"):
        mutate(write(TARGETS["paper"], g.build(), tmp_path / "project"), count=100)


@needs_compiler
@pytest.mark.slow
def test_the_compiled_mutant_is_caught_in_its_layer(tmp_path):
    graph = network((4, 3, 2))
    write(TARGETS["hls"], graph, tmp_path / "project")
    before = (tmp_path / "project" / GRAPH).read_bytes()
    (caught,) = mutate(tmp_path / "project", count=500)
    assert (caught.target, caught.first.wire) == ("hls", caught.flip.wire)
    assert isinstance(next(n.op for n in graph.nodes if n.name == caught.flip.wire), ops.Dense)
    assert (tmp_path / "project" / GRAPH).read_bytes() == before
