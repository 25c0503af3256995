"""What a student may learn from its teacher beside the outputs: where examples lie in the teacher's embedding.

The student's side is its last hidden layer. Both terms are of order one whatever the units and widths of the two are,
and neither adds anything to the circuit.

Axes: B examples, H width of the student's last hidden layer, D of the teacher's embedding.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax.lax import stop_gradient
from jaxtyping import Array, Float

RIDGE = 1e-3  # of the mean variance of the hidden layer
SMALLEST = 1e-6  # of a squared distance: the root has a slope there


def embedding_loss(
    hidden: Float[Array, "B H"], embedding: Float[Array, "B D"], weights: Float[Array, " B"]
) -> Float[Array, ""]:
    """Share of the embedding's variance that no linear map of the hidden layer gives (hints, arXiv:1412.6550).

    The map is the best one for the batch, in closed form, and its own slope vanishes there: nothing more is trained.

    Args:
        weights: of the examples, of mean 1.
    """
    w = weights[:, None]
    x, y = hidden - (w * hidden).mean(axis=0), embedding - (w * embedding).mean(axis=0)
    still = stop_gradient(x)
    gram = still.T @ (w * still) / len(x)
    ridge = RIDGE * (jnp.trace(gram) / len(gram) + 1e-6)
    best = jnp.linalg.solve(gram + ridge * jnp.eye(len(gram)), still.T @ (w * y) / len(x))
    total = (w * jnp.square(y)).mean() + 1e-12
    return (w * jnp.square(y - x @ stop_gradient(best))).mean() / total


def relational_loss(
    hidden: Float[Array, "B H"], embedding: Float[Array, "B D"], weights: Float[Array, " B"]
) -> Float[Array, ""]:
    """Huber loss of the distances between examples, each side in units of its mean distance (arXiv:1904.05068, RKD-D).

    Args:
        weights: of the examples, of mean 1; a pair has the product of two.
    """
    pairs = weights[:, None] * weights[None, :] * (1 - jnp.eye(len(weights)))
    count = jnp.maximum(pairs.sum(), 1e-12)

    def distances(x: Float[Array, "B k"]) -> Float[Array, "B B"]:
        squares = jnp.square(x).sum(axis=1)
        squared = squares[:, None] + squares[None, :] - 2 * jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)
        d = jnp.sqrt(jnp.maximum(squared, SMALLEST))
        return d / ((pairs * d).sum() / count)

    return (pairs * optax.huber_loss(distances(hidden), distances(embedding))).sum() / count
