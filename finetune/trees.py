"""A gradient-boosted tree (xgboost) on high-level observables: the field's other reference.

One booster of the classes and one per regression target, each saved as xgboost's own JSON, `tree_classes.json` and
`tree_target_NAME.json`. Axes: n rows, F observables, C classes, Q quantiles, O outputs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from finetune.task import Task, TaskConfig
from finetune.truth import learnable, scales
from foundation.errors import ConfigError, DataError, RunError, missing_extra
from foundation.high_level import HighLevelConfig, high_level
from foundation.store import Store

CLASSES = "classes"
SCALE = ("mean", "std")  # of a regression target: attributes of its booster


@dataclass(frozen=True)
class TreeConfig:
    """The boosted tree.

    Attributes:
        observables: what it sees.
        rounds: of boosting; the most there are with early stopping.
        early_stopping: stop when the loss on the split `val` has not fallen for so many rounds, and keep the best. 0:
            never, and no label of `val` is used.
        depth: largest depth of a tree.
        learning_rate: shrinks each round's trees.
        rows: fraction of the rows that a round sees.
        columns: fraction of the observables that a tree sees.
        leaf_weight: smallest weight (sum of second derivatives) of a leaf.
        l2: penalty on the values of the leaves.
        threads: of the processor, 0 for all of them; other numbers change the last digits.
    """

    observables: HighLevelConfig = field(default_factory=HighLevelConfig)
    rounds: int = 200
    early_stopping: int = 0
    depth: int = 4
    learning_rate: float = 0.05
    rows: float = 0.8
    columns: float = 0.5
    leaf_weight: float = 1.0
    l2: float = 1.0
    threads: int = 1

    def check(self) -> None:
        """Raises ConfigError for a setting out of range."""
        if self.rounds < 1 or self.depth < 1 or self.early_stopping < 0:
            raise ConfigError("tree.rounds and tree.depth are 1 or more, tree.early_stopping 0 or more")
        for name in ("rows", "columns", "learning_rate"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"tree.{name} lies between 0 and 1; it is {getattr(self, name)}")


@dataclass(frozen=True)
class Tree:
    """Boosters and what they were made for; a `finetune.predict.WholeSplit`.

    Attributes:
        task: of examples: one class each, regression, or both.
        observables: settings of what it sees.
        boosters: `classes` and `target_NAME` -> xgboost.Booster.
    """

    task: Task
    observables: HighLevelConfig
    boosters: dict[str, Any]

    def outputs(self, store: Store, split: str, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n O"]:
        """Logits of the classes, then every quantile (or the one value) of each regression target, in its unit.

        Raises:
            DataError: no such split, or the store has other observables than the tree learnt from.
        """
        names, values = high_level(store, split, self.observables, rows)
        found = [np.zeros((len(rows), 0), np.float32)]
        for name, booster in self.boosters.items():
            if tuple(booster.feature_names) != names:
                lacking = [each for each in booster.feature_names if each not in names]
                what = f"it lacks {', '.join(lacking[:4])}" if lacking else "it has more of them, or in another order"
                raise DataError(f"{store.path}: other observables than the tree learnt from: {what}")
            said = booster.predict(_matrix(names, values), output_margin=True)
            found.append(self._logits(said) if name == CLASSES else _in_units(booster, said.reshape(len(rows), -1)))
        return np.concatenate(found, axis=1)

    def _logits(self, margin: np.ndarray) -> Float[np.ndarray, "n C"]:
        """Of two classes xgboost gives the log-odds of the second."""
        return np.stack([np.zeros_like(margin), margin], axis=1) if margin.ndim == 1 else margin

    @property
    def rounds(self) -> dict[str, int]:
        """Rounds of boosting of each booster."""
        return {name: booster.num_boosted_rounds() for name, booster in self.boosters.items()}

    @property
    def nodes(self) -> int:
        """Cuts and leaves of all trees: what corresponds to parameters."""
        return sum(tree.count("\n") for booster in self.boosters.values() for tree in booster.get_dump())

    def importance(self) -> dict[str, float]:
        """Observable -> its share of what all cuts gained in loss, the largest first; those never used left out."""
        gains: Counter[str] = Counter()
        for booster in self.boosters.values():
            gain = booster.get_score(importance_type="total_gain")
            whole = sum(gain.values()) or 1.0
            gains.update({name: value / whole / len(self.boosters) for name, value in gain.items()})
        return dict(gains.most_common())


def check_tree(task: Task, config: TreeConfig, settings: TaskConfig) -> None:
    """Raises ConfigError: a tree cannot do this task."""
    config.check()
    if task.modality or task.kind not in ("class", "none"):
        what = f"{task.kind.replace('_', ' ')} label '{task.label}'" if task.label else f"labels {task.regression}"
        raise ConfigError(
            f"model 'tree' learns one class of each example and regression of examples; {what} is something else; "
            "take a network: model: encoder"
        )
    if settings.decorrelate.quantity:
        raise ConfigError("model 'tree' has no decorrelation; take a network, or leave out task.decorrelate.quantity")


def train_tree(
    store: Store, task: Task, rows: Int[np.ndarray, " n"], config: TreeConfig, settings: TaskConfig, seed: int
) -> Tree:
    """Boosters trained on `rows` of the split `train`; the same ones whenever seed and threads are.

    Raises:
        ConfigError: a tree cannot do this task.
        DataError: early stopping without labelled rows in `val`.
        ToolError: xgboost is not installed.
    """
    check_tree(task, config, settings)
    xgboost = _xgboost()
    weights = scales(store, task, settings, rows)
    chosen = {"train": rows, "val": _validation(store, task) if config.early_stopping else rows[:0]}
    seen = {split: high_level(store, split, config.observables, each) for split, each in chosen.items() if len(each)}
    boosters = {}
    for name, objective in _objectives(task):
        sets = []
        for split, (names, values) in seen.items():
            target, weight = _target(store, split, chosen[split], task, name, weights)
            sets.append((_matrix(names, values, label=target, weight=weight), split))
        parameters = _parameters(config, seed) | objective
        booster = xgboost.train(
            parameters,
            sets[0][0],
            num_boost_round=config.rounds,
            evals=sets[1:],
            early_stopping_rounds=config.early_stopping or None,
            verbose_eval=False,
        )
        if config.early_stopping:
            booster = booster[: booster.best_iteration + 1]
        if name != CLASSES:
            place = task.regression.index(name.removeprefix("target_"))
            scale = (weights["target_mean"][place], weights["target_std"][place])
            booster.set_attr(**dict(zip(SCALE, map(repr, map(float, scale)))))
        boosters[name] = booster
    return Tree(task, config.observables, boosters)


def save_tree(folder: Path, tree: Tree) -> None:
    """Writes `tree_NAME.json` of each booster and `importance.json`."""
    for name, booster in tree.boosters.items():
        booster.save_model(folder / f"tree_{name}.json")
    (folder / "importance.json").write_text(json.dumps(tree.importance(), indent=2) + "\n")


def load_tree(folder: Path, task: Task, config: TreeConfig) -> Tree:
    """Reads what `save_tree` wrote.

    Raises:
        RunError: a booster is missing or damaged: the run did not finish.
        ToolError: xgboost is not installed.
    """
    xgboost, boosters = _xgboost(), {}
    for name, _ in _objectives(task):
        path = folder / f"tree_{name}.json"
        if not path.is_file():
            raise RunError(
                f"{folder} has no {path.name}; the run did not finish, or another version wrote it: train again"
            )
        boosters[name] = xgboost.Booster()
        try:
            boosters[name].load_model(path)
        except xgboost.core.XGBoostError as error:
            raise RunError(f"{path}: damaged ({str(error).splitlines()[-1]}); train again") from error
    return Tree(task, config.observables, boosters)


def _objectives(task: Task) -> Iterator[tuple[str, dict[str, Any]]]:
    if len(task.classes) == 2:
        yield CLASSES, {"objective": "binary:logistic"}
    elif task.classes:
        yield CLASSES, {"objective": "multi:softprob", "num_class": len(task.classes)}
    for name in task.regression:
        if task.quantiles:
            yield f"target_{name}", {"objective": "reg:quantileerror", "quantile_alpha": list(task.quantiles)}
        else:  # Huber's loss, smoothed, of the standardised target: as the tagger's
            yield f"target_{name}", {"objective": "reg:pseudohubererror"}


def _parameters(config: TreeConfig, seed: int) -> dict[str, Any]:
    return {
        "max_depth": config.depth,
        "eta": config.learning_rate,
        "subsample": config.rows,
        "colsample_bytree": config.columns,
        "min_child_weight": config.leaf_weight,
        "lambda": config.l2,
        "tree_method": "hist",
        "nthread": config.threads,
        "seed": seed,
        "verbosity": 0,
    }


def _target(
    store: Store, split: str, rows: Int[np.ndarray, " n"], task: Task, name: str, known: Any
) -> tuple[np.ndarray, Float[np.ndarray, " n"]]:
    """Classes, or standardised values, and the weight of each row."""
    arrays = store.arrays(split)
    with arrays.rows(rows) as (shard, place):
        weight = np.asarray(arrays.gather("weights", shard, place), np.float64)
    if name == CLASSES:
        assert task.label is not None
        classes = task.targets(store.labels(split, task.label)[rows])
        return classes, weight * known["class_weights"][classes]
    place_of = task.regression.index(name.removeprefix("target_"))
    values = store.labels(split, task.regression[place_of])[rows].astype(np.float64)
    return (values - known["target_mean"][place_of]) / known["target_std"][place_of], weight


def _validation(store: Store, task: Task) -> Int[np.ndarray, " n"]:
    rows = np.flatnonzero(learnable(store, "val", task)) if "val" in store.splits else np.zeros(0, np.int64)
    if not len(rows):
        raise DataError(
            f"tree.early_stopping watches the split 'val', of which {store.path} has no labelled row; set "
            "tree.early_stopping to 0, or ingest with a larger share for 'val'"
        )
    return rows


def _in_units(booster: Any, said: Float[np.ndarray, "n Q"]) -> Float[np.ndarray, "n Q"]:
    """Quantiles are sorted: their trees do not know of each other."""
    mean, std = (float(booster.attr(name)) for name in SCALE)
    return np.sort(said, axis=1) * np.float32(std) + np.float32(mean)


def _matrix(names: tuple[str, ...], values: Float[np.ndarray, "n F"], **truth: np.ndarray) -> Any:
    return _xgboost().DMatrix(values, feature_names=list(names), **truth)


def _xgboost() -> Any:
    try:
        import xgboost
    except ImportError as error:
        raise missing_extra("xgboost-cpu", "trees", "a boosted tree") from error
    return xgboost
