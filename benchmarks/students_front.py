"""Fronts of accuracy against LUTs, and how two of them compare."""

from __future__ import annotations

import numpy as np

Point = tuple[float, float]  # LUTs, accuracy


def front(points: list[Point]) -> list[Point]:
    """The points that no other beats in both, in order of LUTs."""
    best, kept = -np.inf, []
    for luts, accuracy in sorted(points):
        if accuracy > best:
            best = accuracy
            kept.append((luts, accuracy))
    return kept


def luts_at(points: list[Point], accuracy: np.ndarray) -> np.ndarray:
    """LUTs at which a front reaches an accuracy, between its points logarithmic in LUTs."""
    luts, reached = np.array(front(points)).T
    return np.exp(np.interp(accuracy, reached, np.log(luts)))


def common_range(one: list[Point], other: list[Point]) -> tuple[float, float]:
    """Accuracies that both fronts have."""
    ends = [[accuracy for _, accuracy in front(points)] for points in (one, other)]
    return max(min(each) for each in ends), min(max(each) for each in ends)


def lut_ratio(ours: list[Point], theirs: list[Point], steps: int = 101) -> tuple[float, float, float]:
    """LUTs of ours over theirs at equal accuracy: geometric mean over the common range, least and largest."""
    low, high = common_range(ours, theirs)
    accuracy = np.linspace(low, high, steps)
    ratio = luts_at(ours, accuracy) / luts_at(theirs, accuracy)
    return float(np.exp(np.mean(np.log(ratio)))), float(ratio.min()), float(ratio.max())
