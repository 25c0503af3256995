"""The contract of every anomaly method: `prepare` (and, where it trains, `loss`), then `scores`.

Axes: n crossings of the training set, B of a batch; one crossing is a vector [D] or an image [H, W].
"""

from __future__ import annotations

from typing import ClassVar

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.vectors import Vectors


class Learnt(nnx.Variable):
    """What a method keeps of the training set beside trained parameters: a centre, a covariance, neighbours, trees."""


class Method(nnx.Module):
    """One way to tell how unusual a crossing is.

    A method is a network, or arrays in `Learnt` variables, so that one way to save, load and compile serves all.

    Attributes:
        trains: whether `loss` is to be minimised; if not, `prepare` does everything.
        names: of its scores, the default one first.
    """

    trains: ClassVar[bool] = True
    names: ClassVar[tuple[str, ...]] = ("score",)

    def prepare(self, x: Float[np.ndarray, "n ..."], weights: Float[np.ndarray, " n"], seed: int) -> None:
        """Before the first step: what follows from the training set in closed form."""

    def loss(self, batch: Vectors, key: jax.Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The training loss and its named terms (`loss/NAME`), averaged with the crossings' weights."""
        raise NotImplementedError(f"{type(self).__name__} is not trained by gradient")

    def scores(self, x: Float[Array, "B ..."]) -> dict[str, Float[Array, " B"]]:
        """Every score of `names`: the larger, the more unusual."""
        raise NotImplementedError


def weighted_mean(values: Float[Array, " B"], weights: Float[Array, " B"]) -> Float[Array, ""]:
    """Mean over the batch with the crossings' weights."""
    return (values * weights).sum() / weights.sum()
