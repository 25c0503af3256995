"""Values of a chunk -> float32, checked: finite, within the physical range, on the hardware's grid.

Axes: V values of one feature, R rows of the chunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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


class LimitTable:
    """The limits of several features as arrays, so that a block of values is checked by a few calls.

    Attributes:
        low, high: float32 [F, 1]; float32, since that is what is compared: 2 pi itself is within 2 pi.
        hardware: which features have a hardware type; `per_lsb`, `tolerance`, `least`, `most` are theirs, [H, 1].
    """

    def __init__(self, limits: Sequence[Limits]):
        self.limits = list(limits)
        self.low = np.array([x.low for x in limits], np.float32)
        self.high = np.array([x.high for x in limits], np.float32)
        types = {i: x.feature.hardware for i, x in enumerate(limits)}
        known = {i: hardware for i, hardware in types.items() if hardware is not None}
        self.hardware = np.array(list(known), np.int64)
        self.per_lsb = np.array([1 / h.lsb for h in known.values()], np.float32)
        self.tolerance = np.array([max(OFF_GRID, 2.0 ** (h.bits - 22)) for h in known.values()])
        # counts are found by rounding value / lsb, so half a count beyond the largest integer is still that one
        self.least = np.array([(h.low - 0.5) * h.lsb for h in known.values()])
        self.most = np.array([(h.high + 0.5) * h.lsb for h in known.values()])


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
        """The values of one feature as float32; see `check`."""
        with np.errstate(over="ignore"):
            block = values.astype(np.float32)[None]
        self.check(LimitTable([limits]), block, row_of)
        return block[0]

    def check(self, table: LimitTable, block: Float[np.ndarray, "F V"], row_of: RowOf) -> None:
        """Checks and corrects values in place. `row_of()` gives the row of each in the chunk, if one is bad."""
        if block.size == 0:
            return
        least, most = block.min(axis=1), block.max(axis=1)  # NaN if one is
        good = (least >= table.low) & (most <= table.high)
        if not good.all():
            for position in np.flatnonzero(~good):
                self._correct(table.limits[position], block[position], row_of())
            least, most = block.min(axis=1), block.max(axis=1)
        if len(table.hardware):
            self._count_hardware(table, block[table.hardware], least[table.hardware], most[table.hardware])

    def _correct(self, limits: Limits, numbers: np.ndarray, row_of: np.ndarray) -> None:
        low, high = np.float32(limits.low), np.float32(limits.high)
        bad = ~np.isfinite(numbers)
        if bad.any():
            self.problems["nonfinite"].note(limits.where, int(bad.sum()), row_of[bad])
            numbers[bad] = self._replacement(limits, numbers[bad]) if self.policies.nonfinite == "clip" else 0
        outside = ((numbers < low) | (numbers > high)) & ~bad
        if outside.any():
            self._note_outside(limits, numbers, outside, ~bad)
            self.problems["out_of_range"].note(limits.where, int(outside.sum()), row_of[outside])
            if self.policies.out_of_range == "clip":
                numbers[outside] = np.clip(numbers[outside], low, high)

    def _replacement(self, limits: Limits, values: np.ndarray) -> np.ndarray:
        low, high = np.float32(limits.low), np.float32(limits.high)
        if low <= -MOST or high >= MOST:
            raise ConfigError(
                f"policy nonfinite: clip puts values at the edges of a feature's range, and {limits.where} has no "
                "range with two edges; give the feature one, `range: [lowest, highest]`, guard the expression with "
                "where(isfinite(x), x, 0), or choose the policy quarantine"
            )
        return np.where(np.isnan(values), np.clip(np.float32(0), low, high), np.clip(values, low, high))

    def _note_outside(self, limits: Limits, numbers: np.ndarray, outside: np.ndarray, finite: np.ndarray) -> None:
        seen = self.seen.setdefault(limits.where, [np.inf, -np.inf])
        seen[0], seen[1] = min(seen[0], numbers[finite].min()), max(seen[1], numbers[finite].max())
        _, samples = self.outside.setdefault(limits.where, (limits, []))
        if sum(map(len, samples)) < SHOWN:
            samples.append(numbers[outside][:SHOWN])

    def _count_hardware(self, table: LimitTable, values: np.ndarray, least: np.ndarray, most: np.ndarray) -> None:
        """`values` [H, V] are those of the features with a hardware type; they are overwritten."""
        names = [table.limits[position].where for position in table.hardware]
        found = [self.findings.hardware.setdefault(name, Counter(off_grid=0, saturated=0)) for name in names]
        for position in np.flatnonzero((least < table.least) | (most > table.most)):
            beyond = (values[position] < table.least[position]) | (values[position] > table.most[position])
            found[position]["saturated"] += int(np.count_nonzero(beyond))
        values *= table.per_lsb[:, None]
        values -= np.rint(values)
        np.abs(values, out=values)
        for position in np.flatnonzero(values.max(axis=1) > table.tolerance):
            found[position]["off_grid"] += int(np.count_nonzero(values[position] > table.tolerance[position]))

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
