"""Score tables as `detfm anomaly score` writes them, read for rates: only the columns that are needed.

Axes: n crossings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Num, Shaped

from finetune.anomaly.rates_config import RatesConfig
from foundation.errors import ConfigError, DataError, RunError, close_names
from foundation.quantities import USUAL
from foundation.runs import Run
from foundation.trigger.observables import BASELINES

STAGE = "anomaly_scores"
SCORE, WEIGHT, LABEL = "score", "weight", "label_"
ORIGIN = "number of the run"  # of each row; no name that a column can have
ENERGY = ("ht", "total_et")  # is it only measuring energy? the first of them is always compared with
DEPENDENCE = ("ht", "multiplicity", "total_et")
STABLE = ("label_period", "year", "run", "lumi")


@dataclass(frozen=True)
class Crossings:
    """Some of the crossings.

    Attributes:
        columns: name -> one value each.
        weights: how many crossings each stands for.
        names: of the classes, of each `label_NAME`.
    """

    columns: dict[str, Shaped[np.ndarray, " n"]]
    weights: Float[np.ndarray, " n"]
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def score(self) -> Num[np.ndarray, " n"]:
        return self.columns[SCORE]

    def where(self, chosen: Bool[np.ndarray, " n"]) -> Crossings:
        return Crossings({n: c[chosen] for n, c in self.columns.items()}, self.weights[chosen], self.names)


@dataclass(frozen=True)
class Scored:
    """Zero bias and signals.

    Attributes:
        background: zero-bias crossings.
        signals: class -> its crossings.
        baselines: columns that the score is compared with.
        dependence: columns whose correlation with the score is given.
        stability: columns that the rate is divided by -> bin edges.
        notes: in words, what was left out.
    """

    background: Crossings
    signals: dict[str, Crossings]
    baselines: tuple[str, ...]
    dependence: tuple[str, ...]
    stability: dict[str, list[float]]
    notes: tuple[str, ...]


def read_scores(runs: Sequence[Run], cfg: RatesConfig) -> Scored:
    """The rows of all runs together, divided into zero bias and signals.

    Raises:
        RunError: a run has no such table, or the runs are of different models.
        ConfigError: a column, label or class is not there.
        DataError: no zero-bias crossing, or a baseline is NaN somewhere.
    """
    _check_one_model(runs)
    paths = [_table(run, cfg.split) for run in runs]
    known = sorted(set.intersection(*(set(pq.read_schema(path).names) for path in paths)))
    baselines, dependence, stability = _chosen(known, cfg)
    labels = [LABEL + label for label in (cfg.background.label, *cfg.only) if label]
    wanted = dict.fromkeys((SCORE, *baselines, *dependence, *stability, *cfg.menu.columns(), *labels))
    for name in wanted:
        if name not in known:
            where = ", ".join(str(run.path) for run in runs)
            raise ConfigError(f"the scores of {where} have no column '{name}'; {close_names(name, known)}")
    whole = _together(runs, paths, list(wanted))
    for label, classes in cfg.only.items():
        whole = whole.where(_of_classes(whole, label, classes))
    whole, notes = _without_nan(whole)
    background, signals = _divided(whole, cfg)
    if any(path.stem == "train" for path in paths):
        notes.append("rows of 'train' are among these: a model is more at home with what it was trained on")
    several = len(np.unique(background.columns[ORIGIN]))
    if several > 1:
        notes.append(f"zero bias comes from {several} runs: their weights must have one factor in common")
    return Scored(background, signals, baselines, dependence, stability, tuple(notes))


def _chosen(known: Sequence[str], cfg: RatesConfig) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, list[float]]]:
    """Baselines, quantities of the dependence, and what the rate is divided by."""
    energy = tuple(n for n in ENERGY if n in known)[:1]
    baselines = tuple(dict.fromkeys((*energy, *(cfg.baselines or (n for n in BASELINES if n in known)))))
    pileup = tuple(n for n in known if USUAL.search(n) and not _is_momentum(n))
    dependence = cfg.dependence or (*(n for n in DEPENDENCE if n in known), *pileup)
    return baselines, dependence, cfg.stability or {n: [] for n in (*STABLE, *pileup) if n in known}


def _is_momentum(name: str) -> bool:
    return any(part in ("pt", "eta") for part in name.lower().split("_"))


def _check_one_model(runs: Sequence[Run]) -> None:
    models = {run.provenance["inputs"].get("model", {}).get("sha256") for run in runs}
    if len(models) > 1:
        listed = ", ".join(str(run.path) for run in runs)
        raise RunError(f"{listed} are scores of different models; give those of one, and compare the reports")


def _table(run: Run, split: str) -> Path:
    there = sorted(path.stem for path in run.path.glob("*.parquet"))
    chosen = split or ("test" if "test" in there else there[0] if len(there) == 1 else "")
    if chosen not in there:
        asked = f"no table '{chosen}'" if chosen else "several tables, and none is 'test': set cfg.split"
        raise RunError(f"{run.path} has {asked}; there is {', '.join(there) or 'none'}")
    return run.path / f"{chosen}.parquet"


def _together(runs: Sequence[Run], paths: Sequence[Path], wanted: Sequence[str]) -> Crossings:
    """All rows, with weight 1 where a table has none; classes are numbered anew where the runs' schemas differ."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*wanted, WEIGHT, ORIGIN)}
    names: dict[str, dict[str, int]] = {name: {} for name in wanted if name.startswith(LABEL)}
    for number, (run, path) in enumerate(zip(runs, paths)):
        weighted = WEIGHT in pq.read_schema(path).names
        table = pq.read_table(path, columns=[*wanted, *([WEIGHT] if weighted else [])])
        for name in wanted:
            values = table[name].to_numpy()
            if name in names and run.schema.labels[name.removeprefix(LABEL)].kind == "class":
                own = names[name]
                numbers = [own.setdefault(c, len(own)) for c in run.schema.class_names(name.removeprefix(LABEL))]
                values = np.append(np.asarray(numbers), -1)[values]
            parts[name].append(values)
        parts[WEIGHT].append(table[WEIGHT].to_numpy() if weighted else np.ones(len(table)))
        parts[ORIGIN].append(np.full(len(table), number))
    columns = {name: np.concatenate(found) for name, found in parts.items()}
    weights = columns.pop(WEIGHT).astype(np.float64)
    return Crossings(columns, weights, {name: tuple(found) for name, found in names.items() if found})


