from __future__ import annotations

import io

import numpy as np
import pytest
from detector import columns, schema, write
from rich.console import Console

from foundation.cli import main
from foundation.errors import DataError, RunError
from foundation.inspect import inspect
from foundation.runs import Run
from foundation.store.ingest import ingest


def text(tables):
    out = Console(file=io.StringIO(), width=200)
    for table in tables:
        out.print(table)
    return out.file.getvalue()


def line(shown, name):
    return next(row for row in shown.splitlines() if f" {name} " in row).replace("│", " ").split()


def test_a_file(tmp_path):
    content = columns(300)
    content["met"][[1, 2]] = np.nan
    content["met"][3] = np.inf
    content["met"][4] = 1e6
    shown = text(inspect(write(tmp_path / "a.root", content)))
    assert "300 rows" in shown
    assert line(shown, "met") == ["met", "double", "1", f"{np.nanmin(content['met']):.6g}", "1e+06", "2", "1"]
    assert line(shown, "track_pt")[:5] == ["track_pt", "float[]", "0", "to", "19"]
    assert line(shown, "cells")[:3] == ["cells", "double[3][2]", "3"]


def test_only_the_first_rows_when_asked(tmp_path):
    content = columns(300)
    content["met"][200] = 1e9
    path = write(tmp_path / "a.root", content)
    assert "1e+09" in text(inspect(path))
    assert "1e+09" not in text(inspect(path, rows=150))


def test_a_store_and_its_run(tmp_path):
    out = ingest([write(tmp_path / "a.root", columns(300))], schema=schema(), out=tmp_path / "s")
    shown = text(inspect(out, verify=True))
    assert line(shown, "read") == ["read", "300"]
    assert line(shown, "phi")[:2] == ["phi", "rad"]
    assert "signal" in shown
    assert "files equal to their SHA-256" in shown


def test_a_run(tmp_path):
    run = Run.create(tmp_path / "run", "pretrain", config={}, schema=schema(), seeds={"train": 7})
    run.write("metrics.json", {"probe": 0.75})
    shown = text(inspect(run.path))
    assert line(shown, "stage") == ["stage", "pretrain"]
    assert line(shown, "probe") == ["probe", "0.75"]


def test_refusals(tmp_path, capsys):
    with pytest.raises(RunError, match="not a run folder"):
        inspect(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        inspect(tmp_path / "x.root")
    with pytest.raises(DataError, match="not a store"):
        inspect(write(tmp_path / "a.root", columns(20)), verify=True)
    assert main(["inspect", str(tmp_path / "x.root")]) == 2
    assert "no such file" in capsys.readouterr().err
