"""By which rule a pretrained encoder reads data of another schema than it was pretrained on, or why it does not.

Silent but told: a modality that the data lacks has no tokens; features, globals and modalities that the encoder does
not know are not read; features in another order or in another unit of the same kind are put right. What changes the
meaning is refused: another transform, a unit that cannot be converted, a coordinate that is another feature, a missing
feature (unless `adapt.fill` names it). Axes: B batch, N tokens, F features of the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from finetune.config import AdaptConfig
from foundation.batch import TokenBatch, Tokens
from foundation.errors import SchemaError, close_names
from foundation.models import Backbone, Encoded, Encoder
from foundation.models.encoder import FeatureInput
from foundation.schema import DetectorSchema, Feature
from foundation.store import Store
from foundation.transforms import inverse, transform
from foundation.units import conversion

FILL = -1  # in place of a column: the mean of the pretraining
GLOBALS = "globals"
ROWS = 2000  # from which the statistics of the data are taken

Columns = tuple[tuple[int, float], ...]  # per feature of the encoder: column of the data (or FILL), factor


@dataclass(frozen=True)
class Plan:
    """How batches of the data become batches of the encoder.

    Attributes:
        columns: modality of the encoder (or `globals`) -> its columns in the data; modalities left out have no tokens.
        notes: what is done, for people.
    """

    columns: tuple[tuple[str, Columns], ...]
    notes: tuple[str, ...]

    @staticmethod
    def of(encoder: DetectorSchema, data: DetectorSchema, cfg: AdaptConfig) -> Plan:
        """The plan that follows from two schemas.

        Raises:
            SchemaError: names the first thing that cannot be adapted, and what to set.
        """
        shared = [name for name in encoder.modalities if name in data.modalities]
        if not shared:
            there, here = list(encoder.modalities), list(data.modalities)
            raise SchemaError(f"the encoder knows none of the store's modalities: {there} there, {here} here")
        notes = [f"'{n}' of the encoder is not in the data: no tokens" for n in encoder.modalities if n not in shared]
        notes += [f"'{n}' is not known to the encoder: not read" for n in data.modalities if n not in shared]
        columns = []
        for name in shared:
            _check_coordinates(name, encoder, data)
            columns.append(
                (name, _columns(name, encoder.modalities[name].features, data.modalities[name].features, cfg, notes))
            )
        columns.append((GLOBALS, _columns(GLOBALS, encoder.globals, data.globals, cfg, notes)))
        _check_fill(cfg, encoder, dict(columns))
        return Plan(tuple(columns), tuple(notes))

    def changes(self, encoder: DetectorSchema, data: DetectorSchema) -> bool:
        """Whether a batch of the data is not one of the encoder as it is."""
        here = {name: len(modality.features) for name, modality in data.modalities.items()} | {
            GLOBALS: len(data.globals)
        }
        plain = {name: tuple((i, 1.0) for i in range(count)) for name, count in here.items()}
        return list(encoder.modalities) != list(data.modalities) or dict(self.columns) != plain


class Adapted(nnx.Module):
    """A backbone: an encoder behind a plan. `Encoded.tokens` are those of the data, zero where not read.

    Args:
        encoder: of another schema.
        data: of the batches.
    """

    def __init__(self, encoder: Encoder, data: DetectorSchema, cfg: AdaptConfig):
        self.encoder, self.schema, self.width = encoder, data, encoder.width
        self.plan = Plan.of(encoder.schema, data, cfg)

    def __call__(self, batch: TokenBatch, key: Array | None = None) -> Encoded:
        found = self.encoder(self.view(batch), key)
        lengths = [self._length(batch, name) for name in self.encoder.names]
        ends = np.cumsum(lengths).tolist()
        place = {name: slice(end - length, end) for name, length, end in zip(self.encoder.names, lengths, ends)}
        tokens, masks = [], []
        for name, given in batch.modalities.items():
            read = name in place
            nothing = jnp.zeros((*given.mask.shape, self.width))
            tokens.append(found.tokens[:, place[name]] if read else nothing)
            masks.append(found.mask[:, place[name]] if read else jnp.zeros(given.mask.shape, bool))
        return Encoded(jnp.concatenate(tokens, 1), found.pooled, jnp.concatenate(masks, 1), found.summary)

    def view(self, batch: TokenBatch) -> TokenBatch:
        """The batch as the encoder's schema describes it."""
        columns, modalities = dict(self.plan.columns), {}
        for name in self.encoder.names:
            if name in columns:
                mask = jnp.asarray(batch.modalities[name].mask)
                values = _rearranged(batch.modalities[name].values, columns[name], self.encoder.inputs[name])
                modalities[name] = Tokens(jnp.where(mask[..., None], values, 0.0), mask)
            else:
                features = len(self.encoder.schema.modalities[name].features)
                modalities[name] = Tokens(jnp.zeros((batch.size, 1, features)), jnp.zeros((batch.size, 1), bool))
        around = jnp.zeros((batch.size, 0))
        if self.encoder.global_input is not None:
            around = _rearranged(batch.globals, columns[GLOBALS], self.encoder.global_input)
        return TokenBatch(modalities, around, batch.labels, batch.weights, batch.index)

    def _length(self, batch: TokenBatch, name: str) -> int:
        return batch.modalities[name].mask.shape[1] if name in dict(self.plan.columns) else 1


