"""Clock by clock: beats of many crossings through the servers of a pipeline, which they share.

A server begins the beat that has been ready for longest (of equals, the flow that comes first), and never stands idle
while one is ready. Axes: X crossings, F flows, S servers, E needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from distill_to_fpga.partition.pipeline import Pipeline
from foundation.errors import DataError

NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Simulation:
    """What was seen.

    Attributes:
        arrivals, done: clock of each crossing.
        begun: first and last clock in which each flow began a beat of each crossing.
        most: of each need, in the order of the flows: beats of the producer that waited at a time, at most.
    """

    arrivals: Int[np.ndarray, " X"]
    done: Int[np.ndarray, " X"]
    begun: Int[np.ndarray, "X F 2"]
    most: Int[np.ndarray, " E"]

    @property
    def latency(self) -> int:
        """Clocks of the slowest crossing."""
        return int((self.done - self.arrivals).max())

    @property
    def fastest(self) -> int:
        """Clocks of the fastest crossing."""
        return int((self.done - self.arrivals).min())

    @property
    def interval(self) -> float:
        """Clocks between crossings that come out, over the second half of them."""
        half = len(self.done) // 2
        return float(self.done[-1] - self.done[half - 1]) / (len(self.done) - half)


def simulate(pipeline: Pipeline, arrivals: Int[np.ndarray, " X"]) -> Simulation:
    """Sends crossings through a pipeline until the last is done.

    Args:
        arrivals: clock in which each waits at the inputs; not falling. All zero: as fast as the pipeline can.

    Raises:
        DataError: nothing moves any more though crossings are left; the flows wait for each other.
    """
    state = _State(pipeline, arrivals)
    while not state.finished:
        state.clock()
    return Simulation(arrivals, state.done, state.begun_at, state.most)


class _State:
    """Everything that changes from clock to clock."""

    def __init__(self, pipeline: Pipeline, arrivals: Int[np.ndarray, " X"]):
        flows, needs = pipeline.flows, [(i, need) for i, flow in enumerate(pipeline.flows) for need in flow.needs]
        self.arrivals, self.ends = arrivals, np.array(pipeline.ends)
        self.server = np.array([flow.server for flow in flows])
        self.beats = np.array([flow.beats for flow in flows])
        self.size = np.array([flow.size for flow in flows])
        self.latency = np.array([flow.latency for flow in flows])
        self.rate = np.array([server.rate for server in pipeline.servers])
        self.consumer = np.array([i for i, _ in needs], dtype=np.int64)
        self.producer = np.array([need.producer for _, need in needs], dtype=np.int64)
        lengths = [len(need.last) for _, need in needs]
        self.offset = np.cumsum([0, *lengths])[:-1]
        self.last = np.concatenate([need.last for _, need in needs] or [np.zeros(0, np.int64)])
        self.freed = np.concatenate([need.freed for _, need in needs] or [np.zeros(0, np.int64)])
        self.begun, self.got = np.zeros((2, len(flows)), np.int64)
        self.since = np.full(len(flows), NEVER)
        self.free = np.zeros(len(pipeline.servers), np.int64)  # in units of each server's work
        longest = int((-(-self.size // self.rate[self.server]) + self.latency).max()) + 2
        self.coming = np.zeros((longest, len(flows)), np.int64)
        self.most = np.zeros(len(needs), np.int64)
        self.begun_at = np.zeros((len(arrivals), len(flows), 2), np.int64)
        self.done = np.full(len(arrivals), -1)
        self.now, self.quiet = 0, 0

    @property
    def finished(self) -> bool:
        return bool(self.done[-1] >= 0)

    def clock(self) -> None:
        """One clock: deliver, begin whatever can begin, look."""
        row = self.coming[self.now % len(self.coming)]
        self.got += row
        moved = bool(row.any())
        row[:] = 0
        while len(chosen := self._chosen()):
            self._begin(chosen)
            moved = True
        self._look()
        self.quiet = 0 if moved else self.quiet + 1
        if self.quiet > len(self.coming) and self.now > self.arrivals[-1]:
            raise DataError("the pipeline stands still: flows wait for each other")
        self.now += 1

    def _chosen(self) -> np.ndarray:
        """At most one flow of each server that is free within this clock."""
        ready = self._ready()
        self.since = np.where(ready, np.minimum(self.since, self.now), NEVER)
        able = np.flatnonzero(ready & (self.free < (self.now + 1) * self.rate)[self.server])
        able = able[np.argsort(self.since[able], kind="stable")]
        _, first = np.unique(self.server[able], return_index=True)
        return able[first]

    def _ready(self) -> np.ndarray:
        crossing, beat = np.divmod(self.begun, self.beats)
        left = crossing < len(self.arrivals)
        ready = left & (self.arrivals[np.minimum(crossing, len(self.arrivals) - 1)] <= self.now)
        at = self.offset + beat[self.consumer]
        wanted = crossing[self.consumer] * self.beats[self.producer] + self.last[at]
        ready[self.consumer[self.got[self.producer] < wanted]] = False
        return ready

    def _begin(self, chosen: np.ndarray) -> None:
        server, crossing = self.server[chosen], self.begun[chosen] // self.beats[chosen]
        rate = self.rate[server]
        end = np.maximum(self.free[server], self.now * rate) + self.size[chosen]
        self.free[server] = end
        clocks = -(-end // rate) - self.now + self.latency[chosen]
        self.coming[(self.now + clocks) % len(self.coming), chosen] += clocks > 0
        self.got[chosen] += clocks == 0
        fresh = self.begun[chosen] % self.beats[chosen] == 0
        self.begun_at[crossing[fresh], chosen[fresh], 0] = self.now
        self.begun_at[crossing, chosen, 1] = self.now
        self.begun[chosen] += 1
        self.since[chosen] = NEVER

    def _look(self) -> None:
        """Crossings that are done, and what waits."""
        whole = int((self.got[self.ends] // self.beats[self.ends]).min())
        self.done[:whole][self.done[:whole] < 0] = self.now
        crossing, beat = np.divmod(self.begun, self.beats)
        at = self.offset + np.maximum(beat[self.consumer] - 1, 0)
        free = (
            np.where(beat[self.consumer] > 0, self.freed[at], 0) + crossing[self.consumer] * self.beats[self.producer]
        )
        self.most = np.maximum(self.most, self.got[self.producer] - free)
