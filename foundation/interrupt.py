"""SIGINT and SIGTERM as one exception, so that work of many processes ends at once and says what became of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stopped(KeyboardInterrupt):
    """A signal ended the work. `number` is the signal's, from which the exit status follows."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number


@contextmanager
def stoppable(message: str) -> Iterator[None]:
    """Within the block, SIGINT and SIGTERM raise `Stopped(message)`; outside the main thread nothing changes."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped(message, number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[int, Any] = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
