"""What a verification found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from distill_to_fpga.rtl.simulate import Timing
from distill_to_fpga.verify.compare import Difference
from foundation.errors import DetfmError

SHIPPED = "shipped outputs"
GOLDEN = "golden"


class MismatchError(DetfmError):
    """Firmware and golden model differ."""


@dataclass(frozen=True)
class VerifyResult:
    """Outcome of a verification.

    Attributes:
        vectors: how many went through every executor; `kinds` says of which kinds.
        words: output words compared, of each executor.
        mismatches: executor -> output words that differ from the golden model.
        differences: executor -> its first difference, where there is one.
        not_run: executor -> why it was not run.
        seconds: `golden`, executor: wall time of its run; `EXECUTOR build`: of its build.
        timings: executor with a clock -> latency and reset, with one vector per clock.
    """

    vectors: int
    kinds: dict[str, int]
    words: int
    mismatches: dict[str, int]
    differences: dict[str, Difference]
    not_run: dict[str, str]
    seconds: dict[str, float]
    timings: dict[str, Timing]

    @property
    def exact(self) -> bool:
        return not any(self.mismatches.values())

    @property
    def passed(self) -> bool:
        """Exact, and the outputs come when the project says they do."""
        return self.exact and all(timing.holds for timing in self.timings.values())

    @property
    def first(self) -> Difference | None:
        return next(iter(self.differences.values()), None)

    def check(self, name: object) -> None:
        """Raises MismatchError: a bit differs (names the first wire where), or the latency is not the one stated."""
        if not self.exact:
            counts = ", ".join(f"{number} in {executor}" for executor, number in self.mismatches.items())
            raise MismatchError(f"{name} is NOT bit-exact: words that differ: {counts}.\n  first: {self.first}")
        late = {executor: timing for executor, timing in self.timings.items() if not timing.holds}
        if late:
            raise MismatchError(f"{name} computes the right numbers at the wrong time: {late}")


def describe(result: VerifyResult) -> dict[str, Any]:
    """For `verify.json`."""
    return {**asdict(result), "exact": result.exact, "passed": result.passed}


def table(result: VerifyResult) -> Table:
    """One line for each executor."""
    shown = Table(box=None, header_style="")
    for heading in ("", "differences", "built in", "vectors/s"):
        shown.add_column(heading, justify="right" if heading else "left")
    shown.add_row("golden model", "", "", _rate(result, GOLDEN))
    for name, count in result.mismatches.items():
        built = result.seconds.get(f"{name} build")
        shown.add_row(name, f"{count:,}", "" if built is None else f"{built:.1f} s", _rate(result, name))
    return shown


def remarks(result: VerifyResult) -> list[str]:
    """What there is to say of time, and one line for each executor that was not run."""
    lines = [
        f"  {name}: latency {timing.measured} clocks as stated, an input at every clock, reset clears"
        for name, timing in result.timings.items()
    ]
    return lines + [f"  {name}: not run: {' '.join(why.split())}" for name, why in result.not_run.items()]


def _rate(result: VerifyResult, name: str) -> str:
    seconds = result.seconds.get(name)
    return f"{result.vectors / seconds:,.0f}" if seconds else ""
