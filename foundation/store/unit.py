"""One unit of work: some rows of some files -> shards, and a `result.json` of all that the manifest needs to know.

A unit is a function of the plan and its number alone. It is written under a name of its own and renamed when complete,
so whatever ends a process leaves whole units or none.

Axes: R rows of a chunk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from foundation.errors import DataError, DetfmError
from foundation.io import open_reader
from foundation.store.accounting import Accounting
from foundation.store.columns import per_row
from foundation.store.counts import SplitCounts
from foundation.store.examples import Examples, examples
from foundation.store.job import Job, Segment, SourceFile, Unit
from foundation.store.policies import REASONS, Findings, Policies, Problem
from foundation.store.spare import leave_reader, take_reader
from foundation.store.statistics import Moments
from foundation.store.writer import Shard, Sorter, write_durably

RESULT, QUARANTINE = "result.json", "quarantine.npy"


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes:
        rows: read; 0 if a file turned out damaged.
        damaged: number of that file.
        reason: file, branch, entries.
    """

    unit: int
    rows: int
    damaged: int | None = None
    reason: str = ""


class DamagedFile(Exception):
    """A file some of whose rows cannot be read. Not for the user: becomes an `Outcome` or a DataError."""

    def __init__(self, file: int, reason: str):
        super().__init__(file, reason)
        self.file, self.reason = file, reason


def run_unit(job: Job, unit: Unit) -> Outcome:
    """Reads and writes one unit, unless that is done.

    Raises:
        DataError: values that the settings refuse; names file and entries.
        SchemaError: the schema does not fit the file; likewise.
    """
    folder = job.unit_folder(unit.number)
    if is_complete(job, unit):
        return Outcome(unit.number, unit.rows)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()  # fails, as it should, in work that was given up meanwhile
    try:
        UnitWriter(job, temporary).write(unit)
        shutil.rmtree(folder, ignore_errors=True)  # the unit with a file that was found damaged since
        temporary.rename(folder)
        _sync_folder(folder.parent)
    except DamagedFile as damaged:
        return Outcome(unit.number, 0, damaged.file, damaged.reason)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Outcome(unit.number, unit.rows)


def is_complete(job: Job, unit: Unit) -> bool:
    """Whether the unit was written, with just these rows."""
    result = job.unit_folder(unit.number) / RESULT
    return result.is_file() and json.loads(result.read_text())["segments"] == [asdict(s) for s in unit.segments]


class UnitWriter:
    """The shards of one unit, and what is counted on the way."""

    def __init__(self, job: Job, folder: Path):
        self.job, self.folder = job, folder
        splits, classes = list(job.schema.split.fractions), len(next(iter(job.edges.values())))
        self.accounting = Accounting()
        self.sorter = Sorter(job.schema, job.edges, job.cfg.shard_bytes)
        self.counts = {split: SplitCounts(job.schema, classes) for split in splits}
        self.shards: dict[str, list[dict[str, Any]]] = {split: [] for split in splits}
        self.moments = {name: Moments(modality.features) for name, modality in job.schema.modalities.items()}
        self.global_moments = Moments(job.schema.globals)
        self.read: Counter[int] = Counter()
        self.written: Counter[int] = Counter()
        self.quarantined: list[np.ndarray] = []

    def write(self, unit: Unit) -> None:
        for segment in unit.segments:
            file = unit.files[segment.file]
            for start, chunk in read_chunks(self.job, file, segment):
                self._add(chunk, start, len(chunk), file.path, segment.file)
        self._flush()
        self.sorter.close()
        quarantined = np.concatenate([np.zeros((0, 3), np.int64), *self.quarantined])
        quarantined = quarantined[np.lexsort((quarantined[:, 1], quarantined[:, 0]))]
        np.save(self.folder / QUARANTINE, quarantined, allow_pickle=False)
        result = {
            "segments": [asdict(segment) for segment in unit.segments],
            "accounting": self.accounting.to_dict(),
            "files": {str(n): [self.read[n], self.written[n]] for n in unit.files},
            "shards": self.shards,
            "splits": {split: counts.to_dict() for split, counts in self.counts.items()},
            "moments": {name: moments.state() for name, moments in self.moments.items()},
            "global_moments": self.global_moments.state(),
        }
        write_durably(self.folder / RESULT, json.dumps(result).encode())
        _sync_folder(self.folder)

    def _add(self, chunk: Any, start: int, rows: int, path: str, number: int) -> None:
        made, entries, cuts, findings = evaluate(self.job, self.job.cfg, chunk, start, rows, path)
        self.accounting.read += rows
        self.accounting.cuts.update(cuts)
        self.accounting.note(findings)
        staying = self._quarantine(findings.removed(self.job.cfg), entries, number)
        remaining = made.take(staying)
        self._count(made, remaining)
        self.read[number] += rows
        self.written[number] += remaining.rows
        entries = entries[staying]
        self.sorter.add(remaining, np.stack([np.full_like(entries, number), entries], axis=1))
        if self.sorter.rows >= self.job.cfg.shard_rows or self.sorter.bytes >= self.job.cfg.shard_bytes:
            self._flush()

    def _quarantine(self, removed: dict[str, Any], entries: Int[np.ndarray, " R"], number: int) -> Bool[Any, " R"]:
        """Notes the rows to be set aside; True for the others."""
        staying = np.ones(len(entries), bool)
        for reason, rows in removed.items():
            staying &= ~rows
            found = entries[rows]
            self.accounting.quarantined[reason] += len(found)
            listed = [np.full_like(found, number), found, np.full_like(found, REASONS.index(reason))]
            self.quarantined.append(np.stack(listed, axis=1))
        return staying

    def _count(self, made: Examples, remaining: Examples) -> None:
        self.accounting.written += remaining.rows
        for name, tokens in remaining.modalities.items():
            counter = self.accounting.tokens[name]
            counter["quarantined"] += len(made.modalities[name].values) - len(tokens.values)
            counter["written"] += len(tokens.values)

    def _flush(self) -> None:
        for shard in self.sorter.flush():
            self._write_shard(shard)

    def _write_shard(self, shard: Shard) -> None:
        written = self.shards[shard.split]
        name = f"{shard.split}-{len(written)}"
        fitted = shard.split == self.job.fitted
        digest = shard.write(self.folder / name, self.moments if fitted else None)
        tokens = {modality: len(values) for modality, values in shard.values.items()}
        written.append({"name": name, "rows": shard.rows.tolist(), "tokens": tokens, "sha256": digest.hex()})
        self.counts[shard.split].add(shard)
        if fitted:
            self.global_moments.add(shard.arrays["globals"])


