"""The emulator package: what CMS software would do with it, by a loader and an interface declared here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from small_students import LAYOUT, jets

from distill_to_fpga.emulator.scales import input_scales
from distill_to_fpga.emulator.sources import input_types, output_types
from distill_to_fpga.graph import FixedPointGraph, GraphBuilder, run
from distill_to_fpga.manifest import check_manifest, write_manifest
from distill_to_fpga.project import InputFeature, Interface
from distill_to_fpga.target import Asked
from distill_to_fpga.targets import TARGETS
from distill_to_fpga.vectors import Vectors, make_vectors
from foundation.errors import RunError, ToolError

EMULATOR = TARGETS["emulator"]
FEATURES = [InputFeature("pt", 0.5, "GeV"), InputFeature("eta", 0.01), InputFeature("phi", 0.02)]

INTERFACE = """
#pragma once
#include <any>
namespace hls4mlEmulator {
class Model {
public:
  virtual void prepare_input(std::any input) = 0;
  virtual void predict() = 0;
  virtual void read_result(std::any result) = 0;
  virtual ~Model() = default;
};
}
"""

LOADER = """
#include <array>
#include <cstdio>
#include <dlfcn.h>
#include <stdexcept>
#include <string>
#include <vector>
#include "ap_fixed.h"
#include "hls4ml/emulator.h"

typedef ap_int<10> In;
typedef ap_ufixed<18, 14> Score;

struct Version {
  void *library;
  hls4mlEmulator::Model *model;
  Version(const std::string &name) : library(dlopen((name + ".so").c_str(), RTLD_LAZY | RTLD_LOCAL)) {
    if (!library) throw std::runtime_error(dlerror());
    model = ((hls4mlEmulator::Model * (*)()) dlsym(library, "create_model"))();
  }
  void close() {
    ((void (*)(hls4mlEmulator::Model *))dlsym(library, "destroy_model"))(model);
    dlclose(library);
  }
  template <class T> double score(T given) {
    Score result;
    model->prepare_input(given);
    model->predict();
    model->read_result(&result);
    return result.to_double() * 16;
  }
  template <class T> std::string refusal(T given) {
    try { model->prepare_input(given); } catch (const std::invalid_argument &e) { return e.what(); }
    return "taken";
  }
};

