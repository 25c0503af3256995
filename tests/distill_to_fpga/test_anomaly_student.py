"""The line of an anomaly student by its commands: teacher, student, evaluation, firmware."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_crossings import PLACES, crossings, schema, teacher, write_store

from distill_to_fpga.anomaly.comparison import Scored, efficiencies, hardware_thresholds
from distill_to_fpga.anomaly.distill import distill_score, load_transform, student_scores, training_crossings
from distill_to_fpga.anomaly.teacher import Teacher
from distill_to_fpga.config import STUDENT, DistillRunConfig, ScoreConfig, StoresConfig
from distill_to_fpga.objective import DistillConfig
from distill_to_fpga.students import StudentConfig, load_student
from foundation.cli import main
from foundation.errors import ConfigError, DataError
from foundation.runs import Run
from foundation.store import Store
from foundation.trigger.beam import Beam

SMALL = DistillRunConfig(
    student=StudentConfig(kind="mlp", tokens=PLACES, hidden=(16, 8), scaling="place"),
    distill=DistillConfig(steps=1200, batch=256, ebops_budget=10_000),
    reference=False,
)
BEAM = Beam()


@pytest.fixture(scope="module")
def line(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("anomaly")
    store = write_store(root / "data", crossings(6000), schema())
    teacher(root / "teacher", store)
    distill_score(Run.open(root / "teacher"), cfg=SMALL, out=root / "student")
    return root


def figures(path: Path) -> dict:
    return json.loads((path / "metrics.json").read_text())


def detfm(*words) -> None:
    assert main([str(word) for word in words]) == 0


def test_the_student_ranks_crossings_as_its_teacher_does(line):
    found = figures(line / "student")
    assert found["rows"] == pytest.approx(0.8 * 3000, rel=0.1)
    assert found["val"]["spearman"] > 0.8
    assert found["val"]["pearson"] > 0.8
    transform = load_transform(Run.open(line / "student"))
    student, layout = load_student(line / "student" / STUDENT)
    held = Teacher.load(Run.open(line / "teacher"), SMALL).crossings("test", layout)
    said = student_scores(line / "student", line / "data/store")
    undone = transform.undo(said / student.unit)
    ratio = np.median(undone / held.scores)
    assert ratio == pytest.approx(1, abs=0.15), "the score can be turned back into the teacher's"


def test_a_student_begins_as_another_run_s(line, tmp_path):
    """One step of learning rate 0 changes nothing."""
    still = replace(SMALL, distill=DistillConfig(steps=1, batch=64))
    begun = distill_score(Run.open(line / "teacher"), cfg=still, out=tmp_path / "s", start=line / "student")
    assert begun.input("start").samefile(line / "student")
    store = line / "data/store"
    assert (student_scores(begun, store) == student_scores(line / "student", store)).all()
    fewer = replace(still, student=replace(still.student, tokens=PLACES - 1))
    with pytest.raises(ConfigError, match=f"--start: .* reads {PLACES} tokens .*; this one {PLACES - 1} tokens of"):
        distill_score(Run.open(line / "teacher"), cfg=fewer, out=tmp_path / "t", start=line / "student")
    assert not (tmp_path / "t").exists()


def test_evaluation_says_what_is_kept(line):
    detfm("evaluate", line / "student", "--cfg.replicas", 20, "--out", line / "evaluation")
    found = figures(line / "evaluation")
    assert found["normal"]["classes"] == "data"
    assert found["output"] == {"type": "ap_ufixed<18, 14>", "at_zero": found["output"]["at_zero"], "saturated": 0}
    one_percent = next(r for r in found["efficiencies"] if r["passes"] == pytest.approx(0.01))
    assert one_percent["class"] == "signal"
    assert one_percent["student"] > 0.1
    assert one_percent["kept_low"] <= one_percent["kept"] <= one_percent["kept_high"]
    assert one_percent["kept"] > 0.8
    rates = {record["rate_khz"]: record for record in found["thresholds"]}
    assert set(rates) == {0.1, 1.0, 5.0, 10.0}
    assert not rates[0.1]["measured"]
    assert "not measured" in rates[0.1]["reason"]
    table = pq.read_table(line / "evaluation/scores.parquet")
    assert {"score", "word", "teacher_score", "event_id", "label_sample"} <= set(table.column_names)
    assert (table["word"].to_numpy() == table["score"].to_numpy() * 16).all()
    assert (line / "evaluation/student_teacher.png").is_file()
    clean, *others = found["robustness"]
    assert {"inputs", "how", "spearman", "passes", "efficiency/signal"} <= set(clean)
    assert clean["spearman"] > max(each["spearman"] for each in others if each["inputs"].startswith("dead"))


@pytest.mark.slow
def test_firmware_gives_the_students_scores_and_a_report(line):
    detfm("export", line / "student", "--cfg.vectors", 100, "--out", line / "firmware")
    detfm("verify", line / "firmware", "--count", 5000)
    assert json.loads((line / "firmware/verify.json").read_text())["mismatches"] == {
        "student": 0,
        "hls": 0,
        "shipped outputs": 0,
    }
    detfm("evaluate", line / "firmware", "--cfg.replicas", 5, "--out", line / "evaluation-firmware")
    found = pq.read_table(line / "evaluation-firmware/scores.parquet")["score"].to_numpy()
    assert (found == student_scores(line / "student", line / "data/store")).all()
    assert "outputs_t outputs[1]" in (line / "firmware/project/src/student.h").read_text()
    assert "ap_ufixed<18, 14> " in (line / "firmware/project/src/types.h").read_text()
    detfm("report", line / "evaluation-firmware", "--out", line / "report.html")
    assert "ap_ufixed" in (line / "report.html").read_text()


def test_a_teacher_may_see_more_than_its_student(line, tmp_path):
    """The student's store has the same crossings in another order, a part of them, and only pt."""
    columns = crossings(6000)
    kept = np.random.default_rng(5).permutation(6000)[:5000]
    board = write_store(tmp_path / "board", {name: values[kept] for name, values in columns.items()}, schema("pt"))
    cfg = replace(SMALL, stores=StoresConfig(student=str(board.path)), distill=replace(SMALL.distill, steps=100))
    pair = Teacher.load(Run.open(line / "teacher"), cfg)
    layout = pair.layout(cfg)
    found = pair.crossings("test", layout)
    alone = Teacher.load(Run.open(line / "teacher"), SMALL)
    whole = alone.crossings("test", alone.layout(SMALL))
    mine, theirs = (np.asarray(s.observer("test", "event_id")) for s in (alone.data, board))
    place = {event: row for row, event in enumerate(mine.tolist())}
    rows = [place[event] for event in theirs[found.rows].tolist()]
    assert (whole.scores[rows] == found.scores).all()
    assert (whole.integers[rows][..., :1] == found.integers).all()
    run = distill_score(Run.open(line / "teacher"), cfg=cfg, out=tmp_path / "student")
    assert set(run.provenance["inputs"]) == {"teacher", "store", "teacher_store"}
    detfm("evaluate", run.path, "--cfg.replicas", 0, "--out", tmp_path / "evaluation")
    assert figures(tmp_path / "evaluation")["rows"] == len(found.scores)
    with pytest.raises(ConfigError, match="new crossings, which no second store has"):
        training_crossings(pair, layout, replace(cfg, score=ScoreConfig(mixed=1.0)))


