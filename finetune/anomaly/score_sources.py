"""What is scored, chunk by chunk in bounded memory: the splits of a store, or detector files read by the run's schema.

Axes: R rows of a chunk, N padded tokens, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from foundation.batch import TokenBatch, Tokens
from foundation.errors import DataError
from foundation.expression import parsed
from foundation.io.files import expand
from foundation.schema import PSEUDO_COLUMNS, DetectorSchema, Split
from foundation.store import Store, spare
from foundation.store.examples import Examples
from foundation.store.job import Job, Segment, SourceFile
from foundation.store.probe import Probe, bad_files, check_kinds, probe
from foundation.store.settings import IngestConfig
from foundation.store.tokens import Ragged
from foundation.store.unit import DamagedFile, evaluate, read_chunks

FILES = "data"  # the name of the table of what was read from files
STEPS = 4  # padded lengths are so many parts of the most tokens there can be, so that few shapes are compiled


@dataclass(frozen=True)
class Chunk:
    """Some rows.

    Attributes:
        batch: what the model reads; its lengths are from a small set.
        columns: what ties the rows to their origin: row, source_file, source_entry, observers, labels, weight.
        bad: rows that hold a value that is not finite, which is 0 in the batch.
        nonfinite: feature -> how many such values.
        notes: problem -> where -> values; of files.
    """

    batch: TokenBatch
    columns: dict[str, np.ndarray]
    bad: Bool[np.ndarray, " R"]
    nonfinite: dict[str, int] = field(default_factory=dict)
    notes: dict[str, dict[str, int]] = field(default_factory=dict)


class StoreSource:
    """Splits of a store, in row order.

    Args:
        splits: which; none: all that have rows.

    Raises:
        DataError: no such split, or none has rows.
    """

    def __init__(self, store: Store, splits: Sequence[str]):
        self.store, self.schema = store, store.schema
        self.rows = {split: store.length(split) for split in splits or store.splits if splits or store.length(split)}
        if not sum(self.rows.values()):
            raise DataError(f"{store.path}: no rows to score in {', '.join(self.rows) or 'any split'}")

    def chunks(self, split: str, rows: int, start: int = 0, stop: int | None = None) -> Iterator[Chunk]:
        """Rows [start, stop), `rows` at a time; all by default."""
        stop = self.rows[split] if stop is None else stop
        for first in range(start, stop, rows):
            yield self.read(split, first, min(first + rows, stop))

    def read(self, split: str, first: int, last: int) -> Chunk:
        """Rows [first, last)."""
        index = np.arange(first, last)
        batch = self.store.read(split, index)
        source = self.store.part(split, "source", first, last)
        columns = {"row": index, "source_file": source[:, 0], "source_entry": source[:, 1]}
        columns |= {name: self.store.part(split, f"observer.{name}", first, last) for name in self.schema.observers}
        return checked(padded(batch, self.schema), columns | _labels(self.schema, batch.labels, batch.weights))


class FileSource:
    """Detector files, in the order given; their table is called `data`.

    Labels, observers and the weight whose columns are in none of the files (and have no default) are left out
    (`left_out`).

    Args:
        schema: of the run: how a crossing is read.
        nan: `refuse` makes an error of a value that is not finite.

    Raises:
        DataError: a file is missing or damaged, or lacks a column that a feature needs.
    """

    def __init__(self, paths: Sequence[str | Path], schema: DetectorSchema, nan: Literal["refuse", "flag"]):
        self.paths = expand(paths)
        probes = [probe(path, path, schema, schema.columns()) for path in self.paths]
        self.schema, self.left_out = without_missing(schema, probes)
        cfg = IngestConfig(
            nonfinite="error" if nan == "refuse" else "quarantine",
            out_of_range="keep",
            unknown_label="unlabelled",
            outside_grid="drop",
        )
        required = self.schema.required_columns()
        bad_files(probes, required, False, self.schema)
        check_kinds(probes, str, self.schema)
        self.job = Job(self.schema, cfg, {}, self.schema.columns(), Path(), Path())
        self.files = [_file(each, cfg) for each in probes]
        self.rows = {FILES: sum(each.rows for each in self.files)}
        if not self.rows[FILES]:
            raise DataError(f"{', '.join(self.paths)}: no rows to score")

    def chunks(self, split: str, rows: int) -> Iterator[Chunk]:
        """All rows, at most `rows` at a time."""
        row = 0
        try:
            for number, file in enumerate(self.files):
                file = replace(file, chunk_rows=min(rows, file.chunk_rows))
                for chunk in self._read(number, file, Segment(number, 0, file.rows), row):
                    yield chunk
                    row += len(chunk.bad)
        finally:
            spare.clear()

    def entry(self, number: int, entry: int) -> Chunk:
        """One entry of a file."""
        try:
            return next(self._read(number, self.files[number], Segment(number, entry, entry + 1), 0))
        finally:
            spare.clear()

    def _read(self, number: int, file: SourceFile, segment: Segment, row: int) -> Iterator[Chunk]:
        try:
            with closing(read_chunks(self.job, file, segment)) as chunks:  # type: ignore[type-var]
                for start, records in chunks:
                    made, entries, _, found = evaluate(self.job, self.job.cfg, records, start, len(records), file.path)
                    columns = {"row": np.arange(row, row + made.rows), "source_file": np.full(made.rows, number)}
                    columns |= {"source_entry": entries, **made.observers}
                    notes = {reason: dict(problem.counts) for reason, problem in found.problems.items()}
                    problem = found.problems.get("nonfinite")
                    bad = np.zeros(made.rows, bool) if problem is None else problem.rows
                    lost = {_short(where): count for where, count in notes.pop("nonfinite", {}).items()}
                    batch = padded(batch_of(made), self.schema)
                    columns |= _labels(self.schema, made.labels, made.weights)
                    yield Chunk(batch, columns, bad, lost, notes)
                    row += made.rows
        except DamagedFile as error:
            raise DataError(error.reason) from error


def without_missing(schema: DetectorSchema, probes: Sequence[Probe]) -> tuple[DetectorSchema, list[str]]:
    """The schema less the labels of tokens and the labels, observers and weight that no file has the columns of."""
    readable = [each for each in probes if not each.error]
    gone = set.intersection(*(set(each.missing) for each in readable)) if readable else set()
    gone -= schema.defaults.keys()

    def there(*texts: str) -> bool:
        return not {name for text in texts if text for name in parsed(text).names}.difference(PSEUDO_COLUMNS) & gone

    labels = {}
    for name, label in schema.labels.items():
        texts = [label.expression] if label.expression else [v for v in label.classes.values() if isinstance(v, str)]
        if not label.modality and there(*texts):
            labels[name] = label
    observers = {name: text for name, text in schema.observers.items() if there(text)}
    weight = schema.weight if there(schema.weight) else ""
    left = [f"label {n}" for n, label in schema.labels.items() if n not in labels and not label.modality]
    left += [f"observer {n}" for n in schema.observers if n not in observers]
    left += ["weight"] if weight != schema.weight else []
    split = Split(key="file_entry")  # nothing is divided here, and hashing a row's content takes its time
    return replace(schema, labels=labels, observers=observers, weight=weight, split=split), left


def _file(found: Probe, cfg: IngestConfig) -> SourceFile:
    rows = max(1, min(cfg.chunk_rows, int(cfg.chunk_bytes / max(found.bytes_per_row, 1))))
    return SourceFile(found.path, found.bytes, found.modified, found.rows, rows, sorted(found.missing))


def _short(where: str) -> str:
    return where.removeprefix("modalities.").replace(".features.", ".")


def _labels(schema: DetectorSchema, labels: dict[str, Any], weights: np.ndarray) -> dict[str, np.ndarray]:
    names = [name for name, label in schema.labels.items() if not label.modality]
    return {f"label_{name}": np.asarray(labels[name]) for name in names} | {"weight": np.asarray(weights)}


def batch_of(made: Examples) -> TokenBatch:
    """Examples as a padded batch."""
    modalities = {name: _padded_tokens(tokens) for name, tokens in made.modalities.items()}
    return TokenBatch(modalities, made.globals, {}, made.weights, np.arange(made.rows, dtype=np.int32))


def _padded_tokens(tokens: Ragged) -> Tokens:
    most, rows = int(tokens.counts.max(initial=1)), len(tokens.counts)
    if rows and (tokens.counts == most).all():
        return Tokens(tokens.values.reshape(rows, most, -1), np.ones((rows, most), bool))
    mask = np.arange(most) < tokens.counts[:, None]
    values = np.zeros((rows, most, tokens.values.shape[1]), np.float32)
    values[mask] = tokens.values
    return Tokens(values, mask)


def padded(batch: TokenBatch, schema: DetectorSchema) -> TokenBatch:
    """The batch with lengths that are the same quarter of each modality's capacity; labels are left out."""
    shares = [each.mask.shape[1] / schema.modalities[name].capacity for name, each in batch.modalities.items()]
    step = int(np.ceil(max(shares) * STEPS - 1e-9))
    tokens = {}
    for name, each in batch.modalities.items():
        length = -(-schema.modalities[name].capacity * step // STEPS)
        more = length - each.mask.shape[1]
        tokens[name] = (
            Tokens(np.pad(each.values, ((0, 0), (0, more), (0, 0))), np.pad(each.mask, ((0, 0), (0, more))))
            if more
            else each
        )
    return TokenBatch(tokens, batch.globals, {}, batch.weights, batch.index)


def checked(batch: TokenBatch, columns: dict[str, np.ndarray]) -> Chunk:
    """A chunk of a store, whose values ingest has checked, but for stores that were made otherwise."""
    bad, modalities = np.zeros(batch.size, bool), {}
    found: dict[str, int] = {}
    for name, tokens in [
        *batch.modalities.items(),
        ("globals", Tokens(batch.globals[:, None], np.ones((batch.size, 1), bool))),
    ]:
        values = tokens.values
        if not np.isfinite(values.sum(dtype=np.float64)):
            wrong = ~np.isfinite(values)
            bad |= wrong.any(axis=(1, 2))
            found |= {f"{name}.{i}": int(n) for i, n in enumerate(wrong.sum(axis=(0, 1))) if n}
            values = np.where(wrong, 0, values)
        modalities[name] = Tokens(values, tokens.mask)
    example = modalities.pop("globals").values[:, 0]
    return Chunk(replace(batch, modalities=modalities, globals=example), columns, bad, found)
