"""The one training loop. A model brings `loss(batch, key) -> (scalar, {term: scalar})`; everything else is here.

The loop dispatches step n before it reads the metrics of step n-1, stops on the first value that is not finite, and
leaves a checkpoint when interrupted. Parameters after k steps are a function of (model, config, data, k) alone.
"""

from __future__ import annotations

import dataclasses
import json
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from foundation.batch import TokenBatch
from foundation.checkpoint import Checkpoints
from foundation.errors import TrainingError
from foundation.progress import progress

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class LearningRate:
    """The learning rate of some parameters.

    Attributes:
        pattern: regular expression searched in the parameter's path, e.g. `^encoder/`.
        factor: multiplies the schedule; 0 freezes.
    """

    pattern: str = ""
    factor: float = 1.0


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation: AdamW, linear warm-up, cosine decay; controlled by steps.

    Attributes:
        steps: optimiser steps.
        learning_rate: at the end of the warm-up.
        warmup: fraction of the steps.
        final: learning rate at the end, as a fraction.
        weight_decay: on matrices only.
        clip_norm: largest global norm of the gradient.
        learning_rates: factors by parameter path; the first match holds.
        log_every: steps between lines of metrics.jsonl.
        checkpoint_every: steps between checkpoints.
        evaluate_every: steps between evaluations (the probe); 0 for none but the last.
        seed: of initial parameters, batches, augmentation, masking and drop-out.
    """

    steps: int = 1000
    learning_rate: float = 1e-3
    warmup: float = 0.05
    final: float = 0.01
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    learning_rates: tuple[LearningRate, ...] = ()
    log_every: int = 20
    checkpoint_every: int = 500
    evaluate_every: int = 0
    seed: int = 0


@runtime_checkable
class Trainable(Protocol):
    """What the loop trains: an nnx.Module with a loss."""

    def loss(self, batch: TokenBatch, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]: ...


@runtime_checkable
class Batches(Protocol):
    """What the loop reads: endless batches whose position can be saved."""

    def __next__(self) -> TokenBatch: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


class Interrupted(KeyboardInterrupt):
    """Training was stopped by a signal, after a checkpoint was written."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything a step changes, and the fixed variables it reads."""

    params: Any
    fixed: Any
    optimizer: Any
    step: jax.Array


def schedule(config: TrainConfig) -> optax.Schedule:
    """Linear warm-up from zero, then cosine decay to `final`."""
    warmup = max(1, round(config.warmup * config.steps))
    peak = config.learning_rate
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, max(config.steps, warmup + 1), config.final * peak)


def optimizer(config: TrainConfig, params: Any) -> optax.GradientTransformation:
    """AdamW with a factor per parameter; factor 0 freezes."""

    def factor(path: Sequence[Any], _: Any) -> str:
        name = "/".join(str(getattr(p, "key", getattr(p, "name", p))) for p in path)
        return str(next((r.factor for r in config.learning_rates if re.search(r.pattern, name)), 1.0))

    labels = jax.tree_util.tree_map_with_path(factor, params)
    rate = schedule(config)

    def adamw(scale: float) -> optax.GradientTransformation:
        if scale == 0:
            return optax.set_to_zero()
        matrices = partial(jax.tree.map, lambda p: p.ndim > 1)
        return optax.adamw(lambda step: scale * rate(step), b2=0.98, weight_decay=config.weight_decay, mask=matrices)

    scales = {str(r.factor): r.factor for r in config.learning_rates} | {"1.0": 1.0}
    each = optax.multi_transform({label: adamw(scale) for label, scale in scales.items()}, labels)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), each)


def start(model: nnx.Module, config: TrainConfig) -> tuple[nnx.GraphDef, TrainState]:
    """Splits a model into its static graph and the state of step 0."""
    graph, *parts = nnx.split(model, nnx.Param, ...)
    params, fixed = parts
    opt_state = optimizer(config, params).init(params)
    return graph, TrainState(params, fixed, opt_state, jnp.zeros((), jnp.int32))


