"""A subcommand of subcommands: `detfm anomaly fit ...`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from finetune.anomaly.command import COMMAND
from foundation.cli import main
from foundation.command import CommandGroup, load_config
from foundation.errors import ConfigError


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(words, capsys):
    assert main(["anomaly", *words]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: detfm anomaly {fit,score,rates,display}")
    for name, (_, text) in COMMAND.commands.items():
        assert f"  {name} " in shown
        assert text in shown


def test_an_unknown_command_is_refused_and_a_close_one_named(capsys):
    assert main(["anomaly", "scores"]) == 2
    said = capsys.readouterr().err
    assert "`detfm anomaly` has no command 'scores'" in said
    assert "score" in said


@pytest.mark.parametrize("name", COMMAND.commands)
def test_every_command_is_there_with_its_settings_and_example(name, capsys):
    command = COMMAND.command("anomaly", name)
    assert f"Example: detfm anomaly {name} " in command.description
    assert main(["anomaly", name, "--print_config"]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    assert load_config(command.config, json.loads(json.dumps(settings))) == command.config()


def test_a_setting_is_overridden_and_a_wrong_one_named(capsys):
    assert main(["anomaly", "fit", "--print_config", "--cfg.rows.most", "7"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["rows"]["most"] == 7
    assert main(["anomaly", "fit", "store", "--cfg.rows.mots", "7"]) == 2
    said = capsys.readouterr().err
    assert "cfg.rows.mots" in said
    assert "detfm anomaly fit --help" in said


def test_only_the_command_that_is_called_is_imported():
    """What `detfm anomaly` prints needs none of its commands, nor jax."""
    code = "import sys; from foundation.cli import main; main(['anomaly']); sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_group_without_that_command_says_so():
    group = CommandGroup(commands={"one": ("finetune.anomaly.command:COMMAND", "text")})
    with pytest.raises(ConfigError, match="no command 'two'"):
        group.command("toy", "two")
