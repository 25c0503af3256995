"""The board pack: numbers in words, words on links, packets through the Verilated payload, pattern files, VHDL."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from emp_packages import BENCH, PACKAGES
from example_graphs import network
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph

from distill_to_fpga.board.links import Field, Links, input_packing, output_packing, packing
from distill_to_fpga.board.patterns import DEPTH, packets
from distill_to_fpga.board.project import frames_at
from distill_to_fpga.board.simulate import APART, LAST, ORBIT, RESET, START, STROBE, VALID, drive, records
from distill_to_fpga.board.verilog import part
from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, as_read, run
from distill_to_fpga.hls.containers import to_words
from distill_to_fpga.manifest import check_manifest
from distill_to_fpga.project import InputFeature, Interface
from distill_to_fpga.rtl.simulate import build as verilate
from distill_to_fpga.target import Asked
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import make_vectors, out_of_range
from foundation.errors import DataError, RunError, ToolError

pytest.importorskip("alkaid", reason="alkaid is not installed: pip install 'detfm[rtl]'")
needs_verilator = pytest.mark.skipif(
    shutil.which("verilator") is None, reason="Verilator is not installed: apt install verilator g++"
)
needs_ghdl = pytest.mark.skipif(shutil.which("ghdl") is None, reason="GHDL is not installed: apt install ghdl")
BOARD = TARGETS["board"]
FRAMES = 9


def wide() -> FixedPointGraph:
    """Two input links and three output links of almost nothing but wires."""
    g = GraphBuilder("wide", 2)
    x = g.input("objects", (24, 3), signed=[0, 1, 1], bits=[12, 8, 9])
    g.output(g.add(x, x), "twice")
    g.output(g.argmax(g.slice(x, 0, 3, axis=0)), "best")
    return g.build()


MEANING = Interface(
    {"objects": [InputFeature("pt", 0.25, "GeV"), InputFeature("eta"), InputFeature("phi")]},
    {"best": ["first", "second", "third"]},
)
VECTORS = 250

element = st.tuples(st.booleans(), st.integers(0, 63))
layout = st.dictionaries(
    st.sampled_from("abc"), st.lists(st.lists(element, min_size=1, max_size=6), min_size=1, max_size=9), min_size=1
)


@settings(max_examples=150, deadline=None)
@given(layout, st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_any_layout_packs_and_unpacks(ports, frames, seed):
    packed = packing(ports)
    rng = np.random.default_rng(seed)
    values = {}
    for port, rows in ports.items():
        flat = [element for row in rows for element in row]
        low = [-(1 << bits - 1) if sign and bits else 0 for sign, bits in flat]
        high = [(1 << max(bits - sign, 0)) - 1 for sign, bits in flat]
        values[port] = rng.integers(low, high, (7, len(flat)), endpoint=True)
        values[port][0], values[port][1] = low, high
    words = packed.pack(values)
    links = Links(packed.words, frames)
    on_links = links.spread(words)
    assert on_links.shape == (7, frames, links.count)
    found = packed.unpack(links.gather(on_links))
    assert all((found[port] == values[port]).all() for port in ports)
    taken = [(field.word, bit) for field in packed.fields for bit in range(field.low, field.low + field.width)]
    assert len(taken) == len(set(taken)), "no bit is used twice"
    assert all(0 <= bit < 64 for _, bit in taken), "no number lies in two words"
    owners = {(field.word, field.port) for field in packed.fields}
    assert len(owners) == len({word for word, _ in owners}), "a port begins a word"
    for port, rows in ports.items():
        words_of = {field.element: field.word for field in packed.fields if field.port == port}
        first = 0
        for row in rows:
            if sum(bits for _, bits in row) <= 64:
                assert len({words_of[i] for i in range(first, first + len(row)) if i in words_of}) <= 1
            first += len(row)


def test_the_layout_is_the_one_described():
    rows = [[(False, 12), (True, 8), (True, 9)]] * 3
    fields = packing({"x": rows, "y": [[(True, 40), (True, 30)]]}).fields
    assert fields[3] == Field("x", 3, 0, 29, 12, False)
    assert fields[6] == Field("x", 6, 1, 0, 12, False), "a third object of 29 bits begins a word"
    assert fields[9:] == (Field("y", 0, 2, 0, 40, True), Field("y", 1, 3, 0, 30, True)), "a port begins a word"
    assert Links(words=20, frames=9).count == 3
    assert Links(words=20, frames=9).place(19) == (2, 1)


@pytest.mark.parametrize("seed", range(12))
def test_inputs_beyond_their_range_are_read_as_in_every_executor(seed):
    graph = random_graph(seed, choices=bool(seed % 2))
    vectors = out_of_range(graph, 60, seed)
    packed = input_packing(graph)
    found = packed.unpack(packed.pack(vectors.inputs))
    for name, values in as_read(graph, vectors.inputs).items():
        np.testing.assert_array_equal(found[name], values.reshape(60, -1))


@pytest.mark.parametrize("seed", range(12))
def test_outputs_keep_their_bit_patterns(seed):
    graph = random_graph(seed)
    words = golden(graph, make_vectors(graph, count=100).inputs)
    packed = output_packing(graph)
    found = packed.unpack(packed.pack(words))
    assert all((found[port] == words[port]).all() for port in graph.outputs)
    with pytest.raises(DataError, match=rf"{packed.words} words hold these numbers; got {packed.words + 1}"):
        packed.unpack(np.zeros((3, packed.words + 1), np.uint64))


def golden(graph: FixedPointGraph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    outputs = run(graph, inputs)
    return {port: to_words(graph.wires[wire], outputs[port]) for port, wire in graph.outputs.items()}


def test_the_links_run_at_360_mhz_or_faster_if_asked():
    assert [frames_at(clock) for clock in (25.0, 5.0, 3.125, 25 / 9, 2.78, 2.5, 2.0)] == [9, 9, 9, 9, 9, 10, 13]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("board") / "p"
    BOARD.write(wide(), root, Asked(make_vectors(wide(), count=VECTORS), meaning=MEANING))
    return root


def read_pattern(path: Path) -> tuple[list[int], np.ndarray, np.ndarray]:
    """As CMSSW's reader of version 2 does: link numbers, words [C, L] and flags [C, L, 4]."""
    name, metadata, *rest = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert name.startswith("ID: ")
    assert metadata == "Metadata: (strobe,) start of orbit, start of packet, end of packet, valid"
    assert rest[0].lstrip().startswith("Link  ")
    words, flags = [], []
    for number, line in enumerate(rest[1:]):
        prefix = f"Frame {number:04d}  "
        assert line.startswith(prefix)
        tokens = [re.fullmatch(r"([01]{4}) ([0-9a-f]{16})", t) for t in re.split(r"\s\s+", line[len(prefix) :]) if t]
        flags.append([[int(bit) for bit in token[1]] for token in tokens])
        words.append([int(token[2], 16) for token in tokens])
    return [int(token) for token in rest[0].split()[1:]], np.array(words, np.uint64), np.array(flags)


