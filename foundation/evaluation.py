"""Scores of a split -> metrics.json, predictions as Parquet and ROOT, and the field's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax

from foundation import metrics, plots
from foundation.store import Store
from foundation.tables import row_columns, write_table


def evaluate_split(
    folder: Path,
    store: Store,
    split: str,
    outputs: Float[np.ndarray, "n O"],
    targets: Int[np.ndarray, " n"] | None,
    classes: Sequence[str],
    regressions: Sequence[str],
) -> dict[str, Any]:
    """Measures a tagger's outputs on a split and writes predictions and plots into `folder`.

    Args:
        outputs: logits of `classes`, then the values of `regressions`, one row per row of the split.
        targets: true classes, -1 where unknown or left out of the task; None without a class task.
        regressions: names of labels of kind regression.

    Returns:
        The figures: `foundation.metrics.classification` of the classes, and `foundation.metrics.regression` by name.

    Raises:
        DataError: outputs that are not finite, or no labelled example.
    """
    found: dict[str, Any] = {"split": split, "rows": len(outputs)}
    columns = row_columns(store, split)
    if targets is not None:
        scores = softmax(outputs[:, : len(classes)].astype(np.float64), axis=1)
        found |= metrics.classification(targets, scores, classes)
        columns |= {f"score_{name}": scores[:, i].astype(np.float32) for i, name in enumerate(classes)}
        _draw(folder, targets, scores, classes, np.asarray(found["confusion"]))
    for i, name in enumerate(regressions):
        values = outputs[:, len(classes) + i]
        found[name] = metrics.regression(store.labels(split, name), values)
        columns[f"predicted_{name}"] = values.astype(np.float32)
    write_table(folder, "predictions", columns)
    return found


def _draw(
    folder: Path,
    targets: Int[np.ndarray, " n"],
    scores: Float[np.ndarray, "n C"],
    classes: Sequence[str],
    confusion: Float[np.ndarray, "C C"],
) -> None:
    known = targets >= 0
    curves = {}
    for i, name in enumerate(classes):
        signal = targets[known] == i
        if signal.any() and not signal.all():
            curves[name] = metrics.roc(signal, scores[known, i])
    plots.save(plots.roc_curves(curves), folder / "roc.png")
    plots.save(plots.confusion(confusion, classes), folder / "confusion.png")
