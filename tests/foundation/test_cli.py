"""The command line: every command's help and settings, exit statuses, and what bad input leaves behind."""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from example import schema

from foundation import __version__, cli
from foundation.command import PRESET_FOLDERS, Command, CommandGroup, load_config, to_dict
from foundation.errors import RunError
from foundation.runs import Run
from foundation.train import Interrupted

PRESETS = PRESET_FOLDERS[0]


def command(name: str) -> Command | CommandGroup:
    module, attribute = cli.COMMANDS[name][0].split(":")
    return getattr(importlib.import_module(module), attribute)


def spelled(name: str) -> list[tuple[list[str], Command]]:
    """The words and the command; of a group, each of its commands."""
    own = command(name)
    if isinstance(own, CommandGroup):
        return [([name, each], own.command(name, each)) for each in own.commands]
    return [([name], own)]


def content(folder: Path) -> dict[str, bytes | None]:
    found = sorted(folder.rglob("*"))
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in found}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_describes_the_command_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, _ in spelled(name):
        with pytest.raises(SystemExit) as stopped:
            cli.main([*words, "--help"])
        assert stopped.value.code == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert shown.startswith(f"usage: detfm {' '.join(words)} ")
        assert f"Example: detfm {' '.join(words)} " in shown


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_print_config_parses_back(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, own in spelled(name):
        kind = own.config
        if kind is None:  # a command without settings knows no such switch
            assert cli.main([*words, "x", "--print_config"]) == 2
            return
        assert cli.main([*words, "--print_config"]) == 0
        printed = capsys.readouterr().out
        assert yaml.safe_load(printed) == to_dict(kind())
        (tmp_path / "settings.yaml").write_text(printed)
        assert load_config(kind, tmp_path / "settings.yaml") == kind()
        assert cli.main([*words, "--print_config", "--cfg", str(tmp_path / "settings.yaml")]) == 0
        assert capsys.readouterr().out == printed


@pytest.mark.parametrize("preset", sorted(str(p.relative_to(PRESETS)) for p in PRESETS.rglob("*.yaml")))
def test_every_shipped_preset_is_read(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A preset, or the folder it is in, is named after its command; those of `data` are schemas."""
    from foundation.schema import DetectorSchema

    folder, _, name = preset.removesuffix(".yaml").rpartition("/")
    if folder == "data":
        DetectorSchema.load(f"data/{name}").check()
        return
    named, group = name.partition("_")[0], folder.partition("/")[0]
    stage = named if named in cli.COMMANDS and not isinstance(command(named), CommandGroup) else group
    known = spelled(stage)  # of a group: GROUP/NAME is of its first command, GROUP/COMMAND/NAME of that one
    words, own = next((each for each in known if each[0] == folder.split("/")), known[0])
    assert cli.main([*words, "--print_config", "--cfg", f"{folder}/{name}"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == to_dict(load_config(own.config, f"{folder}/{name}"))


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_usage_lists_every_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in cli.COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_an_unknown_command_hints_at_the_close_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pretrian", "store"]) == 2
    assert "unknown command 'pretrian'; did you mean 'pretrain'" in capsys.readouterr().err
    assert cli.main(["xyzzy"]) == 2
    assert "known: anomaly, compare, distill, embed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RunError("out exists"), 2, "detfm toy: out exists"),
        (KeyboardInterrupt(), 130, "detfm toy: interrupted"),
        (Interrupted("stopped; --resume", signal.SIGINT), 130, "detfm toy: stopped; --resume"),
        (Interrupted("stopped; --resume", signal.SIGTERM), 143, "detfm toy: stopped; --resume"),
        (None, 0, ""),
    ],
)
def test_exit_status(
    error: BaseException | None,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def toy(name: str, argv: list[str]) -> None:
        assert (name, argv) == ("toy", ["a", "--b"])
        if error is not None:
            raise error

    monkeypatch.setitem(sys.modules, "toy_command", SimpleNamespace(COMMAND=toy))  # type: ignore[arg-type]
    monkeypatch.setitem(cli.COMMANDS, "toy", ("toy_command:COMMAND", ""))
    assert cli.main(["toy", "a", "--b"]) == status
    assert capsys.readouterr().err.strip() == message


def test_an_error_that_is_not_the_users_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def toy(name: str, argv: list[str]) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(sys.modules, "toy_command", SimpleNamespace(COMMAND=toy))  # type: ignore[arg-type]
    monkeypatch.setitem(cli.COMMANDS, "toy", ("toy_command:COMMAND", ""))
    with pytest.raises(ZeroDivisionError):
        cli.main(["toy"])


CONSUMES = {  # command -> stages of the run folder that it takes
    "embed": {"pretrain", "finetune"},
    "finetune": {"pretrain"},
    "evaluate": {"finetune", "distill", "export"},
    "distill": {"finetune"},
    "export": {"distill"},
    "verify": {"export"},
}
STAGES = ("ingest", "pretrain", "finetune", "evaluate", "embed", "distill", "export")


@pytest.mark.parametrize(("name", "stage"), [(n, s) for n, taken in CONSUMES.items() for s in STAGES if s not in taken])
def test_a_run_folder_of_the_wrong_stage(
    name: str, stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.create(tmp_path / "run", stage, config={}, schema=schema())
    out = [] if name == "verify" else ["--out", str(tmp_path / "out")]
    before = content(tmp_path)
    assert cli.main([name, str(run.path), *out]) == 2
    message = capsys.readouterr().err
    assert f"{run.path} is a run of stage '{stage}'; expected" in message
    assert all(f"'{taken}'" in message for taken in CONSUMES[name])
    assert content(tmp_path) == before


@pytest.mark.parametrize("name", [n for n in CONSUMES if n != "finetune"] + ["pretrain", "inspect", "report"])
def test_a_path_that_is_not_there(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone: Any = tmp_path / "gone"
    out = [] if name in ("verify", "inspect") else ["--out", str(tmp_path / "out")]
    assert cli.main([name, str(gone), *out]) == 2
    assert str(gone) in capsys.readouterr().err
    assert not content(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "a.root").write_text("")
    out = tmp_path / "file" / "store"
    assert cli.main(["ingest", str(tmp_path / "a.root"), "--schema", "data/jets", "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"detfm ingest: {out}.partial: Not a directory\n"