def adapt(encoder: Encoder, data: Store, cfg: AdaptConfig) -> tuple[Backbone, list[str]]:
    """The encoder, behind a plan if it needs one, and everything that the user should know of it.

    With `statistics: data` the encoder's own are replaced.

    Raises:
        SchemaError: it cannot read this data.
    """
    backbone = reading(encoder, data.schema, cfg)
    notes, found = list(Plan.of(encoder.schema, data.schema, cfg).notes), _statistics(backbone, data)
    for name, (mean, std) in found.items():
        part = _input(encoder, name)
        own_mean, own_std = np.asarray(part.mean[...]), np.asarray(part.std[...])
        features = list(_features(encoder.schema, name).items())
        for i, (feature, spec) in enumerate(features):
            off = abs(mean[i] - own_mean[i]) / own_std[i]
            if spec.standardize and off > cfg.shift:
                advice = "now standardised with this data's" if cfg.statistics == "data" else "see adapt.statistics"
                notes.append(
                    f"{name}.{feature} lies {off:.1f} standard deviations of the pretraining from its mean there "
                    f"({advice})"
                )
            if cfg.statistics == "data" and spec.standardize and std[i] > 1e-7 * abs(mean[i]):  # not a constant
                part.mean[...] = part.mean[...].at[i].set(mean[i])
                part.std[...] = part.std[...].at[i].set(std[i])
    return backbone, notes


def reading(encoder: Encoder, data: DetectorSchema, cfg: AdaptConfig) -> Backbone:
    """The encoder as it is if it reads such data; else behind a plan. Raises SchemaError: neither can be."""
    changes = Plan.of(encoder.schema, data, cfg).changes(encoder.schema, data)
    return Adapted(encoder, data, cfg) if changes else encoder


def encoder_of(backbone: Backbone) -> Encoder:
    """The encoder itself, without a plan before it."""
    found = backbone.encoder if isinstance(backbone, Adapted) else backbone
    assert isinstance(found, Encoder)
    return found


def _columns(
    where: str, ours: Mapping[str, Feature], theirs: Mapping[str, Feature], cfg: AdaptConfig, notes: list[str]
) -> Columns:
    """Where each of the encoder's features is in the data. Raises SchemaError: one is not, or is another thing."""
    found = []
    for name, feature in ours.items():
        if name not in theirs:
            if f"{where}.{name}" not in cfg.fill:
                raise SchemaError(
                    f"the encoder needs {where}.{name}, which the store lacks; {close_names(name, theirs)}\n"
                    f"  ingest it with this feature, or set adapt.fill to [{where}.{name}]: its mean in the pretraining"
                )
            notes.append(f"{where}.{name} is not in the data: filled with its mean in the pretraining")
            found.append((FILL, 1.0))
            continue
        given = theirs[name]
        if given.transform != feature.transform:
            raise SchemaError(
                f"{where}.{name} of the store has transform {given.transform}, the encoder was trained on "
                f"{feature.transform}: ingest the data with the encoder's schema.yaml"
            )
        factor = conversion(given.unit, feature.unit)
        if factor is None:
            raise SchemaError(
                f"{where}.{name} of the store is in {given.unit or 'no unit'}, the encoder was trained on "
                f"{feature.unit or 'no unit'}, and neither can be turned into the other: ingest it in that unit"
            )
        if factor != 1.0:
            notes.append(f"{where}.{name} is converted from {given.unit} to {feature.unit}")
        found.append((list(theirs).index(name), factor))
    extra = [name for name in theirs if name not in ours]
    if extra:
        notes.append(f"{', '.join(f'{where}.{name}' for name in extra)}: not known to the encoder, not read")
    places = [i for i, _ in found if i != FILL]
    if places != sorted(places):
        notes.append(f"{where}: features are put into the encoder's order")
    return tuple(found)


