"""One optimiser step, compiled: gradient, accumulation over batches, update, moving average.

A model that sets `wants_teacher = True` is called `loss(batch, key, teacher=model)`, where the teacher is a copy of it
that holds the exponential moving average of its parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from foundation.batch import Batch
from foundation.errors import ConfigError
from foundation.mesh import Layout
from foundation.optimizer import TrainConfig, check_rates, optimizer, trained

SINGLE = Layout()


class Carried(nnx.Variable):
    """Not trained, but carried from step to step as the loss leaves it: a count of steps, the chains of a sampler.

    Part of a checkpoint like all variables, so that a resumed run goes on with the same.
    """


@runtime_checkable
class Trainable(Protocol):
    """What the loop trains: an nnx.Module with a loss."""

    def loss(self, batch: Any, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]: ...


@runtime_checkable
class Batches(Protocol):
    """What the loop reads: endless batches whose position can be saved."""

    def __next__(self) -> Batch: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything a step changes, and the fixed variables it reads: no parameters, or frozen ones.

    `ema` is like `params`, or None without one.
    """

    params: Any
    fixed: Any
    optimizer: Any
    ema: Any
    step: jax.Array


def check(model: nnx.Module, config: TrainConfig) -> None:
    """What can be known to fail before a run folder is made.

    Raises:
        ConfigError: the model wants a teacher and no moving average is kept, a setting is out of range, or the mesh
            does not fit the devices.
    """
    if not 0 <= config.ema < 1:
        raise ConfigError(f"train.ema is a decay: at least 0 and less than 1; it is {config.ema}")
    if config.accumulate < 1:
        raise ConfigError(f"train.accumulate is a number of batches, 1 or more; it is {config.accumulate}")
    check_rates(config)
    if wants_teacher(model) and not config.ema:
        raise ConfigError("this objective learns from a momentum teacher: give train.ema its decay, 0.996 for example")
    if config.accumulate > 1 and jax.tree.leaves(nnx.state(model, Carried)):
        raise ConfigError("this model carries a state from step to step: train.accumulate must be 1")
    Layout.of(config.mesh)


def start(model: nnx.Module, config: TrainConfig, layout: Layout = SINGLE) -> tuple[nnx.GraphDef, TrainState]:
    """Splits a model into its static graph and the state of step 0, which takes the model's arrays with it."""
    graph, *parts = nnx.split(model, trained(config), ...)
    params, fixed = map(layout.place, parts)
    nnx.update(model, params, fixed)  # on several devices: nothing keeps the whole of it any more
    opt_state, ema = _beside(params, config=config, layout=layout)
    return graph, layout.tied(TrainState(params, fixed, opt_state, ema, layout.place(jnp.zeros((), jnp.int32))))


@partial(jax.jit, static_argnames=("config", "layout"))
def _beside(params: Any, *, config: TrainConfig, layout: Layout) -> tuple[Any, Any]:
    """The first optimiser state and moving average; a copy, since a step donates both."""
    ema = jax.tree.map(jnp.copy, params) if config.ema else None
    return layout.constrain((optimizer(config, params).init(params), ema))


def wants_teacher(model: nnx.Module) -> bool:
    """Whether the model's loss takes the moving average of itself."""
    return bool(getattr(model, "wants_teacher", False))


def finished(state: TrainState) -> tuple[Any, Any]:
    """The variables that count: parameters (their moving average if there is one) and the fixed ones."""
    return (state.params if state.ema is None else state.ema), state.fixed