def _without_nan(whole: Crossings) -> tuple[Crossings, list[str]]:
    bad = ~np.isfinite(whole.score)
    if not bad.any():
        return whole, []
    note = f"{int(bad.sum()):,} of {len(bad):,} crossings have a score that is NaN or infinite: left out, and "
    return whole.where(~bad), [note + "a trigger would have to say what it does with them"]


def _of_classes(whole: Crossings, label: str, classes: Sequence[str]) -> Bool[np.ndarray, " n"]:
    names = whole.names.get(LABEL + label, ())
    for name in classes:
        if name not in names:
            raise ConfigError(f"label '{label}' has no class '{name}'; {close_names(name, names)}")
    return np.isin(whole.columns[LABEL + label], [names.index(name) for name in classes])


def _divided(whole: Crossings, cfg: RatesConfig) -> tuple[Crossings, dict[str, Crossings]]:
    label, classes = cfg.background.label, cfg.background.classes
    background = _of_classes(whole, label, classes) if label else np.ones(len(whole.score), bool)
    if not background.any():
        raise DataError(f"no crossing with a score is of {label} {list(classes)}: no rate to measure")
    if not label:
        return whole, {}
    others = cfg.signals or tuple(name for name in whole.names.get(LABEL + label, ()) if name not in classes)
    signals = {name: whole.where(_of_classes(whole, label, [name])) for name in others}
    return whole.where(background), {name: each for name, each in signals.items() if len(each.score)}
