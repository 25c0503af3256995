"""Weights of three or of two values, plus or minus one power of two for each output channel: the crudest baselines.

Both learn straight through the rounding. Published scales are real numbers; here they are powers of two, because a
multiplication for each channel would cost more logic than all that the weights save.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from distill_to_fpga.quantize import power_of_two

THRESHOLD = 0.7  # of the mean |w|: what is below is zero (arXiv:1605.04711, eq. 6)
LEAST, MOST = -16, 16  # exponents of a channel's power


def quantize_ternary(x: Float[Array, "I O"]) -> Float[Array, "I O"]:
    """-s, 0 or s: at most one digit, of a power s common to the channel (ternary weight networks, arXiv:1605.04711)."""
    still = stop_gradient(x)
    size = jnp.abs(still)
    large = size > THRESHOLD * size.mean(axis=0, keepdims=True)
    scale = size.sum(axis=0, keepdims=True, where=large) / jnp.maximum(large.sum(axis=0, keepdims=True), 1)
    return _straight_through(x, jnp.where(large, jnp.sign(still), 0.0) * nearest_power(scale))


def quantize_binary(x: Float[Array, "I O"]) -> Float[Array, "I O"]:
    """-s or s, s near the channel's mean |w| (XNOR networks, arXiv:1603.05279); a weight of exactly zero is zero."""
    return _straight_through(x, jnp.sign(x) * nearest_power(jnp.abs(x).mean(axis=0, keepdims=True)))


def nearest_power(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The power of two nearest to x > 0; below 1.5 * 2^e that is 2^e."""
    _, exponent = jnp.frexp(x * (4 / 3))
    return power_of_two(jnp.clip(exponent - 1, LEAST, MOST))


def _straight_through(x: Float[Array, "*s"], q: Float[Array, "*s"]) -> Float[Array, "*s"]:
    return stop_gradient(q) + (x - stop_gradient(x))
