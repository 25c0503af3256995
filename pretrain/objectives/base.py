"""What an objective is: a function of the encoder's output (contract 3), with settings of its own and a weight.

One pass of the encoder serves all objectives that are on: the views of the batch go through it together, and each
objective takes from `Pass` what it needs. Axes: B batch, N tokens of a modality.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from foundation.batch import TokenBatch
from foundation.models import Encoded, Encoder, EncoderConfig
from foundation.schema import DetectorSchema
from pretrain.objectives.hiding import nothing_hidden


@dataclass(frozen=True)
class View:
    """One look at the examples of a batch. Row i of every view is the same example.

    Attributes:
        batch: as augmented, nothing hidden. Its labels and weights are those of the examples.
        seen: what the encoder saw: `batch` without the hidden tokens.
        hidden: modality -> which tokens were hidden.
        encoded: what the encoder made of `seen`.
    """

    batch: TokenBatch
    seen: TokenBatch
    hidden: dict[str, Bool[Any, "B N"]]
    encoded: Encoded


@dataclass(frozen=True)
class Pass:
    """One pass of a batch through the model.

    Attributes:
        encoder: that made `views[...].encoded`; an objective may call it again, at the price of another pass.
        views: one, or two if any objective that is on asks for two. Tokens are hidden in the first one only.
        teacher: the model with averaged parameters (a `Pretrainer`), if the objective's class wants one.
        key: of this objective and step.
    """

    encoder: Encoder
    views: tuple[View, ...]
    teacher: Any
    key: Array


class Objective(nnx.Module):
    """A module made as `Class(schema, encoder_config, settings, rngs=rngs)`, whose settings have a `weight`.

    One view, no teacher, nothing hidden, no use of `Encoded.tokens`, unless a class says otherwise.
    """

    views: ClassVar[int] = 1
    wants_teacher: ClassVar[bool] = False
    needs_tokens: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, schema: DetectorSchema, encoder: EncoderConfig, settings: Any, *, rngs: nnx.Rngs): ...

    def prepare(self, statistics: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Takes what it needs of the statistics of the data, once, before training."""

    def hide(self, batch: TokenBatch, key: Array) -> tuple[TokenBatch, dict[str, Bool[Array, "B N"]]]:
        """What the encoder sees of the first view, and which tokens it does not."""
        return batch, nothing_hidden(batch)

    @abstractmethod
    def __call__(self, step: Pass) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The loss, unweighted, and further numbers worth logging."""
