"""Deep SVDD: a network that draws normal crossings together around a centre.

Ruff et al., Deep One-Class Classification, ICML 2018, PMLR 80:4393.
Axes: n crossings, B, D their numbers, Z of the output.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.method import Learnt, Method, weighted_mean, width_of
from finetune.anomaly.methods.layers import Dense
from finetune.anomaly.vectors import Vectors

AWAY = 0.1  # of zero, each coordinate of the centre: a network of zeros would reach one at the origin
ROWS = 65536  # at once, for the centre


@dataclass(frozen=True)
class SVDDConfig:
    """A network of dense layers.

    Attributes:
        hidden: widths of the hidden layers.
        latent: width of the output.
    """

    hidden: tuple[int, ...] = (64, 32)
    latent: int = 16


class SVDD(Method):
    """Score: squared distance of the network's output to the centre, the mean output of the untrained network.

    What keeps it from sending every crossing to the centre (the paper's propositions 1 to 3): no biases, no bounded
    activation, a centre that is away from the origin. `spread`, in metrics.jsonl, is the variance of the outputs in
    units of the centre's squared length: if it goes to zero, the method has collapsed and its score is noise.
    """

    def __init__(self, shape: tuple[int, ...], config: SVDDConfig, *, rngs: nnx.Rngs):
        width = width_of(shape, "svdd", *config.hidden, config.latent)
        self.network = Dense((width, *config.hidden, config.latent), rngs=rngs, use_bias=False)
        self.center = Learnt(jnp.zeros(config.latent))

    def prepare(self, x: Float[np.ndarray, "n D"], weights: Float[np.ndarray, " n"], seed: int) -> None:
        total = np.zeros(self.center.shape, np.float64)
        for first in range(0, len(x), ROWS):
            outputs = np.asarray(self.network(jnp.asarray(x[first : first + ROWS])), np.float64)
            total += weights[first : first + ROWS] @ outputs
        center = total / np.sum(weights, dtype=np.float64)
        away = np.where(center < 0, -AWAY, AWAY)
        self.center[...] = jnp.asarray(np.where(np.abs(center) < AWAY, away, center), jnp.float32)

    def loss(self, batch: Vectors, key: jax.Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        outputs = self.network(batch.x)
        spread = jax.lax.stop_gradient(outputs).var(axis=0).sum() / jnp.square(self.center[...]).sum()
        return weighted_mean(self._squared(outputs), batch.weights), {"spread": spread}

    def scores(self, x: Float[Array, "B D"]) -> dict[str, Float[Array, " B"]]:
        return {"score": self._squared(self.network(x))}

    def _squared(self, outputs: Float[Array, "B Z"]) -> Float[Array, " B"]:
        return jnp.square(outputs - self.center[...]).sum(axis=-1)
