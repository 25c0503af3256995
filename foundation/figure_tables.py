"""Figures of merit, however nested, as tables: what `metrics.json` holds, as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foundation.evaluation_tables import BLOCKS, SILENT, evaluation_tables, rejection_text, with_interval
from foundation.page import Picture, Section, Settings, Table
from foundation.runs import flatten

LONGEST_LIST = 8
REJECTION = {"signal_efficiency", "value"}


def figure_section(title: str, figures: Mapping[str, Any], text: str = "", pictures: Sequence[Picture] = ()) -> Section:
    """A section of figures of merit, however nested: what `metrics.json` holds."""
    return Section(title, text, figure_tables(figures), pictures)


def figure_tables(values: Mapping[str, Any], caption: str = "") -> list[Table | Settings]:
    """Figures of merit as tables: names and values, and those per class (`auc/CLASS`) side by side."""
    nested = {k: v for k, v in values.items() if isinstance(v, Mapping) and _classes(v) and k not in SILENT}
    hidden = {*BLOCKS, *SILENT, *nested}
    rest = _without(values, hidden)
    reasons, intervals = values.get("reasons", {}), values.get("intervals", {})
    plain = {
        name: f"– ({reasons[name]})" if value is None and name in reasons else _figure(value, intervals.get(name))
        for name, value in flatten(rest).items()
        if not _are_records(value) and (not isinstance(value, list) or len(value) <= LONGEST_LIST)
    }
    tables: list[Table | Settings] = [Settings(plain, caption)] if plain else []
    tables += [_record_table(name, value) for name, value in flatten(rest).items() if _are_records(value)]
    if _classes(values):
        tables.append(_class_table(values))
    tables += evaluation_tables(values, caption)
    for name, inner in nested.items():
        tables += figure_tables(inner, f"{caption} {name}".strip())
    return tables


def _without(values: Mapping[str, Any], hidden: set[str]) -> dict[str, Any]:
    """The figures that stand for themselves, also of what is one level down (a regression's)."""
    return {
        k: _without(v, set(SILENT)) if isinstance(v, Mapping) else v
        for k, v in values.items()
        if k not in hidden and not k.startswith(("auc/", "rejection/"))
    }


def _are_records(value: Any) -> bool:
    """A list of dicts that can be the rows of a table."""
    return (
        isinstance(value, list) and bool(value) and not _is_rejection(value) and all(isinstance(v, dict) for v in value)
    )


def _record_table(name: str, records: Sequence[Mapping[str, Any]]) -> Table:
    header = list(dict.fromkeys(key for record in records for key in record))
    rows = [[value if _is_scalar(value := record.get(key)) else str(value) for key in header] for record in records]
    return Table([key.replace("_", " ") for key in header], rows, name)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _classes(values: Mapping[str, Any]) -> list[str]:
    return [name.removeprefix("auc/") for name in values if name.startswith("auc/")]


def _class_table(values: Mapping[str, Any]) -> Table:
    names = _classes(values)
    rejections = {name: values.get(f"rejection/{name}") or [] for name in names}
    points = sorted({r["signal_efficiency"] for found in rejections.values() for r in found})
    rows = []
    for name in names:
        area = with_interval(values[f"auc/{name}"], values.get("intervals", {}).get(f"auc/{name}"))
        by_point = {r["signal_efficiency"]: rejection_text(r) for r in rejections[name]}
        note = values.get("reasons", {}).get(f"auc/{name}", "")
        rows.append([name, area if not note else f"– ({note})", *(by_point.get(p) for p in points)])
    return Table(["class against the rest", "AUC", *(f"1/εB at εS = {p:g}" for p in points)], rows)


def _is_rejection(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and value[0].keys() >= REJECTION


def _figure(value: Any, interval: Any = None) -> Any:
    if _is_rejection(value):
        return "; ".join(f"{rejection_text(r)} at εS = {r['signal_efficiency']:g}" for r in value)
    return with_interval(value, interval)
