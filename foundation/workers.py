"""Many independent calls: in this process, over spawned processes, or over a dask cluster.

A call is a function of its arguments alone and leaves what it makes in a file that it renames into place, so that
stopping, at any moment, loses no more than the calls under way.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foundation.errors import ConfigError, ToolError, missing_extra

# run(function, calls): yields the result of each call as it ends, in any order.
Run = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]]], Iterator[Any]]
AHEAD = 2  # calls handed out per worker: the next is there when one ends, and few are to be cancelled


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM came. `number` is the signal's, from which the exit status follows."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number


@contextmanager
def workers(processes: int = 1, scheduler: str = "") -> Iterator[Run]:
    """What runs calls, over `processes` fresh processes (1: in this one) or the dask cluster at `scheduler`.

    When the block ends by an error or a signal, spawned processes are killed; those of a cluster finish the call that
    they are at, and start no other.

    Args:
        scheduler: address of a dask scheduler, or its scheduler file. Functions and files must be reachable for its
            workers: detfm installed, paths absolute on a shared file system.

    Raises:
        ConfigError: no process, or no cluster at that address.
        ToolError: dask is not installed, or a worker process died.
    """
    if scheduler:
        with _cluster(scheduler) as run:
            yield run
    elif processes < 1:
        raise ConfigError(f"{processes} processes: at least one is needed")
    elif processes == 1:
        yield _here
    else:
        with _processes(processes) as run:
            yield run


@contextmanager
def stoppable(message: str) -> Iterator[None]:
    """Within the block, SIGINT and SIGTERM raise `Stopped(message)`; outside the main thread nothing changes."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped(message, number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _here(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    for call in calls:
        yield function(*call)


@contextmanager
def _processes(count: int) -> Iterator[Run]:
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_initialise)

    def run(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        under_way: set[Future[Any]] = set()
        waiting = iter(calls)
        while True:
            for _, call in zip(range(AHEAD * count - len(under_way)), waiting):
                under_way.add(pool.submit(function, *call))
            if not under_way:
                return
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()

    try:
        yield run
        pool.shutdown()
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        pool.shutdown(cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise ToolError(
                "a worker process died, most often because memory ran out: use fewer processes; what is finished stays"
            ) from error
        raise


def _initialise() -> None:
    """A worker leaves Ctrl-C to its parent, dies on SIGTERM, and does not outlive a parent that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _cluster(scheduler: str) -> Iterator[Run]:
    if importlib.util.find_spec("distributed") is None:
        raise missing_extra("distributed", "cluster", "`--scheduler`")
    import distributed

    where = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
    try:
        client = distributed.Client(**where, timeout=10, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(f"no dask scheduler answers at {scheduler}: {error}") from error

    def run(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        waiting, under_way = iter(calls), distributed.as_completed()
        try:
            while True:
                room = max(AHEAD * sum(client.nthreads().values()), 1) - under_way.count()
                for _, call in zip(range(room), waiting):
                    # Not pure: a call of the same arguments is made again, not looked up.
                    under_way.add(client.submit(function, *call, pure=False))
                if not under_way.count():
                    return
                yield next(under_way).result()
        finally:
            client.cancel(list(under_way.futures))

    with client:
        yield run
