"""`detfm inspect STORE`: what it says, and that --verify finds a flipped bit in any file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from detector import columns, schema, write
from test_inspect import line, text

from foundation.cli import main
from foundation.errors import DetfmError
from foundation.inspect import inspect
from foundation.store.ingest import IngestConfig, ingest


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    content = columns(300)
    content["met"][7] = np.nan
    good, bad = write(folder / "a.root", content), folder / "b.root"
    bad.write_bytes(b"no such thing")
    cfg = IngestConfig(nonfinite="quarantine")
    return ingest([good, bad], schema=schema(), cfg=cfg, out=folder / "s", skip_bad_files=True)


def test_a_store(store):
    shown = text(inspect(store, verify=True))
    assert line(shown, "rows read") == ["rows", "read", "300"]
    assert line(shown, "rows written") == ["rows", "written", "299"]
    assert line(shown, "rows quarantined:")[-1] == "1"
    assert "tracks: tokens removed by `select`" in shown
    assert line(shown, "phi")[:2] == ["phi", "rad"]
    assert "signal" in shown
    assert "quarantine.parquet lists" in " ".join(shown.split())
    assert "skipped files" in shown
    assert "b.root" in shown
    assert "files equal to their SHA-256" in shown


def test_hardware_counts_are_beside_the_features(tmp_path):
    modality = {
        "features": {"energy": {"expression": "cells[..., 0]", "hardware": {"lsb": 0.5, "bits": 3}}},
        "max_tokens": 4,
    }
    content = columns(200)
    content["cells"] = np.round(2 * content["cells"]) / 2
    content["cells"][0, 0, 0], content["cells"][1, 0, 0] = 0.3, 100.0
    changed = schema(modalities={"cells": modality})
    out = ingest([write(tmp_path / "a.root", content)], schema=changed, out=tmp_path / "s")
    shown = text(inspect(out))
    inside = (content["cells"][..., 0] > 1.5) | (content["cells"][..., 0] < -2)
    assert line(shown, "energy")[-6:] == ["bits", "signed,", "lsb", "0.5", "1", str(int(inside.sum()))]


def test_json_of_a_store(store, capsys):
    assert main(["inspect", str(store), "--json", "--verify"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accounting"]["read"] == 300
    assert found["verified"] > 10


def files_of(store: Path) -> list[str]:
    return sorted(str(p.relative_to(store)) for p in store.rglob("*") if p.is_file())


def test_verify_finds_a_flipped_bit_in_every_file(store, tmp_path):
    """Each file is damaged in turn, in the middle, and named."""
    copy = tmp_path / "s"
    shutil.copytree(store, copy)
    names = files_of(copy)
    assert len(names) > 20
    for name in names:
        flip(copy / name)
        with pytest.raises(DetfmError, match=name.replace(".", r"\.")):
            inspect(copy, verify=True)
        flip(copy / name)
    inspect(copy, verify=True)


def flip(path: Path, place: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 0b100
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["manifest.json", "provenance.json"])
def test_verify_finds_a_flipped_bit_anywhere_in_what_holds_the_checksums(store, tmp_path, name):
    copy = tmp_path / "s"
    shutil.copytree(store, copy)
    size = (copy / name).stat().st_size
    for place in range(3, size - 3, size // 150):
        flip(copy / name, place)
        with pytest.raises(DetfmError, match=r"damaged|store|incomplete"):
            inspect(copy, verify=True)
        flip(copy / name, place)
    inspect(copy, verify=True)


def test_verify_names_a_file_of_settings_that_was_changed(store, tmp_path):
    for name, old, new in (
        ("schema.yaml", b"max_tokens: 12", b"max_tokens: 13"),
        ("manifest.json", b'"read": 300', b'"read": 301'),
        ("manifest.json", b'"max_tokens": 12', b'"max_tokens": 13'),
        ("config.yaml", b": ", b"\x00 "),
        ("provenance.json", b'"', b"'"),
    ):
        copy = tmp_path / "s"
        shutil.copytree(store, copy)
        content = (copy / name).read_bytes()
        assert old in content
        (copy / name).write_bytes(content.replace(old, new, 1))
        with pytest.raises(DetfmError, match=name.replace(".", r"\.")):
            inspect(copy, verify=True)
        shutil.rmtree(copy)
