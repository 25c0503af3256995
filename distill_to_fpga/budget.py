"""What a circuit may cost: the price of a LUT (or of an EBOP) follows a budget.

The loss has beta times the cost, which is to fall geometrically from its first value to the budget: beta is a
controller's answer to cost over target, in part at once (against swings), in part summed up over the steps. The cost in
the loss is differentiable and rough; so the adder graph itself is counted now and then, and the ratio of the two
corrects it. Near the end the widths of all weights are moved together by the little that is missing; they
cost nothing from then on, and the weights recover.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.lower import count_luts
from distill_to_fpga.objective import DistillConfig
from distill_to_fpga.students import Student
from distill_to_fpga.students.freeze import freeze

GAIN = 60.0  # e-folds of beta per run and unit of log(cost / target)
QUICK_GAIN = 3.0  # e-folds of beta and unit of log(cost / target), at once
MOST_PAID = 10.0  # beta times the budget at most: the cost never weighs more than that in the loss
FIXED = 0.85  # of the steps: from then on widths stay
COUNTS = np.linspace(0.2, 0.8, 10)  # of the steps: when the adder graph is counted
LANDINGS = (FIXED, 0.95)  # of the steps: when the widths are moved together, the second time for what the first missed
CLOSE = 0.02  # to the budget, relative: near enough
FILLINGS = 24  # students counted at most to come as near
HALVINGS = 7  # of the interval in which the last move of the widths is looked for


class Price(NamedTuple):
    """State of the controller, logarithms all of them.

    Attributes:
        beta: summed up.
        first: cost at the first step.
        correction: LUTs of the adder graph over LUTs in the loss.
        excess: cost over target.
    """

    beta: Float[Array, ""]
    first: Float[Array, ""]
    correction: Float[Array, ""]
    excess: Float[Array, ""]


def first_price(config: DistillConfig) -> Price:
    """Before the first step."""
    return Price(*(jnp.asarray(value, jnp.float32) for value in (np.log(config.beta_start), 0.0, 0.0, 0.0)))


def beta(config: DistillConfig, price: Price, number: Int[Array, ""]) -> Float[Array, ""]:
    """The price of one LUT or EBOP in step `number`."""
    if config.budget is not None:
        return jnp.where(fixed(config, number), 0.0, jnp.exp(price.beta + QUICK_GAIN * price.excess))
    ramp = jnp.minimum(number / (0.8 * config.steps), 1.0)
    return config.beta_start * (config.beta_end / config.beta_start) ** ramp


def fixed(config: DistillConfig, number: Int[Array, ""]) -> Bool[Array, ""]:
    """Whether the widths stay in step `number`."""
    return number >= (FIXED * config.steps if config.budget is not None else config.steps)


def next_price(config: DistillConfig, price: Price, cost: Float[Array, ""], number: Int[Array, ""]) -> Price:
    """After step `number`, whose student cost so much."""
    if config.budget is None:
        return price
    log_cost = jnp.log(jnp.maximum(cost, 1.0)) + price.correction
    first = jnp.where(number == 0, log_cost, price.first)
    fall = jnp.minimum(number / (config.shrink * config.steps), 1.0)
    excess = jnp.clip(log_cost - first - fall * (np.log(config.budget) - first), -1.0, 1.0)
    summed = price.beta + GAIN / config.steps * excess
    low, high = np.log(config.beta_start), np.log(MOST_PAID / config.budget)
    return Price(jnp.clip(summed, low, high), first, price.correction, excess)


def counting(config: DistillConfig, before: int, after: int) -> bool:
    """Whether the adder graph is counted between two steps."""
    return config.lut_budget is not None and any(before < share * config.steps <= after for share in COUNTS)


class Board(NamedTuple):
    """Where the circuit will stand.

    Attributes:
        layout: of the inputs.
        integers: that set the ranges of activations.
    """

    layout: HardwareLayout
    integers: Int[np.ndarray, "B N F"]

    def luts(self, student: Student) -> int:
        """Of the adder graph of a student in training."""
        return count_luts(freeze(student, self.integers), self.layout)


def corrected(price: Price, student: Student, board: Board, record: dict[str, float]) -> Price:
    """The price after a count of the student's adder graph, which enters the record as `counted_luts`."""
    counted = max(board.luts(student), 1)
    record["counted_luts"] = float(counted)
    return price._replace(correction=jnp.asarray(np.log(counted / max(record["luts"], 1.0)), jnp.float32))


def landing(config: DistillConfig, before: int, after: int) -> bool:
    """Whether the widths are moved together between two steps."""
    return config.lut_budget is not None and any(before < share * config.steps <= after for share in LANDINGS)


def landed(student: Student, board: Board, budget: int) -> Student:
    """The student with all widths of weights moved by one number, so that its adder graph takes the budget; what one
    number is too coarse for, `filled` finds."""

    def moved(by: float) -> Student:
        made = nnx.clone(student)
        for layer in made.weighted():
            layer.weight_width[...] += by
        return made

    low, high, found = -0.5, 0.5, {0.0: board.luts(student)}  # half a digit or bit either way
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found[middle] = board.luts(moved(middle))
        low, high = (low, middle) if found[middle] > budget else (middle, high)
    best = min(found, key=lambda by: abs(found[by] - budget))
    if low not in found or abs(found[best] - budget) <= CLOSE * budget:
        return moved(best)
    return filled(moved(low), found[low], board, budget)


def filled(student: Student, luts: int, board: Board, budget: int) -> Student:
    """A student below its budget with a digit (bit) more for as many weights as that leaves room for: a few of them in
    a random order, fewer where those are too many. (A weight that comes back may bring a channel with it.)"""
    sizes = [layer.weight_width.size for layer in student.weighted()]
    waiting = [np.random.default_rng(0).permutation(sum(sizes))]
    for _ in range(FILLINGS):
        if not waiting or luts >= (1 - CLOSE) * budget:
            break
        chosen, made = waiting.pop(), nnx.clone(student)
        more = np.isin(np.arange(sum(sizes)), chosen).astype(np.float32)
        for layer, part in zip(made.weighted(), np.split(more, np.cumsum(sizes)[:-1])):
            layer.weight_width[...] += part.reshape(layer.weight_width.shape)
        counted = board.luts(made)
        if counted <= (1 + CLOSE) * budget:
            student, luts = made, counted
        elif len(chosen) > 1:
            waiting += [chosen[len(chosen) // 2 :], chosen[: len(chosen) // 2]]
    return student
