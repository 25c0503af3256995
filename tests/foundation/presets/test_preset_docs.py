"""docs/data.md and the heads of the presets: complete, and their commands are ones that detfm takes."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from foundation.cli import COMMANDS
from foundation.schema import DetectorSchema

ROOT = Path(__file__).parents[3]
PRESETS = sorted((ROOT / "configs/data").glob("*.yaml"))
PAGE = (ROOT / "docs/data.md").read_text()
ROWS = {
    cells[0].strip("`"): cells for line in PAGE.splitlines() if (cells := [c.strip() for c in line.split("|")[1:-1]])
}


def listed(schema: DetectorSchema) -> tuple[str, str]:
    """Its modalities and labels as the page writes them."""
    modalities = ", ".join(f"{name} {len(modality.features)}" for name, modality in schema.modalities.items())
    return modalities, ", ".join(f"{n} {len(v.classes)}" if v.classes else n for n, v in schema.labels.items())


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_on_the_page_as_it_is(path):
    schema = DetectorSchema.load(path)
    assert schema.name == path.stem
    assert schema.comment
    cells = ROWS[path.stem]
    assert all(cells[1:3])
    if len(cells) > 2:
        assert (cells[2], cells[3]) == listed(schema)


def test_the_page_lists_nothing_else():
    assert set(ROWS) - {"schema", "---"} == {path.stem for path in PRESETS}


def commands():
    for source in [ROOT / "docs/data.md", *PRESETS]:
        for line in source.read_text().splitlines():
            if match := re.match(r"#?\s*detfm (\w+) (.*)", line):
                yield pytest.param(source, match[1], match[2], id=f"{source.stem}-{match[1]}")


@pytest.mark.parametrize(("source", "name", "words"), list(commands()))
def test_commands_are_ones_that_detfm_takes(source, name, words):
    module, attribute = COMMANDS[name][0].split(":")
    parser = getattr(importlib.import_module(module), attribute).parser(name)
    argv = shlex.split(words)
    cfg = argv.index("--cfg") if "--cfg" in argv else len(argv)  # a preset of settings: tests of that command
    argv = argv[:cfg] + argv[cfg + 2 :]
    arguments = parser.parse_args(argv)
    if name == "ingest":
        assert Path(ROOT / f"configs/{arguments.schema}.yaml").is_file()
        if source.suffix == ".yaml":
            assert arguments.schema == f"data/{source.stem}"
