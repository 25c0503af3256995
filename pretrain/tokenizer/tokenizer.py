"""Tokenizer: `encode(batch)` -> codes, `decode(codes, globals)` -> raw values; one per modality, saved as a run.

Axes: B examples, N tokens of a modality, F features, G globals, C codes, T tokens of a sample.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from foundation.batch import TokenBatch
from foundation.checkpoint import load_model
from foundation.errors import SchemaError
from foundation.models.encoder import Statistics
from foundation.runs import Run
from foundation.schema import DetectorSchema
from pretrain.tokenizer.features import Features
from pretrain.tokenizer.quantizers import KMeans, Vqvae
from pretrain.tokenizer.settings import TokenizerConfig

NONE = -1  # the code where there is no token


class Fixed(nnx.Variable):
    """What was a parameter of a tokenizer that is now applied, not trained."""


class ModalityTokenizer(nnx.Module):
    """Codes of the tokens of one modality.

    Attributes:
        described: places of the features that the codes describe.
        typical: standardised features of a code's tokens in the training data, on average [C, F].
    """

    def __init__(self, schema: DetectorSchema, name: str, statistics: Any, config: TokenizerConfig, rngs: nnx.Rngs):
        modality, codes = schema.modalities[name], config.size(name)
        self.described = config.described(name, modality)
        self.features = Features(schema, name, *statistics)
        self.quantizer: KMeans | Vqvae = (
            KMeans(len(self.described), codes)
            if config.kind == "kmeans"
            else Vqvae(len(self.described), codes, config.vqvae, rngs=rngs)
        )
        self.typical = Statistics(jnp.zeros((codes, len(modality.features))))

    def standard(self, values: Float[Any, "... F"]) -> Float[Array, "... E"]:
        """The described features, standardised."""
        return self.features.input(jnp.asarray(values))[..., np.asarray(self.described)]


class Tokenizer(nnx.Module):
    """Codes for the tokens of every modality of a schema.

    Attributes:
        codes: modality -> number of codes.
    """

    def __init__(
        self,
        schema: DetectorSchema,
        statistics: dict[str, tuple[np.ndarray, np.ndarray]],
        config: TokenizerConfig,
        *,
        rngs: nnx.Rngs,
    ):
        config.check(schema)
        self.schema, self.names = schema, tuple(schema.modalities)
        self.sizes = tuple(config.size(name) for name in self.names)
        self.parts = nnx.Dict({n: ModalityTokenizer(schema, n, statistics[n], config, rngs) for n in self.names})

    @property
    def codes(self) -> dict[str, int]:
        return dict(zip(self.names, self.sizes))

    def encode(self, batch: TokenBatch) -> dict[str, Int[Array, "B _"]]:
        """The code of each token; -1 where there is none."""
        found = {}
        for name in self.names:
            mask_BN, part = jnp.asarray(batch.modalities[name].mask), self.parts[name]
            codes_BN = part.quantizer.encode(part.standard(batch.modalities[name].values), mask_BN)
            found[name] = jnp.where(mask_BN, codes_BN, NONE).astype(jnp.int32)
        return found

    def decode(
        self, codes: dict[str, Int[Array, "B _"]], globals_BG: Float[Any, "B G"]
    ) -> dict[str, Float[Array, "B _ _"]]:
        """Raw values in physical units; 0 where the code is -1.

        Args:
            globals_BG: of the examples, for features that are recomputed from them.
        """
        return self._physical(codes, globals_BG, context=True)

    def decode_each(
        self, codes: dict[str, Int[Array, "B _"]], globals_BG: Float[Any, "B G"]
    ) -> dict[str, Float[Array, "B _ _"]]:
        """As `decode`, by each code alone: what tokens of that code are on average, whatever stands around them."""
        return self._physical(codes, globals_BG, context=False)

    def _physical(
        self, codes: dict[str, Int[Array, "B _"]], globals_BG: Float[Any, "B G"], context: bool
    ) -> dict[str, Float[Array, "B _ _"]]:
        found = {}
        for name in self.names:
            part, codes_BN = self.parts[name], jnp.maximum(codes[name], 0)
            mask_BN = codes[name] != NONE
            standard = part.typical[...][codes_BN]
            if context:
                standard = standard.at[..., np.asarray(part.described)].set(part.quantizer.decode(codes_BN, mask_BN))
            found[name] = part.features.physical(standard, mask_BN, jnp.asarray(globals_BG))
        return found

    def loss(self, batch: TokenBatch, key: Array) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The sum of the modalities' losses, and its parts."""
        total = jnp.zeros(())
        terms: dict[str, Float[Array, ""]] = {}
        for name in self.names:
            tokens, part = batch.modalities[name], self.parts[name]
            weights_BN = tokens.mask * jnp.asarray(batch.weights)[:, None]
            assert isinstance(part.quantizer, Vqvae), "k-means is not trained by gradient"
            loss, more = part.quantizer.loss(part.standard(tokens.values), weights_BN)
            total += loss
            terms |= {f"{name}/{key}": value for key, value in more.items()}
        return total, terms


