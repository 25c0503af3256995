"""The bundle: the same bytes again, all papers in it, every figure labelled; opened without trust."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from example_graphs import every_operation
from paper_target import PaperTarget, ToollessTarget, only
from small_crossings import schema
from untrained_runs import untrained

from distill_to_fpga import bundle
from distill_to_fpga.bundle.archive import pack, unpacked
from distill_to_fpga.bundle.licences import spdx
from distill_to_fpga.bundle.ports import ports_json
from distill_to_fpga.bundle.report import columns, figures
from distill_to_fpga.export import ExportConfig, export
from distill_to_fpga.firmware import firmware_outputs
from distill_to_fpga.inputs import hardware_integers
from distill_to_fpga.manifest import BUNDLE, write_manifest
from distill_to_fpga.project import InputFeature, Interface
from distill_to_fpga.students import load_student, predict_exact
from distill_to_fpga.verify import verify, verify_export
from foundation.errors import DataError, MissingToolError, RunError
from foundation.evaluation_config import EvaluateConfig
from foundation.runs import Run
from foundation.store import Store

CFG = ExportConfig(name="axo", vectors=200, synthesis=False)
NO_GENERATOR = ToollessTarget("generated", writes=False)


@pytest.fixture(scope="module")
def line(tmp_path_factory) -> Path:
    """Students, and a bundle of one of them: two back ends that can be written, one of which can be run, and one that
    lacks its generator."""
    root = tmp_path_factory.mktemp("bundle")
    untrained(root, score=True)
    untrained(root, score=False)
    with pytest.MonkeyPatch.context() as patch:
        only(patch, PaperTarget("paper"), ToollessTarget("toolless"), NO_GENERATOR)
        export(root / "score", cfg=CFG, out=root / "released", targets=["bundle"])
    with tarfile.open(root / "released/axo_v1.tar.gz") as tar:
        tar.extractall(root / "opened", filter="data")
    return root


@pytest.fixture(autouse=True)
def targets(monkeypatch) -> None:
    only(monkeypatch, PaperTarget("paper"), ToollessTarget("toolless"), NO_GENERATOR)


@pytest.fixture
def folder(line) -> Path:
    return line / "opened/axo_v1"


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_a_bundle_holds_what_an_integrator_needs(folder, line):
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {
        *("README.md", "report.md", "report.json", "model_card.md", "model_card.json", "inputs.json", "graph.json"),
        *("schema.yaml", "manifest.json", "SHA256SUMS", "student/student.npz", "student/student.json"),
        *("student/score.json", "vectors/objects.txt", "vectors/outputs.txt", "vectors/kinds.txt"),
        *("targets/paper/src/firmware.json", "targets/toolless/src/firmware.json"),
    } <= files
    manifest = read(folder / "manifest.json")
    assert (manifest["format"], manifest["name"], manifest["version"]) == (BUNDLE, "axo", 1)
    assert set(manifest["sha256"]) == files - {"manifest.json"}
    assert manifest["targets"] == ["paper", "toolless"]
    assert manifest["left_out"] == {"generated": "generated needs a generator.\n  pip install generator"}
    text = (folder / "README.md").read_text()
    assert "| generated: left out | nothing to build | generated needs a generator. pip install generator |" in text
    assert re.search(r"\| `targets/paper` \| .*src/firmware.json.* \| MIT \| `targets/paper/LICENSE` \|", text)
    assert "the firmware reads the low bits" in text
    assert "detfm verify axo_v1.tar.gz" in text
    for name in ("README.md", "model_card.md", "model_card.json", "report.md", "manifest.json"):
        assert str(line) not in (folder / name).read_text(), "no folder of this machine"
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == len(files) - 2


def test_the_same_export_gives_the_same_bytes(line, tmp_path):
    export(line / "score", cfg=CFG, out=tmp_path / "elsewhere", targets=["bundle"])
    assert (tmp_path / "elsewhere/axo_v1.tar.gz").read_bytes() == (line / "released/axo_v1.tar.gz").read_bytes()
    with tarfile.open(line / "released/axo_v1.tar.gz") as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == sorted(m.name for m in members)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(315_532_800, 0, 0, "", "", 0o644)}


def test_a_bundle_is_verified_with_its_student_and_says_what_was_not_run(line, capsys):
    result = verify(line / "released/axo_v1.tar.gz", count=1000)
    assert result.mismatches == {"student": 0, "paper": 0, "shipped outputs": 0}
    assert result.not_run.keys() == {"generated", "toolless"}
    assert verify(line / "released", count=1000).passed
    assert read(line / "released/verify.json")["passed"]
    assert "pip install generator" in capsys.readouterr().err
    assert verify_export(line / "opened/axo_v1", count=500).passed, "as a folder, too"
    with pytest.raises(RunError, match="--require generated: generated needs a generator"):
        verify_export(line / "released/axo_v1.tar.gz", require=["generated"])


def test_another_student_in_the_bundle_is_noticed(line, tmp_path):
    root = shutil.copytree(line / "opened/axo_v1", tmp_path / "axo_v1")
    other = untrained(line, score=True, seed=1)
    shutil.copyfile(other.path / "student/student.npz", root / "student/student.npz")
    write_manifest(root, every_operation(), BUNDLE, left_out={})
    result = verify_export(root, count=500)
    assert result.mismatches["student"] > 0 == result.mismatches["paper"]
    assert result.first.executor == "student"


def test_the_card_has_data_figures_and_thresholds(line, folder):
    found = read(folder / "model_card.json")
    assert found["data"]["splits"]["test"]["rows"] == Store.open(line / "data/store").length("test")
    assert found["distillation"]["val"] == {"spearman": 0.5}
    assert found["evaluation"] is None
    records = found["thresholds"]["records"]
    assert [record["rate_khz"] for record in records] == [0.1, 1.0, 5.0, 10.0]
    assert not records[0]["measured"], "two hundred crossings say nothing about 100 Hz"
    text = (folder / "model_card.md").read_text()
    assert "Not measured: no `detfm evaluate` run was given" in text
    assert "A crossing passes where the output's integer is `word` or more" in text


def test_thresholds_are_integers_of_the_output(line, monkeypatch):
    """At a rate that these few crossings can measure: the word lets pass what it says."""
    monkeypatch.setattr(bundle.thresholds, "EvaluateConfig", partial(EvaluateConfig, rates_khz=(8000.0,)))
    student, store = load_student(line / "score/student")[0], Store.open(line / "data/store")
    origin, integers = Run.open(line / "score"), integers_of(line)
    found = bundle.thresholds.thresholds(origin, student, integers, store, "test", None)
    (record,) = found["records"]
    normal = np.asarray(store.labels("test", "sample")) == 0
    assert (record["measured"], found["of"]["crossings"]) == (True, normal.sum())
    words = predict_exact(student, integers)[normal, 0] * 2**4
    passing = (words >= record["word"]).mean()
    assert 0 < record["achieved_khz"] <= 8000
    assert passing == pytest.approx(record["achieved_khz"] / EvaluateConfig().beam.crossing_rate_khz)


def test_an_evaluation_of_the_student_goes_into_the_card(line, tmp_path):
    inputs = {"model": line / "score", "store": line / "data/store"}
    measured = Run.create(tmp_path / "ev", "evaluate", config=EvaluateConfig(), schema=schema(), inputs=inputs)
    record = {"rate_khz": 1.0, "word": 12345, "value": 771.5, "achieved_khz": 0.9, "measured": True}
    figures = {"split": "test", "spearman": 0.875, "normal": {"classes": "data"}, "thresholds": [record]}
    measured.write("metrics.json", figures)
    run = export(line / "score", cfg=CFG, out=tmp_path / "b", targets=["bundle"], evaluation=measured.path)
    root = unpacked(run.path / "axo_v1.tar.gz", tmp_path / "o")
    found, text = read(root / "model_card.json"), (root / "model_card.md").read_text()
    assert found["evaluation"] == figures
    assert found["thresholds"] == {"records": [record], "of": {"split": "test", "classes": "data"}}
    assert "| 1 | `12345` | 771.5 | 0.9 |" in text
    assert "| spearman | 0.875 |" in text


def integers_of(line: Path) -> np.ndarray:
    _, layout = load_student(line / "score/student")
    return hardware_integers(Store.open(line / "data/store"), layout, "test")[0]


def test_a_tagger_has_no_threshold_and_another_students_evaluation_is_refused(line, tmp_path):
    run = export(line / "tagger", cfg=CFG, out=tmp_path / "tagger", targets=["bundle"])
    root = unpacked(run.path / "axo_v1.tar.gz", tmp_path / "o")
    text = (root / "model_card.md").read_text()
    assert "None: the student makes no score: its outputs are data, signal" in text
    assert not (root / "student/score.json").exists()
    inputs = {"model": line / "tagger", "store": line / "data/store"}
    Run.create(tmp_path / "ev", "evaluate", config=EvaluateConfig(), schema=schema(), inputs=inputs)
    with pytest.raises(RunError, match=r"--evaluation .*ev is of .*tagger, not of the student in .*score"):
        export(line / "score", cfg=CFG, out=tmp_path / "no", targets=["bundle"], evaluation=tmp_path / "ev")
    assert not (tmp_path / "no").exists()


def test_a_version_is_given_out_once_and_older_ones_stay(line, tmp_path):
    out = shutil.copytree(line / "released", tmp_path / "released")
    first = (out / "axo_v1.tar.gz").read_bytes()
    with pytest.raises(RunError, match=r"axo_v1\.tar\.gz exists, .* raise --cfg\.version, or --overwrite"):
        export(line / "score", cfg=CFG, out=out, targets=["bundle"])
    second = ExportConfig(name="axo", version=2, vectors=200)
    export(line / "score", cfg=second, out=out, targets=["bundle"])
    assert (out / "axo_v1.tar.gz").read_bytes() == first
    assert verify(out, count=500).passed
    export(line / "tagger", cfg=CFG, out=out, targets=["bundle"], overwrite=True)
    assert (out / "axo_v1.tar.gz").read_bytes() != first
    assert (out / "axo_v2.tar.gz").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["released"], "nothing is left beside it"


def test_one_target_several_and_a_bundle_beside_them(line, tmp_path):
    export(line / "score", cfg=CFG, out=tmp_path / "one", targets=["paper"])
    assert (tmp_path / "one/project/manifest.json").is_file()
    run = export(line / "score", cfg=CFG, out=tmp_path / "more", targets=["toolless", "paper", "bundle"])
    assert {p.name for p in (run.path / "project").iterdir()} == {"paper", "toolless"}
    assert (run.path / "axo_v1.tar.gz").is_file()
    result = verify(run.path, count=500)
    assert result.mismatches == {"student": 0, "paper": 0, "shipped outputs": 0}
    integers = integers_of(line)
    student, _ = load_student(line / "score/student")
    for folder in ("one", "more", "released"):
        where = Run.open(tmp_path / folder if folder != "released" else line / folder)
        assert (firmware_outputs(where, integers) == predict_exact(student, integers)).all()
    with pytest.raises(MissingToolError, match="needs a generator"):
        export(line / "score", cfg=CFG, out=tmp_path / "none", targets=["generated"])
    assert not (tmp_path / "none").exists()
    with pytest.raises(RunError, match=r"one exists; choose another --out"):
        export(line / "score", cfg=CFG, out=tmp_path / "one", targets=["bundle"])


def test_a_student_that_has_changed_since_is_not_compared(line, tmp_path):
    shutil.copytree(line, tmp_path / "line")
    run = export(tmp_path / "line/score", cfg=CFG, out=tmp_path / "line/one", targets=["paper"])
    shutil.rmtree(tmp_path / "line/score")
    shutil.copytree(tmp_path / "line/tagger", tmp_path / "line/score")
    assert "has changed since the export" in verify_export(run.path, count=300).not_run["student"]


def test_a_damaged_archive_is_refused_with_the_files_name(line, tmp_path):
    archive = line / "released/axo_v1.tar.gz"
    (tmp_path / "cut.tar.gz").write_bytes(archive.read_bytes()[:-2000])
    (tmp_path / "text.tar.gz").write_text("not an archive")
    for name in ("cut", "text"):
        with pytest.raises(DataError, match=rf"{name}\.tar\.gz is damaged"):
            verify_export(tmp_path / f"{name}.tar.gz")
    for name in ("graph.json", "targets/paper/src/firmware.json", "student/student.npz"):
        root = shutil.copytree(line / "opened/axo_v1", tmp_path / name.replace("/", "-") / "axo_v1")
        with (root / name).open("ab") as file:
            file.write(b" ")
        pack(root, tmp_path / "changed.tar.gz")
        with pytest.raises(DataError, match=rf"changed\.tar\.gz is not what .*{re.escape(name)} has been changed"):
            verify_export(tmp_path / "changed.tar.gz")
    root = shutil.copytree(line / "opened/axo_v1", tmp_path / "more/axo_v1")
    (root / "targets/paper/src/extra.v").write_text("module extra; endmodule")
    pack(root, tmp_path / "more.tar.gz")
    with pytest.raises(DataError, match=r"targets/paper/src/extra\.v is not listed in its manifest"):
        verify_export(tmp_path / "more.tar.gz")


def member(name: str, **kind: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in kind.items():
        setattr(made, key, value)
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (member("../evil"), "'../evil' would leave the bundle's folder"),
        (member("axo/../../evil"), "'axo/../../evil' would leave"),
        (member("/etc/evil"), "'/etc/evil' would leave"),
        (member("evil"), "'evil' would leave"),
        (member("axo/a\\..\\evil"), "would leave"),
        (member("axo/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "'axo/link' is no plain file"),
        (member("axo/link", type=tarfile.LNKTYPE, linkname="../evil"), "'axo/link' is no plain file"),
        (member("axo/pipe", type=tarfile.FIFOTYPE), "'axo/pipe' is no plain file"),
        (member("axo/twice"), "it holds axo/twice twice"),
    ],
)
def test_members_that_leave_the_folder_are_refused(made, message, tmp_path):
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        tar.addfile(member("axo/twice"), io.BytesIO())
        tar.addfile(made, io.BytesIO())
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match=re.escape(message)):
        unpacked(tmp_path / "evil.tar.gz", tmp_path / "in/side")
    assert not list(tmp_path.rglob("evil")), "nothing was written"
    with pytest.raises(DataError, match=re.escape(message)):
        verify_export(tmp_path / "evil.tar.gz")


def test_ports_say_what_each_column_means():
    names = {"jet": [InputFeature("pt", 0.25, "GeV"), InputFeature("eta", 0.05)]}
    found = json.loads(ports_json(every_operation(), Interface(names, {"best": ["class"]})))
    pt, eta, *others = found["inputs"]["jet"]["columns"]
    assert pt == {
        "column": 0,
        "name": "pt",
        "lsb": 0.25,
        "unit": "GeV",
        "bits": 9,
        "signed": False,
        "low": 0,
        "high": 511,
    }
    assert (eta["bits"], eta["lsb"]) == (8, 0.05)
    assert "name" not in others[0]
    particles = found["inputs"]["particles"]
    assert [column["offset"] for column in particles["columns"]] == [3, 0, -1, 2]
    assert [column["shift"] for column in particles["columns"]] == [-2, 1, 0, -3]
    assert particles["shape"] == [3, 4]
    assert found["outputs"]["best"]["elements"] == ["class"]
    assert found["outputs"]["scores"]["type"] == "ap_fixed<14, 9>"
    assert found["outputs"]["scores"]["lsb"] == 2.0**-5


def test_every_figure_says_where_it_comes_from():
    cost = {
        "estimate": {"luts": 9, "method": "estimate from ..."},
        "alkaid_luts (estimate)": 8.5,
        "pipeline": {"latency_cycles": 7, "longest_stage_ns (estimate)": 4.5},
        "synthesis": {"label": "synthesis (Yosys)", "luts": 10, "version": "0.23", "flip_flops": 20},
        "devices": {"of": "synthesis (Yosys)"},
    }
    assert list(figures(cost)) == [
        ("alkaid luts", 8.5, "estimate"),
        ("pipeline: latency cycles", 7, "exact"),
        ("pipeline: longest stage ns", 4.5, "estimate"),
        ("synthesis: luts", 10, "synthesis (Yosys)"),
        ("synthesis: flip flops", 20, "synthesis (Yosys)"),
    ]
    assert list(figures({"method": "estimate", "luts": 3, "ebops": 4})) == [
        ("luts", 3, "estimate"),
        ("ebops", 4, "exact"),
    ]

    class Costs:
        def to_dict(self) -> dict:
            return cost

        def line(self) -> str:
            return ""

    assert columns({"luts": 9}, {"rtl": Costs()}) == {
        "*estimate*": (9, None),
        "`rtl`, *synthesis (Yosys)*": (10, 20),
    }


def test_licences_are_told_by_their_text(tmp_path):
    for text, name in (
        ("GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007", "LGPL-3.0"),
        ("Apache License\nVersion 2.0, January 2004", "Apache-2.0"),
        ("all rights reserved", "see its text"),
    ):
        (tmp_path / "LICENSE").write_text(text)
        assert spdx(tmp_path / "LICENSE") == name
