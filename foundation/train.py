"""The one training loop. A model brings `loss(batch, key) -> (scalar, {term: scalar})`; everything else is here.

The loop dispatches step n before it reads the metrics of step n-1, stops on the first value that is not finite, and
leaves a checkpoint when interrupted. Parameters after k steps are a function of (model, config, data, k) alone, on
however many devices up to the order of sums.
"""

from __future__ import annotations

import dataclasses
import json
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from foundation.checkpoint import Checkpoints
from foundation.errors import TrainingError
from foundation.mesh import Layout
from foundation.optimizer import LearningRate, TrainConfig, schedule
from foundation.progress import Bar, progress
from foundation.runs import read_metrics
from foundation.step import Batches, Trainable, TrainState, check, finished, next_step, start, train_step

__all__ = [
    "Batches",
    "LearningRate",
    "TrainConfig",
    "TrainState",
    "Trainable",
    "check",
    "fit",
    "schedule",
    "start",
    "train_step",
]

METRICS = "metrics.jsonl"
STOP = "stop"  # among a step's metrics: the largest number of a signal that a process received, or 0
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(KeyboardInterrupt):
    """Training was stopped by a signal, after a checkpoint was written."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number


def fit(
    model: nnx.Module,
    batches: Batches,
    config: TrainConfig,
    run: Path,
    *,
    label: str = "train",
    resume: bool = False,
    evaluate: Callable[[nnx.Module], dict[str, float]] | None = None,
) -> None:
    """Trains `model` in place for `config.steps` steps, writing metrics.jsonl and checkpoints into `run`.

    With `config.ema` the model ends with the averaged parameters (the checkpoint has both), and those are evaluated.
    In several processes each calls this with its own part of the batches; all stop at the same step; the first one
    writes. Afterwards each has the whole model.

    Args:
        model: has a `loss(batch, key)`, or a `loss(batch, key, teacher)` and `wants_teacher = True`.
        batches: endless; its state is saved beside the parameters.
        resume: continue from the newest checkpoint of `run`.
        evaluate: called with the model every `evaluate_every` steps and at the end, in every process, on one device;
            its numbers join the metrics.

    Raises:
        ConfigError: a setting is out of range, or the mesh does not fit the devices.
        TrainingError: a loss term is not finite: names the step and the term; the checkpoints before it stay.
        Interrupted: SIGINT, SIGTERM or SIGUSR1 came; a checkpoint of the last complete step has been written.
    """
    check(model, config)
    layout = Layout.of(config.mesh)
    graph, state = start(model, config, layout)
    seed, static = np.uint32(config.seed), dataclasses.replace(config, seed=0)
    with _stop_requested() as signals, Checkpoints(run) as checkpoints:
        if resume and checkpoints.latest is not None:
            state, position = checkpoints.restore(state)
            batches.restore(position)
        done = int(state.step)
        log = _Log(run / METRICS, config, done, layout.writes)
        with _progress(label, config.steps, done, layout.writes) as bar:
            for step in range(done + 1, config.steps + 1):
                state, metrics = next_step(state, batches, seed, graph=graph, config=static, layout=layout)
                received = signals[0] if signals else 0
                log.read(step, metrics | {STOP: layout.largest(received)})
                bar.advance(text=log.text)
                stop = log.stop if layout.processes > 1 else received  # what all read a step late, all read alike
                due = (config.evaluate_every and step % config.evaluate_every == 0) or step == config.steps
                if evaluate is not None and due:
                    log.write({"step": step, **evaluate(nnx.merge(graph, *layout.local(finished(state))))})
                if stop or step % config.checkpoint_every == 0 or step == config.steps:
                    log.flush()
                    checkpoints.save(step, state, batches.state())
                if stop and step < config.steps:
                    name = signal.Signals(stop).name
                    raise Interrupted(f"{name} at step {step}; a checkpoint is in {run}; go on with --resume", stop)
    nnx.update(model, *layout.local(finished(state)))  # all: the steps donated the buffers that the model held


class _Log:
    """Reads each step's metrics one step late (so the device never waits), checks them, writes every so many steps."""

    def __init__(self, path: Path, config: TrainConfig, done: int, writes: bool):
        self.path, self.config, self.writes = path, config, writes
        self.text, self.stop = "", 0
        self.pending: tuple[int, dict[str, Any]] | None = None
        self.window: list[dict[str, float]] = []
        self.rate = schedule(config)
        if writes:
            kept = [row for row in read_metrics(path) if row["step"] <= done] if done and path.is_file() else []
            path.write_text("".join(json.dumps(row) + "\n" for row in kept))

    def read(self, step: int, metrics: dict[str, Any]) -> None:
        self.flush()
        self.pending = (step, metrics)

    def flush(self) -> None:
        if self.pending is None:
            return
        step, values = self.pending[0], {k: float(v) for k, v in jax.device_get(self.pending[1]).items()}
        self.pending = None
        self.stop = int(values.pop(STOP))
        bad = [name for name, value in values.items() if not np.isfinite(value)]
        if bad:
            terms = ", ".join(f"{k} {v:.4g}" for k, v in values.items())
            raise TrainingError(
                f"step {step}: {', '.join(bad)} is not finite ({terms})\n"
                "  earlier checkpoints are kept; lower train.learning_rate, or look for extreme inputs: detfm inspect"
            )
        self.window.append(values)
        self.text = f"loss {values['loss']:.4f}"
        if step % self.config.log_every == 0 or step == self.config.steps:
            means = {k: float(np.mean([w[k] for w in self.window])) for k in values}
            self.write({"step": step, **means, "learning_rate": float(self.rate(step - 1))})
            self.window = []

    def write(self, values: dict[str, float]) -> None:
        if self.writes:
            with self.path.open("a") as file:
                file.write(json.dumps(values) + "\n")


def _progress(label: str, steps: int, done: int, shown: bool) -> AbstractContextManager[Bar]:
    """The bar with rate and time left; one that stays silent in all processes but the first."""
    return progress(label, steps, "steps", done) if shown else nullcontext(Bar(label, steps, "steps", math.inf))


@contextmanager
def _stop_requested() -> Iterator[list[int]]:
    """A list that receives the number of the first SIGINT, SIGTERM or SIGUSR1 (a batch system's early warning).

    A second Ctrl-C ends the process as usual. The other two are ignored after the first: batch systems repeat them,
    and the checkpoint is being written.
    """
    received: list[int] = []

    def handle(number: int, frame: Any) -> None:
        received.append(number)
        if number == signal.SIGINT:
            signal.signal(number, previous[number])

    try:
        previous: dict[int, Any] = {n: signal.signal(n, handle) for n in STOPPING}
    except ValueError:  # not the main thread: signals are not ours to handle
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
