"""What is seen of data while it is scored: empty crossings, saturated values, and how like the training set it is.

Axes: n sampled crossings, N tokens, F features, E edges of a recorded distribution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num

from foundation.batch import TokenBatch
from foundation.hardware_inputs import edges
from foundation.schema import DetectorSchema
from foundation.store import Store

SAMPLED = 20_000  # crossings whose values are compared
MOST_VALUES = 20_000_000  # that are kept of them
PLACES = 32  # modalities of more objects are compared as a whole only
QUANTILES = 200
LEAST_KS = 0.02  # Kolmogorov-Smirnov distances below are taken for no drift, however many crossings there are
FALSE_ALARM = 0.01  # probability that data of the same origin gives a warning, all quantities together
SATURATED = (2.0, 1e-3)  # a saturated share of more than so many times the training set's, and this much, warns
SHOWN = 5  # features in one warning
PLACE = re.compile(r"\[\d+\]")  # of `jets[3].pt`

Weighted = tuple[Num[np.ndarray, " k"], Num[np.ndarray, " k"], int]  # values, weights, crossings that have one


def present(batch: TokenBatch) -> dict[str, Bool[np.ndarray, "B N"]]:
    """Which tokens are objects: real ones that are not all zeros, which an empty place is."""
    return {n: np.asarray(t.mask) & (np.asarray(t.values) != 0).any(axis=-1) for n, t in batch.modalities.items()}


class Watch:
    """Counts and samples what is scored.

    Args:
        schema: of the data.
        total: rows that will come; about `SAMPLED` of them, drawn at random, are compared.
    """

    def __init__(self, schema: DetectorSchema, total: int):
        self.schema, self.rows, self.empty = schema, 0, 0
        capacity = sum(m.capacity * len(m.features) for m in schema.modalities.values())
        self.every = max(1, -(-total // min(SAMPLED, max(MOST_VALUES // max(capacity, 1), 1))))
        self.limits = {
            name: edges([f.hardware for f in m.features.values()], [f.unit for f in m.features.values()])
            for name, m in schema.modalities.items()
        }
        self.saturated = {n: np.zeros(len(m.features), np.int64) for n, m in schema.modalities.items()}
        self.objects = dict.fromkeys(schema.modalities, 0)
        self.samples: list[tuple[dict[str, tuple[np.ndarray, np.ndarray]], np.ndarray, np.ndarray, np.ndarray]] = []

    def see(self, batch: TokenBatch, scores: Float[np.ndarray, " B"]) -> None:
        """Crossings and their scores; in order."""
        there = present(batch)
        objects = sum(each.sum(axis=1) for each in there.values())
        self.empty += int(np.sum(np.asarray(objects) == 0))
        for name, tokens in batch.modalities.items():
            low, high = self.limits[name]
            beyond = (tokens.values > high) | (tokens.values < low)
            self.saturated[name] += beyond.sum(axis=(0, 1))
            self.objects[name] += int(there[name].sum())
        # drawn, for in every k-th row a pattern of the data can hide
        chosen = np.random.default_rng([0, self.rows]).random(len(scores)) * self.every < 1
        tokens_of = {n: (t.values[chosen], there[n][chosen]) for n, t in batch.modalities.items()}
        self.samples.append((tokens_of, batch.globals[chosen], batch.weights[chosen], scores[chosen]))
        self.rows += len(scores)

    def shares(self) -> dict[str, float]:
        """Feature -> share of the objects in which it is saturated; of features with a hardware type."""
        return {
            f"{name}.{feature}": float(count / max(self.objects[name], 1))
            for name, counts in self.saturated.items()
            for (feature, spec), count in zip(self.schema.modalities[name].features.items(), counts)
            if spec.hardware is not None
        }

    def counts(self) -> dict[str, int]:
        """Feature -> saturated values; what has none is left out."""
        return {
            f"{name}.{feature}": int(count)
            for name, counts in self.saturated.items()
            for feature, count in zip(self.schema.modalities[name].features, counts)
            if count
        }

    def values(self) -> dict[str, Weighted]:
        """Every quantity that is compared, of the sampled crossings."""
        weights = np.concatenate([w for _, _, w, _ in self.samples]).astype(np.float64)
        found: dict[str, Weighted] = {"score": _finite(np.concatenate([s for *_, s in self.samples]), weights)}
        for name, modality in self.schema.modalities.items():
            longest = max(sample[name][1].shape[1] for sample, *_ in self.samples)
            parts = [_widened(*sample[name], longest) for sample, *_ in self.samples]
            values, mask = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
            found[f"{name}.n"] = (mask.sum(axis=1), weights, len(weights))
            repeated = np.broadcast_to(weights[:, None], mask.shape)
            several = int(mask.any(axis=1).sum())
            for i, feature in enumerate(modality.features):
                found[f"{name}.{feature}"] = (values[mask, i], repeated[mask], several)
                for place in range(longest if 1 < modality.capacity <= PLACES else 0):
                    here = mask[:, place]
                    found[f"{name}[{place}].{feature}"] = (values[here, place, i], weights[here], int(here.sum()))
        example = np.concatenate([each for _, each, _, _ in self.samples])
        found |= {name: _finite(example[:, i], weights) for i, name in enumerate(self.schema.globals)}
        return {name: each for name, each in found.items() if each[2] and each[1].sum() > 0}


def _finite(values: np.ndarray, weights: np.ndarray) -> Weighted:
    good = np.isfinite(values)
    return values[good], weights[good], int(good.sum())


def _widened(values: np.ndarray, mask: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    more = length - mask.shape[1]
    return np.pad(values, ((0, 0), (0, more), (0, 0))), np.pad(mask, ((0, 0), (0, more)))


def record(watch: Watch) -> dict[str, Any]:
    """What later data is compared with, for a file: distributions of every quantity, saturated shares."""
    distributions = {}
    for name, (values, weights, crossings) in watch.values().items():
        points = np.unique(np.quantile(values, np.linspace(0, 1, QUANTILES + 1), method="inverted_cdf"))
        distributions[name] = {
            "edges": points.tolist(),
            "cumulative": cumulative(values, weights, points).tolist(),
            "crossings": crossings,
        }
    return {"rows": watch.rows, "empty": watch.empty, "saturated": watch.shares(), "distributions": distributions}


def cumulative(
    values: Num[np.ndarray, " k"], weights: Num[np.ndarray, " k"], points: Num[np.ndarray, " E"]
) -> Float[np.ndarray, " E"]:
    """Weighted share of the values that are at most each of the points."""
    order = np.argsort(values)
    running = np.concatenate([[0.0], np.cumsum(weights[order], dtype=np.float64)])
    return running[np.searchsorted(values[order], points, side="right")] / running[-1]


def drift(watch: Watch, recorded: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Kolmogorov-Smirnov distance of every quantity from its recorded distribution, the largest first.

    Distances are taken at the recorded quantiles. `drifted`: more than `threshold`, which is `LEAST_KS`, or, if larger,
    what two samples of the same origin exceed with probability `FALSE_ALARM` over the number of quantities,
    sqrt(-ln(p / 2) / 2) sqrt(1/n + 1/m) for n and m crossings that have the quantity.

    Returns:
        records of feature, ks, threshold, median_fit and median_here (among the recorded quantiles), drifted.
    """
    here = {name: each for name, each in watch.values().items() if name in recorded["distributions"]}
    critical = float(np.sqrt(-np.log(FALSE_ALARM / max(len(here), 1) / 2) / 2))
    records: list[dict[str, Any]] = []
    for name, (values, weights, crossings) in here.items():
        known = recorded["distributions"][name]
        points, before = np.asarray(known["edges"]), np.asarray(known["cumulative"])
        now = cumulative(values, weights, points)
        threshold = max(LEAST_KS, critical * float(np.sqrt(1 / known["crossings"] + 1 / crossings)))
        ks = float(np.abs(now - before).max())
        last = len(points) - 1
        middle = [float(points[min(int(np.searchsorted(each, 0.5)), last)]) for each in (before, now)]
        records.append(
            {"feature": name, "ks": ks, "threshold": threshold, "median_fit": middle[0], "median_here": middle[1]}
            | {"drifted": ks > threshold}
        )
    return sorted(records, key=lambda each: -each["ks"])


