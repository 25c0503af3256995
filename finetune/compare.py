"""`detfm compare`: evaluations of several models on the same rows, side by side, with paired differences.

Axes: N objects (examples, tokens or pairs of tokens), C classes, R replicas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.table import Table

from finetune.evaluated import Evaluated, check_same, open_evaluation
from foundation import metrics, plots
from foundation.command import Command
from foundation.errors import ConfigError
from foundation.evaluation_classes import BAND
from foundation.evaluation_tables import significant
from foundation.metrics_bootstrap import Bootstrap
from foundation.metrics_pairs import stated_pairs
from foundation.progress import console
from foundation.runs import Run


@dataclass(frozen=True)
class CompareConfig:
    """What to compare.

    Attributes:
        names: of the models, in the order of the runs; empty: the folders' names.
        signal: classes whose ROC curves are drawn; empty: every one (of two classes: the second).
        background: classes to tell `signal` from, each; empty: all others together.
        efficiencies: signal efficiencies at which the background efficiencies are compared.
        replicas: of the bootstrap.
        confidence: share of the replicas inside an interval.
        seed: of the replicas.
    """

    names: tuple[str, ...] = ()
    signal: tuple[str, ...] = ()
    background: tuple[str, ...] = ()
    efficiencies: tuple[float, ...] = (0.5,)
    replicas: int = 500
    confidence: float = 0.95
    seed: int = 0


Values = dict[str, tuple[float, Float[np.ndarray, " R"]]]  # figure -> its value, and that of each replica


def compare(paths: Sequence[str | Path], *, cfg: CompareConfig, out: str | Path, overwrite: bool = False) -> Run:
    """Writes metrics.json, compare.md and roc.png of evaluations made on the same rows.

    Raises:
        RunError: a run is no evaluation (says how to make one), or they are of other rows or classes.
        ConfigError: fewer than two runs, or a class that is not there.
    """
    if len(paths) < 2:
        raise ConfigError(f"a comparison needs two runs or more; {len(paths)} given")
    runs = [open_evaluation(Path(path)) for path in paths]
    found = [Evaluated.read(run, name) for run, name in zip(runs, _names(runs, cfg.names))]
    first, rows = found[0], int(found[0].columns["row"].max(initial=-1)) + 1
    for run, other in zip(runs[1:], found[1:]):
        check_same(runs[0], first, run, other)
    bootstrap = Bootstrap(rows, cfg.replicas, cfg.seed, cfg.confidence)
    curves = list(_discriminants(first, cfg)) if first.classes else []
    written = Run.create(
        out,
        "compare",
        config=cfg,
        schema=runs[0].schema,
        inputs={f"run_{i}": run.path for i, run in enumerate(runs)},
        seeds={"bootstrap": cfg.seed},
        overwrite=overwrite,
    )
    records = _records([each.name for each in found], [_values(each, bootstrap, cfg) for each in found], bootstrap)
    for i, pair in enumerate(curves):
        _draw(
            written.path / ("roc.png" if i == 0 else f"roc_{'_'.join(filter(None, pair))}.png"), found, pair, bootstrap
        )
    text = _markdown(runs, [each.name for each in found], records, cfg, len(first.columns["row"]))
    (written.path / "compare.md").write_text(text)
    what = {"split": runs[0].read("metrics.json")["split"], "rows": rows, "objects": len(first.columns["row"])}
    written.write("metrics.json", what | {"confidence": cfg.confidence, "comparison": records})
    console.print(_table([each.name for each in found], records, f"{written.path}: {rows:,} rows"))
    return written


def _names(runs: Sequence[Run], given: Sequence[str]) -> list[str]:
    if given and len(given) != len(runs):
        raise ConfigError(f"cfg.names: {len(given)} names for {len(runs)} runs")
    names = list(given) or [run.path.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [f"{name} ({i + 1})" for i, name in enumerate(names)]


def _discriminants(first: Evaluated, cfg: CompareConfig) -> Iterator[tuple[str, str]]:
    """Signal and background; no background: all other classes."""
    pairs = stated_pairs(cfg.signal, cfg.background, first.classes)
    if cfg.background:
        yield from pairs
    else:
        yield from (
            (name, "") for name in cfg.signal or (first.classes[-1:] if len(first.classes) == 2 else first.classes)
        )


def _separation(each: Evaluated, pair: tuple[str, str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the objects that take part: whether signal, score, row."""
    s, targets = each.classes.index(pair[0]), each.targets
    if targets.ndim == 2:
        used = targets[:, s] >= 0
        return targets[used, s] == 1, each.scores[used, s], each.columns["row"][used]
    if not pair[1]:
        used = targets >= 0
        return targets[used] == s, each.scores[used, s], each.columns["row"][used]
    used = (targets == s) | (targets == each.classes.index(pair[1]))
    score = metrics.discriminant(each.scores[used], each.classes, [pair[0]], [pair[1]])
    return targets[used] == s, score, each.columns["row"][used]