int main() {
  Version one("score_v1"), two("score_v2");
  In x[6];
  std::vector<long long> plain(6);
  std::vector<double> physical(6);
  std::array<In, 6> array;
  for (long long value; std::scanf("%lld", &value) == 1;) {
    x[0] = plain[0] = value;
    for (int i = 1; i < 6 && std::scanf("%lld", &value); i++) x[i] = plain[i] = value;
    for (int i = 0; i < 6; i++) physical[i] = plain[i] * (i % 3 == 0 ? 0.5 : i % 3 == 1 ? 0.01 : 0.02);
    for (int i = 0; i < 6; i++) array[i] = x[i];
    const In *constant = x;
    std::array<Score, 1> filled;
    two.model->read_result(&filled);
    std::vector<long long> words;
    std::printf("%g %g %g %g %g", one.score(x), two.score(x), one.score(plain), two.score(constant), one.score(array));
    one.score(physical);
    one.model->read_result(&words);
    two.model->read_result(&filled);
    std::printf(" %lld %g\\n", words.at(0), filled[0].to_double() * 16);
  }
  std::printf("%s\\n", one.refusal(ap_int<11>(1)).c_str());
  std::printf("%s\\n", two.refusal(std::vector<long long>(5)).c_str());
  std::printf("%s\\n", two.refusal(std::vector<double>(6, 0.0 / 0.0)).c_str());
  std::printf("%g\\n", one.score(std::vector<double>{1e300, -1e300, 0, 0, 0, 0}));
  one.close();
  std::printf("%g\\n", two.score(x));
  two.close();
}
"""


def anomaly(version: int) -> FixedPointGraph:
    """A sum of squares with the type of AXOL1TL's score; another network for each version."""
    rng = np.random.default_rng(version)
    g = GraphBuilder("score", version)
    x = g.scale(g.input("objects", (2, 3), signed=True, bits=[10, 8, 9]), [3, 0, -2], [-6, -5, -4])
    x = g.quantize(x, True, 8, 4, "half_up")
    latent = g.quantize(g.dense(g.flatten(x), rng.integers(-7, 8, (6, 3)), 1), True, 10, 2, "half_up")
    g.output(g.quantize(g.reshape(g.sum(g.mul(latent, latent)), (1,)), False, 18, 4, "half_up"), "score")
    return g.build()


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Versions 1 and 2 beside each other in one `lib64`, compiled against the interface declared here."""
    root = tmp_path_factory.mktemp("emulator")
    (root / "extras/hls4ml").mkdir(parents=True)
    (root / "extras/hls4ml/emulator.h").write_text(INTERFACE)
    for version in (1, 2):
        graph = anomaly(version)
        asked = Asked(make_vectors(graph, count=80), meaning=Interface({"objects": FEATURES}, {"score": ["score"]}))
        EMULATOR.write(graph, root / f"v{version}", asked)
        settings = [
            "CXXFLAGS=-O0 -Werror",
            f"EMULATOR_INTERFACE={root}/extras",
            f"PREFIX={root}",
            f"BUILD={root}/b{version}",
        ]
        subprocess.run(["make", "-C", root / f"v{version}", "install", *settings], check=True, capture_output=True)
    return root


@pytest.mark.slow
def test_two_versions_in_one_process_through_another_loader(installed, tmp_path):
    (tmp_path / "loader.cpp").write_text(LOADER)
    headers = ["-isystem", installed / "v1/include/ap_types", f"-I{installed}/extras"]
    command = ["g++", "-std=c++17", "-w", *headers, tmp_path / "loader.cpp", "-o", tmp_path / "loader", "-ldl"]
    subprocess.run(command, check=True)
    vectors = make_vectors(anomaly(1), count=300).inputs["objects"]
    text = "\n".join(" ".join(map(str, row)) for row in vectors.reshape(-1, 6).tolist())
    environment = {**os.environ, "LD_LIBRARY_PATH": str(installed / "lib64")}
    said = subprocess.run(
        [tmp_path / "loader"], input=text, env=environment, check=True, capture_output=True, text=True
    )
    *lines, wide, short, nan, saturated, alone = said.stdout.splitlines()
    found = np.array([line.split() for line in lines], float)
    golden = np.stack([run(anomaly(version), {"objects": vectors})["score"][:, 0] for version in (1, 2)], axis=1)
    assert (golden[:, 0] != golden[:, 1]).mean() > 0.5
    np.testing.assert_array_equal(found, golden[:, [0, 1, 0, 1, 0, 0, 1]])
    assert wide == (
        "score_v1: prepare_input takes ap_int<10> *, const ap_int<10> *, std::array<ap_int<10>, 6>, "
        "std::vector<long long>, std::vector<double>; got 6ap_intILi11EE"
    )
    assert short == "score_v2: prepare_input takes 6 numbers; got 5"
    assert nan == "score_v2: input 0 is NaN"
    ends = np.array([[[511, -128, 0], [0, 0, 0]]])
    assert float(saturated) == run(anomaly(1), {"objects": ends})["score"][0, 0]
    assert float(alone) == golden[-1, 1], "closing one version leaves the other"


@pytest.mark.slow
def test_nothing_else_is_visible(installed):
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", installed / "lib64/score_v1.so"], capture_output=True, text=True
    )
    assert [line.split()[-1] for line in listed.stdout.splitlines()] == ["create_model", "destroy_model"]


@pytest.mark.slow
def test_make_check_stands_alone_and_can_fail(installed, tmp_path):
    project = shutil.copytree(installed / "v1", tmp_path / "p")
    shutil.copytree(installed / "b1", project / "build")
    check = ["make", "-C", project, "CXXFLAGS=-O0", "check"]
    assert "80 vectors, 0 mismatching words" in subprocess.run(check, capture_output=True, text=True, check=True).stdout
    expected = project / "tb/data/score.txt"
    first, rest = expected.read_text().split("\n", 1)
    expected.write_text(f"{int(first) + 1}\n{rest}")
    failed = subprocess.run(check, capture_output=True, text=True, check=False)
    assert failed.returncode != 0
    assert "vector 0, output word 0" in failed.stdout


def two_ports() -> FixedPointGraph:
    g = GraphBuilder("pair", 2)
    x, y = g.input("x", (2, 2), signed=[1, 0], bits=[5, 4]), g.input("y", (3,), signed=False, bits=6)
    scores = g.dense(g.flatten(x), [[1, -2], [3, 0], [-1, 1], [2, 5]], 1, [3, -1], 2)
    g.output(scores, "scores")
    g.output(g.sum(g.relu(g.sub(y, g.quantize(y, False, 4, 0))), axis=0), "rest")
    return g.build()


def execute(root: Path, graph: FixedPointGraph, vectors: Vectors, build: Path) -> np.ndarray:
    build.mkdir(exist_ok=True)
    return EMULATOR.execute(root, check_manifest(root), graph, vectors.inputs, build).words


@pytest.mark.slow
def test_several_ports_are_exact_and_a_flipped_weight_is_traced(tmp_path):
    graph, root = two_ports(), tmp_path / "p"
    EMULATOR.write(graph, root, Asked(make_vectors(graph, count=60)))
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    vectors = make_vectors(graph, count=2000)
    golden = run(graph, vectors.inputs, keep=True)
    expected = np.concatenate([golden["scores"], golden["rest"][:, None]], axis=1)
    np.testing.assert_array_equal(execute(root, graph, vectors, tmp_path / "build"), expected)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before, "the project was written to"
    weights = root / "src/weights.h"
    text = weights.read_text()
    found = re.search(r"dense_1_weight\[[^\]]*\] = {\s*(-?\d+)", text)
    weights.write_text(text[: found.start(1)] + str(int(found[1]) ^ 1) + text[found.end(1) :])
    traced = EMULATOR.trace(root, graph, vectors.inputs, tmp_path / "build")
    differs = [name for name, words in traced.items() if (words != golden[name].reshape(words.shape)).any()]
    assert differs == ["dense_1"]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory) -> tuple[Path, FixedPointGraph]:
    g = GraphBuilder("tagger", 7)
    x = g.input("particles", (LAYOUT.tokens, len(LAYOUT.features)), LAYOUT.signed, LAYOUT.bits)
    x = g.quantize(g.scale(x, [0, -3, 0], [-7, -4, 0]), True, 6, 3, "half_up")
    g.output(g.sum(g.dense(x, np.arange(9).reshape(3, 3) - 4, 2), axis=0), "outputs")
    graph = g.build()
    names = {"outputs": ["logit of signal", "logit of background", "pt"]}
    features = [InputFeature(name, kind.lsb, "") for name, kind in LAYOUT.features.items()]
    root = tmp_path_factory.mktemp("tagger") / "p"
    EMULATOR.write(graph, root, Asked(make_vectors(graph, count=40), meaning=Interface({"particles": features}, names)))
    return root, graph


def test_scales_are_those_of_the_layout_and_of_the_graph(tagger):
    root, graph = tagger
    data = json.loads((root / "scales.json").read_text())
    elements = data["inputs"]["particles"]
    assert [e["name"] for e in elements] == list(LAYOUT.features) * 4
    assert [e["lsb"] for e in elements] == list(LAYOUT.lsb) * 4
    assert [(e["low"], e["high"]) for e in elements] == list(zip(LAYOUT.low, LAYOUT.high)) * 4
    (scale,) = [node for node in graph.nodes if node.op.kind == "scale"]
    counts = jets(50, seed=3)
    scaled = run(graph, {"particles": counts}, keep=True)[scale.name] * 2.0 ** -graph.wires[scale.name].fraction
    offset, shift = (np.array([e[key] for e in elements]).reshape(4, 3) for key in ("offset", "shift"))
    np.testing.assert_array_equal(scaled, (counts - offset) * 2.0**shift)
    header = (root / "src/scales.h").read_text()
    for field in ("low", "high", "offset", "shift"):
        listed = re.search(rf"{field}\[inputs\] = {{([^}}]*)}}", header)[1]
        assert [int(value) for value in listed.split(",")] == [e[field] for e in elements]
    assert data["outputs"]["outputs"]["names"][2] == "pt"


def test_the_readme_names_the_types_that_the_source_takes(tagger):
    root, graph = tagger
    text, source = (root / "README.md").read_text(), (root / "src/tagger_emulator.cpp").read_text()
    kinds = [*input_types(graph), *(f"{kind} *" for kind in output_types(graph)), "std::vector<long long> *"]
    assert len(kinds) == 6
    for kind in kinds:
        assert f"`{kind}`" in text
        assert f"std::any_cast<{kind}>" in source
    assert 'ModelLoader loader("tagger_v7")' in text


def test_more_than_two_outputs_are_a_tuple_and_an_unscaled_input_has_no_scaling():
    g = GraphBuilder("three")
    x = g.input("x", (2,), signed=False, bits=[4, 0])
    for name in "abc":
        g.output(g.relu(x), name)
    graph = g.build()
    assert list(output_types(graph)) == ["std::tuple<" + ", ".join(["std::array<ap_uint<4>, 2>"] * 3) + ">"]
    first, second = input_scales(graph, "x", Interface())
    assert (first.low, first.high, first.offset, first.shift, first.lsb) == (0, 15, 0, 0, 1.0)
    assert (second.bits, second.high) == (0, 0)


def test_missing_make_and_an_existing_folder_are_named(tagger, tmp_path, monkeypatch):
    root, graph = tagger
    with pytest.raises(RunError, match="needs a new folder"):
        EMULATOR.write(graph, root, Asked(make_vectors(graph, count=10)))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match=r"The emulator needs 'make', which is not on PATH\.\n.*apt install make"):
        execute(root, graph, make_vectors(graph, count=10), tmp_path / "build")


def test_cpp_that_does_not_compile_says_so(tagger, tmp_path):
    root, graph = tagger
    broken = shutil.copytree(root, tmp_path / "p")
    (broken / "src/tagger_emulator.cpp").write_text("#error broken\n")
    (broken / "src/tagger.cpp").write_text("#error broken\n")
    write_manifest(broken, graph, EMULATOR.form)
    with pytest.raises(ToolError, match=r"make -C .*\n  failed:\n[\s\S]*broken"):
        execute(broken, graph, make_vectors(graph, count=10), tmp_path / "build")
