"""Files -> units of work, settled before any row is read and the same in every process and every attempt."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from foundation import __version__
from foundation.command import to_dict
from foundation.errors import DataError
from foundation.runs import flatten
from foundation.schema import DetectorSchema
from foundation.store.examples import Examples
from foundation.store.job import Job, Segment, SourceFile, Unit
from foundation.store.lengths import choose_edges
from foundation.store.policies import Policies
from foundation.store.probe import SKIP_ADVICE, Probe, bad_files, check_kinds, columns_of
from foundation.store.settings import IngestConfig
from foundation.store.unit import DamagedFile, evaluate, read_chunks

FILE = "plan.json"
SAMPLE_FILES, SAMPLE_ROWS = 8, 5_000
MOST_READ = 16  # times `shard_bytes` that a unit reads at most, if cuts leave little of it
COUNT_ALL = Policies("quarantine", "keep", "unlabelled", "quarantine")


@dataclass(frozen=True)
class Plan:
    """What an ingest will do.

    Attributes:
        settings: of schema and configuration, for people to compare.
        files: in the order of the list, also those that are left out.
        edges: modality -> most tokens of each length class.
        units: the segments of each.
        bytes: of the store, about.
    """

    settings: dict[str, Any]
    files: list[SourceFile]
    edges: dict[str, list[int]]
    units: list[list[Segment]]
    bytes: int

    def save(self, folder: Path) -> None:
        temporary = folder / f"{FILE}.tmp"
        temporary.write_text(json.dumps(asdict(self)) + "\n")
        temporary.replace(folder / FILE)

    def unit(self, number: int, skipped: Mapping[int, str]) -> Unit:
        """The unit without the rows of files that were found damaged while reading."""
        segments = [segment for segment in self.units[number] if segment.file not in skipped]
        return Unit(number, segments, {s.file: self.files[s.file] for s in segments})

    def is_saved(self, folder: Path) -> bool:
        """Whether the unfinished work in `folder` is of this plan."""
        return _saved(folder) == json.loads(json.dumps(asdict(self)))

    def refusal(self, folder: Path, out: Path) -> str:
        """For people: what differs from the plan in `folder`, and what to do."""
        return (
            f"{folder} holds an unfinished ingest of {_difference(_saved(folder), asdict(self))}. Give the same files "
            f"and settings to finish it, choose another --out than {out}, or --overwrite to discard it"
        )


def _saved(folder: Path) -> dict[str, Any]:
    return json.loads((folder / FILE).read_text())


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    old, new = (flatten(each.get("settings", {})) for each in (before, now))
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if keys:
        shown = "; ".join(f"{key}: {old.get(key)!r} then, {new.get(key)!r} now" for key in keys[:4])
        return f"other settings ({shown})"
    files = [{each["path"]: each for each in side.get("files", [])} for side in (before, now)]
    names = [path for path in {**files[0], **files[1]} if files[0].get(path) != files[1].get(path)]
    return f"other files ({', '.join(names[:4]) or 'their order'} differ{'s' if len(names) == 1 else ''})"


class Planner:
    """Makes a plan.

    Args:
        job: without edges.
        skip: leave out files that cannot be read, or that lack a column which others have.
    """

    def __init__(self, job: Job, skip: bool):
        self.job, self.cfg, self.skip = job, job.cfg, skip
        self.required = columns_of(job.schema, job.cfg)[1]

    def plan(self, probes: Sequence[Probe]) -> Plan:
        """From a look at every file.

        Raises:
            DataError: files that cannot be read or do not fit each other; names them.
            SchemaError: the schema does not fit the files.
        """
        bad = bad_files(probes, self.required, self.skip, self.job.schema)
        good = [each for number, each in enumerate(probes) if number not in bad]
        check_kinds(good, self.job.locate, self.job.schema)
        files = [self._file(each, bad.get(number, "")) for number, each in enumerate(probes)]
        sample, found = self._sample(files, probes)
        files = [replace(file, skipped=file.skipped or found.get(number, "")) for number, file in enumerate(files)]
        sizes = [each.bytes_per_row * sample.size for each in probes]
        costs = [self._cost(each.bytes_per_row, size, sample) for each, size in zip(probes, sizes)]
        segments = [Segment(n, 0, file.rows) for n, file in enumerate(files) if file.rows and not file.skipped]
        return Plan(
            {"detfm": __version__, "schema": self.job.schema.to_dict(), "cfg": _identity(self.cfg)},
            files,
            choose_edges(sample.counts, self.job.schema),
            divide(segments, costs),
            int(sum(file.rows * size for file, size in zip(files, sizes) if not file.skipped)),
        )

    def _file(self, found: Probe, skipped: str) -> SourceFile:
        chunk = max(1, min(self.cfg.chunk_rows, int(self.cfg.chunk_bytes / max(found.bytes_per_row, 1))))
        absent = sorted(found.missing)
        return SourceFile(found.path, found.bytes, found.modified, found.rows, chunk, absent, skipped)

    def _cost(self, read: float, written: float, sample: Sample) -> float:
        """The part of a unit that one row is."""
        rows, size = self.cfg.shard_rows, self.cfg.shard_bytes
        return max(sample.kept / rows, written / size, read / (MOST_READ * size), 1 / (MOST_READ * rows))

    def _sample(self, files: Sequence[SourceFile], probes: Sequence[Probe]) -> tuple[Sample, dict[int, str]]:
        """Of the first rows of a few files from all over the list; and files found damaged, with the reason."""
        there = [number for number, file in enumerate(files) if file.rows and not file.skipped]
        chosen = np.unique(np.linspace(0, len(there) - 1, SAMPLE_FILES).astype(int)).tolist() if there else []
        most = SAMPLE_ROWS // max(len(chosen), 1)
        order = [there[place] for place in chosen] + [n for place, n in enumerate(there) if place not in chosen]
        sample, damaged = Sample(self.job.schema), {}
        for position, number in enumerate(order):
            if position >= len(chosen) and sample.rows:
                break  # the others are for want of these
            rows = min(files[number].chunk_rows, files[number].rows, most)
            file, segment = replace(files[number], chunk_rows=rows), Segment(number, 0, rows)
            try:
                for start, chunk in read_chunks(self.job, file, segment):
                    made, _, _, _ = evaluate(self.job, COUNT_ALL, chunk, start, rows, file.path)
                    sample.add(made, rows, rows * probes[number].bytes_per_row)
            except DamagedFile as error:
                if not self.skip:
                    raise DataError(f"{error.reason}; {SKIP_ADVICE}") from error
                damaged[number] = error.reason
        return sample, damaged


class Sample:
    """What some rows came to.

    Attributes:
        rows: read.
        kept: rows that stayed for each row read.
        size: bytes written for each byte read.
    """

    def __init__(self, schema: DetectorSchema):
        self.parts = {name: [np.zeros(0, np.int64)] for name in schema.modalities}
        self.rows = self.staying = self.written = 0
        self.read = 0.0

    def add(self, made: Examples, rows: int, read: float) -> None:
        """Examples made of `rows` rows and `read` bytes."""
        self.rows, self.staying, self.read = self.rows + rows, self.staying + made.rows, self.read + read
        self.written += made.globals.nbytes + sum(tokens.values.nbytes for tokens in made.modalities.values())
        for name, tokens in made.modalities.items():
            self.parts[name].append(tokens.counts)

    @property
    def counts(self) -> dict[str, Int[np.ndarray, " R"]]:
        """Modality -> tokens of each row that stayed."""
        return {name: np.concatenate(parts) for name, parts in self.parts.items()}

    @property
    def kept(self) -> float:
        return self.staying / self.rows if self.rows else 1.0

    @property
    def size(self) -> float:
        return self.written / self.read if self.read else 1.0


def divide(segments: Sequence[Segment], costs: Sequence[float]) -> list[list[Segment]]:
    """Consecutive rows in units of cost 1 at most, all about as large. `costs`: file -> cost of a row."""
    total = sum((segment.stop - segment.start) * costs[segment.file] for segment in segments)
    room = total / max(math.ceil(total), 1)  # of a unit
    units: list[list[Segment]] = [[]]
    left = room
    for segment in segments:
        start = segment.start
        while start < segment.stop:
            rows = min(segment.stop - start, max(math.ceil(left / costs[segment.file] - 1e-6), 1))
            units[-1].append(Segment(segment.file, start, start + rows))
            start, left = start + rows, left - rows * costs[segment.file]
            if left <= costs[segment.file] * 1e-6:
                units.append([])
                left = room
    return [unit for unit in units if unit]


def _identity(cfg: IngestConfig) -> dict[str, Any]:
    """The settings that the store depends on."""
    return {name: value for name, value in to_dict(cfg).items() if name != "cluster"}
