"""Values of a chunk -> float32, checked: finite, within the physical range, on the hardware's grid.

Axes: V values of one feature, R rows of the chunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Shaped

from foundation.errors import ConfigError
from foundation.schema import Feature
from foundation.store.causes import likely_cause
from foundation.store.policies import REASONS, Findings, Policies, Problem

MOST = np.finfo(np.float32).max
SHOWN = 1000  # values outside the range that are kept to guess the cause from
OFF_GRID = 0.01  # of an lsb: what float32 arithmetic may leave of a whole number of counts
RowOf = Callable[[], Int[np.ndarray, " V"]]
ADVICE = {
    "nonfinite": "correct the expression, remove the rows with --cfg.select, or choose another policy for `nonfinite`: "
    "quarantine, or clip for features with a range",
    "outside_grid": "correct grid.row and grid.column, remove the tokens with the modality's `select`, or choose the "
    "policy quarantine or drop for `outside_grid`",
}


@dataclass(frozen=True)
class Limits:
    """What the values of one feature must satisfy.

    Attributes:
        where: in the schema; for messages.
        feature: its description.
        coordinate: which coordinate it is, or empty.
        low, high: the range, or float32's where there is none.
    """

    where: str
    feature: Feature
    coordinate: str = ""
    low: float = -float(MOST)
    high: float = float(MOST)

    @staticmethod
    def of(where: str, feature: Feature, coordinate: str = "") -> Limits:
        low, high = feature.limits(coordinate)
        return Limits(where, feature, coordinate, max(low, -float(MOST)), min(high, float(MOST)))

    @cached_property
    def edges(self) -> tuple[np.float32, np.float32]:
        """As float32, since that is what is compared: 2 pi itself is within 2 pi."""
        return np.float32(self.low), np.float32(self.high)


class Checker:
    """Notes what is wrong with the values of one chunk, and applies the policies that change values.

    Attributes:
        findings: grows with every call; its `problems` are complete after `finish`.
    """

    def __init__(self, rows: int, policies: Policies):
        self.policies, self.rows = policies, rows
        self.findings = Findings()
        self.problems = {reason: Problem(np.zeros(rows, bool)) for reason in REASONS}
        self.seen: dict[str, list[float]] = {}
        self.outside: dict[str, tuple[Limits, list[np.ndarray]]] = {}

    def numbers(self, limits: Limits, values: Shaped[np.ndarray, " V"], row_of: RowOf) -> Float[np.ndarray, " V"]:
        """The values as float32. `row_of()` gives the row in the chunk of each, and is called only if one is bad."""
        with np.errstate(over="ignore"):
            numbers = values.astype(np.float32, copy=False)
        if not len(numbers):
            return numbers
        least, most = numbers.min(), numbers.max()  # NaN if one is
        low, high = limits.edges
        if not (least >= low and most <= high):
            numbers = self._correct(limits, numbers.copy(), row_of)
            least, most = numbers.min(), numbers.max()
        if limits.feature.hardware is not None:
            self._count_hardware(limits, numbers, (float(least), float(most)), values.dtype.kind in "biu")
        return numbers

    def _correct(self, limits: Limits, numbers: np.ndarray, row_of: RowOf) -> np.ndarray:
        low, high = limits.edges
        bad = ~np.isfinite(numbers)
        if bad.any():
            self.problems["nonfinite"].note(limits.where, int(bad.sum()), row_of()[bad])
            numbers[bad] = self._replacement(limits, numbers[bad]) if self.policies.nonfinite == "clip" else 0
        outside = ((numbers < low) | (numbers > high)) & ~bad
        if outside.any():
            self._note_outside(limits, numbers, outside, ~bad)
            self.problems["out_of_range"].note(limits.where, int(outside.sum()), row_of()[outside])
            if self.policies.out_of_range == "clip":
                numbers[outside] = np.clip(numbers[outside], low, high)
        return numbers

    def _replacement(self, limits: Limits, values: np.ndarray) -> np.ndarray:
        low, high = limits.edges
        if low <= -MOST or high >= MOST:
            raise ConfigError(
                f"policy nonfinite: clip puts values at the edges of a feature's range, and {limits.where} has no "
                "range with two edges; give it one, `range: [lowest, highest]`, or choose the policy quarantine"
            )
        return np.where(np.isnan(values), np.clip(np.float32(0), low, high), np.clip(values, low, high))

    def _note_outside(self, limits: Limits, numbers: np.ndarray, outside: np.ndarray, finite: np.ndarray) -> None:
        seen = self.seen.setdefault(limits.where, [np.inf, -np.inf])
        seen[0], seen[1] = min(seen[0], numbers[finite].min()), max(seen[1], numbers[finite].max())
        _, samples = self.outside.setdefault(limits.where, (limits, []))
        if sum(map(len, samples)) < SHOWN:
            samples.append(numbers[outside][:SHOWN])

    def _count_hardware(self, limits: Limits, numbers: np.ndarray, extremes: tuple[float, float], whole: bool) -> None:
        """Counts are found by rounding value / lsb, so half a count above the largest integer is still that one."""
        hardware = limits.feature.hardware
        assert hardware is not None
        found = self.findings.hardware.setdefault(limits.where, Counter(off_grid=0, saturated=0))
        low, high = (hardware.low - 0.5) * hardware.lsb, (hardware.high + 0.5) * hardware.lsb
        if extremes[0] < low or extremes[1] > high:
            found["saturated"] += int(np.count_nonzero((numbers < low) | (numbers > high)))
        if whole and hardware.lsb == 1:
            return
        counts = numbers * np.float32(1 / hardware.lsb)
        rest = np.abs(np.subtract(counts, np.rint(counts), out=counts), out=counts)
        found["off_grid"] += int(np.count_nonzero(rest > max(OFF_GRID, 2.0 ** (hardware.bits - 22))))

    def finish(self) -> Findings:
        """The findings, with advice for each problem that occurred."""
        self.problems["out_of_range"].advice = "; ".join(self._outside_advice(where) for where in self.outside)
        for reason, advice in ADVICE.items():
            self.problems[reason].advice = self.problems[reason].advice or advice
        self.findings.problems = {reason: p for reason, p in self.problems.items() if p.counts}
        return self.findings

    def _outside_advice(self, where: str) -> str:
        limits, samples = self.outside[where]
        low, high = self.seen[where]
        unit = f" {limits.feature.unit}" if limits.feature.unit else ""
        allowed = _interval(limits.low, limits.high)
        cause = likely_cause(limits.feature, limits.coordinate, np.concatenate(samples), (limits.low, limits.high))
        source = "its range" if limits.feature.range else f"the range of a coordinate {limits.coordinate}"
        return f"{where}: values from {low:.6g} to {high:.6g}, {source} is {allowed}{unit}; {cause}"


def _interval(low: float, high: float) -> str:
    if low <= -MOST:
        return f"at most {high:.6g}"
    return f"at least {low:.6g}" if high >= MOST else f"{low:.6g} to {high:.6g}"


def features_limits(where: str, features: Mapping[str, Feature], coordinates: Mapping[str, str]) -> list[Limits]:
    """The limits of a modality's features (or of the globals) in their order."""
    coordinate = {feature: name for name, feature in coordinates.items()}
    return [Limits.of(f"{where}.{name}", feature, coordinate.get(name, "")) for name, feature in features.items()]
