"""The settings of training, and the optimiser that follows from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import optax
from flax import nnx

from foundation.errors import ConfigError
from foundation.mesh import MeshConfig


@dataclass(frozen=True)
class LearningRate:
    """The learning rate of some parameters.

    Attributes:
        pattern: regular expression searched in the parameter's path, e.g. `^encoder/`.
        factor: multiplies the schedule; 0 freezes.
        after: fraction of the steps before which these parameters stay as they are, to the bit.
    """

    pattern: str = ""
    factor: float = 1.0
    after: float = 0.0

    def first(self, config: TrainConfig) -> int:
        """The first step, counted from 0, that moves them."""
        return round(self.after * config.steps)


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
        accumulate: batches per step; their mean gradient, examples weighted, is that of one large batch.
        ema: decay of the exponential moving average of the parameters, which is the momentum teacher and the finished
            model; 0 keeps none. Early steps decay faster: (1 + step) / (10 + step), where that is smaller.
        mesh: how several devices share the work.
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
    accumulate: int = 1
    ema: float = 0.0
    mesh: MeshConfig = field(default_factory=MeshConfig)
    log_every: int = 20
    checkpoint_every: int = 500
    evaluate_every: int = 0
    seed: int = 0


def schedule(config: TrainConfig) -> optax.Schedule:
    """Linear warm-up from zero, then cosine decay to `final`."""
    warmup = max(1, round(config.warmup * config.steps))
    peak = config.learning_rate
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, max(config.steps, warmup + 1), config.final * peak)


def rate_of(config: TrainConfig, path: Iterable[Any]) -> LearningRate:
    """The entry of `learning_rates` that holds for the parameter at a path."""
    name = "/".join(str(getattr(p, "key", getattr(p, "name", p))) for p in path).removesuffix("/value")
    return next((r for r in config.learning_rates if re.search(r.pattern, name)), LearningRate())


def trained(config: TrainConfig) -> Callable[[Any, Any], bool]:
    """A filter of nnx: the parameters that are not frozen from the first step to the last."""
    return lambda path, value: isinstance(value, nnx.Param) and rate_of(config, path).factor != 0


def check_rates(config: TrainConfig) -> None:
    """Raises ConfigError: a factor or a start that cannot be."""
    for rate in config.learning_rates:
        if rate.factor < 0 or not 0 <= rate.after < 1:
            raise ConfigError(
                f"train.learning_rates, '{rate.pattern}': factor must be 0 or more and after at least 0 and less than "
                f"1; they are {rate.factor} and {rate.after}"
            )


def optimizer(config: TrainConfig, params: Any) -> optax.GradientTransformation:
    """AdamW with a factor, and a first step, per parameter."""
    labels = jax.tree_util.tree_map_with_path(lambda path, _: _label(rate_of(config, path)), params)
    rates = {_label(rate): rate for rate in (*config.learning_rates, LearningRate())}
    each = optax.multi_transform({label: _adamw(config, rate) for label, rate in rates.items()}, labels)
    parts = [optax.clip_by_global_norm(config.clip_norm), each]
    if any(rate.after for rate in rates.values()):  # what has not joined yet has no part in the norm, nor in moments
        held = {label: optax.scale_by_schedule(_joined(config, rate)) for label, rate in rates.items()}
        parts.insert(0, optax.multi_transform(held, labels))
    return optax.chain(*parts)


def _label(rate: LearningRate) -> str:
    return f"{rate.factor} {rate.after}" if rate.after else str(rate.factor)


def _adamw(config: TrainConfig, own: LearningRate) -> optax.GradientTransformation:
    if own.factor == 0:
        return optax.set_to_zero()
    rate, joined = schedule(config), _joined(config, own)
    matrices = partial(jax.tree.map, lambda p: p.ndim > 1)
    return optax.adamw(
        lambda step: own.factor * joined(step) * rate(step), b2=0.98, weight_decay=config.weight_decay, mask=matrices
    )


def _joined(config: TrainConfig, rate: LearningRate) -> Callable[[Any], Any]:
    """Step, counted from 0 -> 1 from the first that moves these parameters on, 0 before."""
    first = rate.first(config)
    return lambda step: 1.0 * (step >= first) if first else 1.0
