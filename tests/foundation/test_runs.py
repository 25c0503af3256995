"""Run folders: provenance, inputs that move with their folder, and what may and may not be replaced."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import pytest
from example import schema

from foundation import __version__
from foundation.errors import DataError, RunError
from foundation.runs import Run, check_room, checksum, continue_or_create, flatten, make_room, read_metrics


@dataclass(frozen=True)
class Optimiser:
    """How to train.

    Attributes:
        steps: number of steps.
        rates: learning rates.
    """

    steps: int = 10
    rates: tuple[float, ...] = (1e-3,)


@dataclass(frozen=True)
class Settings:
    """Settings of a stage.

    Attributes:
        train: optimisation.
        groups: lists by name.
    """

    train: Optimiser = field(default_factory=Optimiser)
    groups: dict[str, list[str]] = field(default_factory=dict)


def create(path: Path, stage: str = "pretrain", **options: Any) -> Run:
    return Run.create(path, stage, **{"config": Settings(), "schema": schema()} | options)


def content(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the bytes of the files."""
    found = sorted(folder.rglob("*"))
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in found}


def store(path: Path, text: str = "{}") -> Path:
    """The least that counts as a store: a folder with a manifest."""
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(text)
    return path


def test_a_run_holds_its_settings_schema_and_provenance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, file = store(tmp_path / "store"), tmp_path / "jets.root"
    file.write_bytes(b"root")
    monkeypatch.setattr(sys, "argv", ["detfm", "pretrain", "a store", "--cfg.train.steps", "3"])
    settings = Settings(Optimiser(3), {"b": ["b"]})
    run = create(tmp_path / "run", config=settings, inputs={"store": data, "file": file}, seeds={"train": 7})
    again = Run.open(run.path, "pretrain")
    assert again == run
    assert again.config(Settings) == settings
    assert again.schema == schema()
    recorded = again.provenance
    assert recorded["stage"] == "pretrain"
    assert recorded["detfm"] == __version__
    assert recorded["command"] == "detfm pretrain 'a store' --cfg.train.steps 3"
    assert recorded["seeds"] == {"train": 7}
    assert recorded["packages"]["jax"] == jax.__version__
    assert recorded["python"] == sys.version.split()[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", recorded["created"])
    assert re.fullmatch(r"[0-9a-f]{40}", recorded["git_commit"] or 40 * "0")
    assert {role: entry["sha256"] for role, entry in recorded["inputs"].items()} == {
        "store": hashlib.sha256(b"{}").hexdigest(),
        "file": hashlib.sha256(b"root").hexdigest(),
    }


def test_the_checksum_of_a_run_is_that_of_its_provenance(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    assert checksum(run.path) == hashlib.sha256((run.path / "provenance.json").read_bytes()).hexdigest()
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"empty.*manifest\.json"):
        checksum(tmp_path / "empty")


def test_two_runs_of_the_same_second_have_different_checksums_and_a_copy_has_the_same(tmp_path: Path) -> None:
    one, other = create(tmp_path / "one"), create(tmp_path / "other")
    assert checksum(one.path) != checksum(other.path)
    assert checksum(shutil.copytree(one.path, tmp_path / "copy")) == checksum(one.path)


def test_an_input_without_checksum_leaves_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere"):
        create(tmp_path / "run", inputs={"store": tmp_path / "nowhere"})
    assert not (tmp_path / "run").exists()


def test_inputs_are_found_after_the_parent_folder_has_moved(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "elsewhere" / "new"
    data = store(old / "stores" / "jets")
    run = create(old / "runs" / "pretrain", inputs={"store": data})
    assert run.input("store").samefile(data)
    new.parent.mkdir()
    old.rename(new)
    assert Run.open(new / "runs" / "pretrain").input("store").samefile(new / "stores" / "jets")


def test_inputs_are_found_after_the_run_alone_has_moved(tmp_path: Path) -> None:
    data = store(tmp_path / "store")
    create(tmp_path / "run", inputs={"store": data})
    (tmp_path / "far" / "away").mkdir(parents=True)
    shutil.move(tmp_path / "run", tmp_path / "far" / "away" / "run")
    assert Run.open(tmp_path / "far" / "away" / "run").input("store").samefile(data)


def test_an_input_that_is_gone_says_which_flag_names_its_new_place(tmp_path: Path) -> None:
    run = create(tmp_path / "run", inputs={"store": store(tmp_path / "store")})
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(RunError, match=rf"{tmp_path}/store, which is gone; give --store"):
        run.input("store")
    with pytest.raises(RunError, match=r"no input 'encoder'; it has \['store'\]"):
        run.input("encoder")


def test_a_run_of_the_wrong_stage_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "run", "pretrain")
    with pytest.raises(RunError, match=r"run of stage 'pretrain'; expected 'finetune' or 'distill'.*detfm finetune"):
        Run.open(tmp_path / "run", "finetune", "distill")
    assert Run.open(tmp_path / "run", "finetune", "pretrain").stage == "pretrain"
    assert Run.open(tmp_path / "run").stage == "pretrain"


def test_no_folder_and_no_run_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no such folder; expected a run folder of stage 'distill'"):
        Run.open(tmp_path / "nowhere", "distill")
    with pytest.raises(RunError, match=r"not a run folder.*expected stage 'distill'.*detfm distill"):
        Run.open(tmp_path, "distill")


def test_a_result_that_is_not_there_says_that_the_stage_did_not_finish(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    with pytest.raises(RunError, match=r"no metrics\.json.*'pretrain' did not finish.*--resume"):
        run.read("metrics.json")
    run.write("metrics.json", {"auc": 0.5})
    assert run.read("metrics.json") == {"auc": 0.5}
    assert not list(run.path.glob("*.tmp"))


@pytest.mark.parametrize("kind", ["run", "other", "file"])
def test_what_exists_is_not_touched_without_overwrite(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "run":
        create(out).write("metrics.json", {"auc": 0.5})
    elif kind == "other":
        (out / "thesis").mkdir(parents=True)
        (out / "thesis" / "chapter1.tex").write_text("years of work")
    else:
        out.write_text("years of work")
    before = content(tmp_path)
    for attempt in (create, lambda path: make_room(path, "pretrain", False)):
        with pytest.raises(RunError, match=r"out exists; choose another --out, or --overwrite"):
            attempt(out)
    assert content(tmp_path) == before


@pytest.mark.parametrize("kind", ["another stage", "no run", "file"])
def test_overwrite_replaces_nothing_but_a_run_of_the_same_stage(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "another stage":
        create(out, "finetune").write("metrics.json", {"auc": 0.5})
    elif kind == "no run":
        (out / "thesis").mkdir(parents=True)
        (out / "thesis" / "chapter1.tex").write_text("years of work")
    else:
        out.write_text("years of work")
    before = content(tmp_path)
    with pytest.raises(RunError):
        create(out, "pretrain", overwrite=True)
    assert content(tmp_path) == before


def test_overwrite_replaces_a_run_of_the_same_stage_wholly(tmp_path: Path) -> None:
    create(tmp_path / "out").write("metrics.json", {"auc": 0.5})
    create(tmp_path / "out", config=Settings(Optimiser(99)), overwrite=True)
    assert set(content(tmp_path / "out")) == {"config.yaml", "schema.yaml", "provenance.json"}
    assert Run.open(tmp_path / "out").config(Settings).train.steps == 99


def test_an_empty_folder_is_room(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    check_room(tmp_path / "out", "pretrain", overwrite=False)
    assert create(tmp_path / "out").path.is_dir()


def resume(path: Path, settings: Settings, **options: Any) -> Run:
    return continue_or_create(path, "pretrain", config=settings, schema=schema(), resume=True, **options)


def test_resume_with_equal_settings_takes_the_run_as_it_is(tmp_path: Path) -> None:
    settings = Settings(Optimiser(3, (0.1, 0.2)), {"b": ["b"]})
    first = resume(tmp_path / "run", settings, inputs={"store": store(tmp_path / "store")})
    before = content(tmp_path)
    assert resume(tmp_path / "run", settings, inputs={"store": tmp_path / "store"}) == first
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (Settings(Optimiser(4), {"b": ["b"]}), r"train\.steps: 3 -> 4"),
        (Settings(Optimiser(3, ()), {"b": ["b"]}), r"train\.rates: \[0\.001\] -> \[\]"),
        (Settings(Optimiser(3), {"b": ["b", "c"]}), r"groups\.b: "),
        (Settings(Optimiser(3), {"b": ["b"], "c": ["c"]}), r"groups\.c: None -> \['c'\]"),
        (Settings(Optimiser(3), {}), r"groups\.b: \['b'\] -> None"),
    ],
)
def test_resume_with_other_settings_names_the_keys(tmp_path: Path, changed: Settings, named: str) -> None:
    resume(tmp_path / "run", Settings(Optimiser(3), {"b": ["b"]}))
    before = content(tmp_path)
    with pytest.raises(RunError, match=named) as error:
        resume(tmp_path / "run", changed)
    assert "other settings" in str(error.value)
    assert content(tmp_path) == before


def test_resume_names_every_key_that_differs_and_no_other(tmp_path: Path) -> None:
    settings = Settings(Optimiser(3))
    resume(tmp_path / "run", settings)
    changed = dataclasses.replace(settings, train=Optimiser(4, (0.5,)))
    with pytest.raises(RunError) as error:
        resume(tmp_path / "run", changed)
    named = [line.split(":")[0].strip() for line in str(error.value).splitlines()[1:]]
    assert named == ["train.steps", "train.rates"]


def test_resume_on_other_data_is_refused(tmp_path: Path) -> None:
    settings, first = Settings(), store(tmp_path / "first")
    resume(tmp_path / "run", settings, inputs={"store": first})
    other = store(tmp_path / "other", '{"rows": 5}')
    with pytest.raises(RunError, match=r"store.*first.*other"):
        resume(tmp_path / "run", settings, inputs={"store": other})
    with pytest.raises(RunError, match=r"encoder"):
        resume(tmp_path / "run", settings, inputs={"store": first, "encoder": other})
    shutil.copytree(first, tmp_path / "copy")
    assert resume(tmp_path / "run", settings, inputs={"store": tmp_path / "copy"}).input("store").samefile(first)


def test_resume_of_another_stage_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "run", "finetune")
    before = content(tmp_path)
    with pytest.raises(RunError, match="stage 'finetune'"):
        resume(tmp_path / "run", Settings())
    assert content(tmp_path) == before


def test_flatten_gives_dotted_keys() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}


def test_provenance_is_plain_json_in_full(tmp_path: Path) -> None:
    recorded = json.loads((create(tmp_path / "run").path / "provenance.json").read_text())
    assert set(recorded) == {
        *(
            "id",
            "stage",
            "detfm",
            "command",
            "created",
            "python",
            "machine",
            "packages",
            "git_commit",
            "seeds",
            "inputs",
        )
    }


def test_metrics_lines_cut_by_an_interruption_are_left_out_and_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    good = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    path.write_text("\n".join(map(json.dumps, good)) + '\n{"step": 3, "lo')
    assert read_metrics(path) == good
    path.write_text('{"step": 1}\n{"step"\n{"step": 3}\n')
    with pytest.raises(DataError, match="line 2: not JSON"):
        read_metrics(path)
    path.write_text('{"loss": 1}\n{"step": 3}\n')
    with pytest.raises(DataError, match="line 1: expected an object with a 'step'"):
        read_metrics(path)
