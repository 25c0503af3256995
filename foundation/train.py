"""The one training loop. A model brings `loss(batch, key) -> (scalar, {term: scalar})`; everything else is here.

A model that sets `wants_teacher = True` is called `loss(batch, key, teacher=model)`, where the teacher is a copy of it
that holds the exponential moving average of its parameters.

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
from foundation.errors import ConfigError, TrainingError
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
        ema: decay of the exponential moving average of the parameters, which is the momentum teacher and the finished
            model; 0 keeps none. Early steps decay faster: (1 + step) / (10 + step), where that is smaller.
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
    ema: float = 0.0
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
    """Everything a step changes, and the fixed variables it reads. `ema` is like `params`, or None without one."""

    params: Any
    fixed: Any
    optimizer: Any
    ema: Any
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
    """Splits a model into its static graph and the state of step 0.

    Raises:
        ConfigError: the model wants a teacher and no moving average is kept, or its decay is not in [0, 1).
    """
    if not 0 <= config.ema < 1:
        raise ConfigError(f"train.ema is a decay: at least 0 and less than 1; it is {config.ema}")
    if wants_teacher(model) and not config.ema:
        raise ConfigError("this objective learns from a momentum teacher: give train.ema its decay, 0.996 for example")
    graph, *parts = nnx.split(model, nnx.Param, ...)
    params, fixed = parts
    opt_state = optimizer(config, params).init(params)
    ema = jax.tree.map(jnp.copy, params) if config.ema else None  # a copy, since a step donates both
    return graph, TrainState(params, fixed, opt_state, ema, jnp.zeros((), jnp.int32))


def wants_teacher(model: nnx.Module) -> bool:
    """Whether the model's loss takes the moving average of itself."""
    return bool(getattr(model, "wants_teacher", False))


def finished(state: TrainState) -> Any:
    """The parameters that count: the moving average if there is one."""
    return state.params if state.ema is None else state.ema


@partial(jax.jit, static_argnames=("graph", "config"), donate_argnames=("state",))
def train_step(
    state: TrainState, batch: TokenBatch, seed: jax.Array, *, graph: nnx.GraphDef, config: TrainConfig
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step. The random key is a function of the seed and the step, so a resumed run sees the same numbers.

    The seed is an argument, not part of `config`, so that runs that differ in nothing else share one compilation.
    """
    key = jax.random.fold_in(jax.random.key(seed), state.step)

    def loss_fn(params: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        model: Any = nnx.merge(graph, params, state.fixed)
        if wants_teacher(model):
            return model.loss(batch, key, teacher=nnx.merge(graph, state.ema, state.fixed))
        return model.loss(batch, key)

    (loss, terms), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    updates, opt_state = optimizer(config, state.params).update(gradients, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = {"loss": loss, "gradient_norm": optax.tree.norm(gradients), **terms}
    ema = state.ema
    if ema is not None:
        decay = jnp.minimum(config.ema, (1 + state.step) / (10 + state.step))
        ema = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, ema, params)
    return TrainState(params, state.fixed, opt_state, ema, state.step + 1), metrics


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

    Args:
        model: has a `loss(batch, key)`, or a `loss(batch, key, teacher)` and `wants_teacher = True`.
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
                    log.write({"step": step, **evaluate(nnx.merge(graph, finished(state), state.fixed))})
                if stop or step % config.checkpoint_every == 0 or step == config.steps:
                    log.flush()
                    checkpoints.save(step, state, batches.state())
                if stop and step < config.steps:
                    name = signal.Signals(stop[0]).name
                    raise Interrupted(f"{name} at step {step}; a checkpoint is in {run}; go on with --resume", stop[0])
    nnx.update(model, finished(state), state.fixed)  # both: the step donated the buffers that the model held


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
