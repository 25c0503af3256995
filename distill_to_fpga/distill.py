"""Training a student: from a teacher's logits, from labels, or both, while its circuit shrinks.

Axes: S steps, B examples of a batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from distill_to_fpga.boost import grow
from distill_to_fpga.budget import Board, beta, corrected, counting, first_price, fixed, landed, landing, next_price
from distill_to_fpga.inputs import HardwareLayout, layout_of
from distill_to_fpga.objective import DistillConfig, Examples, checked, losses
from distill_to_fpga.prune import Mask, factors, masks
from distill_to_fpga.quantize import Mode, Width
from distill_to_fpga.students import Student, StudentConfig, build_student, freeze, quantize_after_training, scaling_of
from distill_to_fpga.students.begin import begun
from distill_to_fpga.students.student import size
from foundation.errors import TrainingError
from foundation.progress import progress

BLOCK = 100  # steps per call of the compiled loop, and per line of the history


@dataclass(frozen=True)
class Distilled:
    """A trained student.

    Attributes:
        student: frozen (integer types everywhere) unless it is a floating-point one.
        history: one record per 100 steps, of every round of pruning: step, loss and its terms, EBOPs, LUTs, beta,
            accuracy on the validation examples.
        seconds: of training, compilation included.
    """

    student: Student
    history: list[dict[str, float]]
    seconds: float


def distill(
    config: DistillConfig,
    student_config: StudentConfig,
    train: Examples,
    classes: Sequence[str],
    regressions: Sequence[str] = (),
    validation: Examples | None = None,
    seed: int = 0,
    layout: HardwareLayout | None = None,
    start: Student | None = None,
) -> Distilled:
    """Trains a student on `train` and calibrates its activations on the same examples.

    The loss: alpha KL(teacher || student) T^2 + (1 - alpha) cross-entropy + Huber + beta LUTs + gamma bits.
    Equal arguments give an equal student, to the last bit, on the same machine.

    Args:
        config: of the training.
        student_config: of the network.
        train: examples.
        classes, regressions: names of the outputs.
        validation: examples for the history's `validation_accuracy`.
        seed: of the initial weights and the order of examples.
        layout: of the inputs, whose widths a budget in LUTs counts; default: as wide as these examples are.
        start: a student of this shape to begin as.

    Raises:
        ConfigError: settings out of range.
        DataError: the examples do not fit each other or the student.
        TrainingError: the loss became NaN; names the step.
    """
    config.check()
    config.check_student(student_config)
    train = checked(train, config, student_config, classes, regressions)
    offset, shift = scaling_of(student_config, np.asarray(train.integers))
    after = config.quantize_after if student_config.quantized else 0
    trained_as = replace(student_config, quantized=False) if after else student_config
    student = build_student(trained_as, offset, shift, classes, regressions, seed)
    if start is not None:
        student = begun(student, start)
    began = time.monotonic()
    if student_config.kind == "trees":
        grown, record = grow(student, config, train, layout or layout_of(np.asarray(train.integers)), seed)
        return Distilled(grown, [record], time.monotonic() - began)
    trained, history = _train(student, config, train, validation, seed, layout)
    if after:
        trained = quantize_after_training(trained, np.asarray(train.integers), after)
    elif student_config.quantized:
        trained = freeze(trained, np.asarray(train.integers))
    return Distilled(trained, history, time.monotonic() - began)


def _train(
    student: Student,
    config: DistillConfig,
    train: Examples,
    validation: Examples | None,
    seed: int,
    layout: HardwareLayout | None,
) -> tuple[Student, list[dict[str, float]]]:
    """The student after all steps, not yet frozen, and the history."""
    plan = _Plan(nnx.graphdef(student), config, "train" if student.config.quantized else "float")
    _, trainable, rest = _split(student)
    carry: Any = (trainable, _optimizer(config).init(trainable), rest, first_price(config))
    board = Board(layout or layout_of(np.asarray(train.integers)), np.asarray(train.integers))
    data, held_out = jax.tree.map(jnp.asarray, (train, validation))
    first, back = 0, config.prune.rewound(config.steps, BLOCK)
    total = config.steps + config.prune.rounds * (config.steps - back)
    pruned: list[Mask] | None = None
    early: Any = None
    factor = _factor(student, ()) if config.prune.rounds else None
    with progress("distil", total, "steps") as bar:
        loop = _Loop(plan, data, held_out, _batches(len(train.labels), config, seed), board, [], bar)
        for number in range(config.prune.rounds + 1):
            if number:
                pruned = masks(plan.student(carry[0], carry[2]), config.prune, number, pruned)
                factor = _factor(student, pruned)
                carry, first = (_times(early[0], factor), *_copied(early[1:])), back
            elif config.prune.rounds:
                carry = loop.run(carry, 0, back, factor)
                early, first = _copied(carry), back
            carry = loop.run(carry, first, config.steps, factor)
    return plan.student(carry[0], carry[2]), loop.history


@dataclass(frozen=True)
class _Loop:
    """Blocks of steps, and what is done between them."""

    plan: _Plan
    data: Examples
    held_out: Examples | None
    batches: Int[np.ndarray, "S B"]
    board: Board
    history: list[dict[str, float]]
    bar: Any

    def run(self, carry: Any, start: int, stop: int, factor: Any = None) -> Any:
        """The carry after these steps; `factor` multiplies the weights after each."""
        plan, config, board = self.plan, self.plan.config, self.board
        shown = ("loss", config.currency) if plan.mode == "train" else ("loss",)
        for first in range(start, stop, BLOCK):
            block = self.batches[first : min(first + BLOCK, stop)]
            numbers = jnp.arange(first, first + len(block))
            carry, metrics = _block(plan, carry, self.data, jnp.asarray(block), numbers, factor)
            record = _record(metrics, first)
            self.history.append(record)
            if plan.mode == "train" and counting(config, first, first + len(block)):
                made = plan.student(carry[0], carry[2])
                carry = (*carry[:3], corrected(carry[3], made, board, record))
            if plan.mode == "train" and landing(config, first, first + len(block)):
                made = landed(plan.student(carry[0], carry[2]), board, config.lut_budget or 1)
                carry = (_split(made)[1], *carry[1:])
            if self.held_out is not None and (self.held_out.labels >= 0).any():
                record["validation_accuracy"] = float(_accuracy(plan, carry, self.held_out))
            self.bar.advance(len(block), ", ".join(f"{name} {record[name]:,.6g}" for name in shown))
        return carry


def _factor(student: Student, pruned: Sequence[Mask]) -> Any:
    """0 for each weight that is pruned, 1 for the others."""
    weights, _ = _split(factors(student, pruned))[1]
    return weights


def _times(trainable: Any, factor: Any) -> Any:
    weights, widths = trainable
    return jax.tree.map(jnp.multiply, weights, factor), _copied(widths)


def _copied(carry: Any) -> Any:
    """A copy, since the compiled loop takes its carry over."""
    return jax.tree.map(jnp.copy, carry)


@dataclass(frozen=True)
class _Plan:
    """What is fixed when the loop is compiled; equal plans share one compilation."""

    graphdef: Any
    config: DistillConfig
    mode: Mode

    def student(self, trainable: Any, rest: Any) -> Student:
        weights, widths = trainable
        return nnx.merge(self.graphdef, widths, weights, rest, copy=True)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _block(
    plan: _Plan,
    carry: Any,
    data: Examples,
    batches: Int[Array, "S B"],
    numbers: Int[Array, " S"],
    factor: Any = None,
) -> Any:
    """One optimiser step for each row of `batches`; `factor` multiplies the weights after each.

    The carry: (weights, widths), state of the optimiser, what is not trained, and the price of the circuit.
    """
    optimizer = _optimizer(plan.config)

    def step(carry: Any, inputs: Any) -> Any:
        batch, number = inputs
        trainable, moments, rest, price = carry
        examples = jax.tree.map(lambda a: a[batch], data)
        paid = beta(plan.config, price, number)
        slope, (rest, metrics) = jax.grad(_loss, argnums=1, has_aux=True)(plan, trainable, rest, examples, paid)
        (weights, widths), moments = optimizer.update(slope, moments, trainable)
        stay = fixed(plan.config, number)
        updates = (weights, jax.tree.map(lambda step: jnp.where(stay, 0.0, step), widths))
        if plan.mode == "train":
            price, metrics["beta"] = next_price(plan.config, price, metrics[plan.config.currency], number), paid
        trainable = optax.apply_updates(trainable, updates)
        if factor is not None:
            trainable = (jax.tree.map(jnp.multiply, trainable[0], factor), trainable[1])
        return (trainable, moments, rest, price), metrics

    return jax.lax.scan(step, carry, (batches, numbers))


def _loss(plan: _Plan, trainable: Any, rest: Any, examples: Examples, paid: Array) -> Any:
    student = plan.student(trainable, rest)
    outputs, hidden = student.with_hidden(examples.integers, plan.mode)
    terms = losses(outputs / student.unit, examples, plan.config, len(student.classes), hidden)
    loss = sum(terms.values(), jnp.zeros(()))
    if plan.mode == "train":
        cost = size(*nnx.split(student), plan.mode)
        terms |= {"ebops": cost.ebops, "luts": cost.luts}
        loss += paid * terms[plan.config.currency] + plan.config.gamma * cost.bits
    _, _, rest = _split(student)
    return loss, (rest, {"loss": loss, **terms})


@partial(jax.jit, static_argnums=0)
def _accuracy(plan: _Plan, carry: Any, examples: Examples) -> Float[Array, ""]:
    """Fraction of the labelled examples that the student classifies as labelled."""
    trainable, _, rest, _ = carry
    student = plan.student(trainable, rest)
    logits = student(examples.integers, plan.mode)[:, : len(student.classes)]
    known = examples.labels >= 0
    return ((logits.argmax(-1) == examples.labels) & known).sum() / known.sum()


def _record(metrics: dict[str, Array], first: int) -> dict[str, float]:
    """Means over a block; EBOPs, LUTs and beta at its end.

    Raises:
        TrainingError: a loss is not a number; names the step and the terms.
    """
    values = {name: np.asarray(series) for name, series in metrics.items()}
    bad = np.flatnonzero(~np.isfinite(values["loss"]))
    if len(bad):
        terms = ", ".join(f"{name} {series[bad[0]]:.3g}" for name, series in values.items())
        raise TrainingError(f"the loss became NaN at step {first + bad[0]} ({terms}); lower the learning rate")
    record = {"step": float(first + len(values["loss"]))}
    last = ("ebops", "luts", "beta")
    return record | {name: float(v[-1] if name in last else v.mean()) for name, v in values.items()}


def _split(student: Student) -> tuple[Any, Any, Any]:
    """Structure, (weights, widths), and what is not trained."""
    graphdef, widths, weights, rest = nnx.split(student, Width, nnx.Param, ...)  # type: ignore[misc]
    return graphdef, (weights, widths), rest


def _optimizer(config: DistillConfig) -> optax.GradientTransformation:
    """Adam for weights and, faster, for widths: the former first in the pair, the latter second."""

    def adam(peak: float) -> optax.GradientTransformation:
        warmup = max(1, int(config.warmup * config.steps))
        return optax.adam(optax.warmup_cosine_decay_schedule(0.0, peak, warmup, max(config.steps, warmup + 1)))

    rates = {"weights": config.learning_rate, "widths": config.learning_rate * config.width_rate}
    return optax.multi_transform({name: adam(rate) for name, rate in rates.items()}, ("weights", "widths"))


def _batches(examples: int, config: DistillConfig, seed: int) -> Int[np.ndarray, "S B"]:
    """Rows of each step: the examples in a new random order, over and over."""
    random = np.random.default_rng(seed)
    needed = config.steps * config.batch
    orders = [random.permutation(examples) for _ in range(-(-needed // examples))]
    return np.concatenate(orders)[:needed].reshape(config.steps, config.batch).astype(np.int32)
