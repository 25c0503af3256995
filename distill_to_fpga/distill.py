"""Training a student: from a teacher's logits, from labels, or both, while its circuit shrinks.

Axes: S steps, B examples of a batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Int

from distill_to_fpga.objective import DistillConfig, Examples, checked, losses
from distill_to_fpga.quantize import Mode, Width
from distill_to_fpga.students import Student, StudentConfig, build_student, freeze, input_scaling
from foundation.errors import TrainingError
from foundation.progress import progress

BLOCK = 100  # steps per call of the compiled loop, and per line of the history
CONTROL_GAIN = 60.0  # how fast beta follows the budget: e-folds per run and unit of log(EBOPs / target)
BUDGET_BY = 0.5  # of the steps: when the target reaches the budget; the weights have the rest to recover


@dataclass(frozen=True)
class Distilled:
    """A trained student.

    Attributes:
        student: frozen (integer types everywhere) unless it is a floating-point one.
        history: one record per 100 steps: step, losses, ebops, beta, and accuracy on the validation examples.
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
) -> Distilled:
    """Trains a student on `train` and calibrates its activations on the same examples.

    The loss: alpha KL(teacher || student) T^2 + (1 - alpha) cross-entropy + Huber + beta EBOPs + gamma bits.
    Equal arguments give an equal student, to the last bit, on the same machine.

    Args:
        config: of the training.
        student_config: of the network.
        train: examples.
        classes, regressions: names of the outputs.
        validation: examples for the history's `validation_accuracy`.
        seed: of the initial weights and the order of examples.

    Raises:
        ConfigError: settings out of range.
        DataError: the examples do not fit each other or the student.
        TrainingError: the loss became NaN; names the step.
    """
    config.check()
    train = checked(train, config, student_config, classes, regressions)
    offset, shift = input_scaling(np.asarray(train.integers))
    student = build_student(student_config, offset, shift, classes, regressions, seed)
    start = time.monotonic()
    mode: Mode = "train" if student_config.quantized else "float"
    loop = _Loop(student, config, mode)
    history = list(loop.run(train, validation, seed))
    trained = loop.student()
    if student_config.quantized:
        trained = freeze(trained, np.asarray(train.integers))
    return Distilled(trained, history, time.monotonic() - start)


class _Loop:
    """The compiled training loop and its state."""

    def __init__(self, student: Student, config: DistillConfig, mode: Mode):
        self.config, self.mode = config, mode
        self.graphdef, trainable, rest = _split(student)
        self.optimizer = _optimizer(config)
        price = jnp.asarray([np.log(config.beta_start), 0.0])  # log beta, log of the EBOPs at the first step
        self.carry: Any = (trainable, self.optimizer.init(trainable), rest, price)
        self.block, self.accuracy = jax.jit(self._block, donate_argnums=0), jax.jit(self._accuracy)

    def run(self, train: Examples, validation: Examples | None, seed: int) -> Iterator[dict[str, float]]:
        batches = _batches(len(train.labels), self.config, seed)
        data = jax.tree.map(jnp.asarray, train)
        held_out = None if validation is None else jax.tree.map(jnp.asarray, validation)
        with progress("distil", self.config.steps, "steps") as bar:
            for first in range(0, self.config.steps, BLOCK):
                block = batches[first : first + BLOCK]
                numbers = jnp.arange(first, first + len(block))
                self.carry, metrics = self.block(self.carry, data, jnp.asarray(block), numbers)
                record = self._record(metrics, first, held_out)
                bar.advance(len(block), f"loss {record['loss']:.4f}, EBOPs {record['ebops']:,.0f}")
                yield record

    def student(self) -> Student:
        trainable, _, rest, _ = self.carry
        return self._merge(trainable, rest)

    def _merge(self, trainable: Any, rest: Any) -> Student:
        weights, widths = trainable
        return nnx.merge(self.graphdef, widths, weights, rest, copy=True)

    def _record(self, metrics: dict[str, Array], first: int, validation: Examples | None) -> dict[str, float]:
        values = {name: np.asarray(series) for name, series in metrics.items()}
        bad = np.flatnonzero(~np.isfinite(values["loss"]))
        if len(bad):
            terms = ", ".join(f"{name} {series[bad[0]]:.3g}" for name, series in values.items())
            raise TrainingError(f"the loss became NaN at step {first + bad[0]} ({terms}); lower the learning rate")
        record = {"step": float(first + len(values["loss"]))}
        record |= {name: float(series.mean()) for name, series in values.items()}
        record |= {name: float(values[name][-1]) for name in ("ebops", "beta")}
        if validation is not None and (validation.labels >= 0).any():
            record["validation_accuracy"] = float(self.accuracy(self.carry, validation))
        return record

    def _accuracy(self, carry: Any, examples: Examples) -> Array:
        trainable, _, rest, _ = carry
        student = self._merge(trainable, rest)
        logits = student(examples.integers, self.mode)[:, : len(student.classes)]
        known = examples.labels >= 0
        return ((logits.argmax(-1) == examples.labels) & known).sum() / jnp.maximum(known.sum(), 1)

    def _block(self, carry: Any, data: Examples, batches: Int[Array, "S B"], numbers: Int[Array, " S"]) -> Any:
        def step(carry: Any, inputs: Any) -> Any:
            batch, number = inputs
            trainable, optimizer, rest, price = carry
            examples = jax.tree.map(lambda a: a[batch], data)
            beta = self._beta(price, number)
            gradient = jax.grad(self._loss, has_aux=True)
            slope, (rest, metrics) = gradient(trainable, rest, examples, beta)
            updates, optimizer = self.optimizer.update(slope, optimizer, trainable)
            price = self._new_price(price, metrics["ebops"], number)
            return (optax.apply_updates(trainable, updates), optimizer, rest, price), {**metrics, "beta": beta}

        return jax.lax.scan(step, carry, (batches, numbers))

    def _loss(self, trainable: Any, rest: Any, examples: Examples, beta: Array) -> Any:
        student = self._merge(trainable, rest)
        outputs = student(examples.integers, self.mode)
        terms = losses(outputs, examples, self.config, len(student.classes))
        loss = sum(terms.values(), jnp.zeros(()))
        ebops = student.ebops(self.mode) if self.mode == "train" else jnp.zeros(())
        if self.mode == "train":
            loss += beta * ebops + self.config.gamma * student.total_bits(self.mode)
        _, _, rest = _split(student)
        return loss, (rest, {"loss": loss, **terms, "ebops": ebops})

    def _beta(self, price: Array, number: Array) -> Array:
        if self.config.ebops_budget is not None:
            return jnp.exp(price[0])
        ramp = jnp.minimum(number / (0.8 * self.config.steps), 1.0)
        return self.config.beta_start * (self.config.beta_end / self.config.beta_start) ** ramp

    def _new_price(self, price: Array, ebops: Array, number: Array) -> Array:
        """The price rises while EBOPs lie above a target that falls geometrically to the budget."""
        if self.config.ebops_budget is None or self.mode == "float":
            return price
        log_ebops = jnp.log(jnp.maximum(ebops, 1.0))
        first = jnp.where(number == 0, log_ebops, price[1])
        fall = jnp.minimum(number / (BUDGET_BY * self.config.steps), 1.0)
        excess = log_ebops - first - fall * (np.log(self.config.ebops_budget) - first)
        rise = CONTROL_GAIN / self.config.steps * jnp.clip(excess, -1.0, 1.0)
        return jnp.stack([price[0] + rise, first])


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
