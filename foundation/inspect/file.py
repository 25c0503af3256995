"""`detfm inspect FILE`: columns by collection, with multiplicities, ranges, units and what is wrong with them."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from foundation.errors import DataError, close_names
from foundation.inspect.collections import Collection, Quantity, collections, quantities, reference
from foundation.inspect.layouts import open_divided, told
from foundation.inspect.meaning import Meaning
from foundation.inspect.profile import Numbers, Profile, profile
from foundation.inspect.tables import alarming, table
from foundation.io import Reader
from foundation.io.layout import Layout

ROWS = 20_000  # read, unless told otherwise
WIDE = 80  # columns of a file from which collections are shown instead of columns
SHOWN_COMPONENTS = 24
SHOWN_TEXTS = 4
SHOWN_DAMAGED = 20


@dataclass
class FileSummary:
    """What one pass over the first rows of a file tells.

    Attributes:
        path: of the file.
        tree: the table that was read; empty where there is just one.
        rows: of the table.
        read: rows looked at.
        profiles: column -> profile, in file order.
        layout: column -> how it is divided into examples, guessed.
    """

    path: str
    tree: str
    rows: int
    read: int
    profiles: dict[str, Profile]
    layout: dict[str, Layout]

    @property
    def told(self) -> dict[str, Profile]:
        """The columns without counters, which only repeat the lengths of lists."""
        return {name: column for entry in self.collections for name, column in entry.columns.items()}

    @property
    def collections(self) -> list[Collection]:
        return collections(self.profiles)


def summarise(
    path: str, tree: str = "", rows: int = ROWS, pattern: str = "", whole: Callable[[str], bool] = lambda name: False
) -> FileSummary:
    """Looks at the first `rows` rows of a file.

    Args:
        pattern: only columns that match this (a glob; several with commas).
        whole: columns with one number per row for which this is true are read to the end.

    Raises:
        DataError: the file cannot be opened, or no column matches.
    """
    reader, layout = open_divided(path, tree)
    try:
        patterns = [p.strip() for p in pattern.split(",") if p.strip()] or ["*"]
        chosen = [c for c in reader.columns if any(fnmatch.fnmatchcase(c, p) for p in patterns)]
        if not chosen and reader.columns:
            raise DataError(f"{path}: no column matches '{pattern}'; {close_names(pattern, reader.columns)}")
        read = min(rows, reader.num_rows)
        profiles = _profiles(reader, layout, chosen, read)
        rest = [n for n, p in profiles.items() if p.depth == 1 and p.kind in ("number", "string") and whole(n)]
        profiles |= profile(reader, rest, reader.num_rows) if read < reader.num_rows else {}
        return FileSummary(path, tree, reader.num_rows, read, profiles, layout)
    finally:
        reader.close()


def _profiles(reader: Reader, layout: dict[str, Layout], chosen: list[str], read: int) -> dict[str, Profile]:
    """Of data, of the columns that divide it, and of arrays that have another length than the rows: constant tables."""
    stored = getattr(reader, "stored", {})
    dividers = {entry.by for entry in layout.values() if entry.kind == "offsets"}
    divided = told(layout, chosen)
    tables = [c for c in chosen if c in stored and c not in divided and _length(stored[c]) != reader.num_rows]
    found = profile(reader, [c for c in chosen if c not in tables and c not in dividers], read)
    for name in tables:
        kind = "divider" if name in dividers else "table"
        found[name] = Profile(name, reader.column_type(name), kind=kind, depth=2)
    for name in dividers.intersection(chosen) - set(tables):
        found[name] = Profile(name, reader.column_type(name), kind="divider")
    for name, text in divided.items():
        found[name].divided = text
        found[name].number_of_example = layout.get(name, Layout()).by == f"{name}[:, 0]"
    return {name: found[name] for name in chosen}


def _length(array: Any) -> int:
    return int(array.shape[0]) if array.shape else 1


def file_tables(summary: FileSummary, wide: int = WIDE) -> list[Table]:
    """One line per column; in files of more than `wide` columns, one line per collection."""
    found = summary.collections
    many = len(summary.profiles) > wide
    title = f"{summary.path}: {summary.rows:,} rows, {len(summary.profiles):,} columns"
    title += f", of the first {summary.read:,} rows" if summary.read < summary.rows else ""
    tables = [_overview(title, found) if many else _details(title, found)]
    damaged = [p for p in summary.profiles.values() if p.kind == "damaged"]
    if damaged:
        tables.append(_damaged(damaged))
    if many:
        example = max(found, key=lambda entry: len(entry.columns) * entry.tokens)
        tables[-1].caption = f"detfm inspect {summary.path} --columns '{example.name}*' shows its columns"
        tables[-1].caption_justify = "left"
    return tables


def _overview(title: str, found: list[Collection]) -> Table:
    bad = any(p.numbers.nan + p.numbers.inf for entry in found for p in entry.columns.values())
    names = [
        "collection",
        "columns",
        "tokens per row",
        "pt or energy",
        "eta",
        *(["NaN", "inf"] if bad else []),
        "such as",
    ]
    shown = table(title, *names)
    for entry in sorted(found, key=lambda e: not e.tokens):
        readable = [p for p in entry.columns.values() if p.kind != "damaged"]
        ranges: dict[str, str] = {}
        for quantity in quantities(entry):
            ranges.setdefault(quantity.meaning.coordinate, _range(quantity.numbers))
        scale = ranges.get("pt") or ranges.get("energy") or ""
        examples = ", ".join(list(entry.columns)[:2]) + (", ..." if len(entry.columns) > 2 else "")
        counts = [alarming(sum(getattr(p.numbers, kind) for p in readable)) for kind in ("nan", "inf")] if bad else []
        broken = len(entry.columns) - len(readable)
        count = f"{len(entry.columns)}" + (f" [red]({broken} damaged)[/red]" if broken else "")
        row = [scale, ranges.get("eta", ""), *counts, escape(examples)]
        shown.add_row(escape(entry.name), count, _per_row(entry.first) if entry.tokens else "1", *row)
    return shown


def _details(title: str, found: list[Collection]) -> Table:
    bad = any(p.numbers.nan + p.numbers.inf for entry in found for p in entry.columns.values())
    title += "" if bad else "; no NaN, no infinity"
    names = ["column", "type", "per row", "min", "mean", "max", *(["NaN", "inf"] if bad else []), "unit (a guess)"]
    shown = table(title, *names)
    for entry in found:
        shown.add_section()
        meanings = {q.expression: q.meaning for q in quantities(entry)}
        for name, column in entry.columns.items():
            counted = f"{entry.counter} counts" if entry.counter and name == entry.first.name else ""
            cells = _cells(column.numbers, bad) if column.kind in ("number", "bool") else [""] * (5 if bad else 3)
            note = _note(column, _unit(meanings.get(reference(name), Meaning())), counted)
            shown.add_row(escape(name), escape(column.type), _per_row(column), *cells, escape(note))
            for quantity in _parts(entry, name):
                label = quantity.label if not quantity.label.startswith(f"{name}_") else ""
                axis = quantity.expression.removeprefix(reference(name))
                row = _cells(quantity.numbers, bad)
                shown.add_row(f"  {escape(axis)}  {escape(label)}", "", "", *row, _unit(quantity.meaning))
    return shown


def _parts(entry: Collection, name: str) -> list[Quantity]:
    """The components of a column, if it has some that say something."""
    column = entry.columns[name]
    if not column.parts or len(column.parts) > SHOWN_COMPONENTS:
        return []
    return quantities(Collection(entry.name, {name: column}, entry.tokens))


def _damaged(columns: list[Profile]) -> Table:
    shown = table(f"{len(columns)} damaged column(s); the others can be read", "column", "reason")
    for found in columns[:SHOWN_DAMAGED]:
        shown.add_row(escape(found.name), escape(found.problem))
    if len(columns) > SHOWN_DAMAGED:
        shown.add_row("...", f"and {len(columns) - SHOWN_DAMAGED} more (--json lists them)")
    return shown


def _per_row(found: Profile) -> str:
    if found.kind == "damaged":
        return "[red]damaged[/red]"
    if found.depth == 1 or not found.rows:
        return "" if found.kind in ("divider", "table") else "1"
    return f"{found.most}" if found.fixed else f"{found.fewest} to {found.most}, mean {found.mean:.3g}"


def _cells(numbers: Numbers, bad: bool) -> list[str]:
    """min, mean, max and, if `bad`, NaN and inf."""
    counts = [alarming(numbers.nan), alarming(numbers.inf)] if bad else []
    if numbers.empty:
        return ["", "", "", *counts]
    mean = f"{numbers.finite.mean():.4g}" if len(numbers.finite) else ""
    return [f"{numbers.low:.6g}", mean, f"{numbers.high:.6g}", *counts]


def _range(numbers: Numbers) -> str:
    return "" if numbers.empty else f"{numbers.low:.3g} to {numbers.high:.3g}"


def _unit(meaning: Meaning) -> str:
    return "cm or mm" if meaning.unit == "length" else meaning.unit


def _note(found: Profile, unit: str, counted: str) -> str:
    if found.kind == "string":
        most = ", ".join(text for text, _ in found.texts.most_common(SHOWN_TEXTS))
        return f"{len(found.texts)} different: {most}" + (", ..." if len(found.texts) > SHOWN_TEXTS else "")
    special = {"other": "records: no range", "divider": "offsets", "table": "constant table: not one entry per row"}
    return "; ".join(part for part in (special.get(found.kind, unit), found.divided, counted) if part)


def to_json(summary: FileSummary) -> dict[str, Any]:
    """Everything of the tables, for scripts; NaN never appears: what has no value is null."""
    return {
        "path": summary.path,
        "tree": summary.tree,
        "rows": summary.rows,
        "read": summary.read,
        "collections": [
            {
                "name": entry.name,
                "tokens": entry.tokens,
                "counter": entry.counter or None,
                "columns": [_column_json(entry, found) for found in entry.columns.values()],
            }
            for entry in summary.collections
        ],
    }


def _column_json(entry: Collection, found: Profile) -> dict[str, Any]:
    meanings = {q.expression: q.meaning for q in quantities(entry)}
    meaning = meanings.get(reference(found.name), Meaning())
    described: dict[str, Any] = {"name": found.name, "type": found.type, "kind": found.kind}
    if found.problem:
        return described | {"problem": found.problem}
    if found.divided:
        described["divided"] = found.divided
    if found.kind in ("divider", "table", "other"):
        return described
    if found.depth > 1:
        described["per_row"] = {"min": found.fewest, "mean": found.mean, "max": found.most}
    if found.kind == "string":
        return described | {"values": dict(found.texts.most_common(20)), "different": len(found.texts)}
    described |= _numbers_json(found.numbers) | {"unit": meaning.unit or None, "coordinate": meaning.coordinate or None}
    if found.parts:
        parts = quantities(Collection(entry.name, {found.name: found}, entry.tokens))
        described["components"] = [
            {"expression": q.expression, "coordinate": q.meaning.coordinate or None, "unit": q.meaning.unit or None}
            | _numbers_json(q.numbers)
            for q in parts
        ]
    return described


def _numbers_json(numbers: Numbers) -> dict[str, Any]:
    finite = numbers.finite
    return {
        "min": None if numbers.empty else numbers.low,
        "mean": float(finite.mean()) if len(finite) else None,
        "max": None if numbers.empty else numbers.high,
        "nan": numbers.nan,
        "inf": numbers.inf,
        "integers": numbers.integral,
    }