def _check_coordinates(name: str, encoder: DetectorSchema, data: DetectorSchema) -> None:
    ours, theirs = encoder.modalities[name].coordinates, data.modalities[name].coordinates
    for coordinate in ours:
        if coordinate in theirs and theirs[coordinate] != ours[coordinate]:
            raise SchemaError(
                f"modality '{name}': {coordinate} is the feature '{theirs[coordinate]}' in the store and "
                f"'{ours[coordinate]}' for the encoder: their features of equal name are not the same quantities"
            )


def _check_fill(cfg: AdaptConfig, encoder: DetectorSchema, columns: Mapping[str, Columns]) -> None:
    """Raises SchemaError: `fill` names what the encoder does not have, or the data has."""
    known = {f"{where}.{name}" for where in columns for name in _features(encoder, where)}
    filled = {
        f"{where}.{name}"
        for where, each in columns.items()
        for name, (i, _) in zip(_features(encoder, where), each)
        if i == FILL
    }
    for name in cfg.fill:
        if name not in known:
            raise SchemaError(f"adapt.fill: the encoder has no feature '{name}'; {close_names(name, known)}")
        if name not in filled:
            raise SchemaError(f"adapt.fill: the store has '{name}'; take it out of adapt.fill")


def _rearranged(
    values: Float[Array, "*shape _"] | Float[np.ndarray, "*shape _"], columns: Columns, part: FeatureInput
) -> Float[Array, "*shape F"]:
    """The encoder's features, raw, in its order and units."""
    values = jnp.asarray(values)
    found = []
    for i, (column, factor) in enumerate(columns):
        if column == FILL:
            mean = inverse(part.transforms[i], part.mean[i], jnp)
            found.append(jnp.broadcast_to(mean, values.shape[:-1]))
        else:
            found.append(values[..., column] if factor == 1.0 else values[..., column] * factor)
    return jnp.stack(found, axis=-1)


def _statistics(backbone: Backbone, data: Store) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and deviation of the transformed features of the data, as the encoder sees it, from its first rows."""
    encoder = encoder_of(backbone)
    batch = data.read("train", np.linspace(0, data.length("train") - 1, min(ROWS, data.length("train"))).astype(int))
    batch = backbone.view(batch) if isinstance(backbone, Adapted) else batch
    seen = {name: np.asarray(part.values)[np.asarray(part.mask)] for name, part in batch.modalities.items()}
    seen = {name: seen[name] for name in encoder.names}
    if encoder.global_input is not None:
        seen[GLOBALS] = np.asarray(batch.globals)
    found = {}
    for name, values in seen.items():
        if len(values):
            kinds = _input(encoder, name).transforms
            columns = np.stack([transform(kind, values[:, i].astype(np.float64)) for i, kind in enumerate(kinds)], 1)
            found[name] = (columns.mean(axis=0), columns.std(axis=0))
    return found


def _input(encoder: Encoder, name: str) -> FeatureInput:
    found = encoder.global_input if name == GLOBALS else encoder.inputs[name]
    assert isinstance(found, FeatureInput)
    return found


def _features(schema: DetectorSchema, where: str) -> dict[str, Feature]:
    return schema.globals if where == GLOBALS else schema.modalities[where].features
