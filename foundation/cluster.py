"""Work on a cluster: workers of a dask.distributed scheduler, which SLURM may start."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from foundation.errors import RunError, ToolError, missing_extra
from foundation.workers import Processes, Workers

SLURM = "slurm"
IN_FLIGHT = 1000  # tasks that the scheduler holds at a time
SECONDS_TO_CONNECT = 30


@dataclass(frozen=True)
class ClusterConfig:
    """Jobs that `--scheduler slurm` submits, each a worker of some cores. They must see the files and the store.

    Attributes:
        jobs: how many.
        cores: of each job; it runs as many units of work at once.
        memory: of each job, as SLURM takes it; about 1 GB per core is needed.
        walltime: of each job; units that a job does not finish are done by another.
        queue: partition; empty for the site's default.
        account: empty for the site's default.
        directives: more lines for the head of the job script, e.g. `--constraint=cpu`.
        prologue: shell commands before the worker starts, e.g. `module load python`.
        interface: network interface that workers and scheduler share, e.g. `ib0`; empty for the default.
    """

    jobs: int = 4
    cores: int = 4
    memory: str = "8GB"
    walltime: str = "02:00:00"
    queue: str = ""
    account: str = ""
    directives: list[str] = field(default_factory=list)
    prologue: list[str] = field(default_factory=list)
    interface: str = ""


def make_workers(scheduler: str, processes: int, cluster: ClusterConfig) -> Workers:
    """
    Args:
        scheduler: address of a dask scheduler, `slurm`, or empty for processes of this machine.
        processes: of this machine.

    Raises:
        ToolError: a package of the extra `cluster` is not installed.
        RunError: no scheduler answers at the address.
    """
    if not scheduler:
        return Processes(processes)
    return Dask(slurm_cluster(cluster) if scheduler == SLURM else scheduler)


class Dask:
    """Workers of a dask scheduler. What a worker was doing when it died is given to another."""

    def __init__(self, where: Any):
        try:
            from distributed import Client
        except ImportError as error:
            raise missing_extra("distributed", "cluster", "--scheduler") from error
        self.cluster = None if isinstance(where, str) else where
        try:
            self.client = Client(where, timeout=SECONDS_TO_CONNECT, set_as_default=False)
        except OSError as error:
            raise RunError(f"no dask scheduler answers at {where} ({error})") from error

    def run(self, function: Callable[..., Any], tasks: Sequence[tuple]) -> Generator[Any, None, None]:
        from distributed import KilledWorker, as_completed

        waiting = iter(tasks)

        def submit(task: tuple) -> Any:
            return self.client.submit(function, *task, pure=False)

        first = [submit(task) for task in itertools.islice(waiting, IN_FLIGHT)]
        done = as_completed(first, loop=self.client.loop)
        for future in done:
            try:
                result = future.result()
            except KilledWorker as error:
                raise ToolError(
                    f"workers died again and again at the same work ({error}); is their memory too small? What is done "
                    "is kept: give the same command again"
                ) from error
            for task in itertools.islice(waiting, 1):
                done.add(submit(task))
            yield result

    def close(self) -> None:
        self.client.close()
        if self.cluster is not None:
            self.cluster.close()


def slurm_cluster(cfg: ClusterConfig) -> Any:
    """A dask-jobqueue cluster whose jobs are submitted at once. Raises ToolError without the extra `cluster`."""
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise missing_extra("dask-jobqueue", "cluster", "--scheduler slurm") from error
    made = SLURMCluster(
        queue=cfg.queue or None,
        account=cfg.account or None,
        cores=cfg.cores,
        processes=cfg.cores,
        memory=cfg.memory,
        walltime=cfg.walltime,
        interface=cfg.interface or None,
        job_extra_directives=cfg.directives,
        job_script_prologue=cfg.prologue,
        scheduler_options={"dashboard_address": ":0"},  # a port that is free; others may be at work on this node
    )
    made.scale(jobs=cfg.jobs)
    return made