def gradient(
    state: TrainState, batch: Batch, key: jax.Array, graph: nnx.GraphDef, layout: Layout
) -> tuple[dict[str, jax.Array], Any, Any]:
    """Loss and terms, the gradient, and the carried variables as the loss left them."""
    fixed = layout.gather(state.fixed)

    def loss_fn(params: Any) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
        model: Any = nnx.merge(graph, layout.gather(params), fixed, copy=True)  # a loss may change what is carried
        if wants_teacher(model):
            loss, terms = model.loss(batch, key, teacher=nnx.merge(graph, layout.gather(state.ema), fixed))
        else:
            loss, terms = model.loss(batch, key)
        return loss, (terms, jax.lax.stop_gradient(nnx.state(model, Carried)))

    (loss, (terms, carried)), found = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    return {"loss": loss, **terms}, layout.constrain(found), carried


def updated(
    state: TrainState,
    metrics: dict[str, jax.Array],
    found: Any,
    config: TrainConfig,
    layout: Layout,
    carried: Any = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """The state after a step along a gradient."""
    updates, opt_state = optimizer(config, state.params).update(found, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
        decay = jnp.minimum(config.ema, (1 + state.step) / (10 + state.step))
        ema = jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), ema, params)
    fixed = state.fixed if carried is None else nnx.merge_state(state.fixed, carried)
    after = TrainState(params, fixed, opt_state, ema, state.step + 1)
    return layout.constrain(after), layout.gather({**metrics, "gradient_norm": optax.tree.norm(found)})


@partial(jax.jit, static_argnames=("graph", "config", "layout"), donate_argnames=("state",))
def train_step(
    state: TrainState,
    batch: Batch,
    seed: Any,
    *,
    graph: nnx.GraphDef,
    config: TrainConfig,
    layout: Layout = SINGLE,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step. The random key is a function of the seed and the step, so a resumed run sees the same numbers.

    The seed is an argument, not part of `config`, so that runs that differ in nothing else share one compilation.
    """
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    metrics, found, carried = gradient(state, batch, key, graph, layout)
    return updated(state, metrics, found, config, layout, carried)


@partial(jax.jit, static_argnames="layout")
def no_gradient(params: Any, *, layout: Layout) -> Any:
    """Zeros to add to."""
    return layout.constrain(jax.tree.map(jnp.zeros_like, params))


@partial(jax.jit, static_argnames=("graph", "layout"), donate_argnames=("total",))
def add_gradient(
    total: Any,
    state: TrainState,
    batch: Batch,
    seed: Any,
    number: Any,
    *,
    graph: nnx.GraphDef,
    layout: Layout,
) -> tuple[Any, tuple[dict[str, jax.Array], jax.Array]]:
    """Adds the gradient of batch `number` of a step, times the weight of its examples; also its metrics and weight."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), state.step), number)
    metrics, found, _ = gradient(state, batch, key, graph, layout)
    weight = batch.weights.sum()
    return layout.constrain(jax.tree.map(lambda t, g: t + weight * g, total, found)), layout.gather((metrics, weight))


@partial(jax.jit, static_argnames=("config", "layout"), donate_argnames=("state",))
def step_along(
    state: TrainState, total: Any, seen: list[Any], *, config: TrainConfig, layout: Layout
) -> tuple[TrainState, dict[str, jax.Array]]:
    """A step along a sum of gradients, divided by the weight of all examples `seen`."""
    weight = sum(w for _, w in seen)
    metrics = {name: sum(m[name] * w for m, w in seen) / weight for name in seen[0][0]}
    return updated(state, metrics, jax.tree.map(lambda t: t / weight, total), config, layout)


def next_step(
    state: TrainState, batches: Batches, seed: np.uint32, *, graph: nnx.GraphDef, config: TrainConfig, layout: Layout
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step on the next `config.accumulate` batches, of which only one is on the devices at a time."""
    if config.accumulate == 1:
        batch = layout.batch(next(batches))
        return train_step(state, batch, seed, graph=graph, config=config, layout=layout)
    total, seen = no_gradient(state.params, layout=layout), []
    for number in range(config.accumulate):
        batch = layout.batch(next(batches))
        total, found = add_gradient(total, state, batch, seed, number, graph=graph, layout=layout)
        seen.append(found)
    return step_along(state, total, seen, config=config, layout=layout)
