"""How commands read their settings: presets, files, overrides; every wrong key or type is refused and named."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from foundation.command import Command, find_preset, load_config, to_dict, to_yaml
from foundation.errors import ConfigError
from foundation.schema import DetectorSchema


@dataclass(frozen=True)
class Layer:
    """A layer.

    Attributes:
        width: of the layer.
        kind: of the layer.
    """

    width: int = 8
    kind: Literal["dense", "sum"] = "dense"


@dataclass(frozen=True)
class Settings:
    """Every shape that settings take in detfm.

    Attributes:
        rate: a float.
        name: a string.
        flag: a boolean.
        budget: a float that may be absent.
        first: a nested dataclass.
        layers: a tuple of nested dataclasses.
        seeds: a tuple of integers.
        groups: lists of strings by name.
    """

    rate: float = 1e-3
    name: str = ""
    flag: bool = False
    budget: float | None = None
    first: Layer = field(default_factory=Layer)
    layers: tuple[Layer, ...] = ()
    seeds: tuple[int, ...] = (0, 1)
    groups: dict[str, list[str]] = field(default_factory=dict)


FULL = Settings(0.5, "x", True, 2.0, Layer(3), (Layer(1, "sum"), Layer(2)), (), {"b": ["b"], "light": ["u", "g"]})


def call(*argv: str) -> Any:
    """What a command with one positional argument and `Settings` is run with."""
    command = Command(run=lambda args: args, config=Settings, arguments=lambda p: p.add_argument("store"))
    return command("toy", argv)


def settings_file(folder: Path, text: str) -> str:
    path = folder / "settings.yaml"
    path.write_text(text)
    return str(path)


def test_defaults_need_no_flag() -> None:
    args = call("here")
    assert args.cfg == Settings()
    assert args.store == "here"


def test_a_flag_overrides_the_file_and_leaves_the_rest(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "rate: 0.25\nfirst: {width: 5, kind: sum}\n")
    found = call("here", "--cfg", file, "--cfg.first.width", "6", "--cfg.flag=true", "--cfg.seeds", "[4, 5]").cfg
    assert found == Settings(rate=0.25, flag=True, first=Layer(6, "sum"), seeds=(4, 5))


@pytest.mark.parametrize("settings", [Settings(), FULL])
def test_yaml_reads_back_to_equal_settings(tmp_path: Path, settings: Settings) -> None:
    file = settings_file(tmp_path, to_yaml(settings))
    assert call("here", "--cfg", file).cfg == settings
    assert call("here", f"--cfg={file}").cfg == settings
    assert load_config(Settings, file) == settings
    assert load_config(Settings, to_dict(settings)) == settings


def test_print_config_shows_the_resolved_settings_without_positional_arguments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = settings_file(tmp_path, to_yaml(FULL))
    call("--print_config", "--cfg", file, "--cfg.first.width", "9")
    printed = capsys.readouterr().out
    again = settings_file(tmp_path, printed)
    assert load_config(Settings, again) == Settings(**{**FULL.__dict__, "first": Layer(9)})
    call("--print_config", "--cfg", again)
    assert capsys.readouterr().out == printed


def test_print_config_does_not_run_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    ran: list[Any] = []
    Command(run=ran.append, config=Settings)("toy", ["--print_config"])
    assert not ran
    assert yaml.safe_load(capsys.readouterr().out) == to_dict(Settings())


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--cfg.ratee", "1"], "cfg.ratee"),
        (["--cfg.first.widht", "1"], "cfg.first.widht"),
        (["--cfg.first.widht=1"], "cfg.first.widht"),
        (["--outt", "x"], "--outt"),
        (["--cfg.rate", "fast"], "cfg.rate"),
        (["--cfg.first.width", "1.5"], "cfg.first.width"),
        (["--cfg.first.kind", "conv"], "cfg.first.kind"),
        (["--cfg.flag", "2"], "cfg.flag"),
        (["--cfg.seeds", "[0, one]"], "cfg.seeds"),
        (["--cfg.first.width", "null"], "cfg.first.width"),
    ],
)
def test_a_wrong_flag_is_refused_and_named(flags: list[str], named: str) -> None:
    with pytest.raises(ConfigError) as error:
        call("here", *flags)
    assert named in str(error.value)
    assert "detfm toy --help" in str(error.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ratee: 1", "ratee"),
        ("first: {widht: 1}", "first.widht"),
        ("rate: fast", "rate"),
        ("first: {width: 1.5}", "first.width"),
        ("first: {kind: conv}", "first.kind"),
        ("layers: [{width: 1}, {widht: 2}]", "widht"),
        ("groups: {b: 3}", "groups"),
        ("rate: [\n", "settings.yaml"),
        ("- 1\n", "settings.yaml"),
    ],
)
def test_a_wrong_key_in_a_file_is_refused_with_key_and_file(tmp_path: Path, text: str, named: str) -> None:
    file = settings_file(tmp_path, text)
    for attempt in (lambda: call("here", "--cfg", file), lambda: load_config(Settings, file)):
        with pytest.raises(ConfigError) as error:
            attempt()
        assert named in str(error.value)
        assert file in str(error.value)


def test_a_file_that_sets_nothing_is_the_defaults(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "# rate: 1\n")
    assert call("here", "--cfg", file).cfg == load_config(Settings, file) == Settings()


def test_a_missing_positional_argument_is_named() -> None:
    with pytest.raises(ConfigError, match="store"):
        call()


def test_presets_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    preset = find_preset("quickstart/pretrain")
    assert preset == find_preset("quickstart/pretrain.yaml") == find_preset(preset)
    assert preset.parts[-3:] == ("configs", "quickstart", "pretrain.yaml")
    file = settings_file(tmp_path, "rate: 2")
    assert find_preset(file) == Path(file)


def test_a_misspelt_preset_names_the_close_ones() -> None:
    for attempt in (
        lambda: call("here", "--cfg", "quickstart/pretrian"),
        lambda: load_config(Settings, "quickstart/pretrian"),
    ):
        with pytest.raises(ConfigError, match="quickstart/pretrain"):
            attempt()


def test_load_config_does_not_change_the_dict_it_reads() -> None:
    given = {"first": {"width": 4}, "groups": {"b": ["b"]}}
    load_config(Settings, given)
    assert given == {"first": {"width": 4}, "groups": {"b": ["b"]}}


@pytest.mark.parametrize(
    ("modality", "text"),
    [
        ({"max_token": 3}, "modalities.p.max_token'; did you mean 'max_tokens'"),
        ({"features": {"a": {"expresion": "x"}}}, "modalities.p.features.a.expresion'; did you mean 'expression'"),
        ({"features": {"a": {"hardware": {"lsb": 1, "bit": 3}}}}, "features.a.hardware.bit'; did you mean 'bits'"),
    ],
)
def test_a_misspelt_key_is_named_with_its_place(modality, text):
    with pytest.raises(ConfigError, match=f"there is no setting '.*{re.escape(text)}"):
        load_config(DetectorSchema, {"modalities": {"p": modality}})