def evaluate(
    job: Job, policies: Policies, chunk: Any, start: int, rows: int, path: str
) -> tuple[Examples, Int[np.ndarray, " R"], dict[str, int], Findings]:
    """Cuts, then the schema's expressions over the rows of a chunk. A cut sees only the rows that those before it left.

    Returns:
        The examples; their entries in the file; name of each cut -> rows that it removed; what was found.

    Raises:
        DataError, SchemaError, ConfigError: as `examples`, and values whose policy is `error`; name file and entries.
    """
    entries = np.arange(start, start + rows, dtype=np.int64)
    cuts = {}
    try:
        for name, text in job.cfg.cuts.items():
            where = "select" if isinstance(job.cfg.select, str) else f"select.{name}"
            keep = per_row(where, text, _columns(chunk, entries, path), len(entries)).astype(bool)
            cuts[name] = int(len(keep) - keep.sum())
            if cuts[name]:
                chunk, entries = chunk[keep], entries[keep]
        made, findings = examples(job.schema, _columns(chunk, entries, path), len(entries), policies)
        for reason, problem in findings.problems.items():
            if getattr(policies, reason) == "error":
                raise _refusal(reason, problem, entries)
    except DetfmError as error:
        raise type(error)(f"{path}, entries {start} to {start + rows - 1}: {error}") from error
    return made, entries, cuts, findings


def _columns(chunk: Any, entries: Int[np.ndarray, " R"], path: str) -> dict[str, Any]:
    return {name: chunk[name] for name in chunk.fields} | {"file_path": path, "file_entry": entries}


def read_chunks(job: Job, file: SourceFile, segment: Segment) -> Iterator[tuple[int, Any]]:
    """First entry and records of each chunk. Raises DamagedFile, whatever of the file cannot be read."""
    start, columns = segment.start, [column for column in job.columns if column not in file.absent]
    key = (job.locate(file.path), file.bytes, file.modified, str(job.schema.layout), job.schema.tree)
    try:
        reader = take_reader(key) or open_reader(job.locate(file.path), job.schema.tree, job.schema.layout)
        try:
            for chunk in reader.chunks(columns, file.chunk_rows, segment.start, segment.stop):
                yield start, chunk
                start += len(chunk)
        except BaseException:
            reader.close()
            raise
        leave_reader(key, reader)
    except DataError as error:
        raise DamagedFile(segment.file, str(error)) from error
    if start != segment.stop:
        raise DamagedFile(segment.file, f"{file.path}: ends at entry {start}; {segment.stop} were there when planned")


def _refusal(reason: str, problem: Problem, entries: Int[np.ndarray, " R"]) -> DataError:
    counts = ", ".join(f"{where} ({count})" for where, count in problem.counts.items())
    rows = np.flatnonzero(problem.rows)
    return DataError(
        f"{reason.replace('_', ' ')}: {counts}; {len(rows)} rows, entry {entries[rows[0]]} first: {problem.advice}"
    )


def _sync_folder(folder: Path) -> None:
    """Makes names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
