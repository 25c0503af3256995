"""File columns -> examples as the schema describes them: ragged tokens, globals, labels, weights, observers.

Axes: R rows (examples) of a chunk, T tokens of the chunk, F features, G globals, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Shaped, UInt64

from foundation.errors import DataError, close_names
from foundation.schema import DetectorSchema, Feature, Modality
from foundation.store.columns import Columns, Table, per_row
from foundation.store.keys import content_columns, key_expressions, split_keys
from foundation.store.labels import Source, label_values
from foundation.store.policies import Findings, Policies, Problem
from foundation.store.tokens import ModalityReader, Ragged, token_index
from foundation.store.values import Checker, Limits, features_limits

__all__ = ["Columns", "Examples", "Findings", "Policies", "Problem", "Ragged", "examples", "per_row"]


@dataclass(frozen=True)
class Examples:
    """Rows of a chunk, in file order.

    Attributes:
        modalities: name -> tokens.
        globals: float32 [R, G].
        labels: name -> [R], [R, C] for multilabel, or [T] for labels of the tokens of a modality.
        weights: float32 [R].
        observers: name -> int64 or float64 [R].
        keys: hashes that decide the split.
        token_labels: label -> the modality whose tokens it labels; the others label examples.
    """

    modalities: dict[str, Ragged]
    globals: Float[np.ndarray, "R G"]
    labels: dict[str, np.ndarray]
    weights: Float[np.ndarray, " R"]
    observers: dict[str, np.ndarray]
    keys: UInt64[np.ndarray, " R"]
    token_labels: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(self.keys)

    def take(self, index: Shaped[np.ndarray, " n"]) -> Examples:
        """The rows that `index` names, in its order, or the rows where it is true."""
        if index.dtype == bool and index.all():
            return self
        index = np.flatnonzero(index) if index.dtype == bool else index
        places = {name: token_index(tokens.counts, index) for name, tokens in self.modalities.items()}
        return Examples(
            {n: tokens.at(places[n], index) for n, tokens in self.modalities.items()},
            self.globals[index],
            {n: v[places[self.token_labels[n]] if n in self.token_labels else index] for n, v in self.labels.items()},
            self.weights[index],
            {n: v[index] for n, v in self.observers.items()},
            self.keys[index],
            self.token_labels,
        )

    @staticmethod
    def concatenate(parts: Sequence[Examples]) -> Examples:
        """The rows of all parts (at least one, all of one schema), one part after the other."""
        first = parts[0]
        if len(parts) == 1:
            return first
        return Examples(
            {n: _join([p.modalities[n] for p in parts]) for n in first.modalities},
            np.concatenate([p.globals for p in parts]),
            {n: np.concatenate([p.labels[n] for p in parts]) for n in first.labels},
            np.concatenate([p.weights for p in parts]),
            {n: np.concatenate([p.observers[n] for p in parts]) for n in first.observers},
            np.concatenate([p.keys for p in parts]),
            first.token_labels,
        )


def _join(parts: Sequence[Ragged]) -> Ragged:
    return Ragged(np.concatenate([p.values for p in parts]), np.concatenate([p.counts for p in parts]))


def examples(
    schema: DetectorSchema, columns: Columns, rows: int, policies: Policies | None = None
) -> tuple[Examples, Findings]:
    """Every expression of the schema over a chunk of `rows` rows.

    No row is removed here: those that `policies` removes are `findings.removed(policies)`, and hold 0 where a value was
    not finite. Observers may be NaN.

    Args:
        columns: name -> awkward or numpy array of `rows` entries, or a string that holds for all of them.

    Raises:
        SchemaError: an expression cannot be evaluated or gives the wrong shape; names it.
        DataError: the features of a modality differ in length within a row; names both and the row in the chunk.
        ConfigError: a value is to be clipped and its feature has no range.
    """
    checker = Checker(rows, policies or Policies())
    columns = {**{name: np.full(rows, value) for name, value in schema.defaults.items()}, **columns}
    keys, content = key_expressions(schema), content_columns(schema)
    texts = list(schema.expressions().values())
    table = Table.of(columns, rows, [*texts, *(f"column({name!r})" for name in content)])
    readers = {name: _reader(name, schema, checker) for name in schema.modalities}
    absent = {name for name, modality in schema.modalities.items() if _absent(name, modality, schema, table)}
    hashes = []
    for block in table.blocks():
        for name, reader in readers.items():
            if name in absent:
                reader.skip(block.rows)
            else:
                reader.add(block)
        hashes.append(split_keys(block, keys, content))
    tokens, labels = {}, {}
    for name, reader in readers.items():
        tokens[name], found = reader.finish()
        labels.update(found)
    numbers = np.arange(rows)
    source = Source(table.per_row, table.strings, numbers)
    labels.update({n: label_values(n, s, source, checker) for n, s in schema.labels.items() if not s.modality})
    weights = table.per_row("weight", schema.weight or "1")
    made = Examples(
        tokens,
        _globals(schema.globals, table, checker),
        {name: labels[name] for name in schema.labels},
        checker.numbers(Limits.of("weight", Feature()), weights, lambda: numbers),
        {n: _observer(table.per_row(f"observers.{n}", e)) for n, e in schema.observers.items()},
        np.concatenate([np.zeros(0, np.uint64), *hashes]),
        {name: label.modality for name, label in schema.labels.items() if label.modality},
    )
    return made, checker.finish()


def _reader(name: str, schema: DetectorSchema, checker: Checker) -> ModalityReader:
    labels = {n: label for n, label in schema.labels.items() if label.modality == name}
    return ModalityReader(name, schema.modalities[name], labels, checker)


def _absent(name: str, modality: Modality, schema: DetectorSchema, table: Table) -> bool:
    """Whether an optional modality is missing from the file. Raises DataError if only a part of it is."""
    if not modality.optional:
        return False
    required = set(schema.required_columns())
    own = sorted(set(schema.modality_columns(name)) - required) or sorted(schema.modality_columns(name))
    missing = [column for column in own if column not in table.columns]
    if missing and len(missing) < len(own):
        hint = close_names(missing[0], table.columns)
        raise DataError(
            f"the optional modality '{name}' is there in part: column '{missing[0]}' is missing while others of it are "
            f"there; {hint}"
        )
    return bool(missing)


def _globals(features: dict[str, Feature], table: Table, checker: Checker) -> Float[np.ndarray, "R G"]:
    values = np.empty((table.rows, len(features)), np.float32)
    numbers = np.arange(table.rows)
    for position, limits in enumerate(features_limits("globals", features, {})):
        column = table.per_row(limits.where, limits.feature.expression)
        values[:, position] = checker.numbers(limits, column, lambda: numbers)
    return values


def _observer(values: Shaped[np.ndarray, " R"]) -> Shaped[np.ndarray, " R"]:
    return values.astype(np.int64 if values.dtype.kind in "biu" else np.float64)
