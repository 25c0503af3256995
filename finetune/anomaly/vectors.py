"""What the methods learn from: one vector (or image) per crossing, in memory, as the training loop wants it.

Axes: n crossings, B of a batch; the shape of one crossing is [D] or [H, W].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Vectors:
    """A batch of crossings.

    Attributes:
        x: standardised inputs or embeddings.
        weights: of the crossings in the loss.
    """

    x: Float[Any, "B ..."]
    weights: Float[Any, " B"]

    @property
    def size(self) -> int:
        return len(self.weights)


class VectorBatches:
    """Endless batches of all crossings in a new random order each epoch; batch k follows from (seed, k) alone.

    Args:
        x: of all crossings.
        weights: of all crossings.
        batch_size: crossings in a batch; at most n are drawn.
        seed: of the order.
    """

    def __init__(self, x: Float[np.ndarray, "n ..."], weights: Float[np.ndarray, " n"], batch_size: int, seed: int):
        self.x, self.weights = x, weights
        self.batch_size, self.seed, self.step = min(batch_size, len(x)), seed, 0
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def _rows(self, epoch: int) -> Int[np.ndarray, " n"]:
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self.x))
        return self._order

    def __next__(self) -> Vectors:
        first = self.step * self.batch_size
        epoch, place = divmod(first, len(self.x))
        rows = self._rows(epoch)[place : place + self.batch_size]
        if len(rows) < self.batch_size:
            rows = np.concatenate([rows, self._rows(epoch + 1)[: self.batch_size - len(rows)]])
        self.step += 1
        return Vectors(self.x[rows], self.weights[rows])

    def state(self) -> dict[str, Any]:
        return {"step": self.step}

    def restore(self, state: dict[str, Any]) -> None:
        self.step = int(state["step"])
