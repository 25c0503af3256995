"""Predictions of a split -> metrics.json, predictions as Parquet and ROOT, and the field's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from foundation import plots, plots_evaluation
from foundation.calibration import calibration, fit_temperature, probabilities
from foundation.errors import DataError
from foundation.evaluation_classes import measure_classes
from foundation.evaluation_config import EvaluateConfig
from foundation.evaluation_regression import measure_regression
from foundation.evaluation_tags import measure_tags
from foundation.metrics import check_finite
from foundation.metrics_bootstrap import Bootstrap
from foundation.metrics_pairs import stated_pairs
from foundation.predictions import Predictions
from foundation.quantities import Quantities
from foundation.store import Store
from foundation.tables import row_columns, write_table

EXCLUSIVE = ("class", "token_class")


@dataclass(frozen=True)
class Fitted:
    """A temperature fitted on predictions of other rows, or why there is none.

    Attributes:
        temperature: divides the logits; None where there is none.
        where: the rows it was fitted on, in words; or the reason.
        examples: how many.
    """

    temperature: float | None = None
    where: str = "no rows to fit a temperature on"
    examples: int = 0

    @staticmethod
    def of(found: Predictions, where: str) -> Fitted:
        known = int(np.sum(found.targets >= 0))
        if found.kind == "none" or not known:
            return Fitted(where=f"no labelled example in {where}")
        return Fitted(fit_temperature(found.logits, found.targets), where, known)


def check_settings(cfg: EvaluateConfig, store: Store, split: str, classes: Sequence[str]) -> None:
    """Refuses settings before anything is computed or written.

    Raises:
        ConfigError: a setting that cannot be, or that names what the model or the store does not have.
        DataError: no such split.
    """
    cfg.check()
    store.length(split)
    stated_pairs(cfg.signal, cfg.background, classes)
    Quantities(store, split).check([*cfg.bins, *([cfg.mass] if cfg.mass not in ("", "none") else [])])


def evaluate_predictions(
    folder: Path,
    store: Store,
    split: str,
    found: Predictions,
    cfg: EvaluateConfig | None = None,
    fitted: Fitted | None = None,
) -> dict[str, Any]:
    """Measures predictions of a split and writes `predictions` (Parquet, ROOT) and pictures into `folder`.

    Args:
        fitted: temperature of the calibration.

    Returns:
        The figures, as docs/evaluation.md lists them.

    Raises:
        DataError: predictions that are not finite, or no labelled example.
        ConfigError: a setting names what the model or the store does not have.
    """
    cfg, fitted = cfg or EvaluateConfig(), fitted or Fitted()
    check_settings(cfg, store, split, found.classes)
    check_finite(found.logits, "predictions")
    bootstrap = Bootstrap(store.length(split), cfg.replicas, cfg.seed, cfg.confidence)
    quantities = Quantities(store, split)
    result: dict[str, Any] = {"split": split, "rows": len(np.unique(found.rows)), "kind": found.kind}
    result["classes"] = list(found.classes)
    if found.kind != "none":
        scores = probabilities(found.logits, exclusive=found.kind in EXCLUSIVE)
        if found.kind in EXCLUSIVE:
            result |= measure_classes(folder, found, scores, cfg, bootstrap, quantities)
        else:
            result |= measure_tags(folder, found, scores, cfg, bootstrap)
        result["calibration"] = _calibration(folder, found, fitted)
    if found.regressions:
        result |= measure_regression(folder, found, cfg, quantities, example_rows(found, store, split))
    write_predictions(folder, store, split, found)
    return result


def _calibration(folder: Path, found: Predictions, fitted: Fitted) -> dict[str, Any]:
    result = calibration(found.logits, found.targets, fitted.temperature)
    plots.save(plots_evaluation.reliability(result), folder / "reliability.png")
    return result | {"fitted_on": fitted.where, "fitted_examples": fitted.examples}


def example_rows(found: Predictions, store: Store, split: str) -> Shaped[np.ndarray, " m"]:
    """The row of each thing that the regressions are of: the predicted objects, or the examples.

    Raises:
        DataError: neither as many as there are predictions nor as many as the split has rows.
    """
    lengths = {len(each.value) for each in found.regressions.values()}
    for rows in (found.rows, np.arange(store.length(split)), np.unique(found.rows)):
        if lengths == {len(rows)}:
            return rows
    raise DataError(f"regressions of {sorted(lengths)} examples do not fit the rows of split '{split}'")


def write_predictions(folder: Path, store: Store, split: str, found: Predictions) -> None:
    """`predictions`: one line per example, token or pair of tokens, with what ties it to the row of the input.

    Scores are the probabilities of the model as it is (uncalibrated). Regressions of examples beside tokens or pairs
    get a table of their own, `regressions`.
    """
    every = row_columns(store, split)
    columns = {name: values[found.rows] for name, values in every.items()} | _token_columns(found)
    if found.kind != "none":
        scores = probabilities(found.logits, exclusive=found.kind in EXCLUSIVE).astype(np.float32)
        columns["target"] = found.targets.astype(np.int32)
        columns |= {f"score_{name}": scores[:, i] for i, name in enumerate(found.classes)}
    values: dict[str, np.ndarray] = {}
    for name, each in found.regressions.items():
        values[f"predicted_{name}"] = each.value.astype(np.float32)
        levels = {f"predicted_{name}_q{100 * level:g}".replace(".", "p"): level for level in each.quantiles}
        values |= {column: each.quantiles[level].astype(np.float32) for column, level in levels.items()}
    rows = example_rows(found, store, split) if values else found.rows
    if rows is found.rows:
        write_table(folder, "predictions", columns | values)
        return
    write_table(folder, "predictions", columns)
    write_table(folder, "regressions", {name: each[rows] for name, each in every.items()} | values)


def _token_columns(found: Predictions) -> dict[str, np.ndarray]:
    if found.tokens is None:
        return {}
    tokens = found.tokens.astype(np.int32)
    return {"token": tokens} if tokens.ndim == 1 else {"token_a": tokens[:, 0], "token_b": tokens[:, 1]}
