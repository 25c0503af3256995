"""The function that leaves detfm: arrays in, arrays out, by name, without anything of training.

For every modality NAME the inputs are `NAME` [B, N, F], raw values in the schema's units and order, and `NAME_mask`
[B, N], 1 for a token and 0 for padding; then `globals` [B, G]. All are float32, since CMS software passes floats.
Axes: B examples, N tokens of a modality, F features, G globals, C classes, Q quantiles, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finetune.model import Tagger
from foundation.batch import TokenBatch, Tokens
from foundation.errors import ConfigError
from foundation.schema import DetectorSchema

GLOBALS, MASK = "globals", "_mask"
SCORES, EMBEDDING, QUANTILES = "scores", "embedding", "_quantiles"


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        name: of the array.
        shape: a number, or the name of a size that is free.
        meaning: for people; of the last axis where there is one.
    """

    name: str
    shape: tuple[int | str, ...]
    meaning: str


class Deployed:
    """A tagger as a function of named arrays.

    Args:
        tagger: of examples or of tokens.
        embedding: give the example's embedding too.

    Raises:
        ConfigError: the task is of pairs of tokens, whose number grows with the square of theirs.
    """

    def __init__(self, tagger: Tagger, *, embedding: bool = False):
        if tagger.task.kind == "edge":
            raise ConfigError("a tagger of pairs of tokens is not exported: it has as many outputs as there are pairs")
        self.tagger, self.task, self.embedding = tagger, tagger.task, embedding
        self.schema: DetectorSchema = tagger.encoder.schema

    @property
    def inputs(self) -> tuple[Port, ...]:
        """In order."""
        found: list[Port] = []
        for name, modality in self.schema.modalities.items():
            described = ", ".join(f"{n} [{f.unit or '1'}]" for n, f in modality.features.items())
            found.append(Port(name, ("batch", f"n_{name}", len(modality.features)), described))
            found.append(Port(name + MASK, ("batch", f"n_{name}"), "1 for a token, 0 for padding"))
        if self.schema.globals:
            described = ", ".join(f"{n} [{f.unit or '1'}]" for n, f in self.schema.globals.items())
            found.append(Port(GLOBALS, ("batch", len(self.schema.globals)), described))
        return tuple(found)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """In order."""
        where = ("batch", f"n_{self.task.modality}") if self.task.modality else ("batch",)
        found = []
        if self.task.classes:
            function = "sigmoid" if self.task.kind in ("multilabel", "token_multilabel") else "softmax"
            found.append(Port(SCORES, (*where, len(self.task.classes)), f"{function}: {', '.join(self.task.classes)}"))
        for name in self.task.regression:
            label = self.schema.labels[name]
            found.append(Port(name, where, f"in {getattr(label, 'unit', '') or 'the unit of the label'}"))
            if self.task.quantiles:
                levels = ", ".join(f"{q:g}" for q in self.task.quantiles)
                found.append(Port(name + QUANTILES, (*where, len(self.task.quantiles)), f"at {levels}"))
        if self.embedding:
            found.append(Port(EMBEDDING, ("batch", self.tagger.encoder.width), "of the backbone"))
        return tuple(found)

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """The outputs for inputs in order. What stands in the place of padding does not matter."""
        batch = self.batch(dict(zip([port.name for port in self.inputs], arrays, strict=True)))
        logits, values = self.tagger.quantiles(batch)
        found = []
        if self.task.classes:
            several = self.task.kind in ("multilabel", "token_multilabel")
            found.append(jax.nn.sigmoid(logits) if several else jax.nn.softmax(logits, axis=-1))
        for i in range(len(self.task.regression)):
            found.append(values[..., i, self.task.point])
            if self.task.quantiles:
                found.append(values[..., i, :])
        if self.embedding:
            found.append(self.tagger.encoder(batch).pooled)
        return tuple(jnp.asarray(each, jnp.float32) for each in found)

    def batch(self, arrays: Mapping[str, Array]) -> TokenBatch:
        """What the tagger takes, of named arrays."""
        modalities = {}
        for name in self.schema.modalities:
            mask = jnp.asarray(arrays[name + MASK]) > 0.5
            modalities[name] = Tokens(jnp.where(mask[..., None], arrays[name], 0.0), mask)
        size = next(iter(modalities.values())).mask.shape[0]
        around = arrays[GLOBALS] if self.schema.globals else jnp.zeros((size, 0), jnp.float32)
        return TokenBatch(modalities, around, {}, jnp.ones((size,)), jnp.zeros((size,), jnp.int32))

    def arrays(self, batch: TokenBatch) -> dict[str, Float[np.ndarray, "B ..."]]:
        """Named arrays of a batch of the loader."""
        found = {}
        for name, tokens in batch.modalities.items():
            found[name] = np.asarray(tokens.values, np.float32)
            found[name + MASK] = np.asarray(tokens.mask, np.float32)
        if self.schema.globals:
            found[GLOBALS] = np.asarray(batch.globals, np.float32)
        return found
