"""The RTL back end: alkaid's logic is the graph's, in the pipeline, through our ports, at the stated time."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from example_graphs import every_operation, network
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph
from small_students import LAYOUT
from test_families import SHAPES, frozen_student

from distill_to_fpga.devices import DEVICES, crossings, shares
from distill_to_fpga.graph import GraphBuilder, GraphError, ops
from distill_to_fpga.lower import lower
from distill_to_fpga.manifest import RTL, check_manifest, write_manifest
from distill_to_fpga.rtl import export_rtl, replay
from distill_to_fpga.rtl.pipeline import Number
from distill_to_fpga.rtl.simulate import timing
from distill_to_fpga.rtl.verilog import bits, hexadecimal
from distill_to_fpga.rtl.yosys import count, synthesize
from distill_to_fpga.target import Asked
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import make_vectors
from distill_to_fpga.verify import MismatchError, verify, verify_export
from foundation.errors import RunError, ToolError

pytest.importorskip("alkaid", reason="alkaid is not installed: pip install 'detfm[rtl]'")
needs_verilator = pytest.mark.skipif(
    shutil.which("verilator") is None or shutil.which("g++") is None,
    reason="Verilator is not installed: apt install verilator g++",
)
needs_yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="Yosys is not installed: apt install yosys")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_random_graphs_of_all_operations_are_replayed_exactly_or_named(seed, choices):
    """`replay` itself compares with the golden model, on corners and random vectors."""
    graph = random_graph(seed, choices=choices)
    widest = max(int(wire.bits.max(initial=0)) for wire in graph.wires.values())
    if widest > replay.MAX_BITS:
        with pytest.raises(GraphError, match="the RTL back end takes 50"):
            replay.replay(graph)
    else:
        replay.replay(graph)


@pytest.mark.parametrize("seed", [10, 35, 66, 221, 473])
def test_graphs_that_alkaid_got_wrong(seed):
    """Constants wrapped; negative delays; a top bit taken for a sign; nothing but constants into a matrix."""
    replay.replay(random_graph(seed))


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_students_of_other_families_are_replayed_exactly(shape):
    replay.replay(lower(frozen_student(shape), LAYOUT))


def test_a_cut_that_is_always_beyond():
    """Bounds above the type's largest value that are not one number: the result is a constant, the input is none."""
    g = GraphBuilder("beyond")
    x = g.dense(g.input("x", (1,), signed=False, bits=2), [[1, 1]], 12, [33, 65], 6)
    g.output(g.quantize(x, False, 4, 5), "above")
    g.output(g.quantize(g.sub(x, g.add(x, x)), True, [4, 1], 5), "below")
    replay.replay(g.build())


