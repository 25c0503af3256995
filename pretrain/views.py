"""The views of a batch: what makes two looks at one example differ."""

from __future__ import annotations

from typing import Literal

import jax
from jaxtyping import Array

from foundation.batch import TokenBatch
from foundation.schema import DetectorSchema
from pretrain.augment import AugmentConfig, augment

Positives = Literal["augmentation", "resimulation"]


def make_views(
    batch: TokenBatch,
    schema: DetectorSchema,
    augmentations: AugmentConfig,
    positives: Positives,
    count: int,
    key: Array,
) -> tuple[TokenBatch, ...]:
    """One or two augmented views, row i of each the same example.

    Args:
        positives: `augmentation`: every row of the batch, augmented anew for each view; `resimulation`: rows 2i and
            2i+1 are one hard scattering simulated twice (`foundation.loader.pairs`), and become row i of the two views.
        count: of views; with one, pairs count as so many single examples.
    """
    if positives == "resimulation" and count == 2:
        looks = [jax.tree.map(lambda a, start=start: a[start::2], batch) for start in range(2)]
    else:
        looks = [batch] * count
    keys = jax.random.split(key, count)
    return tuple(augment(look, schema, augmentations, k) for look, k in zip(looks, keys, strict=True))
