"""The contract of every anomaly method: `prepare` (and, where it trains, `loss`), then `scores`.

Axes: n crossings of the training set, B of a batch; one crossing is a vector [D] or an image [H, W].
"""

from __future__ import annotations

from typing import ClassVar

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from finetune.anomaly.vectors import Vectors
from foundation.errors import ConfigError


class Learnt(nnx.Variable):
    """What a method keeps of the training set beside trained parameters: a centre, a covariance, neighbours, trees."""


class Method(nnx.Module):
    """One way to tell how unusual a crossing is.

    A method is a network, or arrays in `Learnt` variables whose shapes follow from the shape of a crossing and the
    settings alone, so that one way to save, load and compile serves all. What changes from step to step without being
    trained (a count of steps, a sampler's chains) is `foundation.step.Carried`.

    Attributes:
        trains: whether `loss` is to be minimised; if not, `prepare` does everything.
        names: of its scores, the default one first.
    """

    trains: ClassVar[bool] = True
    names: ClassVar[tuple[str, ...]] = ("score",)

    def prepare(self, x: Float[np.ndarray, "n ..."], weights: Float[np.ndarray, " n"], seed: int) -> None:
        """Before the first step: what follows from the training set in closed form, the same whenever it is called."""

    def loss(self, batch: Vectors, key: jax.Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The training loss and its named terms (`loss/NAME`), averaged with the crossings' weights."""
        raise NotImplementedError(f"{type(self).__name__} is not trained by gradient")

    def scores(self, x: Float[Array, "B ..."]) -> dict[str, Float[Array, " B"]]:
        """Every score of `names`: the larger, the more unusual."""
        raise NotImplementedError


def weighted_mean(values: Float[Array, " B"], weights: Float[Array, " B"]) -> Float[Array, ""]:
    """Mean over the batch with the crossings' weights."""
    return (values * weights).sum() / weights.sum()


def width_of(shape: tuple[int, ...], method: str, *sizes: int) -> int:
    """D of crossings that are vectors [D].

    Args:
        sizes: of the method's layers.

    Raises:
        ConfigError: crossings are images, or a size is not positive.
    """
    if len(shape) != 1:
        raise ConfigError(f"{method} takes vectors; the crossings here are of shape {shape}: method conv_autoencoder")
    if min(shape[0], *sizes, 1) < 1:
        raise ConfigError(f"{method}: widths and counts must be at least 1; got {shape[0]} inputs and {sizes}")
    return shape[0]


def resampled(weights: Float[np.ndarray, " n"], most: int, seed: int) -> Int[np.ndarray, " m"]:
    """Rows that stand for a weighted set, in the set's order, for methods that know no weights.

    Equal weights: `most` different rows, or all. Others: each row w/sum(w) * most times, rounded up or down so that the
    expectation holds (systematic resampling).

    Raises:
        ConfigError: `most` is not positive.
    """
    if most < 1:
        raise ConfigError(f"at least 1 row must be kept; asked for {most}")
    rng, n = np.random.default_rng(seed), len(weights)
    if np.all(weights == weights[0]):
        return np.sort(rng.permutation(n)[:most])
    edges = np.cumsum(np.asarray(weights, np.float64)) / np.sum(weights, dtype=np.float64)
    places = (np.arange(most) + rng.random()) / most
    return np.minimum(np.searchsorted(edges, places, side="right"), n - 1)