@pytest.mark.parametrize("signed", [False, True])
def test_cuts_of_every_width_behind_a_dense_layer(signed):
    """alkaid took the one bit lost, or kept, of a scaled sum for its top bit: all factors and widths."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        g = GraphBuilder("cuts")
        x = g.input("x", (5,), signed=False, bits=rng.integers(2, 7, 5))
        weight = rng.choice([-2, 2, 4, 6, 8], (5, 12)) << seed
        x = g.dense(x, weight, 2, rng.integers(-9, 9, 12), rng.integers(0, 3, 12))
        top = x.bits - x.fraction - 1
        for lost in (0, 1, 2, 4):
            kept = rng.integers(1, 5, 12)
            g.output(g.quantize(x, signed, kept, kept - (top - lost) - signed), f"lost{lost}")
        replay.replay(g.build())


def test_a_wrong_network_is_refused(monkeypatch):
    monkeypatch.setattr(replay, "winner", lambda a, b: a)
    with pytest.raises(GraphError, match=r"differs from the golden model: output 'scores' element 0 is -1\.5"):
        replay.replay(every_operation())


def test_what_it_does_not_take_is_refused_by_name():
    @dataclass(frozen=True, eq=False)
    class Lookup(ops.Op):
        kind: ClassVar[str] = "lookup"

        def derive(self, name, *inputs):
            return ops.Relu().derive(name, *inputs)

    g = GraphBuilder("strange")
    g.output(g.add_node(Lookup(), g.input("x", (2,), signed=True, bits=6), name="table_7"))
    with pytest.raises(GraphError, match=r"no rule for 'lookup' \('table_7'\); use --target hls"):
        replay.replay(g.build())
    wide = GraphBuilder("wide")
    y = wide.input("y", (1,), signed=True, bits=30)
    wide.output(wide.dense(y, [[(1 << 25) + 1]], 0, [0], 0))
    with pytest.raises(GraphError, match="wire 'dense_1' has 56 bits; the RTL back end takes 50"):
        replay.replay(wide.build())
    fine = GraphBuilder("fine")
    z = fine.input("z", (1,), signed=True, bits=3)
    fine.output(fine.dense(z, [[(1 << 25) + 1]], 0, [0], 0))
    with pytest.raises(GraphError, match="a weight of 'dense_1' has more than 24 bits"):
        replay.replay(fine.build())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_numbers_moved_between_layouts_keep_their_value(data):
    """`bits`, read back: what is sliced, extended and padded is the same number wherever it can be."""
    draw = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    source = Number(draw(0, 5), draw(0, 1), draw(-3, 6), draw(-3, 6))
    target = Number(0, draw(0, 1), draw(-3, 6), draw(-3, 6))
    if source.width < 1 or target.width < 1:
        return
    value = (
        draw(-(1 << source.width - 1), (1 << source.width - 1) - 1) if source.sign else draw(0, (1 << source.width) - 1)
    )
    vector = (value & (1 << source.width) - 1) << source.base
    moved = evaluate(bits("v", source, target), {"v": vector})
    shift = target.fraction - source.fraction
    expected = value << shift if shift >= 0 else value >> -shift
    assert moved == expected & (1 << target.width) - 1


def evaluate(expression: str, values: dict[str, int]) -> int:
    """A Verilog concatenation of slices, repeated bits and zeros."""
    if expression.startswith("{"):
        repeated = re.fullmatch(r"\{(\d+)\{([^{}]*)\}\}", expression)
        if repeated:
            bit = evaluate(repeated[2], values)
            return bit * ((1 << int(repeated[1])) - 1)
        result = 0
        for part in expression[1:-1].split(", "):
            result = result << size(part) | evaluate(part, values)
        return result
    if "'b0" in expression:
        return 0
    name, base, width = re.fullmatch(r"(\w+)\[(\d+)(?: \+: (\d+))?\]", expression).groups()
    return values[name] >> int(base) & (1 << int(width or 1)) - 1


def size(part: str) -> int:
    found = re.match(r"\{(\d+)\{", part) or re.match(r"(\d+)'b0", part) or re.search(r"\+: (\d+)\]", part)
    return int(found[1])


def test_vectors_for_readmemh():
    assert hexadecimal(np.array([[1, -1, 2], [0, 7, -8]]), 4) == "2f1\n870\n"


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    graph = every_operation()
    root = tmp_path_factory.mktemp("rtl") / "project"
    export_rtl(graph, root, vectors=make_vectors(graph, count=100), clock_ns=4.0)
    return root


def test_the_project_says_what_it_is(exported):
    manifest, text = check_manifest(exported), (exported / "README.md").read_text()
    cycles = manifest["latency_cycles"]
    assert manifest["format"] == RTL
    assert f"**{cycles} clock edges**" in text
    assert f"{cycles * 4:g} ns, {cycles * 4 / 25:.2f} bunch crossings" in text
    assert all(device.name in text for device in DEVICES)
    assert "LGPL-3.0" in text
    helpers = {path.name for path in (exported / "src/alkaid").glob("*.v")}
    assert helpers
    assert all(f"`{name}`" in text for name in helpers)
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in (exported / "src/alkaid/LICENSE").read_text()
    assert "create_clock -period 4 " in (exported / "constraints/every.xdc").read_text()
    modules = re.findall(r"^module (\w+)", "".join(p.read_text() for p in (exported / "src").glob("*.v")), re.MULTILINE)
    assert all(module.startswith("detfm_every_v3") for module in modules), "two projects in one design must not clash"


def test_a_faster_clock_takes_more_stages(tmp_path):
    graph, vectors = network((8, 8, 3)), make_vectors(network((8, 8, 3)), count=20)
    costs = {
        clock: export_rtl(graph, tmp_path / f"{clock}", vectors=vectors, clock_ns=clock) for clock in (2.0, 5.0, 25.0)
    }
    cycles = [cost.latency_cycles for cost in costs.values()]
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > cycles[1] > cycles[2] == 2, "input and output registers at the least"
    assert all(cost.stage_ns <= clock for clock, cost in costs.items())


def test_an_existing_folder_is_left_alone(exported):
    before = sorted(exported.rglob("*"))
    with pytest.raises(RunError, match="the project needs a new folder"):
        export_rtl(every_operation(), exported, vectors=make_vectors(every_operation(), count=10))
    assert sorted(exported.rglob("*")) == before


@needs_verilator
@pytest.mark.slow
def test_all_operations_are_exact_in_verilog_and_in_time(exported):
    before = {p: p.stat().st_mtime_ns for p in exported.rglob("*")}
    (exported.parent / "provenance.json").write_text('{"stage": "export", "inputs": {}}')
    result = verify(exported.parent, count=5000)
    assert json.loads((exported.parent / "verify.json").read_text())["passed"]
    assert result.mismatches == {"rtl": 0, "shipped outputs": 0}
    assert result.kinds["out_of_range"] > 0
    assert result.vectors >= 5000
    assert result.timings["rtl"].measured == result.timings["rtl"].stated == check_manifest(exported)["latency_cycles"]
    assert {p: p.stat().st_mtime_ns for p in exported.rglob("*")} == before, "verify wrote into the project"


@needs_verilator
@pytest.mark.slow
def test_tables_and_choices_are_exact_in_verilog(tmp_path):
    rng = np.random.default_rng(0)
    g = GraphBuilder("choices")
    x = g.input("x", (4,), signed=[1, 0, 1, 0], bits=[5, 4, 6, 3])
    curves = g.table(x, rng.integers(-99, 99, (4, 64)), [-16, 0, -32, 0], [2, 0, 3, 1])
    picked = g.select(g.compare(g.take(x, [3, 0, 0, 2]), [2, -1, 7, -9]), curves, g.take(curves, [1, 1, 3, 0]))
    g.output(g.sum(picked), "outputs")
    graph = g.build()
    export_rtl(graph, tmp_path / "p", vectors=make_vectors(graph, count=50))
    modules = re.findall(r"module (\w+)", "".join(p.read_text() for p in (tmp_path / "p/src").glob("*.v")))
    assert sum(module.startswith("detfm_choices_v1_table_") for module in modules) == 4
    assert verify_export(tmp_path / "p", count=2000).passed


@needs_verilator
@pytest.mark.slow
def test_one_wire_inverted_and_a_register_too_many_are_caught(exported, tmp_path):
    graph = every_operation()
    wrong = shutil.copytree(exported, tmp_path / "wrong")
    top = wrong / "src/detfm_every_v3.v"
    text = top.read_text()
    top.write_text(text.replace("core_in[0 +: 7] = in_particles", "core_in[0 +: 7] = ~in_particles"))
    assert top.read_text() != text
    facts = {"latency_cycles": check_manifest(exported)["latency_cycles"]}
    write_manifest(wrong, graph, RTL, **facts)
    with pytest.raises(MismatchError, match=r"NOT bit-exact: .* 0 in shipped outputs\.\n  first: wire '\w+' element"):
        verify(wrong, count=500)
    late = text.replace("LATENCY = ", "LATENCY = 1 + ").replace(".model_in(core_in)", "")
    top.write_text(late)
    write_manifest(wrong, graph, RTL, **facts)
    result = verify_export(wrong, count=500)
    assert result.exact
    assert not result.passed
    assert not result.timings["rtl"].valid_as_stated


@needs_verilator
@pytest.mark.slow
def test_the_test_bench_passes_and_can_fail(exported, tmp_path):
    project = shutil.copytree(exported, tmp_path / "project")
    said = subprocess.run(["make", "sim"], cwd=project, capture_output=True, text=True, check=True).stdout
    assert "PASS: 100 vectors, every bit as expected" in said
    data = project / "tb/data/out_scores.hex"
    first, rest = data.read_text().split("\n", 1)
    data.write_text(f"{int(first, 16) ^ 1:0{len(first)}x}\n{rest}")
    failed = subprocess.run(["build/tb"], cwd=project, capture_output=True, text=True, check=False)
    assert failed.returncode != 0
    assert "FAIL: vector 0 differs" in failed.stdout


def test_latency_is_what_the_streams_say():
    golden = np.arange(20).reshape(10, 2)
    for lag in (1, 4):
        outputs = np.full((22, 2), -1)
        outputs[lag - 1 :][:10] = golden
        valid = np.zeros(22, int)
        valid[lag - 1 :][:10] = 1
        assert timing(outputs, valid, True, golden, stated=4).measured == lag
        assert timing(outputs, valid, True, golden, stated=4).holds == (lag == 4)
    assert timing(np.zeros((22, 2), int), valid, True, np.zeros((10, 2), int), 4).measured is None, "cannot tell"


def test_missing_tools_are_named_with_their_package(exported, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match=r"needs 'verilator', which is not on PATH\.\n.*apt install verilator"):
        verify_export(exported, count=10)
    with pytest.raises(ToolError, match=r"needs 'yosys', which is not on PATH\.\n.*apt install yosys"):
        synthesize([], "top")


def test_alkaid_missing_is_the_install_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "alkaid.codegen", None)
    with pytest.raises(ToolError, match=r"pip install 'detfm\[rtl\]'"):
        replay.replay(every_operation())


def test_cells_are_counted_from_the_report():
    report = (
        "     CARRY4                          3\n     LUT2                           40\n     LUT6   2\n     FDRE  9\n"
    )
    assert [count(report, cell) for cell in (r"LUT[1-6]", r"CARRY\d", r"FD\w+", r"DSP\w+")] == [42, 3, 9, 0]


@needs_yosys
@pytest.mark.slow
def test_an_adder_is_a_lut_for_each_bit(tmp_path):
    g = GraphBuilder("sum")
    x, y = (g.input(name, (1,), signed=False, bits=8) for name in "xy")
    g.output(g.add(x, y))
    cost = export_rtl(g.build(), tmp_path / "p", vectors=make_vectors(g.build(), count=10), synthesis=True)
    assert 8 <= cost.synthesis.luts <= 9
    assert cost.synthesis.flip_flops == cost.register_bits + cost.latency_cycles == 8 + 8 + 9 + 2
    assert cost.to_dict()["synthesis"]["label"] == "synthesis (Yosys)"
    assert "*synthesis (Yosys)*" in (tmp_path / "p/README.md").read_text()


def test_export_counts_only_where_yosys_is_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    graph = network((4, 3, 2))
    vectors = make_vectors(graph, count=10)
    cost = TARGETS["rtl"].write(graph, tmp_path / "rtl", Asked(vectors, clock_ns=2.5, synthesis=True))
    assert "apt install yosys" in capsys.readouterr().err
    assert cost.synthesis is None
    assert cost.to_dict()["devices"]["of"] == "estimate"
    assert f"{cost.latency_cycles} clocks of 2.5 ns = {cost.latency_ns:g} ns" in cost.line()
    guess = TARGETS["hls"].write(graph, tmp_path / "hls", Asked(vectors))
    assert guess.to_dict()["devices"]["XCVU13P"]["luts"] == guess.total("luts") / 1_728_000


def test_shares_and_crossings():
    assert crossings(100.0) == 4.0
    assert shares(172_800)["XCVU13P"] == {"luts": 0.1}
    assert shares(433_200, 866_400)["XC7VX690T"] == {"luts": 1.0, "flip_flops": 1.0}
