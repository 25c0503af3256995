"""What each object contributes to the score of its crossing: the score less the score without the object.

Axes: B crossings, N tokens of a modality, V variants of one crossing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from finetune.anomaly.drift import present
from foundation.batch import TokenBatch, Tokens

VARIANTS = 64  # of a call: compiled once, whatever the number of objects
Score = Callable[[TokenBatch], Float[np.ndarray, " V"]]


def occlusion(score: Score, batch: TokenBatch) -> dict[str, Float[np.ndarray, "B N"]]:
    """Contribution of every object: positive where it makes its crossing more unusual.

    An object is taken away by emptying its place: its values become 0 and its mask false, the others stay where they
    are. Of a score that is a sum over objects the contributions add up to the score less that of an empty crossing; of
    any other they need not. Places without an object contribute 0, and so does an object that the model does not see.

    Args:
        score: batch -> a score for each row; called with `VARIANTS` rows at a time, plus the crossing itself.
        batch: numpy.

    Returns:
        modality -> [B, N].
    """
    there = present(batch)
    found = {name: np.zeros(mask.shape, np.float32) for name, mask in there.items()}
    for row in range(batch.size):
        objects = [(name, int(place)) for name, mask in there.items() for place in np.flatnonzero(mask[row])]
        for start in range(0, len(objects), VARIANTS - 1):
            some = objects[start : start + VARIANTS - 1]
            scores = score(_variants(batch, row, some))
            for (name, place), without in zip(some, scores[1:]):
                found[name][row, place] = scores[0] - without
    return found


def _variants(batch: TokenBatch, row: int, objects: list[tuple[str, int]]) -> TokenBatch:
    """The crossing as it is, then once without each of the objects; filled up to `VARIANTS` rows with it as it is."""
    tokens = {}
    for name, each in batch.modalities.items():
        values, mask = (
            np.repeat(np.asarray(leaf)[row : row + 1], VARIANTS, axis=0) for leaf in (each.values, each.mask)
        )
        for variant, (owner, place) in enumerate(objects, start=1):
            if owner == name:
                values[variant, place], mask[variant, place] = 0, False
        tokens[name] = Tokens(values, mask)
    example, weights = (
        np.repeat(np.asarray(leaf)[row : row + 1], VARIANTS, axis=0) for leaf in (batch.globals, batch.weights)
    )
    return TokenBatch(tokens, example, {}, weights, np.arange(VARIANTS, dtype=np.int32))
