"""Distance to the nearest crossings of the training set. Axes: n crossings, B, D their numbers, N of the bank, k."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from finetune.anomaly.method import Learnt, Method, resampled, width_of
from foundation.errors import ConfigError

CHUNK = 256  # crossings compared with the bank at once: 256 x 10,000 distances are 10 MB


@dataclass(frozen=True)
class KNNConfig:
    """k nearest neighbours.

    Attributes:
        k: neighbours.
        bank: at most so many crossings of the training set are kept.
        choice: which: `random`, by weight; or `farthest`, each the one farthest from those before it (the coreset of
            PatchCore, arXiv:2106.08265), blind to weights: it covers rare kinds of normal crossings and outliers alike.
    """

    k: int = 5
    bank: int = 10_000
    choice: Literal["random", "farthest"] = "random"


class KNN(Method):
    """Scores: mean distance to the k nearest of the bank, and distance to the k-th."""

    trains = False
    names = ("mean", "kth")

    def __init__(self, shape: tuple[int, ...], config: KNNConfig, *, rngs: nnx.Rngs):
        width = width_of(shape, "knn", config.k, config.bank)
        if config.k > config.bank:
            raise ConfigError(f"knn: k {config.k} neighbours cannot be found in a bank of {config.bank}")
        self.k, self.choice = config.k, config.choice
        self.bank, self.kept = Learnt(jnp.zeros((config.bank, width))), Learnt(jnp.zeros((), jnp.int32))

    def prepare(self, x: Float[np.ndarray, "n D"], weights: Float[np.ndarray, " n"], seed: int) -> None:
        """Fills the bank.

        Raises:
            ConfigError: fewer crossings than neighbours.
        """
        most = len(self.bank)
        rows = resampled(weights, most, seed) if self.choice == "random" else farthest(x, min(most, len(x)))
        if len(rows) < self.k:
            raise ConfigError(f"knn: k {self.k} neighbours cannot be found among {len(rows)} normal crossings")
        bank = np.zeros(self.bank.shape, np.float32)
        bank[: len(rows)] = x[rows]
        self.bank[...], self.kept[...] = jnp.asarray(bank), jnp.asarray(len(rows), jnp.int32)

    def scores(self, x: Float[Array, "B D"]) -> dict[str, Float[Array, " B"]]:
        distances = jax.lax.map(self._nearest, x, batch_size=CHUNK)
        return {"mean": distances.mean(axis=-1), "kth": distances.max(axis=-1)}

    def _nearest(self, x: Float[Array, " D"]) -> Float[Array, " k"]:
        """Found by |b|^2 - 2 x.b, a matrix product; then measured as |x - b|, which has no cancellation."""
        bank = self.bank[...]
        ranks = 2 * (bank @ x) - jnp.square(bank).sum(axis=-1)
        ranks = jnp.where(jnp.arange(len(bank)) < self.kept[...], ranks, -jnp.inf)
        nearest = bank[jax.lax.top_k(ranks, self.k)[1]]
        return jnp.sqrt(jnp.square(x - nearest).sum(axis=-1))


def farthest(x: Float[np.ndarray, "n D"], count: int) -> Int[np.ndarray, " m"]:
    """Rows of a greedy k-centre cover, starting from the row nearest the mean: each next one is farthest from all."""
    far = np.square(x - x.mean(axis=0)).sum(axis=1)
    rows = [int(far.argmin())]
    least = np.full(len(x), np.inf, np.float32)
    for _ in range(count - 1):
        least = np.minimum(least, np.square(x - x[rows[-1]]).sum(axis=1))
        rows.append(int(least.argmax()))
    return np.asarray(rows)