def test_more_to_learn_from(line, tmp_path):
    origin = Run.open(line / "teacher")
    pair = Teacher.load(origin, SMALL)
    layout = pair.layout(SMALL)
    normal = training_crossings(pair, layout, replace(SMALL, score=ScoreConfig()))
    both = training_crossings(pair, layout, replace(SMALL, score=ScoreConfig(extra_classes=("signal",))))
    assert len(both.rows) == Store.open(line / "data/store").length("train") > len(normal.rows)
    extra = write_store(tmp_path / "extra", crossings(300, seed=4), schema())
    more = training_crossings(pair, layout, replace(SMALL, stores=StoresConfig(extra=(str(extra.path),))))
    assert len(more.rows) == len(normal.rows) + extra.length("train")
    with pytest.raises(ConfigError, match="has no class 'sgnal'"):
        training_crossings(pair, layout, replace(SMALL, score=ScoreConfig(extra_classes=("sgnal",))))


def test_mixed_crossings_fill_the_tail_with_objects_of_real_ones(line):
    pair = Teacher.load(Run.open(line / "teacher"), SMALL)
    layout = pair.layout(SMALL)
    made = training_crossings(pair, layout, replace(SMALL, score=ScoreConfig(mixed=2.0, exchanged=1.0, stretch=1.0)))
    real, new = made.rows >= 0, made.rows < 0
    assert new.sum() == 2 * real.sum()
    for place in range(PLACES):
        known = set(map(tuple, made.integers[real, place].tolist()))
        assert set(map(tuple, made.integers[new, place].tolist())) <= known
    stretched = training_crossings(
        pair, layout, replace(SMALL, score=ScoreConfig(mixed=2.0, exchanged=1.0, stretch=3.0))
    )
    assert stretched.integers[new][..., 0].mean() > 1.2 * made.integers[new][..., 0].mean()
    assert stretched.integers[..., 0].max() <= 511
    cut = np.quantile(made.scores[real], 0.99)
    assert (stretched.scores[new] > cut).mean() > 0.03


