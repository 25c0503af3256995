"""Iterative magnitude pruning with rewinding: train, drop what is small, go back to early weights, train again.

What is left after each round starts from the weights that it had early in the first training: the lottery ticket
(arXiv:1803.03635), rewound to a step after the first (arXiv:1912.05671), without which larger networks find none.

Axes: I inputs and O outputs of a layer, F features.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float

from distill_to_fpga.students.config import StudentConfig
from distill_to_fpga.students.student import Student
from foundation.errors import ConfigError

ROWS_BY_CHANNEL = ("mlp", "deepsets", "cnn")  # kinds whose layers stand one behind the other
ROWS_BY_FEATURE = ("mlp", "deepsets")  # kinds whose first layer reads the features as they come


@dataclass(frozen=True)
class PruneConfig:
    """What is pruned and when.

    Attributes:
        rounds: trainings before the last one; after each, the same share of what is left is dropped. 0: no pruning but
            that of widths that come to nothing.
        sparsity: share that is dropped in the end.
        what: `weights` one by one, the smallest of all layers; `channels` of hidden layers, `features` or `tokens` as a
            whole, by the norm of their weights: nothing is left of them in the circuit.
        rewind: share of the steps, in the first training, whose weights the next rounds start from.
    """

    rounds: int = 0
    sparsity: float = 0.8
    what: Literal["weights", "channels", "features", "tokens"] = "weights"
    rewind: float = 0.1

    def check(self) -> None:
        """Raises ConfigError naming a setting out of range."""
        if self.rounds < 0 or not 0 < self.sparsity < 1 or not 0 <= self.rewind < 1:
            raise ConfigError(
                f"pruning needs rounds >= 0, 0 < sparsity < 1 and 0 <= rewind < 1; they are {self.rounds}, "
                f"{self.sparsity} and {self.rewind}"
            )

    def check_student(self, shape: StudentConfig) -> None:
        """Raises ConfigError: parts that a student of this kind does not have by itself."""
        known = {"channels": ROWS_BY_CHANNEL, "features": ROWS_BY_FEATURE, "tokens": ("mlp",)}
        if self.rounds and self.what != "weights" and shape.kind not in known[self.what]:
            raise ConfigError(
                f"prune.what {self.what} is for students of kind {', '.join(known[self.what])}, not {shape.kind}"
                + ("; of others set student.tokens" if self.what == "tokens" else "")
            )

    def rewound(self, steps: int, block: int) -> int:
        """The step whose weights the next rounds start from: a whole number of blocks."""
        return int(self.rewind * steps / block) * block

    def kept(self, rounds: int) -> float:
        """Share that is left after so many rounds."""
        return (1 - self.sparsity) ** (rounds / self.rounds)


Mask = tuple[Bool[np.ndarray, "..."], Bool[np.ndarray, "..."]]  # of the kernel [I, O] and of the bias [O]


def masks(student: Student, config: PruneConfig, rounds: int, before: Sequence[Mask] | None) -> list[Mask]:
    """What stays of each dense layer after so many rounds, by the trained weights.

    Args:
        before: the masks of the round before: what is dropped stays dropped.
    """
    kernels = [np.asarray(layer.kernel[...], np.float64) for layer in student.dense()]
    if before is None:
        before = [(np.ones(k.shape, bool), np.ones(k.shape[1], bool)) for k in kernels]
    kernels = [np.where(mask, kernel, 0) for kernel, (mask, _) in zip(kernels, before)]
    if config.what == "weights":
        return _weights(kernels, before, config.kept(rounds))
    if config.what == "channels":
        return _channels(kernels, before, config.kept(rounds))
    return _inputs(kernels[0], before, config, student.config, config.kept(rounds))


def _weights(kernels: list[Float[np.ndarray, "_ _"]], before: Sequence[Mask], kept: float) -> list[Mask]:
    """The largest of all layers together."""
    sizes = np.concatenate([np.abs(kernel).ravel() for kernel in kernels])
    stay = _largest(sizes, kept)
    parts = np.split(stay, np.cumsum([kernel.size for kernel in kernels])[:-1])
    return [(part.reshape(k.shape) & old, bias) for part, k, (old, bias) in zip(parts, kernels, before)]


def _channels(kernels: list[Float[np.ndarray, "_ _"]], before: Sequence[Mask], kept: float) -> list[Mask]:
    """Of each hidden layer the channels with the largest weights; a channel's bias and what reads it go with it."""
    found = [(mask.copy(), bias.copy()) for mask, bias in before]
    for layer, (kernel, after) in enumerate(itertools.pairwise(kernels)):
        stay = _largest(np.linalg.norm(kernel, axis=0), kept)
        found[layer] = (found[layer][0] & stay, found[layer][1] & stay)
        rows = np.tile(stay, len(after) // len(stay))  # the same channel of every patch
        found[layer + 1] = (found[layer + 1][0] & rows[:, None], found[layer + 1][1])
    return found


def _inputs(
    first: Float[np.ndarray, "I O"], before: Sequence[Mask], config: PruneConfig, shape: StudentConfig, kept: float
) -> list[Mask]:
    """The features, or the tokens, with the largest weights in the first layer, whose rows are tokens of features."""
    mask, bias = before[0]
    rows = first.reshape(shape.tokens if shape.kind == "mlp" else 1, -1, first.shape[1])
    if config.what == "tokens":
        stay = _largest(np.linalg.norm(rows, axis=(1, 2)), kept)[:, None]
    else:
        stay = _largest(np.linalg.norm(rows, axis=(0, 2)), kept)[None]
    used = np.broadcast_to(stay, rows.shape[:2]).reshape(-1, 1)
    return [(mask & used, bias), *before[1:]]


def _largest(sizes: Float[np.ndarray, " n"], share: float) -> Bool[np.ndarray, " n"]:
    """Which are the largest; a share of all, one at least."""
    count = max(1, round(share * len(sizes)))
    stay = np.zeros(len(sizes), bool)
    stay[np.argsort(-sizes, kind="stable")[:count]] = True
    return stay


def factors(student: Student, pruned: Sequence[Mask]) -> Student:
    """A student of the same tree that has 0 for each pruned weight and 1 for all others."""
    made = nnx.clone(student)
    nnx.update(made, jax.tree.map(jnp.ones_like, nnx.state(made, nnx.Param)))
    for layer, (kernel, bias) in zip(made.dense(), pruned):
        layer.kernel[...], layer.bias[...] = jnp.asarray(kernel, jnp.float32), jnp.asarray(bias, jnp.float32)
    return made
