"""File columns -> examples as the schema describes them: ragged tokens, globals, labels, weights, observers.

Axes: R rows (examples) of a chunk, T tokens of the chunk, F features, G globals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt64

from foundation.errors import DataError, SchemaError
from foundation.expression import Expression
from foundation.hashing import bits, hash_rows, mix
from foundation.schema import DetectorSchema, Feature, Label, Modality

Columns = Mapping[str, ak.Array]


@dataclass(frozen=True)
class Ragged:
    """Tokens of one modality: those of row i are the `counts[i]` rows of `values` after those of row i - 1."""

    values: Float[np.ndarray, "T F"]
    counts: Int[np.ndarray, " R"]

    def take(self, keep: Bool[np.ndarray, " R"]) -> Ragged:
        return Ragged(self.values[np.repeat(keep, self.counts)], self.counts[keep])


@dataclass(frozen=True)
class Examples:
    """Rows of a chunk, in file order. `keys` are hashes that decide the split."""

    modalities: dict[str, Ragged]
    globals: Float[np.ndarray, "R G"]
    labels: dict[str, np.ndarray]
    weights: Float[np.ndarray, " R"]
    observers: dict[str, np.ndarray]
    keys: UInt64[np.ndarray, " R"]

    @property
    def rows(self) -> int:
        return len(self.keys)

    def map(self, ragged: Callable[[Ragged], Ragged], flat: Callable[[np.ndarray], np.ndarray]) -> Examples:
        return Examples(
            {name: ragged(tokens) for name, tokens in self.modalities.items()},
            flat(self.globals),
            {name: flat(values) for name, values in self.labels.items()},
            flat(self.weights),
            {name: flat(values) for name, values in self.observers.items()},
            flat(self.keys),
        )

    def take(self, keep: Bool[np.ndarray, " R"]) -> Examples:
        return self if keep.all() else self.map(lambda tokens: tokens.take(keep), lambda values: values[keep])


@dataclass
class Findings:
    """What was wrong with the rows of a chunk, and what was removed from them.

    Attributes:
        nonfinite: where in the schema -> how many values are NaN, infinite or beyond float32.
        nonfinite_rows: rows that hold one.
        unknown: label -> value as text -> rows.
        unknown_rows: rows with an unknown class.
        tokens: modality -> `read`, `select`, `max_tokens`: tokens seen and tokens removed, by reason.
    """

    nonfinite: dict[str, int] = field(default_factory=dict)
    nonfinite_rows: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    unknown: dict[str, dict[str, int]] = field(default_factory=dict)
    unknown_rows: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    tokens: dict[str, dict[str, int]] = field(default_factory=dict)


def examples(schema: DetectorSchema, columns: Columns, rows: int) -> tuple[Examples, Findings]:
    """Every expression of the schema over a chunk of `rows` rows.

    Raises:
        SchemaError: an expression cannot be evaluated or gives the wrong shape; names it.
        DataError: the features of a modality differ in length within a row; names both and the row in the chunk.
    """
    found = Findings(nonfinite_rows=np.zeros(rows, bool), unknown_rows=np.zeros(rows, bool))
    modalities = {n: _tokens(n, m, columns, rows, found) for n, m in schema.modalities.items()}
    return Examples(
        modalities,
        _globals(schema.globals, columns, rows, found),
        {name: _label(name, label, columns, rows, found) for name, label in schema.labels.items()},
        _finite("weight", per_row("weight", schema.weight or "1", columns, rows), found),
        {n: _observer(per_row(f"observers.{n}", e, columns, rows)) for n, e in schema.observers.items()},
        _keys(schema, columns, rows),
    ), found


def per_row(where: str, text: str, columns: Columns, rows: int) -> Shaped[np.ndarray, " R"]:
    """One number per row.

    Raises:
        SchemaError: the expression cannot be evaluated, or gives a list per row; names `where`.
    """
    value = _evaluate(where, text, columns)
    if getattr(value, "ndim", 0) > 1:
        raise SchemaError(f"{where}: '{text}' gives a list per example; one number is needed (`sum(...)`, or `[:, 0]`)")
    return np.broadcast_to(_plain(where, value), (rows,))


def _plain(where: str, value: Any) -> np.ndarray:
    """As numpy; missing values (of formats that have them) become NaN."""
    if isinstance(value, ak.Array):
        value = ak.to_numpy(ak.fill_none(value, np.nan) if "?" in str(value.type) else value)
    if np.asarray(value).dtype.kind not in "biuf":
        raise SchemaError(f"{where}: is of type {np.asarray(value).dtype}; a number is needed")
    return np.asarray(value)


def _evaluate(where: str, text: str, columns: Columns) -> Any:
    try:
        return Expression(text).evaluate(columns)
    except SchemaError as error:
        raise SchemaError(f"{where}: {error}") from error


def _flat(where: str, text: str, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """One number per token: flat values and counts per row."""
    value = _evaluate(where, text, columns)
    dimensions = getattr(value, "ndim", 0)
    if dimensions != 2:
        advice = "it belongs under `globals`" if dimensions < 2 else "subscript its last axis, as in `x[..., 0]`"
        raise SchemaError(f"{where}: '{text}' has {dimensions} axes; a token feature needs rows and tokens; {advice}")
    return _plain(where, ak.flatten(value, axis=1)), ak.to_numpy(ak.num(value, axis=1)).astype(np.int64)


def _tokens(name: str, modality: Modality, columns: Columns, rows: int, found: Findings) -> Ragged:
    where = f"modalities.{name}"
    flat, counts = {}, np.zeros(rows, np.int64)
    expressions = {f"features.{n}": f.expression for n, f in modality.features.items()}
    expressions |= {"select": modality.select} if modality.select else {}
    first = next(iter(expressions))
    for position, (part, text) in enumerate(expressions.items()):
        flat[part], lengths = _flat(f"{where}.{part}", text, columns)
        counts = counts if position else lengths
        if (counts != lengths).any():
            row = int(np.argmax(counts != lengths))
            raise DataError(
                f"{where}: '{first}' has {counts[row]} tokens and '{part}' has {lengths[row]} in row {row} of these; "
                "the features of one modality must have equal lengths"
            )
    chosen = flat.pop("select").astype(bool) if modality.select else np.ones(len(flat[first]), bool)
    keep, kept_counts = _keep(chosen, counts, modality.max_tokens)
    found.tokens[name] = {
        "read": len(keep),
        "select": int(len(keep) - chosen.sum()),
        "max_tokens": int(chosen.sum() - keep.sum()),
    }
    row_of = np.repeat(np.arange(rows), kept_counts)
    values = np.empty((int(keep.sum()), len(modality.features)), np.float32)
    for position, (part, column) in enumerate(flat.items()):
        kept = column if len(values) == len(keep) else column[keep]
        values[:, position] = _finite(f"{where}.{part}", kept, found, row_of)
    return Ragged(values, kept_counts)


def _keep(chosen: np.ndarray, counts: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens stay (chosen, and among the first `most` chosen ones of their row), and how many per row."""
    running = np.concatenate([[0], np.cumsum(chosen)])
    ends = np.cumsum(counts)
    per_row = running[ends] - running[ends - counts]
    place = running[:-1] - np.repeat(running[ends - counts], counts)
    return chosen & (place < most), np.minimum(per_row, most)