@partial(jax.jit, static_argnames=("graph", "config"), donate_argnames=("state",))
def train_step(
    state: TrainState, batch: TokenBatch, seed: jax.Array, *, graph: nnx.GraphDef, config: TrainConfig
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step. The random key is a function of the seed and the step, so a resumed run sees the same numbers.

    The seed is an argument, not part of `config`, so that runs that differ in nothing else share one compilation.
    """
    key = jax.random.fold_in(jax.random.key(seed), state.step)

    def loss_fn(params: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        return nnx.merge(graph, params, state.fixed).loss(batch, key)

    (loss, terms), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    updates, opt_state = optimizer(config, state.params).update(gradients, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = {"loss": loss, "gradient_norm": optax.tree.norm(gradients), **terms}
    return TrainState(params, state.fixed, opt_state, state.step + 1), metrics


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

    Args:
        model: has a `loss(batch, key)`.
        batches: endless; its state is saved beside the parameters.
        resume: continue from the newest checkpoint of `run`.
        evaluate: called with the model every `evaluate_every` steps and at the end; its numbers join the metrics.

    Raises:
        TrainingError: a loss term is not finite: names the step and the term; the checkpoints before it stay.
        Interrupted: SIGINT or SIGTERM came; a checkpoint of the last complete step has been written.
    """
    graph, state = start(model, config)
    seed, static = jnp.asarray(config.seed, jnp.uint32), dataclasses.replace(config, seed=0)
    with Checkpoints(run) as checkpoints, _stop_requested() as stop:
        if resume and checkpoints.latest is not None:
            state, position = checkpoints.restore(state)
            batches.restore(position)
        done = int(state.step)
        log = _Log(run / METRICS, config, done)
        with progress(label, config.steps, "steps", done) as bar:
            for step in range(done + 1, config.steps + 1):
                state, metrics = train_step(state, next(batches), seed, graph=graph, config=static)
                log.read(step, metrics)
                bar.advance(text=log.text)
                due = (config.evaluate_every and step % config.evaluate_every == 0) or step == config.steps
                if evaluate is not None and due:
                    log.write({"step": step, **evaluate(nnx.merge(graph, state.params, state.fixed))})
                if stop or step % config.checkpoint_every == 0 or step == config.steps:
                    log.flush()
                    checkpoints.save(step, state, batches.state())
                if stop and step < config.steps:
                    name = signal.Signals(stop[0]).name
                    raise Interrupted(f"{name} at step {step}; a checkpoint is in {run}; go on with --resume", stop[0])
    nnx.update(model, state.params, state.fixed)  # both: the step donated the buffers that the model held


class _Log:
    """Reads each step's metrics one step late (so the device never waits), checks them, writes every so many steps."""

    def __init__(self, path: Path, config: TrainConfig, done: int):
        self.path, self.config, self.text = path, config, ""
        self.pending: tuple[int, dict[str, jax.Array]] | None = None
        self.window: list[dict[str, float]] = []
        self.rate = schedule(config)
        kept = [line for line in path.read_text().splitlines() if json.loads(line)["step"] <= done] if done else []
        path.write_text("".join(line + "\n" for line in kept))

    def read(self, step: int, metrics: dict[str, jax.Array]) -> None:
        self.flush()
        self.pending = (step, metrics)

    def flush(self) -> None:
        if self.pending is None:
            return
        step, values = self.pending[0], {k: float(v) for k, v in jax.device_get(self.pending[1]).items()}
        self.pending = None
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
        with self.path.open("a") as file:
            file.write(json.dumps(values) + "\n")


@contextmanager
def _stop_requested() -> Iterator[list[int]]:
    """A list that receives the number of the first SIGINT or SIGTERM; a second signal ends the process as usual."""
    received: list[int] = []

    def handle(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, previous[number])

    try:
        previous: dict[int, Any] = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are not ours to handle
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
