"""The look of `detfm inspect`'s tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table


def table(title: str, *columns: str) -> Table:
    """A table with a bold header and the title at the left."""
    shown = Table(title=title, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        shown.add_column(column, overflow="fold")
    return shown


def pairs(title: str, values: Mapping[str, Any]) -> Table:
    """Two columns: what, and its value; numbers with thousands separators."""
    shown = table(title, "", "")
    shown.min_width = min(len(title), 76)
    shown.show_header = False
    for name, value in values.items():
        shown.add_row(name, text(value))
    return shown


def text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def alarming(count: int) -> str:
    """A count that should be zero: red where it is not."""
    return f"[red]{count:,}[/red]" if count else "0"
