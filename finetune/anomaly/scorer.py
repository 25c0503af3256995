"""A model that scores chunk after chunk: compiled once for each of few shapes.

Axes: R rows of a chunk, B rows of a call.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float

from finetune.anomaly.inputs import RawInputs
from finetune.anomaly.model import AnomalyModel
from finetune.anomaly.score_sources import Chunk
from foundation.batch import TokenBatch, Tokens

RAW_ROWS = 4096  # of a call: methods that compare with neighbours hold a matrix of these times the neighbours
TOKENS = 16384  # of a call, for an encoder


@partial(jax.jit, static_argnames="graph")
def _scores(state: Any, batch: TokenBatch, *, graph: nnx.GraphDef) -> Float[jax.Array, " B"]:
    return nnx.merge(graph, state)(batch)


class Scorer:
    """Scores batches of any number of rows.

    Args:
        rows: of a call; default: by the kind of inputs.
    """

    def __init__(self, model: AnomalyModel, rows: int = 0):
        self.graph, self.state = nnx.split(model)
        self.rows = rows
        self.needed = dict(model.inputs.places) if isinstance(model.inputs, RawInputs) else {}  # of raw inputs

    def chunk(self, chunk: Chunk) -> Float[np.ndarray, " R"]:
        """Scores of a chunk; NaN for rows that hold a value that is not finite."""
        return np.where(chunk.bad, np.float32(np.nan), self(chunk.batch))

    def __call__(self, batch: TokenBatch) -> Float[np.ndarray, " R"]:
        if self.needed:
            batch = self._cut(batch)
        tokens = sum(each.mask.shape[1] for each in batch.modalities.values())
        step = self.rows or (RAW_ROWS if self.needed else max(1, TOKENS // max(tokens, 1)))
        pending = []
        for start in range(0, batch.size, step):
            part = jax.tree.map(partial(_rows, start=start, count=step), batch)
            pending.append(_scores(self.state, part, graph=self.graph))  # computed while the next is cut out
        found = np.concatenate([np.asarray(each) for each in pending]) if pending else np.zeros(0, np.float32)
        return found[: batch.size]

    def _cut(self, batch: TokenBatch) -> TokenBatch:
        """Only what raw inputs look at, so that one shape is compiled however long the rows are."""
        tokens = {}
        for name, each in batch.modalities.items():
            if name in self.needed:
                count = min(self.needed[name], each.mask.shape[1])
                tokens[name] = Tokens(each.values[:, :count], each.mask[:, :count])
        return TokenBatch(tokens, batch.globals, {}, batch.weights, batch.index)


def _rows(leaf: Any, start: int, count: int) -> np.ndarray:
    """`count` rows from `start` on, zeros where there are no more."""
    part = np.asarray(leaf)[start : start + count]
    if len(part) == count:
        return part
    return np.concatenate([part, np.zeros((count - len(part), *leaf.shape[1:]), leaf.dtype)])


def unusable(scores: Float[np.ndarray, " R"], bad: Bool[np.ndarray, " R"]) -> int:
    """How many scores of sound rows are not finite: the model overflowed."""
    return int(np.sum(~np.isfinite(scores) & ~bad))
