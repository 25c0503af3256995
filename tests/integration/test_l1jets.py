"""The main job at reduced size: real CMS Level-1 jets from ROOT file to firmware, every stage on the one before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from foundation.cli import main
from foundation.runs import Run, checksum
from foundation.store import Store

MARGIN = 0.05  # above chance, in AUC; one standard error on the test jets is 0.02
SMALL = ["--cfg.train.checkpoint_every", "1000"]


@pytest.fixture(scope="module")
def line(shared_data, tmp_path_factory) -> Path:
    """Runs every command once; later tests look at what they left."""
    root = tmp_path_factory.mktemp("l1jets")

    def detfm(*words) -> None:
        assert main([str(word) for word in words]) == 0

    source = shared_data / "l1jets/ggHHbbbb_PU200.root"
    detfm("ingest", source, "--schema", "data/l1jets", "--out", root / "store")
    short = ["--cfg.train.steps", 40, "--cfg.train.evaluate_every", 40, "--cfg.buckets", 1, *SMALL]
    detfm("pretrain", root / "store", "--cfg", "l1jets/pretrain", *short, "--out", root / "pretrain")
    short = ["--cfg.train.steps", 100, "--cfg.buckets", 1, *SMALL]
    detfm("finetune", root / "pretrain", "--cfg", "l1jets/finetune", *short, "--out", root / "finetune")
    short = ["--cfg.distill.steps", 400, "--cfg.reference", "false"]
    detfm("distill", root / "finetune", "--cfg", "l1jets/distill", *short, "--out", root / "student")
    detfm("export", root / "student", "--cfg", "l1jets/export", "--out", root / "firmware")
    detfm("verify", root / "firmware", "--count", 10_000)
    for name in ("finetune", "student", "firmware"):
        detfm("evaluate", root / name, "--out", root / f"evaluate-{name}")
    detfm("embed", root / "pretrain", "--out", root / "embed")
    detfm("report", root / "evaluate-firmware", "--out", root / "report.html")
    return root


def figures(line: Path, name: str) -> dict:
    return json.loads((line / name / "metrics.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "role", "consumed"),
    [
        ("pretrain", "store", "store"),
        ("finetune", "encoder", "pretrain"),
        ("student", "teacher", "finetune"),
        ("firmware", "student", "student"),
        ("evaluate-firmware", "model", "firmware"),
    ],
)
def test_each_stage_consumed_what_the_one_before_wrote(line, run, role, consumed):
    recorded = Run.open(line / run).provenance["inputs"][role]
    assert recorded["sha256"] == checksum(line / consumed)
    assert Run.open(line / run).schema == Store.open(line / "store").schema


@pytest.mark.slow
def test_the_tagger_beats_chance_on_jets_it_never_saw(line):
    found = figures(line, "evaluate-finetune")
    assert found["split"] == "test"
    assert found["auc/b"] > 0.5 + MARGIN
    assert found["pt_ratio"]["examples"] == found["rows"]


@pytest.mark.slow
def test_the_student_follows_its_teacher(line):
    import pyarrow.parquet as pq

    scores = [pq.read_table(line / f"evaluate-{n}/predictions.parquet")["score_b"] for n in ("finetune", "student")]
    assert np.corrcoef(*map(np.asarray, scores))[0, 1] > 0.5


@pytest.mark.slow
def test_the_firmware_is_exact_on_real_corner_and_random_inputs(line):
    proof = json.loads((line / "firmware/verify.json").read_text())
    assert proof["exact"]
    assert proof["vectors"] >= 10_000
    assert {"data", "random", "zero", "high", "low"} <= set(proof["kinds"])
    assert proof["kinds"]["data"] == Store.open(line / "store").length("test")


@pytest.mark.slow
def test_the_firmware_makes_the_same_predictions_as_the_student(line):
    import pyarrow.parquet as pq

    student, firmware = (pq.read_table(line / f"evaluate-{n}/predictions.parquet") for n in ("student", "firmware"))
    assert student.equals(firmware)


@pytest.mark.slow
def test_predictions_are_row_aligned_in_parquet_and_root(line):
    import pyarrow.parquet as pq
    import uproot

    store = Store.open(line / "store")
    table = pq.read_table(line / "evaluate-finetune/predictions.parquet")
    np.testing.assert_array_equal(table["label_flavour"], store.labels("test", "flavour"))
    with uproot.open(line / "evaluate-finetune/predictions.root") as file:
        np.testing.assert_array_equal(file["predictions"]["score_b"].array(library="np"), table["score_b"])
    with uproot.open(line / "embed/test.root") as file:
        assert file["test"]["embedding"].array(library="np").shape == (store.length("test"), 48)


@pytest.mark.slow
def test_the_report_is_one_self_contained_page(line):
    page = (line / "report.html").read_text()
    assert "detfm distill" in page
    assert 'src="http' not in page
