"""Figures of yes-or-no predictions: multi-labels of examples or tokens, and pairs of tokens that belong together.

Axes: n predicted objects, C classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.metrics import average_precision_score

from foundation import metrics, plots
from foundation.errors import DataError
from foundation.evaluation_config import EvaluateConfig
from foundation.metrics_bootstrap import Bootstrap
from foundation.predictions import Predictions


def measure_tags(
    folder: Path, found: Predictions, scores: Float[np.ndarray, "n C"], cfg: EvaluateConfig, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Accuracy (at a probability of 1/2), AUC, average precision and rejections of each class; draws the ROC curves.

    Intervals draw whole examples: tokens and pairs of one example stay together.

    Returns:
        examples (objects with an answer), excluded, accuracy (of all answers), auc and average_precision (means over
        the classes that have both answers), `auc/CLASS`, `rejection/CLASS`, intervals, reasons, and `answers`: a record
        per class of yes, no, unknown, share of yes, accuracy, average_precision.

    Raises:
        DataError: no answer is known.
    """
    known = found.targets >= 0
    if not known.any():
        raise DataError(f"none of the {len(scores)} objects has a known answer; nothing can be evaluated")
    per_class: dict[str, Any] = {}
    intervals: dict[str, Any] = {"confidence": cfg.confidence, "replicas": cfg.replicas}
    answers, reasons, curves, areas = [], dict[str, str](), {}, []
    for i, name in enumerate(found.classes):
        seen = known[:, i]
        truth, score, rows = found.targets[seen, i] == 1, scores[seen, i], found.rows[seen]
        record: dict[str, Any] = {"class": name, "yes": int(truth.sum()), "no": int((~truth).sum())}
        record |= {"unknown": int((~seen).sum()), "accuracy": None, "average_precision": None}
        answers.append(record)
        if len(truth):
            record["accuracy"] = float(np.mean((score >= 0.5) == truth))
        if not truth.any() or truth.all():
            per_class[f"auc/{name}"] = None
            reasons[f"auc/{name}"] = f"no {'no' if truth.any() else 'yes'} in the test set"
            continue
        curve = metrics.roc(truth, score)
        curves[name], per_class[f"auc/{name}"] = curve, curve.auc
        record["average_precision"] = float(average_precision_score(truth, score))
        area, at = bootstrap.areas(truth, score, rows, np.asarray(cfg.efficiencies))
        areas.append(area)
        intervals[f"auc/{name}"] = bootstrap.interval(area)
        per_class[f"rejection/{name}"] = [
            metrics.background_rejection(curve, e) | bootstrap.rejection_interval(at[:, k])
            for k, e in enumerate(cfg.efficiencies)
        ]
    if curves:
        plots.save(plots.roc_curves(curves, signal="yes", background="no"), folder / "roc.png")
    hits = ((scores >= 0.5) == (found.targets == 1))[known]
    of_row = np.broadcast_to(found.rows[:, None], known.shape)[known]
    intervals["accuracy"] = bootstrap.interval(bootstrap.means(hits, of_row))
    intervals["auc"] = bootstrap.interval(np.mean(areas, axis=0)) if areas else None
    return {
        "examples": int(known.any(axis=1).sum()),
        "excluded": int((~known.any(axis=1)).sum()),
        "accuracy": float(np.mean(hits)),
        "auc": _mean([per_class[f"auc/{name}"] for name in found.classes]),
        "average_precision": _mean([record["average_precision"] for record in answers]),
        **per_class,
        "answers": answers,
        "intervals": intervals,
        "reasons": reasons,
    }


def _mean(values: list[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return float(np.mean(given)) if given else None
