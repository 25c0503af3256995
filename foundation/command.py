"""How a subcommand is declared: positional inputs and a few switches, plus one frozen dataclass of settings, `--cfg`.

The dataclass is the only definition of the settings: the YAML preset, the `--cfg.x.y` overrides, `--help` and
`--print_config` all follow from it, and unknown keys are refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import json
import shlex
import sys
import typing
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonargparse

from foundation.construct import NeedsParsing, construct, fields
from foundation.errors import ConfigError, close_names

INVOCATION: ContextVar[str] = ContextVar("invocation", default="")  # the command as typed, for a run's provenance
REFUSED = (jsonargparse.ArgumentError, TypeError, ValueError)  # how jsonargparse, or a config itself, refuses values
PRESET_FOLDERS = (Path(__file__).parent.parent / "configs", Path(__file__).parent / "_presets")


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        run: called with the parsed namespace: the attributes that `arguments` added and, if there is a config, `cfg`.
        config: frozen dataclass of settings, or None.
        arguments: adds positional arguments and switches to the parser.
        description: one paragraph for `--help`; ends with an example.
    """

    run: Callable[[Any], Any]
    config: type | None = None
    arguments: Callable[[jsonargparse.ArgumentParser], Any] = lambda parser: None
    description: str = ""

    def parser(self, name: str) -> jsonargparse.ArgumentParser:
        parser = jsonargparse.ArgumentParser(prog=f"detfm {name}", description=self.description, exit_on_error=False)
        self.arguments(parser)
        self._add_config(parser)
        return parser

    def _add_config(self, parser: jsonargparse.ArgumentParser) -> None:
        if self.config is not None:
            parser.add_argument("--print_config", action="store_true", help="print the resolved settings and exit")
            parser.add_argument("--cfg", type=self.config, default=self.config(), sub_configs=True, help="settings")

    def __call__(self, name: str, argv: Sequence[str]) -> Any:
        argv = _expand_presets(argv)
        if self.config is not None and "--print_config" in argv:
            return sys.stdout.write(to_yaml(self._config_only(name, argv)))
        token = INVOCATION.set(f"detfm {name} {shlex.join(argv)}")
        try:
            return self.run(_parse(self.parser(name), argv))
        finally:
            INVOCATION.reset(token)

    def _config_only(self, name: str, argv: Sequence[str]) -> Any:
        """The settings alone, so that `--print_config` needs no positional argument."""
        parser = jsonargparse.ArgumentParser(prog=f"detfm {name}", exit_on_error=False)
        self._add_config(parser)
        kept: list[str] = []
        for position, word in enumerate(argv):
            if word == "--cfg" or word.startswith("--cfg."):
                kept += [word] if "=" in word else list(argv[position : position + 2])
        return _parse(parser, kept).cfg


@dataclass(frozen=True)
class CommandGroup:
    """A subcommand of subcommands: `detfm anomaly fit ...`.

    Attributes:
        commands: name -> (`package.module:ATTRIBUTE` of a Command, one line for people); imported when called.
        description: one paragraph for `--help`.
    """

    commands: dict[str, tuple[str, str]]
    description: str = ""

    def usage(self, name: str) -> str:
        lines = [f"usage: detfm {name} {{{','.join(self.commands)}}} ...", "", self.description, ""]
        lines += [f"  {each:<10} {text}" for each, (_, text) in self.commands.items()]
        return "\n".join([*lines, "", f"`detfm {name} {next(iter(self.commands))} --help` explains one of them."])

    def command(self, name: str, which: str) -> Command:
        """The command of that name. Raises ConfigError: there is none."""
        if which not in self.commands:
            from foundation.errors import close_names

            raise ConfigError(f"`detfm {name}` has no command '{which}'; {close_names(which, self.commands)}")
        module, attribute = self.commands[which][0].split(":")
        return getattr(importlib.import_module(module), attribute)

    def __call__(self, name: str, argv: Sequence[str]) -> Any:
        if not argv or argv[0] in ("-h", "--help", "help"):
            return sys.stdout.write(self.usage(name) + "\n")
        return self.command(name, argv[0])(f"{name} {argv[0]}", argv[1:])


