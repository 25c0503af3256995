"""Several processes that train one model: who takes part, and what only one of them does.

SLURM is found by itself (`srun detfm pretrain ...`). Elsewhere each process is told by three environment variables:
JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID.
"""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import jax
import numpy as np

from foundation.errors import ConfigError, DetfmError, RunError, ToolError

Result = TypeVar("Result")
COORDINATOR, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
SECONDS_TO_END = 1800  # that a process waits at its end for the others: the first one writes the report


def initialize() -> None:
    """Joins the other processes of this job, if there are any. Call it before any jax device is touched.

    Without several SLURM tasks, and without the variables of this module's docstring, nothing happens; nor at a second
    call.

    Raises:
        ConfigError: the variables contradict each other or one is missing; names it.
        ToolError: the processes did not find each other.
    """
    if jax.distributed.is_initialized() or (found := find_job(os.environ)) is None:
        return
    count, index = found
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # where there is no GPU; else unused
    try:
        jax.distributed.initialize(
            num_processes=count,
            process_id=index,
            local_device_ids=own_devices(os.environ),
            shutdown_timeout_seconds=SECONDS_TO_END,
        )
    except RuntimeError as error:
        where = os.environ.get(COORDINATOR) or f"the first of {os.environ.get('SLURM_STEP_NODELIST', 'the nodes')}"
        raise ToolError(
            f"process {index} of {count} did not meet the others at {where}: {error}\n"
            f"  start all of them with one srun; {COORDINATOR}=HOST:PORT names another address or port; "
            "unset http_proxy and its like"
        ) from error
    _meet()


def find_job(env: Mapping[str, str]) -> tuple[int, int] | None:
    """Number of processes and index of this one; None for a process by itself.

    SLURM_STEP_NUM_TASKS, not SLURM_NTASKS: the latter is set in a batch script, too, which is no task.
    """
    if COUNT in env or INDEX in env:
        return _given(env)
    if "SLURM_PROCID" in env and int(env.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return int(env["SLURM_STEP_NUM_TASKS"]), int(env["SLURM_PROCID"])
    return None


def own_devices(env: Mapping[str, str]) -> list[int] | None:
    """Which of the GPUs that this process sees are its own; None: all.

    Left alone, jax takes GPU number SLURM_LOCALID: it is absent where SLURM shows each task its own GPU alone, and one
    of many where a task has a node to itself.
    """
    visible = [device for device in env.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
    if not visible or "SLURM_LOCALID" not in env or COUNT in env:
        return None
    here, local = _tasks_here(env), int(env["SLURM_LOCALID"])
    own_alone = len(visible) == 1 or env.get("SLURM_GPUS_PER_TASK", "").rpartition(":")[2] == str(len(visible))
    if own_alone:
        return list(range(len(visible)))
    if len(visible) % here:
        raise ConfigError(f"{here} tasks on this node cannot share its {len(visible)} GPUs equally; change --ntasks")
    share = len(visible) // here
    return list(range(local * share, (local + 1) * share))


def process_index() -> int:
    """Which of the job's processes this is, from 0."""
    return jax.process_index()


def process_count() -> int:
    """Processes of the job; 1 for one that runs by itself."""
    return jax.process_count()


def is_primary() -> bool:
    """True in the one process that writes what is not sharded: settings, metrics, reports."""
    return process_index() == 0


def primary_first(make: Callable[[], Result], then: Callable[[], Result]) -> Result:
    """`make()` in the primary; in the others `then()`, once `make` has returned.

    Raises:
        RunError: in the others, if `make` raised in the primary (which raises that).
    """
    if process_count() == 1:
        return make()
    if not is_primary():
        if not _told(False):
            raise RunError("process 0 could not go on; its message says why")
        return then()
    try:
        result = make()
    except BaseException:
        _told(False)
        raise
    _told(True)
    return result


@contextmanager
def ending_together() -> Iterator[None]:
    """Around all work of a process: if it fails, it ends at once, and with it, soon, those that wait for it.

    By itself jax would hold a failed process at its exit until the others, who wait for its part of a sum, end.
    """
    try:
        yield
    except Exception as error:
        if process_count() > 1:
            atexit.register(_end, 2 if isinstance(error, DetfmError) else 1)  # before jax's own, which came earlier
        raise


def _end(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _meet() -> None:
    """A first sum while the processes are close: gloo connects them in it, and waits no longer than 30 s for the last.

    Later sums wait as long as they must, for one that compiles or reads more slowly.
    """
    from jax.experimental.multihost_utils import sync_global_devices

    sync_global_devices("detfm")


def _told(success: bool) -> bool:
    """What the primary says."""
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return bool(broadcast_one_to_all(np.int32(success)))


def _given(env: Mapping[str, str]) -> tuple[int, int] | None:
    missing = [name for name in (COORDINATOR, COUNT, INDEX) if not env.get(name)]
    if missing:
        raise ConfigError(f"several processes need all of {COORDINATOR}, {COUNT}, {INDEX}; not set: {missing}")
    if not (env[COUNT].isdigit() and env[INDEX].isdigit() and int(env[INDEX]) < int(env[COUNT])):
        raise ConfigError(f"{INDEX}={env[INDEX]} must be a whole number from 0 and below {COUNT}={env[COUNT]}")
    return (int(env[COUNT]), int(env[INDEX])) if int(env[COUNT]) > 1 else None


def _tasks_here(env: Mapping[str, str]) -> int:
    """Tasks of this step on this node, from SLURM's `4(x2),3`: 4 on the first two nodes, 3 on the third."""
    counts: list[int] = []
    for each, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", env.get("SLURM_STEP_TASKS_PER_NODE", "1")):
        counts += [int(each)] * int(times or 1)
    return counts[int(env.get("SLURM_NODEID", 0))]
