"""What a student is trained for: settings, examples and the terms of the loss.

Axes: B examples, N tokens, F features, C classes, R regression outputs, O = C + R.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from distill_to_fpga.prune import PruneConfig
from distill_to_fpga.representation import embedding_loss, relational_loss
from distill_to_fpga.students import StudentConfig
from distill_to_fpga.students.config import WEIGHTLESS
from foundation.errors import ConfigError, DataError


@dataclass(frozen=True)
class DistillConfig:
    """How a student is trained.

    Attributes:
        steps: number of optimiser steps.
        batch: examples per step.
        learning_rate: peak, after a linear warm-up; then a cosine to zero.
        warmup: fraction of the steps.
        width_rate: learning rate of the bit widths, relative to that of the weights.
        alpha: share of the teacher in the loss; the labels have the rest. 0 trains on labels alone.
        temperature: softens the teacher's and the student's logits before they are compared.
        regression_weight: of the Huber loss of the regression outputs.
        embedding_weight: of matching the teacher's embedding by a linear map of the student's last hidden layer.
        relational_weight: of matching its distances between examples. See `distill_to_fpga.representation` for both.
        lut_budget: the student ends near so many LUTs, as `distill_to_fpga.estimate` counts them: their price is raised
            or lowered so that they fall geometrically to the budget.
        ebops_budget: the same for EBOPs, the currency of HGQ (arXiv:2405.00645). One of the two at most; with neither,
            the price of a LUT follows beta.
        shrink: fraction of the steps over which the cost falls to a budget. Layers of tables, which hardly cost more
            where they are crooked, do better when they are small early.
        beta_start: price of one LUT (EBOP under ebops_budget) at the first step.
        beta_end: price towards which beta rises geometrically over the first 80% of the steps, so that accuracy is
            learnt first and width later; not used with a budget.
        gamma: price of one bit of weight or activation (the L1 term of arXiv:2405.00645).
        quantize_after: a baseline: the student is trained in floating point, then every number is rounded to so many
            bits, the sign included, without further training. 0: it is quantised while it is trained.
        prune: iterative magnitude pruning.
    """

    steps: int = 3000
    batch: int = 256
    learning_rate: float = 0.03
    warmup: float = 0.05
    width_rate: float = 0.3
    alpha: float = 0.7
    temperature: float = 2.0
    regression_weight: float = 1.0
    embedding_weight: float = 0.0
    relational_weight: float = 0.0
    lut_budget: int | None = None
    ebops_budget: int | None = None
    shrink: float = 0.6
    beta_start: float = 1e-7
    beta_end: float = 5e-6
    gamma: float = 1e-7
    quantize_after: int = 0
    prune: PruneConfig = field(default_factory=PruneConfig)

    def check(self) -> None:
        """Raises ConfigError naming the first setting out of range."""
        for name, low, high in (("steps", 1, np.inf), ("batch", 1, np.inf), ("alpha", 0, 1), ("warmup", 0, 1)):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"distillation needs {low} <= {name} <= {high}; it is {getattr(self, name)}")
        if not 0 < self.shrink <= 0.8:
            raise ConfigError(f"distillation needs 0 < shrink <= 0.8, before the widths are fixed; it is {self.shrink}")
        for name in ("learning_rate", "temperature", "beta_start", "beta_end"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"distillation needs {name} > 0; it is {getattr(self, name)}")
        for name in ("regression_weight", "embedding_weight", "relational_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"distillation needs {name} >= 0; it is {getattr(self, name)}")
        for name in ("lut_budget", "ebops_budget"):
            budget = getattr(self, name)
            if budget is not None and budget < 1:
                raise ConfigError(f"{name} must be at least 1; it is {budget}")
        if self.lut_budget is not None and self.ebops_budget is not None:
            raise ConfigError("lut_budget and ebops_budget are both given: set one of them to null")
        self.prune.check()
        if self.quantize_after and not 2 <= self.quantize_after <= 16:
            raise ConfigError(f"quantize_after must be 0 or 2 to 16 bits; it is {self.quantize_after}")

    def check_student(self, shape: StudentConfig) -> None:
        """Raises ConfigError: a budget for widths that nothing moves, or what a student of this kind has not."""
        self.prune.check_student(shape)
        asked = {
            "distill.quantize_after": self.quantize_after,
            "distill.prune.rounds": self.prune.rounds,
            "distill.embedding_weight or relational_weight": self.embeds,
            "student.uniform_bits": shape.uniform_bits,
        }
        if shape.kind == "lut":
            asked["distill.embedding_weight or relational_weight"] = False
        if shape.kind in WEIGHTLESS and any(asked.values()):
            wrong = next(name for name, value in asked.items() if value)
            raise ConfigError(f"{wrong}: a student of kind {shape.kind} has no weights, and trees no hidden layer")
        if self.budget is not None and shape.quantized and (self.quantize_after or not shape.learns_widths):
            raise ConfigError(
                "lut_budget and ebops_budget move the widths of weights while they are trained, and those of this "
                "baseline (uniform_bits, ternary, binary, quantize_after) stay: set the budget to null"
            )

    @property
    def embeds(self) -> bool:
        """Whether the teacher's embedding is learnt from."""
        return self.embedding_weight > 0 or self.relational_weight > 0

    @property
    def budget(self) -> int | None:
        """What the student may cost, in units of `currency`."""
        return self.lut_budget if self.lut_budget is not None else self.ebops_budget

    @property
    def currency(self) -> Literal["luts", "ebops"]:
        return "luts" if self.ebops_budget is None else "ebops"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Examples:
    """What a student learns from.

    Attributes:
        integers: what the trigger board receives.
        labels: class integers, -1 where unknown (such an example learns from the teacher alone).
        teacher: the teacher's logits, or None.
        targets: regression targets, NaN where unknown, or None.
        weights: example weights, or None for equal ones.
        embedding: the teacher's, or None.
    """

    integers: Int[Any, "B N F"]
    labels: Int[Any, " B"]
    teacher: Float[Any, "B C"] | None = None
    targets: Float[Any, "B R"] | None = None
    weights: Float[Any, " B"] | None = None
    embedding: Float[Any, "B D"] | None = None


