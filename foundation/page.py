"""One self-contained HTML page: sections of text, tables and pictures. Nothing is fetched, everything is escaped.

Reads on a phone and prints on A4. A content security policy in the page forbids any request and any script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from foundation.plots import embed_png

CSS = """
:root { --ink: #1c2330; --soft: #5b6678; --line: #d9dee7; --tint: #f4f6fa; --accent: #2563a8; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 64rem; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.2rem; letter-spacing: -0.01em; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 0.6rem; padding-top: 0.9rem; border-top: 2px solid var(--ink);
  overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.5rem 0 0.4rem; }
p { margin: 0.5rem 0; max-width: 46rem; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
nav ol { list-style: none; display: flex; flex-wrap: wrap; gap: 0.4rem; margin: 0 0 1rem; padding: 0; }
nav li { display: flex; align-items: center; gap: 0.4rem; }
nav li + li::before { content: "\\203A"; color: var(--soft); }
nav a { background: var(--tint); border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.15rem 0.6rem;
  font-size: 0.9rem; }
.scroll { overflow-x: auto; margin: 0.4rem 0 1rem; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0.6rem 0 0.3rem; white-space: nowrap; }
th, td { padding: 0.28rem 1.4rem 0.28rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; white-space: nowrap; border-bottom-color: var(--soft); }
.number { text-align: right; white-space: nowrap; }
.code { font: 0.82rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.command { background: var(--tint); border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.5rem 0.8rem;
  max-width: none; }
dl { columns: 17rem; column-gap: 2.2rem; margin: 0.3rem 0 1rem; font-size: 0.85rem; }
dl div { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 0.8rem; break-inside: avoid;
  border-bottom: 1px dotted var(--line); padding: 0.1rem 0; }
dt { color: var(--soft); overflow-wrap: anywhere; }
dd { margin: 0 0 0 auto; text-align: right; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1.2rem; }
figure { margin: 0.6rem 0; max-width: 32rem; break-inside: avoid; }
figure.wide { grid-column: 1 / -1; max-width: none; }
figure img { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: 0.88rem; }
footer { margin-top: 3rem; padding-top: 0.8rem; border-top: 1px solid var(--line); color: var(--soft);
  font-size: 0.85rem; }
@media (max-width: 40rem) { body { padding-top: 1rem; } h1 { font-size: 1.5rem; } th, td { padding-right: 1rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; } tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; } .pictures { grid-template-columns: 1fr 1fr; } .scroll { overflow: visible; } }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Code:
    """Text set in a typewriter face: a path, a checksum, a command."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table. Numbers are right-aligned and formatted; None is shown as a dash.

    Attributes:
        header: of the columns.
        rows: of text, numbers, `Code` or None.
        caption: above the table.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""


@dataclass(frozen=True)
class Settings:
    """Names and values, set compactly in as many columns as the screen has room for.

    Attributes:
        values: name -> value.
        caption: above them.
    """

    values: Mapping[str, Any]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        png: the file's bytes.
        caption: below it, and for those who cannot see it.
        wide: takes the whole width.
    """

    png: bytes
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: heading.
        text: paragraphs, separated by empty lines.
        tables: below the text.
        figures: below the tables, side by side where there is room.
        details: tables below the pictures.
        command: shown as typed, below the text.
        short: name in the navigation; the title where empty.
    """

    title: str
    text: str = ""
    tables: Sequence[Table | Settings] = ()
    figures: Sequence[Picture] = ()
    details: Sequence[Table | Settings] = ()
    command: str = ""
    short: str = ""


def write_report(
    path: Path, title: str, sections: Sequence[Section], provenance: Mapping[str, Any] | None = None
) -> None:
    """Writes the page; `provenance` (versions, commit, command) becomes its footer. An existing file is replaced."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(render(title, sections, provenance or {}), encoding="utf-8")
    temporary.replace(path)


def render(title: str, sections: Sequence[Section], provenance: Mapping[str, Any]) -> str:
    """The page as text."""
    links = "".join(f'<li><a href="#s{i}">{escape(s.short or s.title)}</a></li>' for i, s in enumerate(sections))
    body = "".join(_section(i, section) for i, section in enumerate(sections))
    footer = "<br>".join(f"{escape(name)}: {_value(value)}" for name, value in provenance.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"<nav><ol>{links}</ol></nav>\n{body}<footer>{footer}</footer>\n</body></html>\n"
    )


def _section(number: int, section: Section) -> str:
    text = "".join(f"<p>{escape(p.strip())}</p>\n" for p in section.text.split("\n\n") if p.strip())
    text += f'<p class="code command">$ {escape(section.command)}</p>\n' if section.command else ""
    figures = "".join(map(_picture, section.figures))
    figures = f'<div class="pictures">{figures}</div>\n' if figures else ""
    body = text + _tables(section.tables) + figures + _tables(section.details)
    return f'<section id="s{number}">\n<h2>{escape(section.title)}</h2>\n{body}</section>\n'


def _tables(tables: Sequence[Table | Settings]) -> str:
    return "".join(_settings(t) if isinstance(t, Settings) else _table(t) for t in tables)


def _table(table: Table) -> str:
    numeric = [
        any(_is_number(row[i]) for row in table.rows)
        and all(_is_number(row[i]) or row[i] is None for row in table.rows)
        for i in range(len(table.header))
    ]
    head = "".join(
        f'<th scope="col"{" class=number" if right else ""}>{escape(text)}</th>'
        for text, right in zip(table.header, numeric)
    )
    rows = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>\n" for row in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>\n'


def _cell(value: Any) -> str:
    kind = "number" if _is_number(value) or value is None else "code" if isinstance(value, Code) else ""
    return f'<td class="{kind}">{_value(value)}</td>' if kind else f"<td>{_value(value)}</td>"


def _settings(settings: Settings) -> str:
    heading = f"<h3>{escape(settings.caption)}</h3>" if settings.caption else ""
    pairs = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{_value(value)}</dd></div>" for name, value in settings.values.items()
    )
    return f"{heading}<dl>{pairs}</dl>\n"


def _picture(picture: Picture) -> str:
    caption = escape(picture.caption)
    start = '<figure class="wide">' if picture.wide else "<figure>"
    return f'{start}<img src="{embed_png(picture.png)}" alt="{caption}"><figcaption>{caption}</figcaption></figure>\n'


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _value(value: Any) -> str:
    """A value as HTML: 12,345 - 0.7312 - 1.2e-05 - yes - text."""
    if isinstance(value, Code):
        return escape(value.text)
    return escape(format_value(value))


def format_value(value: Any) -> str:
    """A value as people read it."""
    if value is None or value == "" or value == [] or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and 1e4 <= abs(value) < 1e12 else f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(format_value, value))
    return str(value)
