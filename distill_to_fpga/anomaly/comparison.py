"""A student against its teacher: correlation, and the signal kept where both let the same share of the normal pass.

Axes: n crossings, b normal ones, s of a signal class.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from foundation.trigger.beam import Beam
from foundation.trigger.rates import Threshold, thresholds

BOTH = ("teacher", "student")


@dataclass(frozen=True)
class Scored:
    """Crossings with the scores of teacher and student.

    Attributes:
        teacher, student: scores; larger is more unusual.
        normal: which crossings stand for zero bias.
        signals: class -> which crossings are of it.
        weights: of the crossings.
    """

    teacher: Float[np.ndarray, " n"]
    student: Float[np.ndarray, " n"]
    normal: Bool[np.ndarray, " n"]
    signals: Mapping[str, Bool[np.ndarray, " n"]]
    weights: Float[np.ndarray, " n"]


def efficiencies(
    found: Scored, rates_khz: tuple[float, ...], beam: Beam, replicas: int, confidence: float, seed: int
) -> list[dict[str, Any]]:
    """Signal efficiency of teacher and student at each rate, one record per rate and class.

    `kept` is their ratio, its interval that of a bootstrap over normal and signal crossings alike: it holds the error
    of both thresholds. None where the teacher keeps nothing, or where even one normal crossing gives a higher rate.
    """
    groups = [np.flatnonzero(found.normal), *(np.flatnonzero(chosen) for chosen in found.signals.values())]
    cuts = [_cuts(found, which, rates_khz, beam) for which in BOTH]
    shares, random = _shares(found, groups, rates_khz, beam), np.random.default_rng(seed)
    drawn = ([rows[random.integers(0, len(rows), len(rows))] for rows in groups] for _ in range(replicas))
    ratios = np.array([_kept(_shares(found, rows, rates_khz, beam)) for rows in drawn])
    ratios = ratios.reshape(replicas, *shares.shape[1:])
    records = []
    for (at, rate), (number, name) in itertools.product(enumerate(rates_khz), enumerate(found.signals)):
        known = ratios[:, at, number][np.isfinite(ratios[:, at, number])]
        ends = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2]) if len(known) > 1 else [math.nan] * 2
        kept = (float(_kept(shares)[at, number]), *map(float, ends))
        record: dict[str, Any] = {"rate_khz": rate, "passes": rate / beam.crossing_rate_khz, "class": name}
        record["crossings"] = len(groups[1 + number])
        for which, cut, share in zip(BOTH, cuts, shares[:, at, number]):
            record[which] = float(share) if math.isfinite(cut[at].value) else None
        record |= {k: v if math.isfinite(v) else None for k, v in zip(("kept", "kept_low", "kept_high"), kept)}
        records.append(record | {"measured": all(cut[at].measured for cut in cuts)})
    return records


def _cuts(
    found: Scored, which: str, rates_khz: tuple[float, ...], beam: Beam, rows: Int[np.ndarray, " b"] | None = None
) -> list[Threshold]:
    used = np.flatnonzero(found.normal) if rows is None else rows
    return thresholds(getattr(found, which)[used], found.weights[used], rates_khz, beam)


def _shares(
    found: Scored, groups: list[Int[np.ndarray, " _"]], rates_khz: tuple[float, ...], beam: Beam
) -> Float[np.ndarray, "2 rates classes"]:
    """Efficiencies of teacher and student, from the rows of the normal crossings and of each class."""
    normal, *signals = groups
    shares = np.zeros((2, len(rates_khz), len(signals)))
    for i, which in enumerate(BOTH):
        scores = getattr(found, which)
        for at, cut in enumerate(_cuts(found, which, rates_khz, beam, normal)):
            shares[i, at] = [np.average(scores[rows] >= cut.value, weights=found.weights[rows]) for rows in signals]
    return shares


def _kept(shares: Float[np.ndarray, "2 rates classes"]) -> Float[np.ndarray, "rates classes"]:
    teacher, student = shares
    return np.divide(student, teacher, out=np.full(student.shape, np.nan), where=teacher > 0)


def hardware_thresholds(found: Scored, rates_khz: tuple[float, ...], beam: Beam, fraction: int) -> list[dict[str, Any]]:
    """The student's cuts as the firmware's menu takes them: `word`, the integer at or above which a crossing passes."""
    records = []
    for each in _cuts(found, "student", rates_khz, beam):
        record = each.record()
        value = record.pop("value")
        records.append(
            {"rate_khz": record.pop("rate_khz"), "word": None if value is None else round(value * 2**fraction)}
            | {"value": value}
            | record
        )
    return records