def load_tokenizer(folder: str | Path, schema: DetectorSchema | None = None) -> Tokenizer:
    """The tokenizer of a run, with nothing in it that is trained any more.

    Args:
        schema: of the data it is to be used on.

    Raises:
        RunError: no run of `detfm tokenize` there, or an unfinished one.
        SchemaError: it was made for other data; says what differs.
    """
    run = Run.open(folder, "tokenize")
    run.read("metrics.json")  # refuses an unfinished one
    own = run.schema
    if schema is not None and (difference := differing(own, schema)):
        raise SchemaError(
            f"the tokenizer {folder} is of schema '{own.name}' and does not fit '{schema.name}': {difference}"
        )
    sizes = {name: len(m.features) for name, m in own.modalities.items()}
    blank = {name: (np.zeros(n, np.float32), np.ones(n, np.float32)) for name, n in sizes.items()}
    tokenizer = Tokenizer(own, blank, run.config(TokenizerConfig), rngs=nnx.Rngs(0))
    load_model(run.path, tokenizer)
    for _, module in nnx.iter_modules(tokenizer):
        for name, value in vars(module).items():
            if isinstance(value, nnx.Param):
                setattr(module, name, Fixed(value[...]))
    return tokenizer


def differing(one: DetectorSchema, other: DetectorSchema) -> str:
    """What decides the meaning of tokens and differs between two schemas, or an empty string."""
    first, second = (_described(schema) for schema in (one, other))
    for what in {**first, **second}:
        if first.get(what) != second.get(what):
            return f"{what} is {first.get(what, 'absent')} there, {second.get(what, 'absent')} here"
    return "" if list(first) == list(second) else f"the order is {list(first)} there, {list(second)} here"


def _described(schema: DetectorSchema) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, modality in schema.modalities.items():
        found[f"the list of features of modality '{name}'"] = list(modality.features)
        for feature, spec in modality.features.items():
            found[f"feature '{feature}' of modality '{name}'"] = (spec.unit, spec.transform, spec.recompute)
    return found | {"the list of globals": list(schema.globals)}


def learn_averages(tokenizer: Tokenizer, batches: list[TokenBatch]) -> None:
    """Fills in what tokens of each code are on average; codes that no token has get what the decoder makes of them."""
    graph, state = nnx.split(tokenizer)

    @jax.jit
    def sums(state: Any, batch: TokenBatch) -> dict[str, tuple[Array, Array]]:
        model = nnx.merge(graph, state)
        codes, found = model.encode(batch), {}
        for name in model.names:
            standard = model.parts[name].features.input(jnp.asarray(batch.modalities[name].values))
            mask_T, codes_T = (codes[name] != NONE).ravel(), jnp.maximum(codes[name], 0).ravel()
            values = jnp.where(mask_T[:, None], standard.reshape(len(mask_T), -1), 0.0)
            size = model.codes[name]
            total = jnp.zeros((size, values.shape[1])).at[codes_T].add(values)
            found[name] = total, jnp.zeros(size).at[codes_T].add(mask_T.astype(jnp.float32))
        return found

    totals = [jax.device_get(sums(state, batch)) for batch in batches]
    for name in tokenizer.names:
        part = tokenizer.parts[name]
        total, count = (np.stack([t[name][i] for t in totals]).sum(axis=0, dtype=np.float64) for i in range(2))
        average = (total / np.maximum(count, 1)[:, None]).astype(np.float32)
        alone = jnp.arange(len(count))[:, None]
        decoded = np.asarray(part.quantizer.decode(alone, jnp.ones_like(alone, bool)))[:, 0]
        average[np.ix_(count == 0, part.described)] = decoded[count == 0]
        part.typical[...] = jnp.asarray(average)
