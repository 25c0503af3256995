"""A real `detfm pretrain`, ended by signals and resumed, ends where one that ran through ends."""

from __future__ import annotations

import os
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
    """The processes share what they compile: most of what each would spend its time on."""
    command = [sys.executable, "-m", "foundation.cli", "pretrain", "store", "--cfg", "tiny.yaml", "--out", out, *flags]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=os.environ | cache)


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
def test_stopped_twice_and_resumed_equals_uninterrupted(uninterrupted: Path) -> None:
    folder, out = uninterrupted, "stopped"
    run, steps = folder / out, [0]
    for number, flags in ((signal.SIGTERM, ()), (signal.SIGINT, ("--resume",))):
        process = start(folder, out, *flags)
        wait_for_steps(process, run / "metrics.jsonl", steps[-1] + 5)
        process.send_signal(number)
        status, message = finish(process)
        assert status == 128 + number, message
        assert f"detfm pretrain: {number.name} at step" in message
        assert "--resume" in message
        saved = sorted(int(p.name) for p in (run / "checkpoints").iterdir())
        assert saved[:-1] == steps[1:]
        assert steps[-1] + 5 <= saved[-1] < STEPS, "the signal came too late to test anything"
        assert not (run / "model").exists()
        steps.append(saved[-1])

    status, message = finish(start(folder, out, "--resume"))
    assert status == 0, message
    assert_equal_arrays(folder / "whole" / "model", run / "model")
    state = Path("checkpoints") / str(STEPS) / "state"  # the optimiser's too
    assert_equal_arrays(folder / "whole" / state, run / state)
    for name in ("metrics.jsonl", "metrics.json"):
        assert (run / name).read_text() == (folder / "whole" / name).read_text()


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
