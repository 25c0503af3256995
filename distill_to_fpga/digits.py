"""Weights that are sums of few signed powers of two; how many, each weight learns.

In logic a product with a constant costs one adder for each signed digit of the constant, and nothing for where the
digits stand. A width in bits says little of that: 0.4375 and 0.5 are four bits and one, but both of one or two digits
(7/16 = 1/2 - 1/16). So here a weight has d digits, d learnt by gradient like the widths of arXiv:2405.00645: they are
taken one after another, each the power of two nearest to what is left, which leaves at most a third of it. Hence the
surrogate gradient d q / d d = ln 3 * (w - q). No digit at all is the weight zero: pruning has the price of one digit,
whatever the weight's size, and a pruned weight can come back.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int

from distill_to_fpga.quantize import power_of_two, round_half_up

MOST_DIGITS = 3
FINEST = 10  # binary places: no digit is less than 2^-10


def nearest_powers(x: Float[Array, "*s"]) -> list[Float[Array, "*s"]]:
    """The digits of x, signed powers of two, largest first; their sum is x to within a third for each digit more.

    Of |x| between 2^e and 2^(e + 1), those below 1.5 * 2^e have 2^e nearest. What is below half of 2^-FINEST has none.
    """
    digits, left = [], x
    for _ in range(MOST_DIGITS):
        _, exponent = jnp.frexp(jnp.abs(left) * (4 / 3))
        power = jnp.sign(left) * power_of_two(jnp.clip(exponent - 1, -FINEST, 60))
        digit = jnp.where(exponent - 1 >= -FINEST, power, 0.0)
        digits.append(digit)
        left = left - digit
    return digits


def whole_digits(digits: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """A whole number of digits, with the gradient of the identity."""
    still = stop_gradient(digits)
    return jnp.clip(round_half_up(still), 0, MOST_DIGITS) + (digits - still)


def quantize_digits(x: Float[Array, "*s"], digits: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """x as the sum of its first `digits` digits (rounded to a whole number).

    Gradients: d q / d x = 1 (straight-through) and d q / d digits = ln 3 * (x - q).
    """
    number = whole_digits(digits)
    whole, still = stop_gradient(number), stop_gradient(x)
    taken = [jnp.where(whole > k, digit, 0.0) for k, digit in enumerate(nearest_powers(still))]
    q = sum(taken, jnp.zeros_like(still))
    delta = still - q
    return q + (x - still) + math.log(3) * delta * (number - whole)


def count_digits(integers: Int[Array, "*s"]) -> Float[Array, "*s"]:
    """Digits of the canonical signed form, which has the fewest: ones of n xor 3n (Prodinger 2000)."""
    positive = jnp.abs(integers)
    return jax.lax.population_count(positive ^ (3 * positive)).astype(jnp.result_type(float))
