"""Losses of a tagger's outputs. What is unknown has weight 0: its target may be anything, NaN included.

Axes: B examples, n objects (examples, tokens) in any arrangement, C classes, R targets, Q quantiles.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


def weighted_mean(errors: Float[Array, "*n"], weights: Float[Array, "*n"]) -> Float[Array, ""]:
    """Mean by weight; 0 where nothing has any."""
    return jnp.sum(errors * weights) / jnp.maximum(jnp.sum(weights), 1e-6)


def class_loss(
    logits: Float[Array, "*n C"], target: Int[Array, "*n"], weights: Float[Array, "*n"], per_class: Float[Array, " C"]
) -> Float[Array, ""]:
    """Cross-entropy of classes.

    Args:
        target: class, -1 where unknown.
        weights: of the objects.
        per_class: factor of each class.
    """
    known = jnp.maximum(target, 0)
    errors = optax.losses.softmax_cross_entropy_with_integer_labels(logits, known)
    return weighted_mean(errors, weights * (target >= 0) * per_class[known])


def tag_loss(
    logits: Float[Array, "B C"], target: Int[Array, "B C"], weights: Float[Array, " B"], per_tag: Float[Array, "C 2"]
) -> Float[Array, ""]:
    """Cross-entropy of yes-or-no tags, each by itself.

    Args:
        target: 1, 0, or -1 where unknown.
        per_tag: factor of no and of yes of each tag.
    """
    errors = optax.losses.sigmoid_binary_cross_entropy(logits, (target > 0).astype(logits.dtype))
    factor = jnp.where(target > 0, per_tag[:, 1], per_tag[:, 0])
    return weighted_mean(errors, weights[:, None] * (target >= 0) * factor)


def value_loss(
    predicted: Float[Array, "*n Q"],
    target: Float[Array, "*n"],
    weights: Float[Array, "*n"],
    quantiles: tuple[float, ...],
) -> Float[Array, ""]:
    """Pinball loss, mean over the quantiles, or Huber loss without any (then Q = 1).

    Args:
        predicted: the quantiles of the standardised target.
        target: standardised; NaN where unknown.
    """
    known = jnp.isfinite(target)
    error = jnp.where(known, target, 0.0)[..., None] - predicted
    levels = jnp.asarray(quantiles)
    errors = jnp.maximum(levels * error, (levels - 1) * error) if quantiles else optax.losses.huber_loss(error)
    return weighted_mean(errors.mean(axis=-1), weights * known)


def ordered(raw: Float[Array, "*n Q"], middle: int) -> Float[Array, "*n Q"]:
    """Numbers that ascend along the last axis, from any: the middle one, and positive gaps upwards and downwards."""
    gaps = jax.nn.softplus(raw)
    up = jnp.cumsum(gaps[..., middle + 1 :], axis=-1)
    down = jnp.cumsum(gaps[..., :middle][..., ::-1], axis=-1)[..., ::-1]
    centre = raw[..., middle : middle + 1]
    return jnp.concatenate([centre - down, centre, centre + up], axis=-1)
