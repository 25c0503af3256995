"""`detfm ingest`: detector files -> store. Every row is written, removed by the cut or quarantined, and counted."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np

from foundation import __version__
from foundation.command import Command
from foundation.errors import ConfigError, DataError, SchemaError
from foundation.expression import Expression
from foundation.hashing import uniform
from foundation.io import Reader, open_reader
from foundation.progress import Bar, console, progress
from foundation.runs import Run, check_room, make_room
from foundation.schema import DetectorSchema
from foundation.store.examples import Examples, Findings, Policies, Problem, examples, per_row
from foundation.store.store import FORMAT, MANIFEST, VERSION
from foundation.store.writer import SplitWriter


@dataclass(frozen=True)
class IngestConfig:
    """Settings of `detfm ingest`.

    Attributes:
        select: boolean expression over file columns; rows where it is false are removed, and counted.
        nonfinite: what to do with rows that hold a NaN, an infinity or a number beyond float32.
        unknown_label: what to do with rows whose class is none of the schema's: refuse the file, set the row aside, or
            keep it with label -1.
        chunk_rows: rows read and evaluated at a time; bounds the memory.
        shard_rows: rows per shard, at least; a shard is closed at the end of a chunk.
    """

    select: str = ""
    nonfinite: Literal["error", "quarantine"] = "error"
    unknown_label: Literal["error", "quarantine", "unlabelled"] = "error"
    chunk_rows: int = 50_000
    shard_rows: int = 200_000


@dataclass
class Accounting:
    """Where the rows went: read = written + removed by the cut + quarantined. Likewise for tokens, by modality."""

    read: int = 0
    cut: int = 0
    nonfinite: int = 0
    unknown_label: int = 0
    written: int = 0
    nonfinite_values: Counter[str] = field(default_factory=Counter)
    unknown_values: dict[str, Counter[str]] = field(default_factory=dict)
    tokens: dict[str, Counter[str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "cut": self.cut,
            "quarantined": {"nonfinite": self.nonfinite, "unknown_label": self.unknown_label},
            "written": self.written,
            "nonfinite_values": dict(self.nonfinite_values),
            "unknown_values": {label: dict(values) for label, values in self.unknown_values.items()},
            "tokens": {modality: dict(counts) for modality, counts in self.tokens.items()},
        }

    def note(self, findings: Findings) -> None:
        if "nonfinite" in findings.problems:
            self.nonfinite_values.update(findings.problems["nonfinite"].counts)
        unknown = findings.problems["unknown_label"].counts if "unknown_label" in findings.problems else {}
        for where, count in unknown.items():
            label, value = where.removeprefix("labels.").split(" = ", 1)
            self.unknown_values.setdefault(label, Counter())[value] += count
        for modality, counts in findings.tokens.items():
            self.tokens.setdefault(modality, Counter()).update(counts)


def ingest(
    files: Sequence[str | Path],
    *,
    schema: DetectorSchema | str | Path,
    cfg: IngestConfig | None = None,
    out: str | Path,
    overwrite: bool = False,
) -> Path:
    """Reads `files` as `schema` says and writes the store `out`. An interrupted or failed ingest leaves nothing there.

    Args:
        files: paths or globs; read in this order.
        schema: a schema, a YAML file, or the name of a preset (`data/jets`).
        overwrite: replace a store at `out`, once the new one is complete.

    Returns:
        `out`.

    Raises:
        DataError: a file is missing, damaged, lacks a column, or holds values that the settings refuse.
        SchemaError: the schema does not fit the files.
        RunError: `out` exists and may not be replaced.
    """
    out, cfg = Path(out), cfg or IngestConfig()
    schema = schema if isinstance(schema, DetectorSchema) else DetectorSchema.load(schema)
    schema.check()
    if cfg.chunk_rows < 1 or cfg.shard_rows < 1:
        raise ConfigError(f"chunk_rows and shard_rows must be positive; they are {cfg.chunk_rows} and {cfg.shard_rows}")
    paths = expand(files)
    check_room(out, "ingest", overwrite)
    with _beside(out) as folder:
        inputs = {f"file_{i:05d}": path for i, path in enumerate(paths)}
        run = Run.create(folder, "ingest", config=cfg, schema=schema, inputs=inputs)
        run.write(MANIFEST, _write(paths, schema, cfg, run))
        make_room(out, "ingest", overwrite)
        folder.rename(out)
    return out


def expand(files: Sequence[str | Path]) -> list[Path]:
    """Paths and globs -> paths, in the order given and sorted within a glob.

    Raises:
        DataError: a glob that matches nothing, a file that is not there, or one named twice.
    """
    paths: list[Path] = []
    for given in map(str, files):
        matches = [given] if Path(given).exists() else sorted(glob.glob(given, recursive=True))
        if not matches:
            raise DataError(f"{given}: no such file, and no file matches it as a pattern")
        paths += map(Path, matches)
    if not paths:
        raise DataError("no input file given")
    repeated = [str(path) for path, count in Counter(path.resolve() for path in paths).items() if count > 1]
    if repeated:
        raise DataError(f"{repeated[0]} is given twice; its rows would be in the store twice")
    return paths


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A hidden folder next to `out`, removed unless the block renames it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(paths: list[Path], schema: DetectorSchema, cfg: IngestConfig, run: Run) -> dict[str, Any]:
    """Writes the shards and returns the manifest."""
    fitted = "train" if "train" in schema.split.fractions else next(iter(schema.split.fractions))
    writers = {s: SplitWriter(run.path, s, schema, cfg.shard_rows, s == fitted) for s in schema.split.fractions}
    total, sources = Accounting(), []
    # every file is opened before the first is read: a missing branch in the last one is known at once
    with progress("ingest", _check_all(paths, schema, cfg), "rows") as bar:
        for path, recorded in zip(paths, run.provenance["inputs"].values()):
            before = (total.read, total.written)
            _read(path, schema, cfg, writers, total, bar)
            rows = {"read": total.read - before[0], "written": total.written - before[1]}
            sources.append({"path": str(path), "sha256": recorded["sha256"], **rows})
    for writer in writers.values():
        writer.flush()
    if total.written == 0:
        raise DataError(f"none of the {total.read} rows read from {len(paths)} file(s) is left: {total.to_dict()}")
    return {
        "format": FORMAT,
        "version": VERSION,
        "detfm": __version__,
        "schema": schema.to_dict(),
        "splits": {name: writer.to_dict() for name, writer in writers.items()},
        "statistics": {
            "split": fitted,
            "modalities": {name: m.to_dict() for name, m in writers[fitted].moments.items()},
            "globals": writers[fitted].global_moments.to_dict(),
        },
        "accounting": total.to_dict(),
        "sources": sources,
        "files": {name: entry for writer in writers.values() for name, entry in writer.files.items()},
    }


def _columns(schema: DetectorSchema, cfg: IngestConfig) -> list[str]:
    return sorted({*schema.columns(), *(Expression(cfg.select).names if cfg.select else ())})


def _check_all(paths: list[Path], schema: DetectorSchema, cfg: IngestConfig) -> int:
    """Rows of all files. Raises DataError for the first that cannot be opened or lacks a column."""
    rows = 0
    for path in paths:
        reader = open_reader(path, schema.tree)
        reader.require(_columns(schema, cfg))
        rows += reader.num_rows
        reader.close()
    return rows


def _read(
    path: Path,
    schema: DetectorSchema,
    cfg: IngestConfig,
    writers: dict[str, SplitWriter],
    total: Accounting,
    bar: Bar,
) -> None:
    reader: Reader = open_reader(path, schema.tree)
    start = 0
    try:
        for chunk in reader.chunks(_columns(schema, cfg), cfg.chunk_rows):
            where = f"{path}, entries {start} to {start + len(chunk) - 1}"
            try:
                _distribute(_evaluate(chunk, start, schema, cfg, total), schema, writers)
            except (DataError, SchemaError) as error:
                raise type(error)(f"{where}: {error}") from error
            start += len(chunk)
            bar.advance(len(chunk))
    finally:
        reader.close()


def _evaluate(chunk: ak.Array, start: int, schema: DetectorSchema, cfg: IngestConfig, total: Accounting) -> Examples:
    """The examples of a chunk that stay. Raises DataError for values that the settings refuse."""
    entries = start + np.arange(len(chunk))
    total.read += len(chunk)
    if cfg.select:
        columns = {name: chunk[name] for name in chunk.fields}
        keep = per_row("select", cfg.select, columns, len(chunk)).astype(bool)
        chunk, entries = chunk[keep], entries[keep]
        total.cut += int((~keep).sum())
    policies = Policies(nonfinite=cfg.nonfinite, unknown_label=cfg.unknown_label)
    found, findings = examples(schema, {name: chunk[name] for name in chunk.fields}, len(chunk), policies)
    for reason, problem in findings.problems.items():
        if getattr(policies, reason) == "error":
            _refuse(reason, problem, entries)
    total.note(findings)
    removed = findings.removed(policies)
    keep = np.ones(len(chunk), bool)
    for rows in removed.values():
        keep &= ~rows
    kept = found.take(keep)
    total.nonfinite += int(removed.get("nonfinite", ~keep[:0]).sum())
    total.unknown_label += int(removed.get("unknown_label", ~keep[:0]).sum())
    total.written += kept.rows
    for name, tokens in kept.modalities.items():
        total.tokens[name]["quarantined"] += len(found.modalities[name].values) - len(tokens.values)
        total.tokens[name]["written"] += len(tokens.values)
    return kept


def _refuse(reason: str, problem: Problem, entries: np.ndarray) -> None:
    counts = ", ".join(f"{where} ({count})" for where, count in problem.counts.items())
    rows = np.flatnonzero(problem.rows)
    raise DataError(
        f"{reason.replace('_', ' ')}: {counts}; {len(rows)} rows, entry {entries[rows[0]]} first: {problem.advice}"
    )


def _distribute(kept: Examples, schema: DetectorSchema, writers: dict[str, SplitWriter]) -> None:
    """Each row to the split that its key's hash falls into."""
    edges = np.cumsum(list(schema.split.fractions.values()))[:-1]
    owner = np.searchsorted(edges, uniform(kept.keys), side="right")
    for number, writer in enumerate(writers.values()):
        writer.add(kept.take(owner == number))


def _arguments(parser: Any) -> None:
    parser.add_argument("files", nargs="+", help="detector files, or quoted patterns such as 'data/*.root'")
    parser.add_argument("--schema", required=True, help="YAML file or preset that describes the data, e.g. data/jets")
    parser.add_argument("--out", type=Path, required=True, help="the store's folder")
    parser.add_argument("--overwrite", action="store_true", help="replace a store that is there")


def _run(arguments: Any) -> None:
    from foundation.inspect import store_summary
    from foundation.store.store import Store

    out = ingest(
        arguments.files,
        schema=arguments.schema,
        cfg=arguments.cfg,
        out=arguments.out,
        overwrite=arguments.overwrite,
    )
    for table in store_summary(Store.open(out)):
        console.print(table)


COMMAND = Command(
    run=_run,
    config=IngestConfig,
    arguments=_arguments,
    description="Read detector files as a schema says and write a store: shards, statistics, checksums, accounting."
    " Example: detfm ingest samples/jets.root --schema data/jets --out stores/jets",
)
