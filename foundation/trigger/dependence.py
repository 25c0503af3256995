"""Is the score only measuring energy? Correlation with HT, multiplicity, pile-up, alone and with the others held fixed.

Axes: n crossings, K quantities held fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Num
from scipy.stats import norm

from foundation.errors import DataError
from foundation.metrics import ONE_SIGMA, check_finite, check_weights, effective_count

Kind = Literal["pearson", "spearman"]
LEAST = 1e-9  # share of a variance, below which nothing is left of it


@dataclass(frozen=True)
class Correlation:
    """A correlation coefficient with its 68% interval (Fisher's z).

    Attributes:
        value: the coefficient; None where a quantity does not vary, or those held fixed leave nothing of it.
        low: of the interval.
        high: of the interval.
        reason: in words, where there is none.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def partial_correlation(
    x: Num[np.ndarray, " n"],
    y: Num[np.ndarray, " n"],
    fixed: Num[np.ndarray, "n K"],
    kind: Kind = "pearson",
    weights: Num[np.ndarray, " n"] | None = None,
) -> Correlation:
    """Correlation of what a linear fit to the fixed quantities leaves of x and of y; without any, the plain one.

    `spearman` takes the ranks of all of them first: of any monotonic relation, not of a linear one alone.

    Raises:
        DataError: too few crossings, or a value that is not finite.
    """
    w = check_weights(weights, len(x))
    columns = [np.asarray(c, np.float64) for c in (x, y, *fixed.T)]
    for column in columns:
        check_finite(column, "values of a correlation")
    count = effective_count(w) if w.any() else 0.0
    if count <= fixed.shape[1] + 3:
        raise DataError(
            f"a correlation with {fixed.shape[1]} quantities held fixed takes more than {count:.3g} crossings"
        )
    columns = [_ranks(c, w) for c in columns] if kind == "spearman" else columns
    centred = [c - np.average(c, weights=w) for c in columns]
    design = np.stack(centred[2:], axis=1) if fixed.shape[1] else np.zeros((len(x), 0))
    left = [_residual(c, design, w) for c in centred[:2]]
    for name, whole, rest in zip(("the first", "the second"), centred[:2], left):
        if (w * rest**2).sum() <= LEAST * max((w * whole**2).sum(), 1e-300):
            what = "does not vary" if not (w * whole**2).sum() > 0 else "is a function of what is held fixed"
            return Correlation(None, reason=f"{name} quantity {what}")
    a, b = left
    value = float((w * a * b).sum() / np.sqrt((w * a**2).sum() * (w * b**2).sum()))
    value = min(max(value, -1.0), 1.0)
    step = norm.isf((1 - ONE_SIGMA) / 2) / np.sqrt(count - fixed.shape[1] - 3)
    middle = np.arctanh(min(max(value, -1 + 1e-15), 1 - 1e-15))
    return Correlation(value, float(np.tanh(middle - step)), float(np.tanh(middle + step)))


def _ranks(values: Float[np.ndarray, " n"], w: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Summed weight below each value, and half of that at it: ties share a rank."""
    distinct, place = np.unique(values, return_inverse=True)
    at = np.bincount(place, w, len(distinct))
    return (np.cumsum(at) - at / 2)[place]


def _residual(
    y: Float[np.ndarray, " n"], design: Float[np.ndarray, "n K"], w: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    root = np.sqrt(w)
    slopes = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0] if design.shape[1] else np.zeros(0)
    return y - design @ slopes


def dependence(
    score: Num[np.ndarray, " n"],
    quantities: Mapping[str, Num[np.ndarray, " n"]],
    weights: Num[np.ndarray, " n"] | None = None,
) -> list[dict[str, Any]]:
    """For each quantity: correlation with the score, plain and with all others held fixed, of values and of ranks.

    Raises:
        DataError: as `partial_correlation`.
    """
    records = []
    for name, values in quantities.items():
        others = [np.asarray(v) for other, v in quantities.items() if other != name]
        fixed = np.stack(others, axis=1) if others else np.zeros((len(score), 0))
        record: dict[str, Any] = {"quantity": name}
        for kind in ("pearson", "spearman"):
            for label, held in (("", np.zeros((len(score), 0))), ("partial_", fixed)):
                found = partial_correlation(score, values, held, kind, weights)
                record |= {f"{label}{kind}": found.value, f"{label}{kind}_low": found.low}
                record |= {f"{label}{kind}_high": found.high}
                record |= {f"{label}{kind}_reason": found.reason} if found.reason else {}
        records.append(record)
    return records
