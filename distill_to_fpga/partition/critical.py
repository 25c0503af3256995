"""What the latency of a crossing is made of: the chain of beats, each of which waited for the one before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill_to_fpga.partition.pipeline import Pipeline

PARTS = {
    "logic": "depth of the logic",
    "tokens": "tokens one after another",
    "serialisation": "bits one after another on links",
    "hops": "transceivers and fibres",
}


@dataclass(frozen=True)
class Step:
    """A stretch of the chain, in clocks; `part` is one of `PARTS`."""

    flow: str
    part: str
    begin: int
    end: int


def critical_path(pipeline: Pipeline) -> list[Step]:
    """From the arrival of a lone crossing to its end, without contention. The steps follow each other without a gap."""
    times = pipeline.uncontended(np.zeros(1, np.int64))
    number = max(pipeline.ends, key=lambda end: times[end][1][0, -1])
    beat = pipeline.flows[number].beats - 1
    steps: list[Step] = []
    while True:
        flow, (begun, delivered) = pipeline.flows[number], times[number]
        link, at = pipeline.servers[flow.server].link, int(begun[0, beat])
        there = int(delivered[0, beat]) - max(flow.latency, 0)
        if link:
            steps.append(Step(flow.name, "hops", there, int(delivered[0, beat])))
            steps.append(Step(flow.name, "serialisation", at, there))
        else:
            steps.append(Step(flow.name, "logic", at, int(delivered[0, beat])))
        earlier = beat
        while (cause := _cause(pipeline, times, number, earlier)) is None and earlier > 0:
            earlier -= 1
        if earlier < beat:
            part = "serialisation" if link else "tokens"
            steps.append(Step(flow.name, part, int(begun[0, earlier]), at))
        if cause is None:
            return [step for step in reversed(steps) if step.end > step.begin]
        number, beat = cause


def _cause(
    pipeline: Pipeline, times: list[tuple[np.ndarray, np.ndarray]], number: int, beat: int
) -> tuple[int, int] | None:
    """The flow and beat whose delivery let a beat begin; None where it waited for the beat before, or for nothing."""
    begin = int(times[number][0][0, beat])
    for need in pipeline.flows[number].needs:
        last = int(need.last[beat]) - 1
        if last >= 0 and int(times[need.producer][1][0, last]) == begin:
            return need.producer, last
    return None


def parts(steps: list[Step]) -> dict[str, int]:
    """Clocks of each part; they add up to the latency."""
    return {part: sum(step.end - step.begin for step in steps if step.part == part) for part in PARTS}
