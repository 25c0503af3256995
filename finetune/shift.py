"""How another store differs from the one evaluated on: in what goes in, in the embedding, and in what comes out.

Axes: n and m rows, T tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Num

from foundation import plots, plots_evaluation
from foundation.calibration import probabilities
from foundation.embedding import embed
from foundation.evaluation import EXCLUSIVE
from foundation.metrics import roc
from foundation.metrics_bootstrap import Bootstrap
from foundation.metrics_shift import cloud_shift, distances
from foundation.models import Backbone
from foundation.predictions import Predictions
from foundation.store import Store
from foundation.transforms import transform

ROWS = 5000  # of each store whose features and embeddings are compared
Sample = dict[str, Num[np.ndarray, " _"]]


def input_shift(here: Store, there: Store, split: str, seed: int = 0) -> list[dict[str, Any]]:
    """Distances of every feature that both stores have, the largest Kolmogorov-Smirnov distance first.

    Values are compared after the schema's transform, as the network sees them. `of_statistics` is the
    Kolmogorov-Smirnov distance of two random halves of `here`, split by example.

    Returns:
        records of feature, ks, wasserstein, mean_shift (see `foundation.metrics_shift.distances`), of_statistics.
    """
    rows = drawn(here, split, seed)
    one, other = values_of(here, split, rows), values_of(there, split, drawn(there, split, seed))
    halves = [values_of(here, split, np.sort(each)) for each in (rows[::2], rows[1::2])]
    records = []
    for name in (each for each in one if each in other):
        floor = distances(halves[0][name], halves[1][name])["ks"]
        records.append({"feature": name, **distances(one[name], other[name]), "of_statistics": floor})
    return sorted(records, key=lambda record: -record["ks"])


def drawn(store: Store, split: str, seed: int) -> Int[np.ndarray, " n"]:
    """`ROWS` rows of a split, in random order."""
    return np.random.default_rng(seed).permutation(store.length(split))[:ROWS]


def values_of(store: Store, split: str, rows: Int[np.ndarray, " n"]) -> Sample:
    """Every number of these rows by name: `MODALITY.FEATURE` of all tokens, `MODALITY.n`, globals and observers."""
    batch, found = store.read(split, np.asarray(rows)), Sample()
    for name, modality in store.schema.modalities.items():
        tokens = batch.modalities[name]
        found[f"{name}.n"] = tokens.mask.sum(axis=1)
        found |= _features(f"{name}.", tokens.values[tokens.mask], modality.features)
    found |= _features("", batch.globals, store.schema.globals)
    observed = {name: store.observer(split, name)[rows] for name in store.schema.observers}
    return found | {name: each for name, each in observed.items() if name not in found and not _is_identity(name)}


def _features(prefix: str, values: Num[np.ndarray, "T F"], features: dict[str, Any]) -> Sample:
    return {
        f"{prefix}{name}": np.asarray(transform(feature.transform, values[:, i]))
        for i, (name, feature) in enumerate(features.items())
    }


def _is_identity(name: str) -> bool:
    """Numbers that say which example it is, not how it looks."""
    return bool({"id", "run", "event", "luminosityblock", "lumi", "entry", "number"} & set(name.lower().split("_")))


def embedding_shift(encoder: Backbone, here: Store, there: Store, split: str, seed: int = 0) -> dict[str, Any]:
    """`foundation.metrics_shift.cloud_shift` of the embeddings of up to `ROWS` rows of each store."""
    one, other = (embed(encoder, store, split, np.sort(drawn(store, split, seed))) for store in (here, there))
    return cloud_shift(one.astype(np.float64), other.astype(np.float64), seed)


def score_shift(here: Predictions, there: Predictions) -> list[dict[str, Any]]:
    """Distances of the score of each class, whatever the labels."""
    one, other = (probabilities(each.logits, exclusive=each.kind in EXCLUSIVE) for each in (here, there))
    return [
        {"score": name, "mean_here": float(one[:, i].mean()), "mean_there": float(other[:, i].mean())}
        | distances(one[:, i], other[:, i])
        for i, name in enumerate(here.classes)
    ]


def performance_shift(
    here: Predictions, there: Predictions, samples: tuple[Bootstrap, Bootstrap]
) -> list[dict[str, Any]]:
    """Accuracy and AUCs on both stores and there - here, whose replicas, and so errors, are independent.

    Returns:
        records of figure, here, there, difference and its interval; empty where one of them has no labels or the
        classes are not exclusive.
    """
    if here.kind not in EXCLUSIVE or any(not np.any(each.targets >= 0) for each in (here, there)):
        return []
    found = [_figures(each, bootstrap) for each, bootstrap in zip((here, there), samples)]
    records = []
    for name in (name for name in found[0] if name in found[1]):
        (value, replicas), (other, others) = found[0][name], found[1][name]
        interval = samples[0].interval(others - replicas)
        record = {"figure": name, "here": value, "there": other, "difference": other - value}
        records.append(record | ({} if interval is None else dict(zip(("low", "high"), interval))))
    return records


def _figures(found: Predictions, bootstrap: Bootstrap) -> dict[str, tuple[float, np.ndarray]]:
    known = found.targets >= 0
    targets, logits, rows = found.targets[known], found.logits[known], found.rows[known]
    scores = probabilities(logits, exclusive=True)
    hits = scores.argmax(axis=1) == targets
    figures = {"accuracy": (float(hits.mean()), bootstrap.means(hits, rows))}
    for name, signal, score in _each_class(found, targets, scores):
        area = bootstrap.areas(signal, score, rows, np.zeros(0))[0]
        figures[f"auc/{name}"] = (roc(signal, score).auc, area)
    areas = [each for name, each in figures.items() if name != "accuracy"]
    if areas:
        figures["auc"] = (float(np.mean([a for a, _ in areas])), np.mean([r for _, r in areas], axis=0))
    return figures


def _each_class(found: Predictions, targets: np.ndarray, scores: np.ndarray) -> Iterator[tuple[str, Any, Any]]:
    for i, name in enumerate(found.classes):
        if np.any(targets == i) and np.any(targets != i):
            yield name, targets == i, scores[:, i]


def draw_shift(folder: Path, records: list[dict[str, Any]]) -> None:
    """The ranked features as bars."""
    picture = plots_evaluation.shifts(records, "ks", "Kolmogorov-Smirnov distance")
    plots.save(picture, folder / "shift.png")
