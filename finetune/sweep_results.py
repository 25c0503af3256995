"""What a sweep found: its figures, their mean over the seeds, and how many labels a start is worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from finetune.sweep_points import ERROR, FINISHED, Point, is_finished
from foundation.command import find_preset
from foundation.errors import ConfigError, RunError, close_names
from foundation.runs import flatten

PUBLISHED = "sweep/published.yml"
REPLICAS = 1000


@dataclass(frozen=True)
class Metric:
    """A figure of `detfm evaluate`.

    Attributes:
        name: as in its metrics.json; dots lead into what is nested.
        at: signal efficiency, of a background rejection.
        lower: whether lower is better.
    """

    name: str
    at: float | None
    lower: bool

    @staticmethod
    def parse(text: str) -> Metric:
        """`auc`, `-ratio.resolution` or `rejection/top@0.5`. Raises ConfigError if what follows @ is no number."""
        name, _, at = text.removeprefix("-").partition("@")
        try:
            return Metric(name, float(at) if at else None, text.startswith("-"))
        except ValueError:
            raise ConfigError(f"metrics: '{text}': what follows @ must be a signal efficiency") from None

    @property
    def title(self) -> str:
        """For tables and axes."""
        return self.name if self.at is None else f"{self.name} at eps_S = {self.at:g}"

    def of(self, metrics: Mapping[str, Any]) -> float | None:
        """Its value, or None where it has none (a rejection that no background is left to measure).

        Raises:
            ConfigError: no figure of that name.
        """
        known = flatten(dict(metrics))
        if self.name not in known:
            numbers = [k for k, v in known.items() if isinstance(v, (int, float)) or k.startswith("rejection/")]
            raise ConfigError(f"metrics: the evaluation has no '{self.name}'; {close_names(self.name, numbers)}")
        value = known[self.name]
        if self.at is None:
            return None if value is None else float(value)
        points = value if isinstance(value, list) else []
        found = next((p for p in points if np.isclose(p["signal_efficiency"], self.at)), None)
        if found is None:
            raise ConfigError(f"metrics: '{self.name}' was not measured at {self.at:g}: set evaluate.efficiencies")
        return None if found["value"] is None else float(found["value"])


def arm(point: Point, modes: Sequence[str]) -> str:
    """What a point's curve is called."""
    return point.start if point.encoder is None or len(modes) == 1 else f"{point.start}, {point.mode}"


def rows_of(points: Sequence[Point], folder: Path, metrics: Sequence[Metric], modes: Sequence[str]) -> list[dict]:
    """One record for each point that has finished: arm, labels, seed, and its figures."""
    found = []
    for point in points:
        own = folder / point.name
        if not is_finished(own):
            continue
        figures = json.loads((own / "evaluate" / FINISHED).read_text())
        trained = json.loads((own / "finetune" / FINISHED).read_text())
        row = {"arm": arm(point, modes), "labels": int(trained["labels"]), "seed": point.seed}
        row |= {metric.title: metric.of(figures) for metric in metrics}
        found.append(row | {"parameters": trained.get("parameters"), "point": point.name})
    return found


def missing_of(points: Sequence[Point], folder: Path) -> dict[str, str]:
    """Points that have not finished, and why."""
    found = {}
    for point in points:
        own = folder / point.name
        if not is_finished(own):
            told = (own / ERROR).read_text().partition("\n\n")[0] if (own / ERROR).is_file() else "not finished"
            found[point.name] = told
    return found


def summary_of(rows: Sequence[Mapping[str, Any]], metric: Metric) -> list[dict[str, Any]]:
    """Mean, standard deviation, and range over the seeds of each arm and number of labels."""
    keys = list(dict.fromkeys((row["arm"], row["labels"]) for row in rows))
    found = []
    for name, labels in keys:
        here = [row[metric.title] for row in rows if (row["arm"], row["labels"]) == (name, labels)]
        values = [value for value in here if value is not None]
        if not values:
            continue
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        record = {"arm": name, "labels": labels, "seeds": len(values), "mean": float(np.mean(values)), "std": spread}
        found.append(record | {"lowest": min(values), "highest": max(values)})
    return found