def _values(each: Evaluated, bootstrap: Bootstrap, cfg: CompareConfig) -> Values:
    found: Values = {}
    if each.classes:
        known = each.targets >= 0
        if each.targets.ndim == 1:
            hits, rows = each.scores.argmax(axis=1)[known] == each.targets[known], each.columns["row"][known]
        else:
            hits = ((each.scores >= 0.5) == (each.targets == 1))[known]
            rows = np.broadcast_to(each.columns["row"][:, None], known.shape)[known]
        found["accuracy"] = (float(hits.mean()), bootstrap.means(hits, rows))
        found |= _areas(each, bootstrap, cfg)
    for column in (c for c in each.columns if c.startswith("predicted_") and f"label_{c[10:]}" in each.columns):
        true, name = each.columns[f"label_{column[10:]}"], column[10:]
        usable = np.isfinite(true) & (true != 0)
        if usable.any():
            ratio = each.columns[column][usable] / true[usable]
            found |= _response(name, ratio.astype(np.float64), each.columns["row"][usable], bootstrap)
    return found


def _areas(each: Evaluated, bootstrap: Bootstrap, cfg: CompareConfig) -> Values:
    found: Values = {}
    pairs = [(name, "") for name in each.classes]
    pairs += stated_pairs(cfg.signal, cfg.background, each.classes) if cfg.background else []
    for pair in pairs:
        signal, score, rows = _separation(each, pair)
        if not signal.any() or signal.all():
            continue
        name, curve = " against ".join(filter(None, pair)), metrics.roc(signal, score)
        area, at = bootstrap.areas(signal, score, rows, np.asarray(cfg.efficiencies))
        found[f"auc/{name}"] = (curve.auc, area)
        for k, efficiency in enumerate(cfg.efficiencies):
            found[f"background efficiency/{name} at {efficiency:g}"] = (curve.at(efficiency), at[:, k])
    own = [found[f"auc/{name}"] for name in each.classes if f"auc/{name}" in found]
    if own:
        found = {"auc": (float(np.mean([a for a, _ in own])), np.mean([r for _, r in own], axis=0))} | found
    return found


def _response(name: str, ratio: np.ndarray, rows: np.ndarray, bootstrap: Bootstrap) -> Values:
    levels = ((1 - metrics.ONE_SIGMA) / 2, 0.5, (1 + metrics.ONE_SIGMA) / 2)
    low, median, high = metrics.weighted_quantiles(ratio, levels, np.ones(len(ratio)))
    replicas = bootstrap.quantiles(ratio, rows, np.asarray(levels))
    return {
        f"{name}: response": (median, replicas[:, 1]),
        f"{name}: resolution": ((high - low) / 2, (replicas[:, 2] - replicas[:, 0]) / 2),
    }


