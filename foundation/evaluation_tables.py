"""What an evaluation found, as tables for the report: pairs, calibration, sculpting, shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foundation.page import Settings, Table

BLOCKS = ("auc_ovo_pairs", "pairs", "answers", "calibration", "sculpting", "dependence", "shift")  # shown here
NARROW = "\u00a0"  # no line break within an interval
SILENT = ("classes", "intervals", "bins", "confusion", "reasons")  # shown beside another figure, or as a picture


def evaluation_tables(values: Mapping[str, Any], caption: str = "") -> list[Table | Settings]:
    """Tables of the `BLOCKS` that an evaluation's figures have; `caption` names whose they are."""
    after = f" ({caption})" if caption else ""
    tables: list[Table | Settings] = []
    if values.get("answers"):
        tables.append(_records(values["answers"], f"Answers{after}"))
    if values.get("pairs"):
        tables.append(_pairs(values["pairs"], after))
    if len(values.get("auc_ovo_pairs") or []) > 1:
        tables.append(_matrix(values["auc_ovo_pairs"], values["classes"], after))
    if isinstance(values.get("calibration"), Mapping):
        tables.append(_calibration(values["calibration"], after))
    if any(isinstance(each, list) for each in _mapping(values, "sculpting").values()):
        tables.append(_sculpting(values["sculpting"], after))
    if _mapping(values, "shift"):
        tables += _shift(values["shift"])
    return tables


def with_interval(value: Any, interval: Any) -> Any:
    """`0.9122 (0.905 to 0.918)`; the value alone where there is no interval."""
    if not isinstance(value, float) or not isinstance(interval, Sequence):
        return value
    return f"{value:.4f} ({interval[0]:.3f}{NARROW}to{NARROW}{interval[1]:.3f})"


def rejection_text(found: Mapping[str, Any]) -> str:
    """`152 ± 88 (93 to 448)`: the binomial error of the background alone, then the bootstrap interval."""
    if found["value"] is None:
        return str(found["reason"])
    text = f"{significant(found['value'], 3)}{NARROW}±{NARROW}{significant(found['error'], 2)}"
    if found.get("low") is None:
        return text
    high = "∞" if found["high"] is None else significant(found["high"], 3)
    return f"{text} ({significant(found['low'], 3)}{NARROW}to{NARROW}{high})"


def significant(value: float, digits: int) -> str:
    """So many significant digits, without an exponent where the number is large."""
    return f"{float(f'{value:.{digits}g}'):,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def _mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _pairs(pairs: Sequence[Mapping[str, Any]], after: str) -> Table:
    points = [r["signal_efficiency"] for r in next((p["rejection"] for p in pairs if p.get("rejection")), [])]
    rows = []
    for pair in pairs:
        area = with_interval(pair["auc"], [pair["low"], pair["high"]] if "low" in pair else None)
        area = f"– ({pair['reason']})" if pair["auc"] is None else area
        rejections = [rejection_text(r) for r in pair.get("rejection", [])]
        rejections += [""] * (len(points) - len(rejections))
        rows.append([pair["signal"], pair["background"], pair["examples"], area, *rejections])
    header = ["signal", "background", "examples", "AUC", *(f"1/εB at εS = {p:g}" for p in points)]
    return Table(header, rows, f"One class against one{after}: P(signal) / (P(signal) + P(background))")


def _matrix(pairs: Sequence[Mapping[str, Any]], classes: Sequence[str], after: str) -> Table:
    areas = {(p["first"], p["second"]): round(p["auc"], 4) for p in pairs}
    rows = [
        [first, *(areas.get((first, second), areas.get((second, first))) for second in classes)] for first in classes
    ]
    return Table(["", *classes], rows, f"AUC of each pair of classes{after}")


def _calibration(found: Mapping[str, Any], after: str) -> Table:
    names = {"raw": "as it is", "calibrated": f"temperature {found['temperature'] or 1:.3g}"}
    keys = ("ece", "ece_of_statistics", "nll", "brier")
    rows = [[text, *(found[name][key] for key in keys)] for name, text in names.items() if name in found]
    where = f"fitted on {found['fitted_on']}" if "calibrated" in found else f"no temperature: {found['fitted_on']}"
    header = ["probabilities", "calibration error", "of statistics alone", "negative log-likelihood", "Brier score"]
    return Table(header, rows, f"Calibration{after}, {where}")


def _sculpting(found: Mapping[str, Any], after: str) -> Table:
    each = {name: records for name, records in found.items() if isinstance(records, list)}
    points = [r["signal_efficiency"] for r in next(iter(each.values()))]
    rows = [[name, *(_divergence(r) for r in records)] for name, records in each.items()]
    caption = f"Sculpting of {found['mass']}{after}: 1/JSD of background that passes against that which fails"
    return Table(["signal", *(f"at εS = {p:g}" for p in points)], rows, f"{caption} (of a random cut)")


def _divergence(record: Mapping[str, Any]) -> str | None:
    if record["inverse_jsd"] is None:
        return f"– ({record['background']} left)"
    return f"{significant(record['inverse_jsd'], 3)}{NARROW}({significant(1 / record['jsd_of_statistics'], 3)})"


def _shift(found: Mapping[str, Any]) -> list[Table | Settings]:
    tables: list[Table | Settings] = [
        Settings({k: v for k, v in found.items() if not isinstance(v, (list, Mapping))}, "Shift between two stores")
    ]
    if _mapping(found, "embedding"):
        tables.append(Settings(found["embedding"], "Shift of the embedding"))
    if found.get("performance"):
        tables.append(_records(found["performance"], "What the model loses"))
    if found.get("scores"):
        tables.append(_records(found["scores"], "Shift of the scores"))
    return [*tables, _records(found["features"], "Shift of the inputs, the largest first")]


def _records(records: Sequence[Mapping[str, Any]], caption: str) -> Table:
    header = list(dict.fromkeys(key for record in records for key in record))
    rows = [[record.get(key) for key in header] for record in records]
    return Table([key.replace("_", " ") for key in header], rows, caption)
