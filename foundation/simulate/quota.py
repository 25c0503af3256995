"""How many jets of which pt a chunk still has to take, so that the sample has the spectrum asked for."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from foundation.errors import DataError
from foundation.simulate.config import SimulateConfig
from foundation.simulate.plan import Task

PT_BINS = 10
MOST_EVENTS_PER_JET = 400  # a chunk that needs more will not end


class Quota:
    """The jets that a task still needs: the same number in each of `PT_BINS` bins of the window for a flat spectrum,
    any for the natural one."""

    def __init__(self, cfg: SimulateConfig, task: Task, rng: np.random.Generator):
        bins = PT_BINS if cfg.spectrum == "flat" else 1
        self._task, self._radius = task, cfg.radius
        self._edges = np.linspace(cfg.pt_min, cfg.pt_max, bins + 1)
        self._missing = np.full(bins, task.rows // bins) + (rng.permutation(bins) < task.rows % bins)

    @property
    def filled(self) -> bool:
        return not self._missing.any()

    def wanted(self, pt: Float[np.ndarray, " J"]) -> Int[np.ndarray, " W"]:
        """Positions of the first jets of these that fill the quota further."""
        bins = self._bins(pt)
        return np.flatnonzero(_rank_within(bins) < self._missing[bins])

    def take(self, pt: Float[np.ndarray, " W"]) -> None:
        """Counts jets, all of them `wanted`, as taken."""
        self._missing = self._missing - np.bincount(self._bins(pt), minlength=len(self._missing))

    def _bins(self, pt: Float[np.ndarray, " J"]) -> Int[np.ndarray, " J"]:
        return np.digitize(pt, self._edges[1:-1])

    def refuse_endless(self, events: int) -> None:
        """
        Raises:
            DataError: after so many events, the quota will not be filled.
        """
        if events < MOST_EVENTS_PER_JET * max(self._task.rows, PT_BINS):
            return
        empty = [f"{low:.0f}-{high:.0f}" for low, high, n in zip(self._edges, self._edges[1:], self._missing) if n]
        raise DataError(
            f"{self._task.name}: after {events} events, jets are still missing at pt = {', '.join(empty)} GeV\n"
            f"  are jets of this class contained in a cone of R = {self._radius:g} at this pt? raise pt_min, or leave "
            "the class out"
        )


def _rank_within(bins: Int[np.ndarray, " J"]) -> Int[np.ndarray, " J"]:
    """How many earlier jets are in the same bin."""
    return (bins[:, None] == bins[None, :]).astype(int).cumsum(axis=1).diagonal() - 1
