"""TokenBatch: what every network consumes (contract 2). Raw physical values; transforms happen on the device.

Axes: B examples, N tokens (padded, static), F features of the modality, G globals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Bool, Float, Int


@runtime_checkable
class Batch(Protocol):
    """What the training loop reads: a pytree that has its rows on the first axis of every leaf.

    Attributes:
        weights: of the rows; 0 for those that only fill up the batch.
        size: number of rows.
    """

    @property
    def weights(self) -> Any: ...

    @property
    def size(self) -> Any: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tokens:
    """The tokens of one modality. Values are zero where the mask is false.

    Attributes:
        values: raw physical values, in the schema's units and feature order.
        mask: true for real tokens, which come first.
    """

    values: Float[Any, "B N F"]
    mask: Bool[Any, "B N"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TokenBatch:
    """A batch of examples, of static shape.

    Attributes:
        modalities: name -> Tokens, in schema order.
        globals: example-level features.
        labels: name -> [B] class integers (int32, -1 unknown) or regression targets (float32, NaN unknown), [B, C] of a
            multi-label (int32), [B, N] of a label of each token of a modality (-1 or NaN where the mask is false).
        weights: example weights; 0 for rows that only fill up the batch.
        index: row within the store's split (of mixed sources: their splits one after another); -1 for rows that only
            fill up the batch.
    """

    modalities: dict[str, Tokens]
    globals: Float[Any, "B G"]
    labels: dict[str, Any]
    weights: Float[Any, " B"]
    index: Int[Any, " B"]

    @property
    def size(self) -> Any:
        """Number of examples: an int, or the symbol of an export with a free number of them."""
        return self.index.shape[0]