def _globals(features: dict[str, Feature], columns: Columns, rows: int, found: Findings) -> np.ndarray:
    values = np.empty((rows, len(features)), np.float32)
    for position, (name, feature) in enumerate(features.items()):
        where = f"globals.{name}"
        values[:, position] = _finite(where, per_row(where, feature.expression, columns, rows), found)
    return values


def _finite(where: str, values: np.ndarray, found: Findings, row_of: np.ndarray | None = None) -> np.ndarray:
    """As float32; what float32 cannot hold is counted under `where` and replaced by 0 (its row is then set aside)."""
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    bad = ~np.isfinite(numbers)
    if bad.any():
        found.nonfinite[where] = int(bad.sum())
        found.nonfinite_rows[np.flatnonzero(bad) if row_of is None else row_of[bad]] = True
        numbers[bad] = 0
    return numbers


def _label(name: str, label: Label, columns: Columns, rows: int, found: Findings) -> np.ndarray:
    where = f"labels.{name}"
    if label.kind == "regression":
        values = per_row(where, label.expression, columns, rows).astype(np.float64)
        unknown = np.isnan(values)
        return np.where(unknown, np.float32(np.nan), _finite(where, np.where(unknown, 0, values), found))
    if label.expression:
        values = per_row(where, label.expression, columns, rows)
        wanted = np.array(list(label.classes.values()))
        match = values[:, None] == wanted[None, :]
        texts = [f"{value:g}" for value in values[~_known(match)]]
    else:
        each = [per_row(f"{where}.classes.{c}", str(e), columns, rows) for c, e in label.classes.items()]
        match = np.stack(each, axis=1).astype(np.float64)
        texts = [f"one-hot sum {total:g}" for total in match[~_known(match)].sum(axis=1)]
    known = _known(match)
    if texts:
        found.unknown[name] = dict(Counter(texts))
        found.unknown_rows |= ~known
    return np.where(known, match.argmax(axis=1), -1).astype(np.int32)


def _known(match: np.ndarray) -> np.ndarray:
    """Rows of a one-hot table that hold a single 1."""
    return (match.sum(axis=1) == 1) & (match.max(axis=1) == 1)


def _observer(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int64 if values.dtype.kind in "biu" else np.float64)


def _keys(schema: DetectorSchema, columns: Columns, rows: int) -> np.ndarray:
    """Hash of the split key; without one, of the raw columns that the network's inputs are made from.

    The raw columns, because computed values may differ in their last bit between machines. Not the labels, because
    two rows of equal inputs in different splits would be a leak.
    """
    if schema.split.key:
        return mix(bits(per_row("split.key", schema.split.key, columns, rows)))
    features = [f for m in schema.modalities.values() for f in m.features.values()] + list(schema.globals.values())
    keys = np.zeros(rows, np.uint64)
    for name in sorted({n for feature in features for n in Expression(feature.expression).names}):
        flat, counts = _numbers(columns[name], rows)
        keys = mix(keys ^ hash_rows(flat, counts, name))
    return keys


def _numbers(column: ak.Array, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Every number of a column of any depth, and how many each row has."""
    while column.ndim > 2:
        column = ak.flatten(column, axis=2)
    counts = np.ones(rows, np.int64) if column.ndim == 1 else ak.to_numpy(ak.num(column, axis=1)).astype(np.int64)
    return _plain("split.key", ak.flatten(column, axis=None)), counts
