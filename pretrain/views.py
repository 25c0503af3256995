"""The views of a batch: what makes two looks at one example differ.

Axes: B batch, M modalities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError, close_names
from foundation.schema import DetectorSchema
from pretrain.augment import AugmentConfig, augment

Positives = Literal["augmentation", "resimulation", "modality"]


@dataclass(frozen=True)
class ModalityViews:
    """Which modalities the two views of an example have. Both empty: a random division of those that it has tokens of.

    Attributes:
        first: of the first view; empty: all that are not in `second`.
        second: of the second view; empty: all that are not in `first`.
    """

    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()

    def resolved(self, schema: DetectorSchema) -> ModalityViews:
        """With both sides named, or none.

        Raises:
            ConfigError: the schema has one modality, or the names do not divide it.
        """
        names = tuple(schema.modalities)
        if len(names) < 2:
            raise ConfigError(
                f"positives: modality needs at least two modalities, and '{schema.name}' has only '{names[0]}'; "
                "use positives: augmentation"
            )
        for name in (*self.first, *self.second):
            if name not in names:
                raise ConfigError(f"positives_modalities: no modality '{name}'; {close_names(name, names)}")
        both = sorted(set(self.first) & set(self.second))
        if both:
            raise ConfigError(f"positives_modalities: {', '.join(both)} would be in both views")
        if not self.first and not self.second:
            return self
        first = self.first or tuple(name for name in names if name not in self.second)
        second = self.second or tuple(name for name in names if name not in self.first)
        if not first or not second:
            raise ConfigError("positives_modalities: one view has all the modalities, and none is left for the other")
        return ModalityViews(first, second)


def make_views(
    batch: TokenBatch,
    schema: DetectorSchema,
    augmentations: AugmentConfig,
    positives: Positives,
    count: int,
    key: Array,
    modalities: ModalityViews | None = None,
) -> tuple[TokenBatch, ...]:
    """One or two augmented views, row i of each the same example.

    Args:
        positives: `augmentation`: every row of the batch, augmented anew for each view; `resimulation`: rows 2i and
            2i+1 are one hard scattering simulated twice (`foundation.loader.pairs`), and become row i of the two views;
            `modality`: some modalities of an example in one view, others in the other (`split_modalities`).
        count: of views; with one, pairs count as so many single examples, and all modalities are there.
        modalities: of `modality`, resolved; default: a random division.
    """
    view_key, key = jax.random.split(key)
    if positives == "resimulation" and count == 2:
        looks = [jax.tree.map(lambda a, start=start: a[start::2], batch) for start in range(2)]
    elif positives == "modality" and count == 2:
        looks = split_modalities(batch, modalities or ModalityViews(), view_key)
    else:
        looks = [batch] * count
    together = jax.tree.map(lambda *a: jnp.concatenate(a), *looks) if count > 1 else looks[0]
    augmented = augment(together, schema, augmentations, key)  # one call: half the program to compile
    size = looks[0].size
    return tuple(jax.tree.map(lambda a, i=i: a[i * size : (i + 1) * size], augmented) for i in range(count))


def split_modalities(batch: TokenBatch, modalities: ModalityViews, key: Array) -> list[TokenBatch]:
    """Two views that share no modality.

    A view without any token has weight 0: nothing can be said about it. The globals go into the first view alone (zero
    in the second), or both embeddings could agree by copying them.
    """
    names = sorted(batch.modalities)  # jit sorts the keys of a dict; eager must draw the same
    present_BM = jnp.stack([jnp.asarray(batch.modalities[name].mask).any(axis=1) for name in names], axis=1)
    if modalities.first:
        first_BM = jnp.broadcast_to(jnp.asarray([name in modalities.first for name in names]), present_BM.shape)
        second_BM = jnp.broadcast_to(jnp.asarray([name in modalities.second for name in names]), present_BM.shape)
    else:
        first_BM = _random_side(present_BM, key)
        second_BM = ~first_BM
    views = []
    for number, side_BM in enumerate((first_BM, second_BM)):
        shown = {}
        for i, name in enumerate(names):
            tokens = batch.modalities[name]
            mask = tokens.mask & side_BM[:, i : i + 1]
            shown[name] = Tokens(jnp.where(mask[..., None], tokens.values, 0), mask)
        globals_ = jnp.asarray(batch.globals)
        weights = jnp.where((present_BM & side_BM).any(axis=1), batch.weights, 0)
        shown = {name: shown[name] for name in batch.modalities}
        views.append(
            TokenBatch(shown, globals_ if number == 0 else jnp.zeros_like(globals_), batch.labels, weights, batch.index)
        )
    return views


def _random_side(present_BM: Bool[Array, "B M"], key: Array) -> Bool[Array, "B M"]:
    """Which modalities go to the first view: of those present one at least, and one at least not."""
    lot_key, coin_key = jax.random.split(key)
    lot_BM = jnp.where(present_BM, jax.random.uniform(lot_key, present_BM.shape), 2.0)
    rank_BM = jnp.argsort(jnp.argsort(lot_BM, axis=1), axis=1)
    coin_BM = jax.random.bernoulli(coin_key, 0.5, present_BM.shape)
    return jnp.where(rank_BM == 0, True, jnp.where(rank_BM == 1, False, coin_BM))