def _parse(parser: jsonargparse.ArgumentParser, argv: Sequence[str]) -> Any:
    try:
        return parser.instantiate(parser.parse_args(list(argv)))
    except REFUSED as error:
        files = [word for previous, word in zip(["", *argv], argv) if previous == "--cfg"]
        raise ConfigError(
            f"{_explain(error, ' or '.join(files))}\n  `{parser.prog} --help` lists what is accepted"
        ) from error


def _explain(error: Exception, where: str) -> str:
    """jsonargparse's message, which names an unknown key but not the file that holds it."""
    return str(error).replace("Group 'cfg' does not accept option", f"{where}: there is no setting")


def _expand_presets(argv: Sequence[str]) -> list[str]:
    """`--cfg l1jets/pretrain` names a shipped preset; a path is taken as it is."""
    words: list[str] = []
    for word in argv:
        words += ["--cfg", word.removeprefix("--cfg=")] if word.startswith("--cfg=") else [word]
    return [_preset(word) if previous == "--cfg" else word for previous, word in zip(["", *words], words)]


def _preset(name: str) -> str:
    """The file of a preset; of one that sets nothing, which jsonargparse refuses, its empty mapping."""
    path = find_preset(name)
    return str(path) if _read(path) else "{}"


def _read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ConfigError if it holds anything else."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}; expected settings, `key: value`")
    return values


def find_preset(name: str | Path) -> Path:
    """The file of a preset: an existing path, or a name below `configs/` with or without `.yaml`.

    Raises:
        ConfigError: nothing of that name exists; the message lists the shipped presets that are close.
    """
    path = Path(name)
    if path.is_file():
        return path
    for folder in PRESET_FOLDERS:
        for candidate in (folder / path, folder / f"{path}.yaml"):
            if candidate.is_file():
                return candidate
    from foundation.errors import close_names

    shipped = {str(p.relative_to(f).with_suffix("")) for f in PRESET_FOLDERS if f.is_dir() for p in f.rglob("*.yaml")}
    raise ConfigError(f"no such file or preset: {name}; {close_names(str(name), shipped)}")


def to_dict(config: Any) -> Any:
    """A config as plain dicts, lists and scalars (what YAML and JSON can hold)."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, dict):
        return {str(k): to_dict(v) for k, v in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_dict(v) for v in config]
    if isinstance(config, Path):
        return str(config)
    return config


def to_yaml(config: Any) -> str:
    """YAML of a config; feeding it back with `--cfg FILE` gives an equal config."""
    import yaml

    return yaml.safe_dump(to_dict(config), sort_keys=False, width=120)


def load_config(kind: type, source: str | Path | dict[str, Any]) -> Any:
    """An instance of the dataclass `kind` from a preset name, a YAML file or a plain dict.

    Raises:
        ConfigError: unknown or ill-typed keys, named.
    """
    where = "the settings" if isinstance(source, dict) else str(find_preset(source))
    values = source if isinstance(source, dict) else _read(find_preset(source))
    return _instance(kind, json.dumps(values, default=str), where)


@functools.lru_cache(maxsize=64)
def _instance(kind: type, values: str, where: str) -> Any:
    """Kept, because a run loads the same schema often."""
    plain = json.loads(values)
    _check_keys(kind, plain, where)
    try:
        with contextlib.suppress(NeedsParsing, *REFUSED):
            return construct(kind, plain, _parsed)
        return _parsed(kind, plain, kind())  # its message names the whole path
    except REFUSED as error:
        text = _explain(error, where)
        raise ConfigError(text if where in text else f"{where}: {text}") from error


def _parsed(kind: type, values: Any, base: Any) -> Any:
    """`base` with these values, each of which jsonargparse may convert."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--cfg", type=kind, default=base)
    return parser.instantiate(parser.parse_object({"cfg": values})).cfg


def _check_keys(kind: Any, values: Any, where: str, path: str = "") -> None:
    """Raises ConfigError naming a key that no field of the dataclass `kind`, or of one inside it, has."""
    if not isinstance(values, dict):
        return
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        inside = typing.get_args(kind)
        if typing.get_origin(kind) is dict:
            for key, value in values.items():
                _check_keys(inside[1], value, where, f"{path}{key}.")
        elif len(inner := [each for each in inside if dataclasses.is_dataclass(each)]) == 1:  # X | None
            _check_keys(inner[0], values, where, path)
        return
    known = fields(kind)
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{where}: there is no setting '{path}{key}'; {close_names(key, known)}")
        _check_keys(known[key], value, where, f"{path}{key}.")
