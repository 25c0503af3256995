"""A look at every file before any is read: can it be opened, has it the columns, are they of one kind in all files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import awkward as ak

from foundation.errors import DataError, close_names
from foundation.expression import parsed
from foundation.io import open_reader
from foundation.io.files import is_url
from foundation.schema import PSEUDO_COLUMNS, DetectorSchema
from foundation.store.settings import IngestConfig

MOST_NAMED = 8  # files or columns in one message
SKIP_ADVICE = "--skip-bad-files leaves such files out and lists them"


@dataclass(frozen=True)
class Probe:
    """What is known of a file without reading its rows.

    Attributes:
        path: as it was given.
        bytes, modified: of the file; None for a URL.
        types: needed column that is there -> its type in the format's own words.
        missing: needed column that is not there -> close names.
        bytes_per_row: of the needed columns in memory.
        error: why it cannot be read; empty if it can.
    """

    path: str
    bytes: int | None = None
    modified: int | None = None
    rows: int = 0
    types: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    bytes_per_row: float = 0.0
    error: str = ""


def probe(where: str, path: str, schema: DetectorSchema, columns: Sequence[str]) -> Probe:
    """Opens one file, given as `path`, at `where`."""
    size = modified = None
    try:
        if not is_url(path):
            found = Path(where).stat()
            size, modified = found.st_size, found.st_mtime_ns
        reader = open_reader(where, schema.tree, schema.layout)
        try:
            there = [column for column in columns if column in reader.columns]
            reader.require(there)
            return Probe(
                path,
                size,
                modified,
                reader.num_rows,
                {column: reader.column_type(column) for column in there},
                {column: close_names(column, reader.columns) for column in columns if column not in there},
                reader.bytes_per_row(there),
            )
        finally:
            reader.close()
    except (DataError, OSError) as error:
        return Probe(path, size, modified, error=str(error))


def columns_of(schema: DetectorSchema, cfg: IngestConfig) -> tuple[list[str], list[str]]:
    """Columns to be read where they are there, and those of them that must be there."""
    cuts = {name for text in cfg.cuts.values() for name in parsed(text).names}.difference(PSEUDO_COLUMNS)
    return sorted({*schema.columns(), *cuts}), sorted({*schema.required_columns(), *cuts})


def bad_files(probes: Sequence[Probe], required: Sequence[str], skip: bool, schema: DetectorSchema) -> dict[int, str]:
    """Number of each file that cannot be used -> why.

    Raises:
        DataError: there is one and none may be skipped, or a column is in none of the files.
    """
    bad = {number: each.error for number, each in enumerate(probes) if each.error}
    if bad and not skip:
        raise DataError(_cannot_be_read(probes, bad))
    readable = [each for each in probes if not each.error]
    lacking = {column: [each for each in readable if column in each.missing] for column in required}
    lacking = {column: files for column, files in lacking.items() if files}
    for column, files in lacking.items():
        if not skip or len(files) == len(readable):
            wanted = schema.use_of(column) or "a cut"
            raise DataError(_missing(column, wanted, files, len(readable), [c for c in lacking if c != column]))
    for number, each in enumerate(probes):
        if missing := [column for column in lacking if column in each.missing]:
            bad[number] = f"{each.path}: has no column '{missing[0]}', {each.missing[missing[0]]}"
    return bad


def _cannot_be_read(probes: Sequence[Probe], bad: dict[int, str]) -> str:
    listed = "\n  ".join([*list(bad.values())[:MOST_NAMED], *(["..."] if len(bad) > MOST_NAMED else [])])
    if len(bad) == 1:
        return f"{listed}; {SKIP_ADVICE}" if len(probes) > 1 else listed
    return f"{len(bad)} of {len(probes)} files cannot be read ({SKIP_ADVICE}):\n  {listed}"


def _missing(column: str, wanted: str, files: Sequence[Probe], total: int, others: Sequence[str]) -> str:
    where = "; ".join(f"{each.path} ({each.missing[column]})" for each in files[:MOST_NAMED])
    where += ", ..." if len(files) > MOST_NAMED else ""
    also = f" Also missing: {', '.join(others[:MOST_NAMED])}" if others else ""
    if total == 1:
        hint = files[0].missing[column]
        return f"{files[0].path}: has no column '{column}', which {wanted} names; {hint}{also and '.' + also}"
    advice = ". Mark its modality `optional: true` in the schema, or leave the files out with --skip-bad-files."
    what = f"column '{column}', which {wanted} names, is missing in {len(files)} of {total} files: {where}"
    return f"{what}{also and '.' + also}{advice if len(files) < total else ''}"


def check_kinds(probes: Sequence[Probe], locate: Callable[[str], str], schema: DetectorSchema) -> None:
    """Raises DataError naming a column that is one number (or text) per row in one file and a list in another.

    A row is read of the first file of each type only, and only of columns whose type differs in the format's words.
    """
    first: dict[str, dict[str, Probe]] = {}
    for each in probes:
        for column, name in each.types.items() if each.rows else ():
            first.setdefault(column, {}).setdefault(name, each)
    several = {column: of_type for column, of_type in first.items() if len(of_type) > 1}
    wanted: dict[str, list[str]] = {}
    for column, of_type in several.items():
        for each in of_type.values():
            wanted.setdefault(each.path, []).append(column)
    found = {path: _kinds(locate(path), columns, schema) for path, columns in wanted.items()}
    for column, of_type in several.items():
        kinds = {name: found[each.path][column] for name, each in of_type.items()}
        if len(set(kinds.values())) > 1:
            listed = ", ".join(f"{kind} in {of_type[name].path} ({name})" for name, kind in kinds.items())
            raise DataError(
                f"column '{column}' is {listed}; the files are of different versions: ingest them into stores of their "
                "own, with a schema each"
            )


def _kinds(path: str, columns: list[str], schema: DetectorSchema) -> dict[str, str]:
    """Column -> `one number per row`, `a list of texts per row`, ... : what expressions tell apart."""
    with closing(open_reader(path, schema.tree, schema.layout)) as reader:
        row = next(iter(reader.chunks(columns, 1, 0, 1)))
        return {column: _in_words(row[column]) for column in columns}


def _in_words(array: ak.Array) -> str:
    text = "string" in str(ak.type(array))
    if array.ndim == 1:
        return "one text per row" if text else "one number per row"
    return f"{'a list of ' * (array.ndim - 1)}{'texts' if text else 'numbers'} per row"
