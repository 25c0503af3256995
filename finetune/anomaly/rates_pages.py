"""What `detfm anomaly rates` found, as tables on the terminal and on its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rich.table

from finetune.anomaly.rates_draw import title
from finetune.anomaly.rates_measure import Measured
from finetune.anomaly.rates_table import SCORE
from foundation.evaluation_tables import significant
from foundation.page import Picture, Section, Table
from foundation.progress import console
from foundation.report import run_section
from foundation.runs import Run

NARROW = "\u00a0"  # no line break within an interval
DASH = "–"
TIED = 0.9  # of the rate asked for; less is said
MARKS = "*: rate not measured, †: cut gives less, for scores are shared"


def sections(run: Run, found: Measured) -> list[Section]:
    """Of the page: what was measured, part by part, the limits first; and what it was made from."""
    figures = found.figures
    pictures = {path.stem: path.read_bytes() for path in sorted(run.path.glob("*.png"))}

    def shown(start: str) -> list[Picture]:
        return [Picture(data, stem.replace("_", " ")) for stem, data in pictures.items() if stem.startswith(start)]

    text = "\n\n".join(each["limit"] for each in figures["limits"])
    parts = [
        Section("What these numbers say, and what not", text),
        Section("Thresholds", "", threshold_tables(figures), shown("rate_against")),
    ]
    if "menu_seeds" in figures:
        parts.append(Section("Beside the menu", "", menu_tables(figures)))
    if "efficiency" in figures:
        parts.append(Section("Signals", "", signal_tables(figures), shown("efficiency_against")))
    if "dependence" in figures:
        text = "Correlation of the score in zero bias, plain, and with all others of the table held fixed (partial). A "
        text += "score that only measures energy has nothing left beside HT."
        parts.append(Section("Is it only measuring energy?", text, dependence_tables(figures), shown("score_against")))
    if figures["stability"]:
        parts.append(Section("Stability", "", stability_tables(figures), shown("rate_by")))
    own = run_section(run)
    return [*parts, Section("Made from", own.text, (), (), own.details, own.command)]


def show(run: Run, found: Measured) -> None:
    """Prints the tables that matter most, and the limits."""
    figures = found.figures
    tables = threshold_tables(figures)[:1] + menu_tables(figures) + signal_tables(figures) + dependence_tables(figures)
    for table in tables + stability_tables(figures):
        printed = rich.table.Table(title=table.caption, title_justify="left")
        for heading in table.header:
            printed.add_column(heading)
        for row in table.rows:
            printed.add_row(*(DASH if cell is None else str(cell) for cell in row))
        console.print(printed)
    for each in figures["limits"]:
        console.print(f"- {each['limit']}", highlight=False)
    console.print(f"{run.path}: metrics.json, pictures, report.html", highlight=False)


def threshold_tables(figures: Mapping[str, Any]) -> list[Table]:
    """The score's thresholds; then those of what it is compared with."""
    header = ["counts", "rate asked for, kHz", "threshold", "gives, kHz (68%)", "crossings", "measured", "remark"]
    tables = []
    for quantity in dict.fromkeys(record["quantity"] for record in figures["thresholds"]):
        rows = [
            [
                r["counts"],
                f"{r['rate_khz']:g}",
                None if r["value"] is None else f"{r['value']:.6g}",
                with_interval(r["achieved_khz"], r["low_khz"], r["high_khz"]),
                f"{r['crossings']:,.0f}",
                "yes" if r["measured"] else "no",
                r["reason"],
            ]
            for r in figures["thresholds"]
            if r["quantity"] == quantity
        ]
        tables.append(Table(header, rows, f"Thresholds on {'the score' if quantity == SCORE else title(quantity)}"))
    return tables


def menu_tables(figures: Mapping[str, Any]) -> list[Table]:
    """Total and pure rate of each seed, and of the score beside the menu."""
    if "menu_seeds" not in figures:
        return []
    total = figures["menu_khz"]
    seeds = [[r["seed"], _rate(r, "total"), _rate(r, "pure")] for r in figures["menu_seeds"]]
    seeds.append(["menu", with_interval(total["rate"], total["low"], total["high"]), None])
    tables = [Table(["seed", "total, kHz (68%)", "pure, kHz (68%)"], seeds, "The menu")]
    if "beside_menu" in figures:
        rows = [
            [r["seed"] + ("" if r["measured"] else " (not measured)"), _rate(r, "total"), _rate(r, "pure"),
             significant(r["menu_or_score_khz"], 4)]
            for r in figures["beside_menu"]
        ]  # fmt: skip
        header = ["threshold", "total, kHz (68%)", "pure, kHz (68%)", "menu or score, kHz"]
        tables.append(Table(header, rows, "The score beside the menu"))
    return tables


