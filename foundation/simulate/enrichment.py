"""Zero bias with more of what is rare: crossings with one collision forced from a bin of pTHat, and their weights.

A rate of 1 kHz is one crossing in 28,000, and hard jets are rarer still: plain zero bias would spend itself on
crossings that no trigger takes. So, beside M_0 plain crossings, M_j have one collision forced from bin j (stitching,
arXiv:2106.04360). In nature the number n_j of collisions of bin j in a crossing is Poisson with mean N P_j: N is the
mean pile-up, P_j = sigma_j / sigma the part of the collisions that is in the bin. With one forced, it is
1 + Poisson(N P_j), which is n_j / (N P_j) times as dense; what else happens in the crossing is as likely as before. All
rows together are therefore M_0 + sum_j M_j n_j / (N P_j) times as dense as one plain crossing, and with the weight

    w = M / (M_0 + sum_j M_j n_j / (N P_j)),        M = M_0 + sum_j M_j,

they are plain zero bias: the weights are 1 on average, and a rate is 28.1 MHz times the part of the weights that
passes. n_j counts all collisions of a crossing, those of the pile-up too. These come from the same bins: the pool has a
stratum of minimum bias below the lowest edge and one of each bin, with the probabilities 1 - sum_j P_j and P_j, so that
the density is the same on both sides of the weight, whatever Pythia's minimum bias thinks of hard jets.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from foundation.simulate.config import SimulateConfig
from foundation.simulate.events import start, world_settings
from foundation.simulate.pileup import Vertices, mean_pileup
from foundation.simulate.plan import enriched_bin

ENRICHED_INDEX = 64  # of bin 0 in random seeds and event numbers: beyond those of the processes
SIGMA_STREAM = (1 << 17) + 2  # of the seeds, beyond the pool's
HARD_EVENTS, SOFT_EVENTS = 50_000, 10_000  # partons only; the first gives a cross section to 0.3%, the second is exact
PARTONS_ONLY = "PartonLevel:all = off"


def bin_settings(low: float, high: float) -> tuple[str, ...]:
    """Pythia's settings of two-jet production in low <= pTHat < high, GeV."""
    upper = (f"PhaseSpace:pTHatMax = {high}",) if np.isfinite(high) else ()
    return ("HardQCD:all = on", f"PhaseSpace:pTHatMin = {low}", *upper)


def task_settings(cfg: SimulateConfig, name: str) -> tuple[int, tuple[str, ...]] | None:
    """(index of seeds and event numbers, Pythia's settings) of a task with a forced collision; None for any other."""
    number = enriched_bin(name)
    if number is None:
        return None
    return ENRICHED_INDEX + number, bin_settings(*cfg.events.enrichment.bins[number])


def probabilities(cfg: SimulateConfig) -> Float[np.ndarray, " J"]:
    """P_j: the part of the minimum-bias collisions that is in each bin, from Pythia's cross sections.

    Raises:
        ConfigError: Pythia refuses a setting.
    """
    sigma, whole = cross_sections(cfg)
    return sigma / whole


def cross_sections(cfg: SimulateConfig) -> tuple[Float[np.ndarray, " J"], float]:
    """Those of the bins, and that of all collisions of the pile-up, in mb, as Pythia estimates them.

    Raises:
        ConfigError: Pythia refuses a setting.
    """
    seed = int(np.random.SeedSequence(cfg.seed, spawn_key=(SIGMA_STREAM,)).generate_state(1)[0])
    world = (*world_settings(cfg, seed), PARTONS_ONLY)
    bins = tuple((*world, *bin_settings(*edges), *cfg.pythia) for edges in cfg.events.enrichment.bins)
    sigma = np.array([_sigma(settings, HARD_EVENTS) for settings in bins])
    return sigma, _sigma((*world, *cfg.events.pileup.settings, *cfg.pythia), SOFT_EVENTS)


@lru_cache(maxsize=64)
def _sigma(settings: tuple[str, ...], events: int) -> float:
    pythia = start("cross section", settings)
    pythia.nextBatch(events)
    return float(pythia.infoPython().sigmaGen())


def crossing_weights(
    counts: Int[np.ndarray, "E J"],
    mean: Float[np.ndarray, " E"],
    plain: int,
    enriched: tuple[int, ...],
    parts: Float[np.ndarray, " J"],
) -> Float[np.ndarray, " E"]:
    """w of crossings with `counts` collisions in each bin; the mean of w over the sample is 1 up to its fluctuations.

    Args:
        counts: n_j, all collisions of a crossing, forced or not.
        mean: N of each crossing.
        plain, enriched: M_0 and M_j.
        parts: P_j.
    """
    made = np.asarray(enriched, np.float64)
    density = plain + (counts * made / parts).sum(axis=1) / mean
    return (plain + made.sum()) / density


def enrichment_columns(
    cfg: SimulateConfig, name: str, events: int, vertices: Vertices, effects: Any
) -> dict[str, np.ndarray]:
    """`weight`, `pthat_max` (GeV) and `enriched` (0 plain, 1 + j with a collision forced from bin j) of one block.

    Events with a hard process of their own are no zero bias: their weight is 1.
    """
    edges = np.asarray(cfg.events.enrichment.pthat_edges)
    hardest = np.zeros(events)
    np.maximum.at(hardest, vertices.event, vertices.pthat)
    number = enriched_bin(name)
    weight = np.ones(events)
    if name == "zero_bias" or number is not None:
        inside: Bool[np.ndarray, " V"] = vertices.pthat >= edges[0]
        found = np.searchsorted(edges, vertices.pthat[inside], side="right") - 1
        counts = np.zeros((events, len(edges)), np.int64)
        np.add.at(counts, (vertices.event[inside], found), 1)
        settings = cfg.events
        mean = mean_pileup(events, settings.pileup, effects)
        made = settings.processes["zero_bias"], settings.enrichment.counts
        weight = crossing_weights(counts, mean, *made, probabilities(cfg))
    return {
        "weight": weight.astype(np.float32),
        "pthat_max": hardest.astype(np.float32),
        "enriched": np.full(events, 0 if number is None else number + 1, np.int32),
    }