def losses(
    outputs: Float[Array, "B O"],
    examples: Examples,
    config: DistillConfig,
    classes: int,
    hidden: Float[Array, "B H"] | None = None,
) -> dict[str, Float[Array, ""]]:
    """The terms of the loss, each averaged over the batch with the example weights.

    Args:
        hidden: the student's last hidden layer, to be compared with the teacher's embedding.
    """
    weights = jnp.ones(len(outputs)) if examples.weights is None else examples.weights
    weights = weights / jnp.maximum(weights.mean(), 1e-12)
    terms = _classification(outputs[:, :classes], examples, config, weights) if classes else {}
    if examples.targets is not None:
        there = jnp.isfinite(examples.targets)
        huber = optax.huber_loss(outputs[:, classes:], jnp.where(there, examples.targets, 0))
        terms["regression"] = config.regression_weight * (weights[:, None] * jnp.where(there, huber, 0)).mean()
    if hidden is not None and examples.embedding is not None:
        compared = (hidden, examples.embedding, weights)
        if config.embedding_weight > 0:
            terms["embedding"] = config.embedding_weight * embedding_loss(*compared)
        if config.relational_weight > 0:
            terms["relational"] = config.relational_weight * relational_loss(*compared)
    return terms


def _classification(
    logits: Float[Array, "B C"], examples: Examples, config: DistillConfig, weights: Float[Array, " B"]
) -> dict[str, Float[Array, ""]]:
    """Cross-entropy with the labels, and the divergence from the softened teacher (arXiv:1503.02531)."""
    known = examples.labels >= 0
    alpha = config.alpha if examples.teacher is not None else 0.0
    share = jnp.where(known, alpha, float(alpha > 0))
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(examples.labels, 0))
    terms = {"cross_entropy": (weights * jnp.where(known, (1 - share) * entropy, 0)).mean()}
    if examples.teacher is not None and alpha > 0:
        hot = config.temperature
        target = jax.nn.log_softmax(examples.teacher / hot)
        divergence = optax.losses.kl_divergence_with_log_targets(jax.nn.log_softmax(logits / hot), target)
        terms["teacher"] = (weights * share * hot**2 * divergence).mean()
    return terms


def checked(
    train: Examples, config: DistillConfig, shape: StudentConfig, classes: Sequence[str], regressions: Sequence[str]
) -> Examples:
    """The examples, without a teacher or an embedding that is not used.

    Raises:
        DataError: they do not fit each other, the settings or the student.
    """
    count = len(train.integers)
    if not count or train.integers.shape[1] != shape.tokens:
        raise DataError(f"expected integers [B > 0, {shape.tokens}, F], got shape {train.integers.shape}")
    shapes = {"labels": (count,), "weights": (count,), "teacher": (count, len(classes))}
    for name, wanted in {**shapes, "targets": (count, len(regressions))}.items():
        values = getattr(train, name)
        if values is not None and values.shape != wanted:
            raise DataError(f"{name} must have shape {wanted}, got {values.shape}")
    if (train.targets is None) != (not regressions):
        raise DataError(f"the student has {len(regressions)} regression outputs: give it as many targets")
    if np.max(train.labels) >= len(classes):
        raise DataError(f"label {np.max(train.labels)} among the examples, but there are {len(classes)} classes")
    if not config.embeds:
        train = replace(train, embedding=None)
    elif train.embedding is None or train.embedding.shape[0] != count:
        raise DataError(
            "embedding_weight and relational_weight compare with a teacher's embedding of every example, and there is "
            "none: distil from a tagger, or set both to 0"
        )
    if config.alpha == 1 and train.teacher is None:
        raise DataError("alpha is 1, so the loss is the teacher's alone, and there are no teacher logits")
    if config.alpha == 0 or train.teacher is None:
        if train.targets is None and not (np.asarray(train.labels) >= 0).any():
            raise DataError("no example has a label and there is no teacher: nothing to learn from")
        return replace(train, teacher=None)
    return train
