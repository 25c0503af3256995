"""Progress with rate and ETA: a live bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, soft_wrap=True)


class Bar:
    """Counts towards `total` in `unit`s; `advance` may carry a short text (the loss, say)."""

    def __init__(self, label: str, total: int | float, unit: str, log_seconds: float = 10.0):
        self.label, self.total, self.unit, self.log_seconds = label, total, unit, log_seconds
        self.done, self.start, self.logged = 0.0, time.monotonic(), time.monotonic()
        self.before = 0.0  # done in an earlier attempt, at a rate that is not known
        self.live: Progress | None = None

    def advance(self, amount: int | float = 1, text: str = "") -> None:
        self.done += amount
        now = time.monotonic()
        rate = (self.done - self.before) / max(now - self.start, 1e-9)
        if self.live is not None:
            self.live.update(self.live.task_ids[0], advance=amount, rate=f"{rate:,.0f} {self.unit}/s", text=text)
        elif now - self.logged >= self.log_seconds:
            self.logged = now
            eta = (self.total - self.done) / max(rate, 1e-9)
            line = (
                f"{self.label}: {self.done:,.0f}/{self.total:,.0f} {self.unit}, {rate:,.0f}/s, {eta:.0f} s left {text}"
            )
            print(line.rstrip(), file=sys.stderr, flush=True)


@contextmanager
def progress(label: str, total: int | float, unit: str, done: int | float = 0) -> Iterator[Bar]:
    """A `Bar` shown while the block runs."""
    bar = Bar(label, total, unit)
    bar.done = bar.before = float(done)
    if not console.is_terminal:
        yield bar
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    timing = (TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, *timing, console=console, transient=False) as live:
        live.add_task(label, total=total, completed=int(done), rate="", text="")
        bar.live = live
        yield bar
