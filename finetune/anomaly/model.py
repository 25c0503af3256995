"""An anomaly model: inputs, then a method. `scored(model, batch)` is all that later stages need."""

from __future__ import annotations

from flax import nnx
from jaxtyping import Array, Float

from finetune.anomaly.inputs import EmbeddingInputs, RawInputs
from finetune.anomaly.method import Method
from foundation.batch import TokenBatch


class AnomalyModel(nnx.Module):
    """From a batch of crossings to a score for each.

    Attributes:
        inputs: batch -> x.
        method: x -> scores.
        score: the name of the score that counts.
    """

    def __init__(self, inputs: RawInputs | EmbeddingInputs, method: Method, score: str):
        self.inputs, self.method, self.score = inputs, method, score

    def __call__(self, batch: TokenBatch) -> Float[Array, " B"]:
        return self.method.scores(self.inputs(batch))[self.score]


def scored(model: AnomalyModel, batch: TokenBatch) -> Float[Array, " B"]:
    """For `foundation.embedding.apply`."""
    return model(batch)


def vectors(inputs: RawInputs | EmbeddingInputs, batch: TokenBatch) -> Float[Array, "B ..."]:
    """For `foundation.embedding.apply`."""
    return inputs(batch)