def warnings(watch: Watch, recorded: Mapping[str, Any], records: list[dict[str, Any]]) -> list[str]:
    """What the user must know of how this data differs from the training set; features are named."""
    found = []
    worst: dict[str, dict[str, Any]] = {}
    for each in records:
        if each["drifted"]:
            worst.setdefault(PLACE.sub("", each["feature"]), each)
    if worst:
        named = [
            f"{name} (KS {each['ks']:.3f}, above {each['threshold']:.3f}, of {each['feature']}; "
            f"median {each['median_fit']:.4g} -> {each['median_here']:.4g})"
            for name, each in list(worst.items())[:SHOWN]
        ]
        more = f", and {len(worst) - SHOWN} more" if len(worst) > SHOWN else ""
        found.append(f"drift: not like the training set in {', '.join(named)}{more}")
    shares = watch.shares()
    for name, share in shares.items():
        before = float(recorded["saturated"].get(name, 0.0))
        if share > SATURATED[0] * before and share > SATURATED[1]:
            found.append(f"saturated: {name} in {share:.2%} of the objects, {before:.2%} of the training set's")
    return found


def recorded_of(store: Store, split: str, rows: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """`record` of some rows of a store."""
    watch = Watch(store.schema, len(rows))
    for start in range(0, len(rows), SAMPLED):
        chosen = slice(start, start + SAMPLED)
        watch.see(store.read(split, rows[chosen]), scores[chosen])
    return record(watch)
