"""The settings of training, and the optimiser that follows from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import optax

from foundation.mesh import MeshConfig


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
