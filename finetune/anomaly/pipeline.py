"""Reading ahead and writing behind, in one thread each: what lets two cores read, score and write at the same time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
DEPTH = 2  # chunks that wait


@contextmanager
def ahead(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """The items, made in a thread some before they are asked for. An error of theirs is raised where it is met.

    Leaving the block ends the thread, whatever is still to come.
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(DEPTH)
    over = threading.Event()

    def put(kind: str, item: Any) -> bool:
        while not over.is_set():
            try:
                waiting.put((kind, item), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:  # handed to the main thread, which raises it
            put("error", error)

    def taken() -> Iterator[T]:
        while True:
            kind, item = waiting.get()
            if kind == "error":
                raise item
            if kind == "end":
                return
            yield item

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        over.set()
        thread.join()


@contextmanager
def behind(write: Callable[[Any], None]) -> Iterator[Callable[[Any], None]]:
    """Hands what it is given to `write` in a thread; errors are raised later, at the end at the latest."""
    pending: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:

        def hand_over(item: Any) -> None:
            while len(pending) >= DEPTH:
                pending.pop(0).result()
            pending.append(pool.submit(write, item))

        yield hand_over
        for each in pending:
            each.result()