def test_pattern_files_hold_the_vectors_and_what_comes_of_them(project):
    graph, vectors = wide(), make_vectors(wide(), count=VECTORS)
    latency = check_manifest(project)["latency_cycles"]
    sides = {"input": (input_packing(graph), 0), "expected": (output_packing(graph), latency)}
    wanted = {"input": vectors.inputs, "expected": golden(graph, vectors.inputs)}
    for side, (packed, silent) in sides.items():
        found = []
        files = sorted((project / "patterns").glob(f"{side}_*.txt"))
        assert len(files) == -(-VECTORS // ((DEPTH - latency) // FRAMES)) > 1
        for path in files:
            numbers, words, flags = read_pattern(path)
            links = Links(packed.words, FRAMES)
            assert numbers == list(range(links.count))
            assert len(words) <= DEPTH
            assert (flags[silent:, :, 3] == 1).all()
            assert not flags[:silent].any()
            body = flags[silent:].reshape(-1, FRAMES, links.count, 4)
            assert (body[:, 0, :, 1] == 1).all()
            assert (body[:, -1, :, 2] == 1).all()
            assert body[:, :, :, 0].sum() == links.count, "one start of orbit on each link"
            found.append(packed.unpack(links.gather(words[silent:].reshape(-1, FRAMES, links.count))))
        for port, values in wanted[side].items():
            joined = np.concatenate([part[port] for part in found])
            np.testing.assert_array_equal(joined, values.reshape(len(vectors), -1))


def test_links_json_is_enough_to_read_a_frame(project):
    """By its own rules, written once more."""
    links = json.loads((project / "links.json").read_text())
    assert (links["clock_mhz"], links["frames"]) == (360, FRAMES)
    assert [side["links"] for side in (links["inputs"], links["outputs"])] == [2, 3]
    _, words, _ = read_pattern(project / "patterns/input_0.txt")
    crossing = 17
    sent = make_vectors(wide(), count=VECTORS).inputs["objects"][crossing].reshape(-1)
    for field in links["inputs"]["fields"]:
        word = int(words[FRAMES * crossing + field["frame"], field["link"]])
        value = word >> field["low"] & (1 << field["width"]) - 1
        value -= (1 << field["width"]) * (field["signed"] and value >> field["width"] - 1)
        assert value == sent[field["element"]]
    assert links["inputs"]["fields"][4]["name"] == "eta of object 1"
    assert links["outputs"]["fields"][-1]["name"] == "third"


def test_the_pack_says_what_it_is_and_lists_its_sources(project):
    manifest, text = check_manifest(project), (project / "README.md").read_text()
    network = manifest["cost"]["pipeline"]["latency_cycles"]
    assert manifest["latency_cycles"] == FRAMES + network
    period = 25 / 9
    expected = f"{FRAMES + network} clocks = {(FRAMES + network) * period:.1f} ns = {(FRAMES + network) / 9:.2f} bunch"
    assert expected in text
    assert "| 0 | 0 | 48:41 | objects | 4 | signed | eta of object 1 |" in (project / "LINKS.md").read_text()
    assert "create_clock -period 2.7778 " in (project / "constraints/wide_payload.xdc").read_text()
    assert "-top detfm_wide_payload_v2" in (project / "build_payload.tcl").read_text()
    listed = re.findall(r"^src (\S+)$", (project / "firmware/cfg/payload.dep").read_text(), re.MULTILINE)
    files = {(project / "firmware/hdl" / name).resolve() for name in listed}
    assert all(file.is_file() for file in files)
    needed = {file.resolve() for file in (project / "src").rglob("*.v") if file.name != "detfm_wide_axi_v2.v"}
    assert {file for file in files if file.suffix == ".v"} == needed
    with pytest.raises(RunError, match="needs a new folder"):
        BOARD.write(wide(), project, Asked(make_vectors(wide(), count=10)))


@pytest.fixture(scope="module")
def quick_make():
    """One compilation unit: half the time for designs as small as these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAKEFLAGS", "VM_PARALLEL_BUILDS=0 OPT_GLOBAL=-O0")
        yield


@pytest.fixture(scope="module")
def program(project, tmp_path_factory, quick_make) -> Path:
    return verilate(project, part(wide(), "payload"), tmp_path_factory.mktemp("verilated"))


@needs_verilator
@pytest.mark.slow
def test_packed_frames_come_out_as_the_golden_model_says(project, program, monkeypatch):
    graph = wide()
    vectors = make_vectors(graph, count=3000) + out_of_range(graph, 200)
    monkeypatch.setattr("distill_to_fpga.board.target.verilate", lambda *_: program)
    manifest = check_manifest(project)
    found = BOARD.execute(project, manifest, graph, vectors.inputs, program.parent).words
    expected = golden(graph, as_read(graph, vectors.inputs))
    np.testing.assert_array_equal(found, np.concatenate(list(expected.values()), axis=1))
    late = {**manifest, "latency_cycles": manifest["latency_cycles"] + 1}
    with pytest.raises(ToolError, match=rf"the first word comes after {manifest['latency_cycles']} clocks, not"):
        BOARD.execute(project, late, graph, vectors.head(20).inputs, program.parent)


@needs_verilator
@pytest.mark.slow
def test_broken_packets_give_nothing_and_the_next_is_whole(project, program):
    graph, latency = wide(), check_manifest(project)["latency_cycles"]
    inputs = make_vectors(graph, count=80).inputs["objects"][-13:]
    given, made = input_packing(graph), output_packing(graph)
    links, out = Links(given.words, FRAMES), Links(made.words, FRAMES)
    frames = links.spread(given.pack({"objects": inputs}))
    sent = [records(packets(frame[None])) for frame in frames]
    for packet in sent:
        packet[:, -1] = packet[:, -1] & ~np.uint64(ORBIT) | np.uint64(STROBE)
    sent[2][0, -1] |= ORBIT
    sent[1] = sent[1][:5]  # cut short by the next start
    sent[3][-1, -1] &= ~np.uint64(LAST)  # too long
    sent[4][3, -1] |= APART  # one link lacks a word
    sent[5] = np.insert(sent[5], 4, STROBE, axis=0)  # a gap
    sent[6] = np.repeat(sent[6], 2, axis=0)  # half the rate: every other clock has no word
    sent[6][1::2, -1] &= ~np.uint64(STROBE)
    silence = np.zeros((latency + FRAMES, sent[0].shape[1]), np.uint64)
    sent[7] = np.concatenate([silence, sent[7]])
    sent[7][-4, -1] |= RESET
    sent[8][0, -1] &= ~np.uint64(START)
    sent[9][4, -1] |= START  # begins anew in the middle, and has too few words then
    sent[11] = np.concatenate([silence, sent[11], silence[:2]])
    sent[11][-1, -1] |= RESET  # while it is in the network
    found = drive(program, np.concatenate([*sent, silence]), out.count + 1)
    valid = found[found[:, -1] & VALID > 0]
    survivors = [0, 2, 6, 10, 12]
    assert len(valid) == FRAMES * len(survivors)
    flags = valid[:, -1].reshape(-1, FRAMES)
    assert (flags[:, 0] & START > 0).all()
    assert (flags[:, -1] & LAST > 0).all()
    assert ((flags & (START | LAST)) > 0).sum() == 2 * len(survivors)
    assert [bool(flag & ORBIT) for flag in flags[:, 0]] == [False, True, False, False, False]
    assert not found[found[:, -1] == 0].any(), "words between packets are zero"
    ports = made.unpack(out.gather(valid[:, :-1].reshape(-1, FRAMES, out.count)))
    for port, expected in golden(graph, {"objects": inputs[survivors]}).items():
        np.testing.assert_array_equal(ports[port], expected)


@pytest.fixture(scope="module")
def streamed(tmp_path_factory) -> Path:
    """Three words in, two out."""
    root = tmp_path_factory.mktemp("stream") / "p"
    BOARD.write(network((14, 3, 7)), root, Asked(make_vectors(network((14, 3, 7)), count=40)))
    return root


@needs_verilator
@pytest.mark.slow
@pytest.mark.parametrize("beat", [1, 3])
def test_the_stream_loses_nothing_whoever_waits(streamed, tmp_path, quick_make, beat):
    """Words of a beat: 1, and 3, where a whole inference enters with every clock."""
    graph, project = network((14, 3, 7)), shutil.copytree(streamed, tmp_path / "p")
    source = project / "src/detfm_network_axi_v1.v"
    source.write_text(source.read_text().replace("parameter BEAT = 1", f"parameter BEAT = {beat}"))
    stream = verilate(project, part(graph, "axi"), tmp_path)
    given, made = input_packing(graph), output_packing(graph)
    beats, beats_out = -(-given.words // beat), -(-made.words // beat)
    vectors = make_vectors(graph, count=900)
    count = len(vectors)
    words = np.zeros((count, beats * beat), np.uint64)
    words[:, : given.words] = given.pack(vectors.inputs)
    last = np.zeros((count, beats), np.uint64)
    last[6::7, -1] = 1
    sent = np.concatenate([words.reshape(-1, beat), last.reshape(-1, 1)], axis=1)
    for offers, takes in ((100, 100), (30, 70), (80, 15), (100, 4)):
        found = drive(stream, sent, beat + 2, str(offers), str(takes), "5")
        assert len(found) == count * beats_out
        ports = made.unpack(found[:, :beat].reshape(count, -1)[:, : made.words])
        for port, expected in golden(graph, vectors.inputs).items():
            np.testing.assert_array_equal(ports[port], expected)
        lasts = found[:, beat].reshape(count, beats_out)
        np.testing.assert_array_equal(lasts[:, -1], last[:, -1])
        assert lasts.sum() == last.sum(), "tlast nowhere else"
        if offers == takes:
            clocks = int(found[-1, -1] - found[beats_out - 1, -1])
            assert clocks == max(beats, beats_out) * (count - 1), "the full rate"
    if beats > 1:
        cut = np.concatenate([sent[:1], sent[:beats]])
        cut[0, -1] = 1  # an inference of one beat is dropped
        assert len(drive(stream, cut, beat + 2, "100", "100", "5")) == beats_out


def load_driver(project: Path):
    spec = importlib.util.spec_from_file_location("driver", project / "axi/driver.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Card:
    """PYNQ's `Overlay` and `allocate` as far as the driver needs them; the golden model is the network."""

    broken = False

    def __init__(self, bitfile: str):
        self.axi_dma = self.sendchannel = self.recvchannel = self

    def transfer(self, buffer: np.ndarray) -> None:
        self.buffers = [*getattr(self, "buffers", []), buffer]

    def wait(self) -> None:
        if len(self.buffers) == 2:
            found, given = self.buffers
            self.buffers = []
            inputs = input_packing(wide()).unpack(given)["objects"].reshape(-1, 24, 3)
            found[:] = output_packing(wide()).pack(golden(wide(), {"objects": inputs}))
            found[3] ^= np.uint64(self.broken)


def test_the_driver_sends_the_vectors_and_compares(project, monkeypatch, capsys):
    driver = load_driver(project)
    ports = driver.vectors("inputs")
    np.testing.assert_array_equal(driver.pack("inputs", ports), input_packing(wide()).pack(ports))
    monkeypatch.setattr(driver, "BATCH", 100)
    monkeypatch.setitem(sys.modules, "pynq", SimpleNamespace(Overlay=Card, allocate=np.empty))
    assert driver.main("overlay.bit") == 0
    assert "0 differ" in capsys.readouterr().out
    monkeypatch.setattr(Card, "broken", True)
    assert driver.main("overlay.bit") == 1
    assert "3 differ" in capsys.readouterr().out, "one in each of three transfers"


def test_the_overlay_takes_the_stream(project):
    text = (project / "axi/build_overlay.tcl").read_text()
    assert "-reference detfm_wide_axi_v2 network" in text
    ports = re.findall(r"[sm]_axis_t\w+", (project / "src/detfm_wide_axi_v2.v").read_text())
    signals = ("data", "valid", "ready", "last")
    assert {*ports} == {f"{side}_axis_t{name}" for side in "sm" for name in signals} | {"m_axis_tkeep"}


RELEASES = {
    "emp_payload.vhd": "ttc2 => (bunch => 0), tts_busy => open, ext_lvds_in => three, ext_lvds_out => open",
    "emp_payload_bc0.vhd": "bc0 => open",
}


@needs_ghdl
@pytest.mark.parametrize("name", RELEASES)
def test_the_vhdl_fits_the_framework_and_wires_its_channels(project, tmp_path, name):
    (tmp_path / "packages.vhd").write_text(PACKAGES)
    (tmp_path / "bench.vhd").write_text(BENCH.replace("@ports@", RELEASES[name]))
    hdl = project / "firmware/hdl"
    files = [tmp_path / "packages.vhd", hdl / "emp_project_decl.vhd", hdl / "detfm_wide_links_v2.vhd", hdl / name]
    for command in (["-a", *files, tmp_path / "bench.vhd"], ["-e", "tb"], ["-r", "tb"]):
        step = ["ghdl", command[0], "--std=08", *command[1:]]
        said = subprocess.run(step, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout + said.stderr
    assert "channels as mapped" in said.stdout + said.stderr
