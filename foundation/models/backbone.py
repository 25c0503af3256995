"""Contract 3: what heads and objectives stand on."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Array

from foundation.batch import TokenBatch
from foundation.models.encoder import Encoded
from foundation.schema import DetectorSchema


@runtime_checkable
class Backbone(Protocol):
    """A network from batches to vectors: the encoder, or a reference model of the field.

    Attributes:
        schema: of the batches that it takes.
        width: of the vectors it gives.
    """

    schema: DetectorSchema
    width: int

    def __call__(self, batch: TokenBatch, key: Array | None = None) -> Encoded: ...
