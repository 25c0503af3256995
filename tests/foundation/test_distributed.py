"""Several processes: who takes part, and that none waits for one that failed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from foundation import distributed
from foundation.distributed import find_job, own_devices
from foundation.errors import ConfigError, RunError

SLURM_TASK = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_NTASKS": "8"}
STEP = SLURM_TASK | {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}
GIVEN = {"JAX_COORDINATOR_ADDRESS": "host:1234", "JAX_NUM_PROCESSES": "3", "JAX_PROCESS_ID": "2"}


def test_who_takes_part() -> None:
    assert find_job({}) is None
    assert find_job(STEP) == (8, 5)
    assert find_job(STEP | {"SLURM_STEP_NUM_TASKS": "1"}) is None
    assert find_job(SLURM_TASK) is None, "a batch script is no task"
    assert find_job(GIVEN) == (3, 2)
    assert find_job(STEP | GIVEN) == (3, 2), "what is said goes before what is found"
    assert find_job(GIVEN | {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}) is None


@pytest.mark.parametrize("name", GIVEN)
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"not set: \['{name}'\]"):
        find_job({key: value for key, value in GIVEN.items() if key != name})


@pytest.mark.parametrize("index", ["3", "-1", "first"])
def test_an_index_that_cannot_be_is_refused(index: str) -> None:
    with pytest.raises(ConfigError, match="JAX_PROCESS_ID"):
        find_job(GIVEN | {"JAX_PROCESS_ID": index})


@pytest.mark.parametrize(
    ("seen", "more", "own"),
    [
        ("", {}, None),  # no GPU
        ("0,1,2,3", {}, [1]),  # a task per GPU, all shown
        ("1", {}, [0]),  # a task per GPU, its own shown
        ("0,1", {"SLURM_GPUS_PER_TASK": "2"}, [0, 1]),  # two for each task, its own shown
        ("0,1", {"SLURM_GPUS_PER_TASK": "a100:2"}, [0, 1]),
        ("0,1,2,3,4,5,6,7", {}, [2, 3]),  # two for each task, all shown
        ("0,1,2,3", {"SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_LOCALID": "0"}, [0, 1, 2, 3]),  # a task per node
        ("0,1,2,3", {"SLURM_STEP_TASKS_PER_NODE": "4,2", "SLURM_LOCALID": "1"}, [2, 3]),  # nodes of different size
    ],
)
def test_gpus_of_a_task(seen: str, more: dict[str, str], own: list[int] | None) -> None:
    assert own_devices(STEP | {"CUDA_VISIBLE_DEVICES": seen} | more) == own


def test_gpus_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"4 tasks.*6 GPUs"):
        own_devices(STEP | {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5"})


def test_one_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*GIVEN, *STEP):
        monkeypatch.delenv(name, raising=False)
    distributed.initialize()
    assert not jax.distributed.is_initialized()
    assert (distributed.process_index(), distributed.process_count(), distributed.is_primary()) == (0, 1, True)
    assert distributed.primary_first(lambda: "made", lambda: "found") == "made"
    with pytest.raises(RunError), distributed.ending_together():
        distributed.primary_first(_no_room, lambda: None)


def _no_room() -> None:
    raise RunError("no room")


WORK = """
import sys
from foundation import distributed
from foundation.errors import DetfmError, RunError

def make():
    if sys.argv[1] == "0 cannot make":
        raise RunError("no room")
    return "made"

distributed.initialize()
distributed.initialize()
try:
    with distributed.ending_together():
        print(distributed.primary_first(make, lambda: "found"))
        if sys.argv[1] == "1 breaks" and distributed.process_index() == 1:
            raise RunError("broken")
        from jax.experimental.multihost_utils import process_allgather
        import numpy as np
        print(process_allgather(np.int32(distributed.process_index())).tolist())
except DetfmError as error:
    print(error)
    raise SystemExit(2)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "statuses", "said"),
    [
        ("all well", [0, 0], ["made\n[0, 1]", "found\n[0, 1]"]),
        ("0 cannot make", [2, 2], ["no room", "process 0 could not go on"]),
        ("1 breaks", [1, 2], ["made", "broken"]),
    ],
)
def test_two_processes(case: str, statuses: list[int], said: list[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started, processes = time.monotonic(), []
    for index in range(2):
        env = os.environ | {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(index)}
        command = [sys.executable, "-c", WORK, case]
        root = Path(__file__).parents[2]
        processes.append(subprocess.Popen(command, env=env, cwd=root, stdout=-1, stderr=subprocess.STDOUT, text=True))
    output = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == statuses, output
    for wanted, text in zip(said, output):
        lines = "\n".join(line for line in text.splitlines() if not line.startswith("[Gloo]"))
        assert wanted in lines
    assert time.monotonic() - started < 60, "a process waited for one that was gone"