def equivalent(
    labels: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"], value: float, lower: bool = False
) -> tuple[float, str]:
    """The number of labels at which a curve reaches a value.

    Linear in ln(labels) between the curve's points; where it falls with more labels it is taken as level, so that the
    answer is the fewest labels that do as well.

    Args:
        labels: ascending.
        values: of the curve there.

    Returns:
        The number; and `above` or `below` if it lies out of the curve's range, of which the number is then the end.
    """
    sign = -1.0 if lower else 1.0
    best, wanted, x = np.maximum.accumulate(sign * values), sign * value, np.log(labels)
    if wanted > best[-1]:
        return float(labels[-1]), "above"
    if wanted < best[0]:
        return float(labels[0]), "below"
    right = int(np.searchsorted(best, wanted))  # the first that is as good
    if right == 0:
        return float(labels[0]), ""
    share = (wanted - best[right - 1]) / (best[right] - best[right - 1])
    return float(np.exp(x[right - 1] + share * (x[right] - x[right - 1]))), ""


def label_efficiency(rows: Sequence[Mapping[str, Any]], metric: Metric, reference: str) -> list[dict[str, Any]]:
    """For each arm and number of labels, how many labels the reference needs to do as well.

    The interval holds 68% of samples of the seeds, drawn with replacement: the same for the arm and the reference,
    which have the same rows of one seed.
    """
    table: dict[tuple[str, int], dict[int, float]] = {}
    for row in rows:
        if row[metric.title] is not None:
            table.setdefault((row["arm"], row["labels"]), {})[row["seed"]] = row[metric.title]
    counts = np.array(sorted(n for name, n in table if name == reference), float)
    if len(counts) < 2:
        return []
    rng = np.random.default_rng(0)
    found = []
    for name, n in table:
        if name == reference:
            continue
        seeds = sorted(set.intersection(*(set(table[key]) for key in [(name, n), *((reference, c) for c in counts)])))
        if not seeds:
            continue
        own = np.array([table[name, n][s] for s in seeds])
        curve = np.array([[table[reference, int(c)][s] for s in seeds] for c in counts])
        number, where = equivalent(counts, curve.mean(axis=1), float(own.mean()), metric.lower)
        draws = rng.integers(len(seeds), size=(REPLICAS, len(seeds)))
        drawn = [equivalent(counts, curve[:, d].mean(axis=1), float(own[d].mean()), metric.lower)[0] for d in draws]
        low, high = np.percentile(drawn, [16, 84])
        record = {"arm": name, "labels": n, "seeds": len(seeds), "equal to": round(number), "out of range": where}
        record |= {"low": round(low), "high": round(high), "ratio": round(number / n, 2)}
        found.append(record | {"statement": _statement(record, reference, counts)})
    return found


def _statement(record: Mapping[str, Any], reference: str, counts: Float[np.ndarray, " n"]) -> str:
    start = f"{record['labels']:,} labels of {record['arm']}"
    if record["out of range"] == "above":
        return f"{start} do better than {counts[-1]:,.0f} labels of {reference}, the most that were tried"
    if record["out of range"] == "below":
        return f"{start} do worse than {counts[0]:,.0f} labels of {reference}, the fewest that were tried"
    interval = f" [{record['low']:,}, {record['high']:,}]" if record["seeds"] > 1 else ""
    return f"{start} equal {record['equal to']:,}{interval} labels of {reference}"


def published_figures(data_set: str, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Figures that others published for a data set and these metrics.

    Raises:
        ConfigError: a data set that the table does not know.
    """
    import yaml

    if not data_set:
        return []
    known = yaml.safe_load(find_preset(PUBLISHED).read_text())
    if data_set not in known:
        raise ConfigError(f"data_set: nothing is known of '{data_set}'; {close_names(data_set, known)}")
    entry = known[data_set]
    wanted = {metric.title for metric in metrics}
    rows = [{**row, "metric": Metric.parse(row["metric"]).title} for row in entry.get("figures") or []]
    return [{**row, "compare": entry["compare"]} for row in rows if row["metric"] in wanted]


def comparison(data_set: str, metrics: Sequence[Metric]) -> str:
    """What there is to say on the figures of others."""
    import yaml

    if not data_set:
        return "No data set is named (data_set), so no published figure is compared with."
    entry = yaml.safe_load(find_preset(PUBLISHED).read_text())[data_set]
    if not published_figures(data_set, metrics):
        return f"No verified figure is published for {data_set} and these metrics. {entry['compare']}".strip()
    return entry["compare"]


def refuse_missing(missing: Mapping[str, str], total: int) -> None:
    """Raises RunError naming the points that did not finish."""
    if missing:
        told = "\n  ".join(f"{name}: {why}" for name, why in list(missing.items())[:10])
        more = f"\n  and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise RunError(f"{len(missing)} of {total} points did not finish; the others are kept:\n  {told}{more}")
