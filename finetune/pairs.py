"""Which pairs of tokens a tagger of edges learns from, and their loss.

Axes: B examples, N padded tokens of the modality, P pairs of each example.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from foundation.models.edges import all_pairs


class Pairs(NamedTuple):
    """Pairs to learn from.

    Attributes:
        tokens: positions of the two.
        together: whether they belong together.
        known: whether the pair counts: two different tokens, both of a known group.
    """

    tokens: Int[Array, "B P 2"]
    together: Bool[Array, "B P"]
    known: Bool[Array, "B P"]


def pairs_to_learn(group: Int[Array, "B N"], most: int, key: Array) -> Pairs:
    """Every pair, or `most` of them drawn by `key` where there are more.

    Half of those drawn are even among the pairs that belong together, half even among all pairs (of which those that
    do belong together then do not count: with the other half they would count twice).

    Args:
        group: of each token; 0 or less for a token of none, or of an unknown one.
    """
    tokens = group.shape[1]
    if tokens * (tokens - 1) // 2 <= most:
        pairs = jnp.broadcast_to(all_pairs(tokens), (len(group), tokens * (tokens - 1) // 2, 2))
        a, b = _groups_of(group, pairs)
        return Pairs(pairs, a == b, (a > 0) & (b > 0))
    keys = jax.random.split(key, len(group))
    return jax.vmap(lambda g, k: _drawn(g, most, k))(group, keys)


def _drawn(group: Int[Array, " N"], most: int, key: Array) -> Pairs:
    """`most` pairs of one example."""
    first, second, third, fourth = jax.random.split(key, 4)
    half = most // 2
    sorting = jnp.where(group > 0, group, jnp.iinfo(group.dtype).max)
    order = jnp.argsort(sorting)  # tokens of a group in a row, those of none at the end
    ranked = sorting[order]
    count = jnp.sum(group > 0)
    begin, end = (jnp.searchsorted(ranked, ranked, side=side) for side in ("left", "right"))
    partners = jnp.where(jnp.arange(len(group)) < count, end - begin - 1, 0)
    until = jnp.cumsum(partners)  # a token comes as often as it has partners: each pair as often as any other
    one = jnp.searchsorted(until, jax.random.randint(first, (half,), 0, jnp.maximum(until[-1], 1)), side="right")
    one = jnp.minimum(one, len(group) - 1)
    step = jax.random.randint(second, (half,), 0, jnp.maximum(partners[one], 1)) + 1
    other = begin[one] + (one - begin[one] + step) % jnp.maximum(end[one] - begin[one], 1)
    together = jnp.stack([one, other], axis=1)
    free = jax.random.randint(third, (most - half,), 0, jnp.maximum(count, 1))
    shift = jax.random.randint(fourth, (most - half,), 1, jnp.maximum(count, 2))
    apart = jnp.stack([free, (free + shift) % jnp.maximum(count, 1)], axis=1)
    same = ranked[apart[:, 0]] == ranked[apart[:, 1]]
    known = jnp.concatenate([jnp.broadcast_to(until[-1] > 0, (half,)), (count > 1) & ~same])
    is_together = jnp.arange(most) < half
    return Pairs(order[jnp.concatenate([together, apart])].astype(jnp.int32), is_together, known)


def together_fraction(group: Int[Array, "B N"]) -> Float[Array, " B"]:
    """Which part of an example's known pairs belong together; 0 without pairs."""
    count = (group > 0).sum(axis=1)
    ranked = jnp.sort(jnp.maximum(group, 0), axis=1)

    def partners(row: Int[Array, " N"]) -> Int[Array, ""]:
        others = jnp.searchsorted(row, row, side="right") - jnp.searchsorted(row, row, side="left") - 1
        return jnp.sum(jnp.where(row > 0, others, 0))

    total = (count * (count - 1)).astype(jnp.float32)
    return jax.vmap(partners)(ranked) / jnp.maximum(total, 1.0)


def edge_loss(
    logits: Float[Array, "B P"],
    pairs: Pairs,
    fraction: Float[Array, " B"],
    weights: Float[Array, " B"],
    per_class: Float[Array, " two"],
) -> Float[Array, ""]:
    """Cross-entropy of pairs; each example counts alike, however many pairs it has.

    The means over pairs apart and pairs together enter by the part of all pairs that they are in the example, whether
    drawn or not, times their factor.

    Args:
        fraction: of the pairs of each example that belong together.
        weights: of the examples.
        per_class: factors of pairs apart and of pairs together.
    """
    errors = optax.losses.sigmoid_binary_cross_entropy(logits, pairs.together.astype(logits.dtype))
    loss, total = jnp.zeros(len(logits)), jnp.zeros(len(logits))
    for value, part in ((False, 1 - fraction), (True, fraction)):
        use = pairs.known & (pairs.together == value)
        count = use.sum(axis=1)
        share = jnp.where(count > 0, part * per_class[int(value)], 0.0)
        loss += share * jnp.sum(errors * use, axis=1) / jnp.maximum(count, 1)
        total += share
    return jnp.sum(weights * loss) / jnp.maximum(jnp.sum(weights * total), 1e-6)


def _groups_of(group: Int[Array, "B N"], pairs: Int[Array, "B P 2"]) -> tuple[Int[Array, "B P"], Int[Array, "B P"]]:
    return jnp.take_along_axis(group, pairs[..., 0], axis=1), jnp.take_along_axis(group, pairs[..., 1], axis=1)
