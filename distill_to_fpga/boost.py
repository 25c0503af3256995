"""Growing a student of trees: xgboost on hardware integers, distilled from the teacher's outputs.

Axes: B examples, N tokens, F features, O outputs.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.lower import count_luts
from distill_to_fpga.objective import DistillConfig, Examples
from distill_to_fpga.students import Student
from distill_to_fpga.students.settings import TreesConfig
from distill_to_fpga.students.trees import Trees
from foundation.errors import ConfigError, DataError, missing_extra

EXACT = 1 << 24  # xgboost keeps inputs in float32


def grow(
    student: Student, config: DistillConfig, train: Examples, layout: HardwareLayout, seed: int
) -> tuple[Student, dict[str, float]]:
    """A student of trees grown on `train`, and a record of it.

    Where there is a teacher, each logit (less their mean) is regressed, else the labels are learnt with the
    cross-entropy; regression outputs are regressed. Under a budget the last rounds are left out as far as need be.

    Raises:
        ConfigError: a budget in EBOPs, of which trees have none, or in LUTs that not even the first round meets.
        DataError: inputs that float32 does not hold.
        ToolError: xgboost is not installed.
    """
    if config.ebops_budget is not None:
        raise ConfigError("trees multiply nothing: set distill.lut_budget and no ebops_budget")
    integers = np.asarray(train.integers)
    if np.abs(integers).max() >= EXACT:
        raise DataError(f"inputs reach {np.abs(integers).max()}; trees are grown on integers below 2^24")
    grown = nnx.clone(student)
    for place, booster, mean in _boosters(student, train, seed):
        _fill(grown.layers[0], place, booster, mean)
    rounds = student.config.trees.rounds
    if config.lut_budget is not None and student.config.quantized:
        grown, rounds = _within(grown, layout, config.lut_budget)
    return grown, {"step": float(rounds)}


def _boosters(student: Student, train: Examples, seed: int) -> list[tuple[slice, Any, float]]:
    """Outputs, the booster that makes them, and what is added to each of them."""
    count = len(student.classes)
    found: list[tuple[slice, Any, float]] = []
    if count and train.teacher is None:
        labels = np.asarray(train.labels)
        objective = {"objective": "multi:softprob", "num_class": count, "base_score": 0.0}
        found.append((slice(0, count), _boosted(student, train, labels, labels >= 0, objective, seed), 0.0))
    targets = list(_centred(np.asarray(train.teacher)).T) if count and train.teacher is not None else []
    targets += [] if train.targets is None else list(np.asarray(train.targets).T)
    first = count + len(student.regressions) - len(targets)
    for place, target in enumerate(targets, first):
        known = np.isfinite(target)
        weights = None if train.weights is None else np.asarray(train.weights)[known]
        mean = float(np.average(target[known], weights=weights)) if known.any() else 0.0
        objective = {"objective": "reg:squarederror", "base_score": 0.0}
        found.append((slice(place, place + 1), _boosted(student, train, target - mean, known, objective, seed), mean))
    return found


def _centred(logits: Float[np.ndarray, "B C"]) -> Float[np.ndarray, "B C"]:
    """What is common to all logits says nothing."""
    return logits - logits.mean(1, keepdims=True)


def _boosted(
    student: Student, train: Examples, target: np.ndarray, known: np.ndarray, objective: dict[str, Any], seed: int
) -> Any:
    try:
        import xgboost
    except ImportError as error:
        raise missing_extra("xgboost-cpu", "trees", "a student of trees") from error
    rows = np.asarray(train.integers)[known]
    weights = None if train.weights is None else np.asarray(train.weights)[known]
    data = xgboost.DMatrix(rows.reshape(len(rows), -1).astype(np.float32), label=target[known], weight=weights)
    return xgboost.train(parameters(student.config.trees, seed) | objective, data, student.config.trees.rounds)


def parameters(config: TreesConfig, seed: int) -> dict[str, Any]:
    """Of xgboost; one thread, as other numbers change the last digits."""
    return {
        "max_depth": config.depth,
        "eta": config.learning_rate,
        "min_child_weight": config.leaf_weight,
        "lambda": config.l2,
        "max_bin": config.bins,
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
        "verbosity": 0,
    }


def _fill(layer: Trees, place: slice, booster: Any, mean: float) -> None:
    """Puts a booster's trees into the outputs `place`; `mean` goes into the leaves of their first trees."""
    model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]
    feature, threshold, leaves = (np.array(v[...]) for v in (layer.feature, layer.threshold, layer.leaves))
    seen = [0] * len(range(*place.indices(len(leaves))))
    for tree, group in zip(model["trees"], model["tree_info"]):
        at = (place.start + group, seen[group])
        values = _complete(tree, feature[at], threshold[at])
        leaves[at] = integer_leaves(values + (mean if seen[group] == 0 else 0.0), layer.fraction)
        seen[group] += 1
    layer.feature[...], layer.threshold[...], layer.leaves[...] = feature, threshold, leaves


def integer_leaves(values: Float[np.ndarray, "..."], fraction: int) -> Int[np.ndarray, "..."]:
    """Leaves rounded half up, in units of 2^-fraction."""
    return np.floor(values * 2.0**fraction + 0.5).astype(np.int32)


def _complete(tree: dict[str, Any], feature: np.ndarray, threshold: np.ndarray) -> Float[np.ndarray, " L"]:
    """Writes the inner nodes of one of xgboost's trees into those of a complete one; the values of its leaves.

    An integer is below a threshold if it is below the next integer from there. What lies below a leaf cuts as the root.
    """
    left, right, split = tree["left_children"], tree["right_children"], tree["split_conditions"]
    leaves, here = np.zeros(len(feature) + 1), [0]
    for node in range(2 * len(feature) + 1):
        source = here[node]
        if node >= len(feature):
            leaves[node - len(feature)] = split[source]
            continue
        inner = left[source] >= 0
        cut = source if inner else 0
        if left[cut] >= 0:
            feature[node], threshold[node] = tree["split_indices"][cut], int(np.ceil(split[cut]))
        here += [left[source], right[source]] if inner else [source, source]
    return leaves


def _within(student: Student, layout: HardwareLayout, budget: int) -> tuple[Student, int]:
    """The student with as many rounds as a budget in LUTs has room for."""

    def kept(rounds: int) -> Student:
        made = nnx.clone(student)
        made.layers[0].keep(rounds)
        return made

    low, high = 0, student.config.trees.rounds
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count_luts(kept(middle), layout) <= budget else (low, middle - 1)
    if not low:
        raise ConfigError(f"one round of trees takes more than {budget} LUTs: lower student.trees.depth")
    return kept(low), low
