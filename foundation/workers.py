"""Who does the work: this process, processes of this machine, or workers of a dask cluster."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, runtime_checkable

from foundation.errors import ToolError

DIED = (
    "a worker process ended before its work did{status}. What is done is kept: give the same command again, with fewer "
    "--processes if memory was short. (A script that calls `ingest` must do so under `if __name__ == '__main__':`.)"
)


@runtime_checkable
class Workers(Protocol):
    """Calls functions with each of many arguments, somewhere."""

    def run(self, function: Callable[..., Any], tasks: Sequence[tuple]) -> Generator[Any, None, None]:
        """`function(*task)` of every task, as they are done. The first error ends all and is raised here.

        Raises:
            ToolError: a worker died.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class Tasks(Protocol):
    """Arguments to call with; each may be made when its turn comes. As long as it says at the start."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple]: ...


class Processes:
    """At most `count` processes of this machine; one task, or one process, is done right here.

    They are spawned, never forked (jax has threads), and import nothing that needs jax.
    """

    def __init__(self, count: int):
        self.count = count

    def run(self, function: Callable[..., Any], tasks: Tasks) -> Generator[Any, None, None]:
        if min(self.count, len(tasks)) < 2:
            yield from (function(*task) for task in tasks)
            return
        workers = [_Worker(function) for _ in range(min(self.count, len(tasks)))]
        try:
            yield from _share(workers, iter(tasks))
        finally:
            for worker in workers:
                worker.end()

    def close(self) -> None:
        """Nothing outlives `run`."""


class _Worker:
    """A process that does one task after another."""

    def __init__(self, function: Callable[..., Any]):
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        with _interrupts_held():
            self.process.start()
        theirs.close()  # so that the death of the process ends the connection

    def result(self) -> Any:
        """Of the task it was given. Raises what the task raised, or ToolError if the process died."""
        try:
            success, value = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join(1)
            code = self.process.exitcode
            status = f" (signal {-code})" if code and code < 0 else f" (status {code})" if code else ""
            raise ToolError(DIED.format(status=status)) from error
        if not success:
            raise value
        return value

    def end(self) -> None:
        self.process.kill()  # whatever it is doing: unfinished units count for nothing
        self.process.join()
        self.connection.close()


def _share(workers: Sequence[_Worker], tasks: Iterator[tuple]) -> Iterator[Any]:
    busy = {}
    for worker, task in zip(workers, tasks):
        worker.connection.send(task)
        busy[worker.connection] = worker
    while busy:
        for ready in wait(list(busy)):
            worker = busy[ready]  # type: ignore[index]
            result = worker.result()
            del busy[worker.connection]
            for task in itertools.islice(tasks, 1):
                worker.connection.send(task)
                busy[worker.connection] = worker
            yield result


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes started in the block never see Ctrl-C: it is this process that ends them. Here it comes afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, function: Callable[..., Any]) -> None:
    """What a worker process does until the connection ends, or the process that started it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            answer = (True, function(*task))
        except Exception as error:
            answer = (False, error)
        connection.send(answer)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def share_of_cores(workers: int) -> Iterator[None]:
    """Processes started in the block use their part of the cores (XLA reads NPROC) and draw no progress bars."""
    if workers < 2:
        yield
        return
    share = str(max(1, len(os.sched_getaffinity(0)) // workers))
    names = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    wanted = dict.fromkeys(names, share) | {"TTY_COMPATIBLE": "0"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
