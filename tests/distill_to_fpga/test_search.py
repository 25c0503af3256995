"""`detfm search` on small data: trials, resuming, failures, and that any trial becomes exact firmware."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_crossings import PLACES, crossings, schema, teacher, write_store
from small_students import LAYOUT
from test_distill import CLASSES, learnable

from distill_to_fpga.config import STUDENT, DistillRunConfig
from distill_to_fpga.objective import DistillConfig
from distill_to_fpga.search.examples import Material, material
from distill_to_fpga.search.space import Dimension, SearchConfig
from distill_to_fpga.students import StudentConfig, load_student, predict_exact
from foundation.cli import main
from foundation.errors import ConfigError, DataError, RunError
from foundation.runs import Run

optuna = pytest.importorskip("optuna")

from distill_to_fpga.search import command  # noqa: E402
from distill_to_fpga.search.command import Search, job_array, prepared, search  # noqa: E402
from distill_to_fpga.search.study import open_study  # noqa: E402
from distill_to_fpga.search.trial import run_trial  # noqa: E402

BASE = DistillRunConfig(
    student=StudentConfig(kind="mlp", tokens=PLACES, hidden=(8,), scaling="place"),
    distill=DistillConfig(steps=200, batch=128, ebops_budget=3000),
)
SPACE = {
    "student.tokens": Dimension((2, PLACES)),
    "student.features": Dimension(([], ["pt"])),
    "student.hidden": Dimension(([4], [8], [8, 8])),
    "distill.ebops_budget": Dimension(low=500, high=5000, log=True),
    "score.tail_power": Dimension(low=0, high=1),
}
SCORES = SearchConfig(space=SPACE, base=BASE, objectives=("kept", "luts"), trials=3, startup=2, rate_khz=2000.0)


@pytest.fixture(scope="module")
def line(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("search")
    store = write_store(root / "data", crossings(3000), schema())
    teacher(root / "teacher", store)
    search(root / "teacher", cfg=SCORES, out=root / "search")
    return root


def table(folder: Path) -> list[dict]:
    return pq.read_table(folder / "trials.parquet").to_pylist()


def detfm(*words) -> int:
    return main([str(word) for word in words])


def test_every_trial_is_recorded_and_kept(line):
    rows = table(line / "search")
    assert [row["number"] for row in rows] == [0, 1, 2]
    assert any(row["front"] for row in rows)
    for row in rows:
        assert row["state"] == "complete"
        assert {
            "kept",
            "spearman",
            "luts",
            "ebops",
            "energy_pj",
            "latency_ns",
            "noise_loss",
            "dead_loss",
            "shift_loss",
        } <= set(row)
        assert row["seed"] == row["number"]
        kept = Run.open(line / "search/trials" / str(row["number"]), "distill")
        assert kept.config(DistillRunConfig).seed == row["seed"]
        assert kept.read("metrics.json")["student"]["luts"] == row["luts"]
        _, layout = load_student(kept.path / STUDENT)
        assert layout.tokens == row["student.tokens"]
        assert list(layout.features) == (json.loads(row["student.features"]) or ["pt", "eta"])


def test_a_trial_sees_what_a_distill_run_of_its_settings_sees(line):
    """The slices of the examples kept are the integers of the store, and the same settings give the same student."""
    from distill_to_fpga.anomaly.distill import distill_score

    kept = Run.open(line / "search/trials/1")
    cfg = kept.config(DistillRunConfig)
    again = distill_score(Run.open(line / "teacher"), cfg=cfg, out=line / "again")
    students = [load_student(run.path / STUDENT) for run in (kept, again)]
    assert students[0][1] == students[1][1]
    found = material(line / "search/examples", Run.open(line / "teacher"), SCORES, None)
    integers = found.integers("val", students[0][1])
    assert np.array_equal(*(predict_exact(student, integers) for student, _ in students))


def test_any_trial_is_exported_bit_exact_and_evaluated_on_test_only_when_asked(line):
    worst = next(row["number"] for row in reversed(table(line / "search")))
    firmware = line / "firmware"
    assert detfm("export", line / "search", "--trial", worst, "--out", firmware, "--cfg.vectors", 200) == 0
    assert detfm("verify", firmware, "--count", 1000) == 0
    assert json.loads((firmware / "verify.json").read_text())["exact"]
    assert detfm("evaluate", line / "search", "--trial", worst, "--out", line / "ev", "--cfg.replicas", 5) == 0
    assert json.loads((line / "ev/metrics.json").read_text())["split"] == "test"
    assert json.loads((line / "search/metrics.json").read_text())["split"] == "val"


def test_a_trial_that_is_not_there(line, capsys):
    assert detfm("export", line / "search", "--out", line / "none") == 2
    assert "choose one of its students by --trial N; on its front: " in capsys.readouterr().err
    assert detfm("evaluate", line / "search", "--trial", 99, "--out", line / "none") == 2
    assert "has no trial 99" in capsys.readouterr().err
    assert detfm("export", line / "teacher", "--trial", 1, "--out", line / "none") == 2
    assert "expected 'search'" in capsys.readouterr().err


def test_resuming_adds_trials_and_keeps_those_there(line):
    before = table(line / "search")
    run = search(line / "teacher", cfg=replace(SCORES, trials=4), out=line / "search", resume=True)
    after = table(line / "search")
    assert after[:3] == [row | {"front": new["front"]} for row, new in zip(before, after)]
    assert len(after) == 4
    assert run.config(SearchConfig).trials == 4
    with pytest.raises(RunError, match=r"other settings[\s\S]*startup: 2 -> 3"):
        search(line / "teacher", cfg=replace(SCORES, startup=3), out=line / "search", resume=True)
    with pytest.raises(RunError, match="exists"):
        search(line / "teacher", cfg=SCORES, out=line / "search")


def figures(settings: dict, seed: int) -> dict:
    """Quick: a front of LUTs against AUC that depends on every setting."""
    wide = sum(settings["student.hidden"]) * settings["student.tokens"]
    return {"auc": 1 - 1 / wide - 0.01 * settings["score.tail_power"], "luts": wide * settings["distill.ebops_budget"]}


class Quick:
    """In place of `run_trial`: no training; may fail, or be interrupted, at given calls."""

    def __init__(self, fail=(), stop=()):
        self.fail, self.stop, self.calls = fail, stop, 0

    def __call__(self, folder, cfg, number, seed, settings, inputs) -> dict:
        self.calls += 1
        if self.calls in self.stop:
            raise KeyboardInterrupt
        error = "DataError: as asked" if seed in self.fail else ""
        found = {} if error else figures(settings, seed)
        record = {"number": number, "seed": seed, "settings": settings, "figures": found, "error": error}
        return record | {"seconds": 0.1}


@pytest.fixture
def quick(line, monkeypatch, tmp_path):
    """Runs searches of quick trials: (name, changes of the settings, what happens) -> what was drawn and found."""
    monkeypatch.setattr(command, "write_results", lambda *args: None)

    def run(name: str, what: Quick, resume: bool = False, **changes) -> list[tuple]:
        monkeypatch.setattr(command, "run_trial", what)
        cfg = replace(SCORES, objectives=("auc", "luts"), trials=12, startup=4, **changes)
        found = prepared(line / "teacher", cfg, tmp_path / name, resume=resume)
        found.take_back()
        found.explore(1)
        records = [trial.user_attrs["record"] for trial in found.study.trials if "record" in trial.user_attrs]
        return [(r["seed"], r["settings"], r["figures"], r["error"]) for r in records]

    return run


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "nsga3"])
def test_a_search_is_the_same_again_and_after_interruptions(quick, sampler):
    whole = quick("whole", Quick(fail=(5,)), sampler=sampler)
    assert whole == quick("again", Quick(fail=(5,)), sampler=sampler)
    other = quick("other", Quick(fail=(5,)), sampler=sampler, seed=1)
    assert [each[1] for each in other] != [each[1] for each in whole]
    for stop in (3, 4):  # the third trial, then the fourth call after it
        with pytest.raises(KeyboardInterrupt):
            quick("parts", Quick(fail=(5,), stop=(stop,)), sampler=sampler, resume=stop == 4)
    assert quick("parts", Quick(fail=(5,)), sampler=sampler, resume=True) == whole
    assert [each[3] for each in whole if each[3]] == ["DataError: as asked"]
    assert len(whole) == 12


def test_a_process_that_was_killed_leaves_its_trial_to_the_next(quick, tmp_path):
    whole = quick("whole", Quick())
    with pytest.raises(KeyboardInterrupt):
        quick("killed", Quick(stop=(4,)))
    cfg = replace(SCORES, objectives=("auc", "luts"), trials=12, startup=4)
    study = open_study(tmp_path / "killed", cfg)
    assert study.ask().number == 4  # begun, and never told
    with (tmp_path / "killed/journal.jsonl").open("a") as journal:
        journal.write('{"op_code": 4, "wor')  # and a line cut short
    assert quick("killed", Quick(), resume=True) == whole


def test_the_front_is_that_of_the_library(quick, tmp_path):
    from distill_to_fpga.search.results import front_of

    quick("front", Quick(fail=(5,)))
    study = open_study(tmp_path / "front", replace(SCORES, objectives=("auc", "luts")))
    records = [trial.user_attrs["record"] for trial in study.trials]
    assert {r["number"] for r in front_of(records, ("auc", "luts"))} == {trial.number for trial in study.best_trials}


def test_a_search_in_which_nothing_succeeds_says_why(line, monkeypatch, tmp_path):
    monkeypatch.setattr(command, "run_trial", Quick(fail=range(3)))
    with pytest.raises(RunError, match="not one of 3 trials succeeded; the first: DataError: as asked"):
        search(line / "teacher", cfg=SCORES, out=tmp_path / "none")
    assert len(table(tmp_path / "none")) == 3


def test_a_trial_that_fails_is_kept_with_its_reason(line, tmp_path):
    base = replace(BASE, distill=replace(BASE.distill, learning_rate=1e30))
    found: Search = prepared(line / "teacher", replace(SCORES, base=base), tmp_path / "bad")
    settings = {"student.hidden": [8]}
    record = run_trial(found.run.path, found.cfg, 0, 7, settings, found.inputs)
    assert "the loss became NaN" in record["error"]
    assert "TrainingError" in (tmp_path / "bad/trials/0/error.txt").read_text()
    assert detfm("export", tmp_path / "bad", "--trial", 0, "--out", tmp_path / "none") == 2


def test_a_tagger_without_a_score_may_not_search_one(line, tmp_path):
    with pytest.raises(RunError, match=r"expected 'finetune' or 'anomaly'"):
        search(line / "search", cfg=SCORES, out=tmp_path / "x")
    with pytest.raises(ConfigError, match=r"student\.tokens = 0"):
        search(line / "teacher", cfg=replace(SCORES, space={"student.tokens": Dimension((0,))}), out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_job_array_shares_one_search(line, tmp_path):
    found = prepared(line / "teacher", SCORES, tmp_path / "shared")
    script = job_array(found, line / "teacher", 5).read_text()
    assert "#SBATCH --array=0-4\n" in script
    assert f"OUT=${{OUT:-{tmp_path / 'shared'}}}" in script
    assert f"TEACHER=${{TEACHER:-{line / 'teacher'}}}" in script
    assert f"CONFIG=${{CONFIG:-{tmp_path / 'shared/search.yaml'}}}" in script


TRAIN, VAL = learnable(1500, 1), learnable(800, 2)


@pytest.fixture
def tagger(tmp_path) -> Path:
    """The folder of a search whose teacher is a tagger of two classes."""
    parts = [{k: v for k, v in vars(each).items() if v is not None} for each in (TRAIN, VAL)]
    found = Material(replace(LAYOUT, modality="objects"), CLASSES, (), *parts)
    Run.create(tmp_path / "search", "search", config=SearchConfig(), schema=schema())
    found.keep(tmp_path / "search/examples")
    return tmp_path / "search"


def test_a_taggers_student_is_measured_on_val(tagger):
    distill = DistillConfig(steps=400, batch=128, ebops_budget=3000)
    base = DistillRunConfig(student=StudentConfig(kind="mlp", tokens=4, hidden=(16,)), distill=distill)
    record = run_trial(tagger, SearchConfig(base=base), 3, 11, {"student.features": ["pt", "deta"]}, {})
    assert record["error"] == ""
    student, layout = load_student(tagger / "trials/3" / STUDENT)
    assert list(layout.features) == ["pt", "deta"]
    said = predict_exact(student, VAL.integers[..., :2])
    found = record["figures"]
    assert found["accuracy"] == pytest.approx((said.argmax(1) == VAL.labels).mean())
    assert found["auc"] > 0.7
    assert found["input_bits"] <= 4 * (10 + 7)
    assert found["latency_ns"] == 5.0 * found["latency_cycles"]
    assert Material.load(tagger / "examples").teacher_figures()["auc"] > 0.85


def test_a_store_without_held_out_rows_is_refused(tmp_path):
    from distill_to_fpga.search.examples import _check_val
    from foundation.schema import DetectorSchema

    whole = DetectorSchema.load(schema().to_dict() | {"split": {"key": "event", "fractions": {"train": 1.0}}})
    with pytest.raises(DataError, match="no rows of 'val'"):
        _check_val(write_store(tmp_path, crossings(200), whole))
