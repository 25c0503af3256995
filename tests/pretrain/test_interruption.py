"""A real `detfm pretrain`, ended by a signal and resumed, ends where one that ran through ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
import pytest
from few_jets import ingest_few

from foundation.runs import Run

SETTINGS = """
encoder: {width: 16, layers: 1, heads: 2, pair_features: false}
masked: {weight: 1.0}
contrastive: {weight: 0.5, projection: 8}
train: {steps: STEPS, log_every: 1, checkpoint_every: 100000, evaluate_every: 0}
monitor: {rows: 20, report_rows: 0}
batch_tokens: 512
buckets: 2
"""
STEPS = 400


def start(folder: Path, out: str, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "foundation.cli", "pretrain", "store", "--cfg", "tiny.yaml", "--out", out, *flags]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def wait_for_steps(process: subprocess.Popen[str], metrics: Path, count: int) -> None:
    """Until `count` steps are on record."""
    until = time.monotonic() + 300
    while not metrics.is_file() or metrics.read_text().count("\n") < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.005)


def arrays(checkpoint: Path) -> dict[str, Any]:
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(checkpoint.absolute())


def assert_equal_arrays(one: Path, other: Path) -> None:
    found, wanted = arrays(other), arrays(one)
    assert found.keys() == wanted.keys()
    assert len(wanted) > 10
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_stopped_and_resumed_equals_uninterrupted(
    number: signal.Signals, uninterrupted: Path, sample: Path, tmp_path: Path
) -> None:
    folder, out = uninterrupted, f"stopped-{number.name}"
    process = start(folder, out)
    wait_for_steps(process, folder / out / "metrics.jsonl", 5)
    process.send_signal(number)
    status, message = finish(process)
    assert status == 128 + number, message
    assert f"detfm pretrain: {number.name} at step" in message
    assert "--resume" in message
    saved = [int(p.name) for p in (folder / out / "checkpoints").iterdir()]
    assert len(saved) == 1
    assert 5 <= saved[0] < STEPS, "the signal came too late to test anything"
    assert not (folder / out / "model").exists()

    status, message = finish(start(folder, out, "--resume"))
    assert status == 0, message
    assert_equal_arrays(folder / "whole" / "model", folder / out / "model")
    state = Path("checkpoints") / str(STEPS) / "state"  # the optimiser's too
    assert_equal_arrays(folder / "whole" / state, folder / out / state)
    for name in ("metrics.jsonl", "metrics.json"):
        assert (folder / out / name).read_text() == (folder / "whole" / name).read_text()


@pytest.fixture(scope="module")
def uninterrupted(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, settings and a run that went through, `whole`."""
    folder = tmp_path_factory.mktemp("interruption")
    ingest_few(sample, folder)
    (folder / "tiny.yaml").write_text(SETTINGS.replace("STEPS", str(STEPS)))
    status, message = finish(start(folder, "whole"))
    assert status == 0, message
    assert Run.open(folder / "whole", "pretrain").read("metrics.json")["probe_accuracy"] > 0
    return folder
