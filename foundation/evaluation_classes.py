"""Figures and pictures of predictions of exclusive classes, of examples or of tokens.

Axes: n predicted objects, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from foundation import metrics, plots, plots_evaluation
from foundation.evaluation_config import EvaluateConfig
from foundation.metrics_bins import bin_edges, tagging_in_bins
from foundation.metrics_bootstrap import Bootstrap
from foundation.metrics_mass import sculpting
from foundation.metrics_pairs import one_vs_one, pair_figures, stated_pairs
from foundation.predictions import Predictions
from foundation.quantities import Quantities

BAND = np.concatenate([np.geomspace(0.01, 0.1, 12)[:-1], np.linspace(0.1, 1, 46)])  # signal efficiencies of the bands


@dataclass(frozen=True)
class Discriminant:
    """A score that separates two kinds of objects.

    Attributes:
        name: of the signal, or `SIGNAL against BACKGROUND`.
        objects: which of the predictions take part.
        signal: of these, which are signal.
        score: of these.
    """

    name: str
    objects: Bool[np.ndarray, " n"]
    signal: Bool[np.ndarray, " m"]
    score: Float[np.ndarray, " m"]

    @property
    def usable(self) -> bool:
        return bool(self.signal.any() and not self.signal.all())


def measure_classes(
    folder: Path,
    found: Predictions,
    scores: Float[np.ndarray, "n C"],
    cfg: EvaluateConfig,
    bootstrap: Bootstrap,
    quantities: Quantities,
) -> dict[str, Any]:
    """All figures of classes but the calibration; draws them into `folder`.

    Raises:
        DataError: no labelled object, or scores that are not finite.
        ConfigError: a class or quantity that does not exist.
    """
    pairs = stated_pairs(cfg.signal, cfg.background, found.classes)
    targets, classes = found.targets, found.classes
    result = metrics.classification(targets, scores, classes, signal_efficiencies=cfg.efficiencies)
    known = targets >= 0
    labels, known_scores, rows = targets[known], scores[known], found.rows[known]
    intervals: dict[str, Any] = {"confidence": cfg.confidence, "replicas": cfg.replicas}
    hits = known_scores.argmax(axis=1) == labels
    intervals["accuracy"] = bootstrap.interval(bootstrap.means(hits, rows))
    against_rest = [each for each in _against_rest(labels, known_scores, classes) if each.usable]
    intervals |= _one_vs_rest(folder, against_rest, rows, cfg, bootstrap, result)
    ovo, intervals["auc_ovo"] = one_vs_one(labels, known_scores, classes, rows, bootstrap)
    result |= ovo | {"intervals": intervals}
    if pairs:
        result["pairs"] = [
            pair_figures(labels, known_scores, classes, pair, cfg.efficiencies, rows, bootstrap) for pair in pairs
        ]
    plots.save(plots.confusion(np.asarray(result["confusion"]), classes), folder / "confusion.png")
    stated = [each for each in _stated(labels, known_scores, classes, pairs) if each.usable]
    if stated:
        curves = {each.name: metrics.roc(each.signal, each.score) for each in stated}
        plots.save(plots.roc_curves(curves), folder / "roc_pairs.png")
    if found.tokens is None:
        shown = stated or against_rest
        result |= _sculpting(folder, shown, rows, cfg, quantities) | _dependence(folder, shown, rows, cfg, quantities)
    return result


def _against_rest(
    labels: Int[np.ndarray, " n"], scores: Float[np.ndarray, "n C"], classes: Sequence[str]
) -> Iterator[Discriminant]:
    for i, name in enumerate(classes):
        yield Discriminant(name, np.ones(len(labels), bool), labels == i, scores[:, i])


def _stated(
    labels: Int[np.ndarray, " n"],
    scores: Float[np.ndarray, "n C"],
    classes: Sequence[str],
    pairs: Sequence[tuple[str, str]],
) -> Iterator[Discriminant]:
    for signal, background in pairs:
        s, b = classes.index(signal), classes.index(background)
        both = (labels == s) | (labels == b)
        score = metrics.discriminant(scores[both], classes, [signal], [background])
        yield Discriminant(f"{signal} against {background}", both, labels[both] == s, score)


def _one_vs_rest(
    folder: Path,
    each_class: Sequence[Discriminant],
    rows: Int[np.ndarray, " n"],
    cfg: EvaluateConfig,
    bootstrap: Bootstrap,
    result: dict[str, Any],
) -> dict[str, Any]:
    """Intervals of the AUCs; adds those of the rejections to `result`; draws the ROC curves."""
    wanted = np.concatenate([cfg.efficiencies, BAND])
    intervals, areas, curves, bands = {}, [], {}, dict[str, plots.Band]()
    for each in each_class:
        area, at = bootstrap.areas(each.signal, each.score, rows[each.objects], wanted)
        areas.append(area)
        intervals[f"auc/{each.name}"] = bootstrap.interval(area)
        for i, rejection in enumerate(result[f"rejection/{each.name}"]):
            rejection |= bootstrap.rejection_interval(at[:, i])
        curves[each.name] = metrics.roc(each.signal, each.score)
        bands |= bootstrap.band(each.name, BAND, at[:, len(cfg.efficiencies) :])
    intervals["auc"] = bootstrap.interval(np.mean(areas, axis=0)) if areas else None
    plots.save(plots.roc_curves(curves, bands=bands, background="all other classes"), folder / "roc.png")
    return intervals


def _sculpting(
    folder: Path, each_score: Sequence[Discriminant], rows: Int[np.ndarray, " n"], cfg: EvaluateConfig, q: Quantities
) -> dict[str, Any]:
    name = cfg.mass or q.mass()
    if name == "none" or not name:
        return {"sculpting": {"reason": "switched off" if name else "the store has no mass"}}
    mass, drawn = q[name][rows], {}
    found: dict[str, Any] = {"mass": name}
    for each in each_score:
        made = sculpting(mass[each.objects], each.signal, each.score, cfg.efficiencies, cfg.seed)
        if made is not None:
            found[each.name], drawn[each.name] = made.records, made
    if drawn:
        plots.save(plots_evaluation.sculpting(drawn, name), folder / "sculpting.png")
    return {"sculpting": found}


def _dependence(
    folder: Path, each_score: Sequence[Discriminant], rows: Int[np.ndarray, " n"], cfg: EvaluateConfig, q: Quantities
) -> dict[str, Any]:
    wanted = cfg.bins or {name: [] for name in q.usual()}
    found: dict[str, Any] = {}
    for name, edges in wanted.items():
        values = q[name][rows]
        made = bin_edges(values, edges)
        if len(made) < 2:
            continue
        found[name] = {
            each.name: tagging_in_bins(values[each.objects], each.signal, each.score, made, cfg.background_efficiency)
            for each in each_score
        }
        if found[name]:
            picture = plots_evaluation.dependence(found[name], name, cfg.background_efficiency)
            plots.save(picture, folder / f"dependence_{name}.png")
    return {"dependence": {"background_efficiency": cfg.background_efficiency} | found} if found else {}
