"""What processes tell each other: the files of an ingest, the units of work, and what is the same for all units."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from foundation.io.files import is_url
from foundation.schema import DetectorSchema
from foundation.store.settings import IngestConfig

SPLIT_OF_STATISTICS = "train"


@dataclass(frozen=True)
class SourceFile:
    """One file of the list.

    Attributes:
        path: as it was given.
        bytes: its size; None for a URL.
        modified: time of its last change in ns; None for a URL.
        rows: in its table.
        chunk_rows: to be read at a time.
        absent: columns of optional modalities that it lacks.
        skipped: why it is left out; empty if it is not.
    """

    path: str
    bytes: int | None = None
    modified: int | None = None
    rows: int = 0
    chunk_rows: int = 1
    absent: list[str] = field(default_factory=list)
    skipped: str = ""


@dataclass(frozen=True)
class Segment:
    """Entries [start, stop) of file number `file`."""

    file: int
    start: int
    stop: int


@dataclass(frozen=True)
class Job:
    """What is the same for all units.

    Attributes:
        edges: modality -> the most tokens of each length class.
        columns: to be read from every file.
        folder: of unfinished work, `STORE.partial`.
        home: the folder that relative paths are relative to.
    """

    schema: DetectorSchema
    cfg: IngestConfig
    edges: dict[str, list[int]]
    columns: list[str]
    folder: Path
    home: Path

    @property
    def fitted(self) -> str:
        """The split whose statistics networks are normalised with."""
        names = list(self.schema.split.fractions)
        return SPLIT_OF_STATISTICS if SPLIT_OF_STATISTICS in names else names[0]

    def locate(self, path: str) -> str:
        """Where a process in any folder finds a file that was given as `path`."""
        return path if is_url(path) else os.path.join(self.home, path)

    def unit_folder(self, number: int) -> Path:
        return self.folder / "units" / f"{number:06d}"


@dataclass(frozen=True)
class Unit:
    """Rows that one process reads and writes, alone and in one go.

    Attributes:
        segments: in the order of files and entries; none of a file that is left out.
        files: those that the segments name.
    """

    number: int
    segments: list[Segment]
    files: dict[int, SourceFile]

    @property
    def rows(self) -> int:
        return sum(segment.stop - segment.start for segment in self.segments)
