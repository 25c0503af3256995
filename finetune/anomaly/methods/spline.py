"""Monotonic rational-quadratic splines (Durkan et al., Neural Spline Flows, arXiv:1906.04032, section 3.1).

Identity outside [-bound, bound]. Axes: any in front, P = 3 K - 1 parameters of K bins.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SMALLEST = 1e-3  # share of a bin, and slope at a knot
UNIT_SLOPE = math.log(math.expm1(1 - SMALLEST))  # parameters of zero: the identity


def spline(
    x: Float[Array, "..."], parameters: Float[Array, "... P"], bound: float, inverse: bool = False
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Maps x by its own spline.

    Returns:
        y, and log |dy/dx|.
    """
    bins = (parameters.shape[-1] + 1) // 3
    x_knots, y_knots = (_knots(p, bound) for p in (parameters[..., :bins], parameters[..., bins : 2 * bins]))
    slopes = SMALLEST + jax.nn.softplus(parameters[..., 2 * bins :] + UNIT_SLOPE)
    slopes = jnp.pad(slopes, [(0, 0)] * (slopes.ndim - 1) + [(1, 1)], constant_values=1.0)
    inside = jnp.abs(x) < bound
    at = jnp.clip(x, -bound, bound)
    knots = y_knots if inverse else x_knots
    reached = jnp.pad(at[..., None] >= knots[..., 1:-1], [*((0, 0),) * x.ndim, (1, 0)], constant_values=True)
    in_bin = reached & ~jnp.pad(reached[..., 1:], [*((0, 0),) * x.ndim, (0, 1)])

    def of_bin(values: Array) -> Array:  # a sum: on a CPU four times faster than picking, and than its gradient
        return jnp.where(in_bin, values, 0.0).sum(axis=-1)

    left, low = of_bin(x_knots[..., :-1]), of_bin(y_knots[..., :-1])
    first, last = of_bin(slopes[..., :-1]), of_bin(slopes[..., 1:])
    width, height = of_bin(jnp.diff(x_knots)), of_bin(jnp.diff(y_knots))
    steep = height / width
    bend = first + last - 2 * steep
    t = _solved(at - low, height, steep, first, bend) if inverse else (at - left) / width
    below = steep + bend * t * (1 - t)
    y = left + width * t if inverse else low + height * (steep * t**2 + first * t * (1 - t)) / below
    rise = last * t**2 + 2 * steep * t * (1 - t) + first * (1 - t) ** 2
    slope = 2 * jnp.log(steep) + jnp.log(rise) - 2 * jnp.log(below)
    return jnp.where(inside, y, x), jnp.where(inside, -slope if inverse else slope, 0.0)


def _knots(parameters: Float[Array, "... K"], bound: float) -> Float[Array, "... K1"]:
    """K bins that fill [-bound, bound], none too small."""
    shares = SMALLEST + (1 - SMALLEST * parameters.shape[-1]) * jax.nn.softmax(parameters, axis=-1)
    edges = [(0, 0)] * (shares.ndim - 1)
    knots = jnp.pad(2 * bound * jnp.cumsum(shares, axis=-1) - bound, [*edges, (1, 0)], constant_values=-bound)
    return knots.at[..., -1].set(bound)


def _solved(
    up: Float[Array, "..."],
    height: Float[Array, "..."],
    steep: Float[Array, "..."],
    first: Float[Array, "..."],
    bend: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Where in its bin a spline reaches `up` above its low end (appendix A.1 there): a root without cancellation."""
    a = height * (steep - first) + up * bend
    b = height * first - up * bend
    c = -steep * up
    return 2 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0)))
