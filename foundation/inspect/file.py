"""`detfm inspect FILE`: columns by collection, with multiplicities, ranges, units and what is wrong with them."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from foundation.errors import DataError, close_names
from foundation.inspect.collections import EVENT, Collection, collections, quantities
from foundation.inspect.meaning import Meaning
from foundation.inspect.profile import Numbers, Profile, profile
from foundation.inspect.tables import alarming, table
from foundation.io import Reader

WIDE = 80  # columns of a file from which collections are shown instead of columns
SHOWN_COMPONENTS = 24
SHOWN_TEXTS = 4
SHOWN_DAMAGED = 20


@dataclass
class FileSummary:
    """What one pass over the first rows of a file tells.

    Attributes:
        path, rows: of the file's table.
        read: rows looked at.
        profiles: column -> profile, in file order.
        divided: column -> how its examples were found, where its first axis is not the example.
    """

    path: str
    rows: int
    read: int
    profiles: dict[str, Profile]
    divided: Mapping[str, str]

    @property
    def collections(self) -> list[Collection]:
        return collections(self.profiles)


def summarise(reader: Reader, rows: int, pattern: str = "", divided: Mapping[str, str] | None = None) -> FileSummary:
    """Looks at the first `rows` rows of the columns that match `pattern` (a glob; several with commas).

    Raises:
        DataError: no column matches.
    """
    patterns = [p.strip() for p in pattern.split(",") if p.strip()] or ["*"]
    chosen = [c for c in reader.columns if any(fnmatch.fnmatchcase(c, p) for p in patterns)]
    if not chosen and reader.columns:
        raise DataError(f"{reader.path}: no column matches '{pattern}'; {close_names(pattern, reader.columns)}")
    read = min(rows, reader.num_rows)
    return FileSummary(str(reader.path), reader.num_rows, read, profile(reader, chosen, read), divided or {})


def file_tables(summary: FileSummary, wide: int = WIDE) -> list[Table]:
    """One line per column; in files of more than `wide` columns, one line per collection."""
    found = summary.collections
    many = len(summary.profiles) > wide
    title = f"{summary.path}: {summary.rows:,} rows, {len(summary.profiles):,} columns"
    title += f", of the first {summary.read:,} rows" if summary.read < summary.rows else ""
    tables = [_overview(title, found) if many else _details(title, found, summary.divided)]
    damaged = [p for p in summary.profiles.values() if p.kind == "damaged"]
    if damaged:
        tables.append(_damaged(damaged))
    if many:
        example = max(found, key=lambda entry: len(entry.columns) * entry.tokens)
        tables[-1].caption = f"detfm inspect {summary.path} --columns '{example.name}*' shows its columns"
        tables[-1].caption_justify = "left"
    return tables


def _overview(title: str, found: list[Collection]) -> Table:
    shown = table(title, "collection", "columns", "tokens per row", "pt or energy", "eta", "NaN", "inf", "examples of columns")
    for entry in sorted(found, key=lambda e: not e.tokens):
        readable = [p for p in entry.columns.values() if p.kind != "damaged"]
        ranges: dict[str, str] = {}
        for quantity in quantities(entry):
            ranges.setdefault(quantity.meaning.coordinate, _range(quantity.numbers))
        scale = ranges.get("pt") or ranges.get("energy") or ""
        names = ", ".join(list(entry.columns)[:3]) + (", ..." if len(entry.columns) > 3 else "")
        bad = [sum(getattr(p.numbers, kind) for p in readable) for kind in ("nan", "inf")]
        broken = len(entry.columns) - len(readable)
        count = f"{len(entry.columns)}" + (f" [red]({broken} damaged)[/red]" if broken else "")
        row = [scale, ranges.get("eta", ""), *map(alarming, bad), escape(names)]
        shown.add_row(escape(entry.name), count, _per_row(entry.first) if entry.tokens else "1", *row)
    return shown


def _details(title: str, found: list[Collection], divided: Mapping[str, str]) -> Table:
    shown = table(title, "column", "type", "per row", "min", "mean", "max", "NaN", "inf", "unit", "")
    for entry in found:
        shown.add_section()
        meanings = {q.expression: q.meaning for q in quantities(entry)}
        for name, found_column in entry.columns.items():
            unit = _unit(meanings.get(name, Meaning()))
            note = divided.get(name, f"{entry.counter} counts" if entry.counter and name == entry.first.name else "")
            row = (escape(name), escape(found_column.type), _per_row(found_column), *_numbers(found_column))
            shown.add_row(*row, unit, escape(_note(found_column, note)))
            if found_column.parts:
                for quantity in _parts(entry, name):
                    cells = _cells(quantity.numbers)
                    what = quantity.meaning.coordinate or quantity.label
                    shown.add_row(f"  {escape(quantity.expression)}", "", "", *cells, _unit(quantity.meaning), escape(what))
    return shown


def _parts(entry: Collection, name: str) -> list[Any]:
    single = Collection(entry.name, {name: entry.columns[name]}, entry.tokens)
    found = quantities(single)
    return found if len(found) <= SHOWN_COMPONENTS and any(n.label for n in found) else []


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
        return "1"
    return f"{found.most}" if found.fixed else f"{found.fewest} to {found.most}, mean {found.mean:.3g}"


def _numbers(found: Profile) -> list[str]:
    return [""] * 5 if found.kind in ("string", "other", "damaged") else _cells(found.numbers)


def _cells(numbers: Numbers) -> list[str]:
    """min, mean, max, NaN, inf."""
    finite = numbers.finite
    span = ["", "", ""] if numbers.empty else [f"{numbers.low:.6g}", f"{finite.mean():.4g}" if len(finite) else "", f"{numbers.high:.6g}"]
    return [*span, alarming(numbers.nan), alarming(numbers.inf)]


def _range(numbers: Numbers) -> str:
    return "" if numbers.empty else f"{numbers.low:.3g} to {numbers.high:.3g}"


def _unit(meaning: Meaning) -> str:
    return "cm or mm" if meaning.unit == "length" else meaning.unit


def _note(found: Profile, note: str) -> str:
    if found.kind == "string":
        most = ", ".join(text for text, _ in found.texts.most_common(SHOWN_TEXTS))
        return f"{len(found.texts)} different: {most}" + (", ..." if len(found.texts) > SHOWN_TEXTS else "")
    if found.kind == "other":
        return "records; nothing to take a range of"
    return note


def to_json(summary: FileSummary) -> dict[str, Any]:
    """Everything of the tables, for scripts; NaN never appears: what has no value is null."""
    return {
        "path": summary.path,
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
    meanings = {q.expression: q.meaning for q in quantities(entry)} if entry.name != EVENT or entry.columns else {}
    meaning = meanings.get(found.name, Meaning())
    described: dict[str, Any] = {"name": found.name, "type": found.type, "kind": found.kind}
    if found.problem:
        return described | {"problem": found.problem}
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
