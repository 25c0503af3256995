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
from foundation.stopping import Finished, StopConfig, Stopper

__all__ = [
    "Batches",
    "Finished",
    "LearningRate",
    "StopConfig",
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
    stop: StopConfig | None = None,
    keep_last: bool = True,
) -> Finished:
    """Trains `model` in place for `config.steps` steps, writing metrics.jsonl and checkpoints into `run`.

    With `config.ema` the model ends with the averaged parameters (the checkpoint has both), and those are evaluated.
    With `stop` it ends with those that evaluated best, perhaps before all steps are taken.
    In several processes each calls this with its own part of the batches; all stop at the same step; the first one
    writes. Afterwards each has the whole model.

    Args:
        model: has a `loss(batch, key)`, or a `loss(batch, key, teacher)` and `wants_teacher = True`.
        batches: endless; its state is saved beside the parameters.
        resume: continue from the newest checkpoint of `run`.
        evaluate: called with the model every `evaluate_every` (or `stop.every`) steps and at the end, in every process,
            on one device; its numbers join the metrics.
        stop: early stopping on one of the numbers of `evaluate`.
        keep_last: write a checkpoint of the last step, too, from which a finished training is resumed at once.

    Raises:
        ConfigError: a setting is out of range, or the mesh does not fit the devices.
        TrainingError: a loss term is not finite: names the step and the term; the checkpoints before it stay.
        Interrupted: SIGINT, SIGTERM or SIGUSR1 came; a checkpoint of the last complete step has been written.
    """
    check(model, config)
    layout = Layout.of(config.mesh)
    graph, state = start(model, config, layout)
    stopper = None if stop is None else Stopper(stop, state.params)
    every = config.evaluate_every if stop is None else stop.every
    seed, static = np.uint32(config.seed), dataclasses.replace(config, seed=0)
    with _stop_requested() as signals, Checkpoints(run) as checkpoints:
        if resume and checkpoints.latest is not None:
            state = _restore(checkpoints, state, batches, stopper)
        done = int(state.step)
        log = _Log(run / METRICS, config, done, layout.writes)
        with _progress(label, config.steps, done, layout.writes) as bar:
            while done < config.steps and not (stopper and stopper.over):
                done += 1
                state, metrics = next_step(state, batches, seed, graph=graph, config=static, layout=layout)
                received = signals[0] if signals else 0
                log.read(done, metrics | {STOP: layout.largest(received)})
                bar.advance(text=log.text)
                stopped = log.stop if layout.processes > 1 else received  # what all read a step late, all read alike
                due = (every and done % every == 0) or done == config.steps
                if evaluate is not None and due:
                    figures = evaluate(nnx.merge(graph, *layout.local(finished(state))))
                    log.write({"step": done, **figures})
                    if stopper is not None:
                        stopper.see(done, figures, finished(state)[0])
                last = done == config.steps or bool(stopper and stopper.over)
                saves = (stopped or done % config.checkpoint_every == 0) if not last else keep_last
                if saves or last:
                    log.flush()
                if saves:
                    _save(checkpoints, state, batches, stopper)
                if stopped and not last:
                    name = signal.Signals(stopped).name
                    raise Interrupted(f"{name} at step {done}; a checkpoint is in {run}; go on with --resume", stopped)
    variables = finished(state) if stopper is None else (stopper.best, state.fixed)
    nnx.update(model, *layout.local(variables))  # all: the steps donated the buffers that the model held
    return Finished(done, done, None, "all steps taken") if stopper is None else stopper.finished(done)


def _save(checkpoints: Checkpoints, state: TrainState, batches: Batches, stopper: Stopper | None) -> None:
    if stopper is None:
        checkpoints.save(int(state.step), state, batches.state())
    else:
        both = {"state": state, "best": stopper.best}
        checkpoints.save(int(state.step), both, batches.state() | {"stop": stopper.state()})


def _restore(checkpoints: Checkpoints, state: TrainState, batches: Batches, stopper: Stopper | None) -> TrainState:
    if stopper is None:
        state, position = checkpoints.restore(state)
    else:
        both, position = checkpoints.restore({"state": state, "best": stopper.best})
        stopper.restore(both["best"], position.pop("stop"))
        state = both["state"]
    batches.restore(position)
    return state


class _Log:
    """Reads each step's metrics one step late (so the device never waits), checks them, writes every so many steps."""

    def __init__(self, path: Path, config: TrainConfig, done: int, writes: bool):
        self.path, self.config, self.writes = path, config, writes
        self.text, self.stop = "", 0
        self.pending: tuple[int, dict[str, Any]] | None = None
        self.window: list[dict[str, float]] = []
        self.rate = jax.jit(schedule(config))  # one small compilation instead of one for each of its operations
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