def _records(names: Sequence[str], found: Sequence[Values], bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """One per figure and model: value and interval; of all but the first the difference from it, replica by replica."""
    records = []
    for figure, (reference, base) in found[0].items():
        for i, (name, values) in enumerate(zip(names, found)):
            value, replicas = values[figure]
            record: dict[str, Any] = {"figure": figure, "model": name, "value": value}
            record |= _ends("", bootstrap.interval(replicas))
            if i:
                record["difference"] = value - reference
                record |= _ends("difference_", bootstrap.interval(replicas - base))
            records.append(record)
    return records


def _ends(prefix: str, interval: list[float] | None) -> dict[str, float]:
    return {} if interval is None else {f"{prefix}low": interval[0], f"{prefix}high": interval[1]}


def _draw(path: Path, found: Sequence[Evaluated], pair: tuple[str, str], bootstrap: Bootstrap) -> None:
    curves, bands = {}, dict[str, plots.Band]()
    for each in found:
        signal, score, rows = _separation(each, pair)
        if not signal.any() or signal.all():
            return
        curves[each.name] = metrics.roc(signal, score)
        bands |= bootstrap.band(each.name, BAND, bootstrap.areas(signal, score, rows, BAND)[1])
    picture = plots.roc_curves(curves, "", pair[0], pair[1] or "all others", bands)
    plots.save(picture, path)


def _cells(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Per figure the text of each model; `*` where the interval of the difference from the first excludes 0."""
    for figure in dict.fromkeys(record["figure"] for record in records):
        own = {record["model"]: record for record in records if record["figure"] == figure}
        yield figure, [_cell(own[name]) for name in names]


def _cell(record: Mapping[str, Any]) -> str:
    text = f"{record['value']:.4f}"
    if "low" in record:
        text += f" ({record['low']:.4f} to {record['high']:.4f})"
    if "difference_low" not in record:
        return text
    low, high = record["difference_low"], record["difference_high"]
    sure = " *" if low > 0 or high < 0 else ""
    return f"{text}; {record['difference']:+.4f} ({low:+.4f} to {high:+.4f}){sure}"


def _markdown(
    runs: Sequence[Run], names: Sequence[str], records: Sequence[Mapping[str, Any]], cfg: CompareConfig, objects: int
) -> str:
    split, store = runs[0].read("metrics.json")["split"], runs[0].input("store").resolve()
    lines = [
        "# Comparison",
        "",
        f"On the same {objects:,} predictions for '{split}' of `{store}`. In brackets: "
        f"{significant(100 * cfg.confidence, 3)} % intervals of {cfg.replicas} bootstrap replicas. "
        f"After the semicolon: difference from {names[0]}, replica by replica on the same rows; "
        "* where its interval excludes 0.",
        "",
        "| figure | " + " | ".join(names) + " |",
        "| --- |" + " --- |" * len(names),
    ]
    lines += [f"| {figure} | " + " | ".join(cells) + " |" for figure, cells in _cells(records, names)]
    lines += ["", *(f"- {name}: `{run.path}`" for name, run in zip(names, runs))]
    return "\n".join([*lines, ""])


def _table(names: Sequence[str], records: Sequence[Mapping[str, Any]], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("figure", *names):
        table.add_column(heading)
    for figure, cells in _cells(records, names):
        table.add_row(figure, *(cell.replace("; ", "\n") for cell in cells))
    return table


COMMAND = Command(
    run=lambda args: compare(args.runs, cfg=args.cfg, out=args.out, overwrite=args.overwrite),
    config=CompareConfig,
    arguments=lambda parser: (
        parser.add_argument(
            "runs", nargs="+", help="evaluate runs, of the same rows; the first is what others are compared with"
        ),
        parser.add_argument("--out", default="runs/compare", help="run folder to write"),
        parser.add_argument("--overwrite", action="store_true", help="replace a compare run at --out"),
    ),
    description="Puts evaluations side by side: table with intervals, ROC curves with bands, and differences from the "
    "first, replica by replica on the same rows. Example: detfm compare runs/evaluate-scratch runs/evaluate-finetuned "
    "--cfg.signal '[top]' --out runs/compare",
)