def test_a_score_that_is_no_number_is_named(line, monkeypatch):
    pair = Teacher.load(Run.open(line / "teacher"), SMALL)
    monkeypatch.setattr(
        "distill_to_fpga.anomaly.teacher.apply", lambda *args, **options: np.full(3, np.nan, np.float32)
    )
    with pytest.raises(DataError, match=r"score of .* rows of 'test' is no number"):
        pair.crossings("test", pair.layout(SMALL))


def by_hand() -> Scored:
    rng = np.random.default_rng(1)
    normal = np.arange(12_000) < 10_000
    teacher_score = np.where(normal, rng.normal(0, 1, 12_000), rng.normal(2.5, 1, 12_000))
    word = np.clip(np.floor(64 * (teacher_score + 4)), 0, 1023)
    return Scored(teacher_score, word / 16, normal, {"signal": ~normal}, np.ones(12_000))


def test_a_student_that_is_its_teacher_keeps_all():
    found = by_hand()
    records = efficiencies(found, (281.125, 28.1125), BEAM, 10, 0.68, 0)
    assert [r["passes"] for r in records] == pytest.approx([0.01, 0.001])
    for record in records:
        assert record["kept"] == pytest.approx(1, abs=0.05)
    assert [r["measured"] for r in records] == [True, False]
    same = replace(found, student=found.teacher)
    assert {r["kept"] for r in efficiencies(same, (281.125,), BEAM, 5, 0.68, 0)} == {1.0}
    assert efficiencies(found, (1e-3,), BEAM, 5, 0.68, 0)[0]["kept"] is None


def test_thresholds_are_integers_at_or_above_which_a_crossing_passes():
    found = by_hand()
    (record,) = hardware_thresholds(found, (281.125,), BEAM, 4)
    words = np.round(found.student[found.normal] * 16)
    assert isinstance(record["word"], int)
    assert (words >= record["word"]).mean() <= 0.01 < (words >= record["word"] - 1).mean()
    assert record["achieved_khz"] == pytest.approx((words >= record["word"]).mean() * BEAM.crossing_rate_khz)
    (nothing,) = hardware_thresholds(found, (1e-3,), BEAM, 4)
    assert (nothing["word"], nothing["measured"]) == (None, False)