def signal_tables(figures: Mapping[str, Any]) -> list[Table]:
    """Of each signal: separation and efficiency at each rate, then gain over the menu; a row per quantity."""
    tables = []
    for signal, count in figures["signals"].items():
        own = {
            k: [r for r in figures.get(k, ()) if r["signal"] == signal] for k in ("separation", "efficiency", "gain")
        }
        head = f"{title(signal)}, {count:,} crossings"
        rows = {r["quantity"]: _separated(r) for r in own["separation"]}
        rates = _by_rate(own["efficiency"], rows, _kept)
        header = ["", "AUC", "largest SIC", *(f"at {rate:g} kHz" for rate in rates)]
        named = [[title(quantity), *cells] for quantity, cells in rows.items()]
        tables.append(Table(header, named, f"{head}: efficiency (68%; {MARKS})"))
        if own["gain"]:
            menu = next(r for r in figures["menu_efficiency"] if r["signal"] == signal)
            rows = {r["quantity"]: [] for r in own["separation"]}
            rates = _by_rate(own["gain"], rows, _gained)
            named = [[title(quantity), *cells] for quantity, cells in rows.items()]
            alone = with_interval(menu["value"], menu["low"], menu["high"])
            caption = f"{head}: gain over the menu, which alone keeps {alone}, at a pure rate ({MARKS})"
            tables.append(Table(["", *(f"{rate:g} kHz" for rate in rates)], named, caption))
    return tables


def _by_rate(
    records: Sequence[Mapping[str, Any]], rows: Mapping[str, list[str]], cell: Callable[[Mapping[str, Any]], str]
) -> list[float]:
    """Adds a cell for each rate to the row of each quantity. Returns the rates."""
    for record in records:
        rows[record["quantity"]].append(cell(record))
    return list(dict.fromkeys(record["rate_khz"] for record in records))


def dependence_tables(figures: Mapping[str, Any]) -> list[Table]:
    """Correlations of the score, a row per quantity."""
    kinds = ("pearson", "partial_pearson", "spearman", "partial_spearman")
    rows = [[title(r["quantity"]), *(_correlated(r, kind) for kind in kinds)] for r in figures.get("dependence", ())]
    header = ["score against", "Pearson", "partial", "Spearman", "partial"]
    return [Table(header, rows, "Correlation in zero bias (68%)")] if rows else []


def stability_tables(figures: Mapping[str, Any]) -> list[Table]:
    """Whether one rate explains all groups."""
    rows = [
        [title(r["quantity"]), f"{r['rate_khz']:g}", r["groups"], f"{r['chi2']:.3g} / {r['degrees']}",
         None if r["p_value"] is None else f"{r['p_value']:.2g}", r["reason"]]
        for r in figures["stability"]
    ]  # fmt: skip
    header = ["divided by", "threshold for, kHz", "groups", "chi2 / degrees", "p of a constant rate", "remark"]
    return [Table(header, rows, "Stability of the rate")] if rows else []


def with_interval(value: float, low: float, high: float) -> str:
    """`1.2 (0.9 to 1.6)`, `12,300 (9,870 to 16,000)`."""
    value_text, low_text, high_text = (significant(each, 3) for each in (value, low, high))
    return f"{value_text}{NARROW}({low_text}{NARROW}to{NARROW}{high_text})"


def _rate(record: Mapping[str, Any], kind: str) -> str:
    return with_interval(*(record[f"{kind}_{end}"] for end in ("khz", "low", "high")))


def _correlated(record: Mapping[str, Any], kind: str) -> str:
    reason = record.get(f"{kind}_reason")
    return reason or with_interval(*(record[f"{kind}{end}"] for end in ("", "_low", "_high")))


def _separated(record: Mapping[str, Any]) -> list[str]:
    return [f"{record['auc']:.3f}{NARROW}±{NARROW}{record['auc_error']:.3f}",
            DASH if not record["sic"] else f"{record['sic']:.3g}"]  # fmt: skip


def _kept(record: Mapping[str, Any]) -> str:
    value, low, high = (f"{100 * record[end]:.3g}" for end in ("value", "low", "high"))
    return f"{value}%{_mark(record)}{NARROW}({low}{NARROW}to{NARROW}{high})"


def _mark(record: Mapping[str, Any]) -> str:
    """What a reader must know of the rate."""
    return "*" if not record["measured"] else "†" if record["achieved_khz"] < TIED * record["rate_khz"] else ""


def _gained(record: Mapping[str, Any]) -> str:
    if record["value"] is None:
        return record["reason"]
    text = f"+{100 * record['value']:.3g}%{_mark(record)}"
    if record["low"] is None:
        return text
    low, high = (f"{100 * record[end]:.3g}" for end in ("low", "high"))
    return f"{text}{NARROW}({low}{NARROW}to{NARROW}{high})"
