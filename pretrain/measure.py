"""What this machine does: seconds of a training step, rows that a loader reads. `detfm plan --measure` asks."""

from __future__ import annotations

import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from foundation.errors import ConfigError
from foundation.loader import Loader
from foundation.store import Store
from foundation.train import fit
from pretrain.command import build
from pretrain.config import PretrainConfig

SECONDS_TO_READ = 2.0


def read_rate(loader: Loader) -> float:
    """Rows per second that this machine reads, with nothing else to do."""
    next(loader)  # starts the threads
    start, rows = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < SECONDS_TO_READ:
        rows += next(loader).size
    return rows / seconds


def measured_step(store: Store, cfg: PretrainConfig, loader: Loader, steps: int) -> float:
    """Seconds of a step here, compilation left out: some steps of the real training in a temporary folder.

    Raises:
        ConfigError: so few steps that each of them compiles.
    """
    model = build(store, cfg)
    timed = _Timed(loader)
    with tempfile.TemporaryDirectory() as folder:
        fit(model, timed, replace(cfg.train, steps=steps), Path(folder), label="plan")
    seconds = timed.seconds(cfg.train.accumulate)
    if not seconds:
        raise ConfigError(f"--measure {steps}: too few; the first steps compile. Try 20")
    return sum(seconds) / len(seconds)


class _Timed:
    """Batches, and when each was asked for."""

    def __init__(self, batches: Loader):
        self.batches, self.times, self.shapes = batches, list[float](), list[Any]()

    def __next__(self) -> Any:
        batch = next(self.batches)
        self.times.append(time.perf_counter())
        self.shapes.append(tuple(t.mask.shape for t in batch.modalities.values()))
        return batch

    def state(self) -> dict[str, Any]:
        return self.batches.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.batches.restore(state)

    def seconds(self, accumulate: int) -> list[float]:
        """Of each step that compiled nothing: no shape came for the first time. The last step is not seen."""
        starts = range(0, len(self.times), accumulate)
        known: set[Any] = set()
        compiled = []
        for start in starts:
            group = set(self.shapes[start : start + accumulate])
            compiled.append(not group <= known)
            known |= group
        spans = itertools.pairwise(self.times[start] for start in starts)
        return [after - before for new, (before, after) in zip(compiled, spans) if not new]
