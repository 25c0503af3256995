"""The calorimeter trigger: jets, e/gammas, taus and energy sums from towers, by fixed windows as in CMS's Layer 2.

All windows are in towers, eta x phi, on the grid of `towers`; phi wraps around, beyond the last ring there is nothing.
A tower seeds an object if no tower of its window has more Et; of equal ones the first in (eta, phi) does.

- Jets: 9 x 9 sum about a seed, minus what pile-up is expected to add: the rest of the same rings, scaled to the window
  (ring), or the three lowest of the four 3 x 9 strips beside it (chunky donut), which have the window's area but, where
  the widths of the rings change, not its towers.
- e/gammas: ECAL sum of 2 x 3: the seed's ring and the neighbouring one with more ECAL Et. Position: Et-weighted.
  Isolation: Et in 5 x 9 less the cluster and the pile-up expected of the rest.
- Taus: Et of 3 x 3 less the expected pile-up; isolation as above.
- ET and MET from towers (|eta| < 3 and all), HT and MHT from jets.

Simplified against the hardware: floating point (hardware integers come at the end), clusters of one shape, no
calibration by eta and pt, no saturated towers, one expected pile-up per event for isolation.

Axes: E events, R rings, C columns, S seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

from foundation.simulate.events_config import Level1Config
from foundation.simulate.towers import (
    BARREL_WIDTH,
    COLUMN_PHI,
    COLUMNS,
    FORWARD,
    FORWARD_COLUMNS,
    RING_ETA,
    RING_WIDTH,
    RINGS,
    Towers,
    regions_of,
)

PAD = 7  # rings of zeros on each side: what a jet's window and strips reach
CENTRAL_ET = 3.0  # |eta| of ET
REGION_TOWERS = 16
BARREL_REGIONS = slice(2, 12)  # rings of regions whose towers are all 0.087 wide
TIGHT, LOOSE = 1, 2  # isolation bits
TOWER_COLUMNS = np.where(FORWARD, FORWARD_COLUMNS, 1)[:, None]  # columns of a ring's towers


@dataclass(frozen=True)
class Objects:
    """Flat, by event and descending pt; `isolation` has the bits TIGHT and LOOSE (0 for jets)."""

    event: Int[np.ndarray, " O"]
    pt: Float[np.ndarray, " O"]
    eta: Float[np.ndarray, " O"]
    phi: Float[np.ndarray, " O"]
    isolation: Int[np.ndarray, " O"]

    def __getitem__(self, keep: Bool[np.ndarray, " O"] | Int[np.ndarray, " P"]) -> Objects:
        return Objects(*(getattr(self, f.name)[keep] for f in fields(self)))


@dataclass(frozen=True)
class Seeds:
    event: Int[np.ndarray, " S"]
    ring: Int[np.ndarray, " S"]
    column: Int[np.ndarray, " S"]

    def __getitem__(self, keep: Int[np.ndarray, " T"]) -> Seeds:
        return Seeds(self.event[keep], self.ring[keep], self.column[keep])


class Grid:
    """Et of towers, [E, R, C], to be read about seeds."""

    def __init__(self, et: Float[np.ndarray, "E R C"]):
        self.et = et
        self._flat = np.pad(et, ((0, 0), (PAD, PAD), (0, 0))).ravel()

    def around(self, seeds: Seeds, rings: range, columns: range) -> Float[np.ndarray, "S D P"]:
        """Et at these offsets from the seeds."""
        first = (seeds.event * (RINGS + 2 * PAD) + seeds.ring + PAD)[:, None] + np.arange(rings.start, rings.stop)
        column = (seeds.column[:, None] + np.arange(columns.start, columns.stop)) % COLUMNS
        return self._flat[first[:, :, None] * COLUMNS + column[:, None, :]]

    def seeds(self, threshold: float, half_rings: int, half_columns: int, eta_max: float) -> Seeds:
        """Towers of at least `threshold` (all of a tower, in HF too) that no other of their window beats."""
        allowed = (np.abs(RING_ETA) < eta_max)[:, None]
        seeds = Seeds(*np.nonzero((self.et * TOWER_COLUMNS >= max(threshold, 1e-9)) & allowed))
        window = self.around(seeds, symmetric(half_rings), symmetric(half_columns))
        size = (2 * half_rings + 1) * (2 * half_columns + 1)
        window, middle = window.reshape(len(seeds.event), size), size // 2
        own = window[:, [middle]]
        first = (own > window[:, :middle]).all(axis=1)  # the earlier ones must be less, the later ones not more
        second = (own >= window[:, middle + 1 :]).all(axis=1)
        return seeds[np.flatnonzero(first & second)]


def symmetric(half: int) -> range:
    return range(-half, half + 1)


def density(towers: Towers) -> Float[np.ndarray, " E"]:
    """Pile-up Et of a barrel tower: the median over the regions of |eta| < 1.39, per tower.

    Divided by 0.087 x 2 pi / 72 it is the density rho.
    """
    regions = regions_of(towers)[:, BARREL_REGIONS]
    return np.median(regions.reshape(len(regions), -1), axis=1) / REGION_TOWERS


def leading(objects: Objects, most: int) -> Objects:
    """At most `most` of each event, by descending pt."""
    objects = objects[np.lexsort((-objects.pt, objects.event))]
    return objects[rank(objects.event) < most]


def rank(event: Int[np.ndarray, " O"]) -> Int[np.ndarray, " O"]:
    """Position within the event, of events in ascending order."""
    return np.arange(len(event)) - np.searchsorted(event, event)


def find_jets(towers: Towers, cfg: Level1Config) -> Objects:
    """All jets, ordered."""
    grid = Grid(towers.et)
    seeds = grid.seeds(cfg.jet_seed, 4, 4, cfg.jet_eta_max)
    et = grid.around(seeds, symmetric(4), symmetric(4)).sum(axis=(1, 2))
    et = et - _beside(grid, seeds, et, cfg)
    eta, phi = RING_ETA[seeds.ring], COLUMN_PHI[seeds.column]
    jets = Objects(seeds.event, cfg.jet_scale * et, eta, phi, np.zeros(len(et), np.int64))
    least = np.where(np.abs(eta) < cfg.ht_eta_max, cfg.jet_pt_min, cfg.jet_forward_pt_min)
    return leading(jets[jets.pt > least], len(et))


def _beside(grid: Grid, seeds: Seeds, et: Float[np.ndarray, " S"], cfg: Level1Config) -> Float[np.ndarray, " S"]:
    """Et that pile-up is expected to have put into the jets' windows."""
    if cfg.jet_subtraction == "none":
        return np.zeros_like(et)
    if cfg.jet_subtraction == "ring":
        around = grid.around(seeds, symmetric(4), range(COLUMNS)).sum(axis=(1, 2))
        return (around - et) * 9 / (COLUMNS - 9)
    beside = ((range(-7, -4), symmetric(4)), (range(5, 8), symmetric(4)))
    strips = [grid.around(seeds, *pair).sum(axis=(1, 2)) for pair in beside]
    strips += [grid.around(seeds, *pair[::-1]).sum(axis=(1, 2)) for pair in beside]
    return np.sort(np.stack(strips, axis=1), axis=1)[:, :3].sum(axis=1)


def find_egs(towers: Towers, pileup: Float[np.ndarray, " E"], cfg: Level1Config) -> Objects:
    """Electrons and photons. `pileup`: see `density`."""
    ecal, hcal = Grid(towers.ecal), Grid(towers.hcal)
    seeds = ecal.seeds(cfg.eg_seed, 1, 1, cfg.eg_eta_max)
    near, hadronic = (grid.around(seeds, symmetric(1), symmetric(1)) for grid in (ecal, hcal))
    upper = near[:, 2].sum(axis=1) > near[:, 0].sum(axis=1)
    used = np.stack([~upper, np.ones_like(upper), upper], axis=1)[:, :, None]
    near, hadronic = near * used, hadronic * used
    pt, energy = near.sum(axis=(1, 2)), (near + hadronic).sum(axis=(1, 2))
    isolation = _isolation(Grid(towers.et), seeds, energy, pt, pileup, 6, cfg)
    eta, phi = _centroid(near, seeds)
    keep = hadronic.sum(axis=(1, 2)) < cfg.eg_hadronic * pt
    return leading(Objects(seeds.event, pt, eta, phi, isolation)[keep], cfg.most_egs)


def find_taus(towers: Towers, pileup: Float[np.ndarray, " E"], cfg: Level1Config) -> Objects:
    """Hadronic taus."""
    grid = Grid(towers.et)
    seeds = grid.seeds(cfg.tau_seed, 1, 1, cfg.tau_eta_max)
    near = grid.around(seeds, symmetric(1), symmetric(1))
    energy = near.sum(axis=(1, 2))
    pt = np.maximum(energy - 9 * pileup[seeds.event], 0)
    isolation = _isolation(grid, seeds, energy, pt, pileup, 9, cfg)
    eta, phi = _centroid(near, seeds)
    return leading(Objects(seeds.event, pt, eta, phi, isolation)[pt > 0], cfg.most_taus)


def _isolation(
    grid: Grid,
    seeds: Seeds,
    cluster: Float[np.ndarray, " S"],
    pt: Float[np.ndarray, " S"],
    pileup: Float[np.ndarray, " E"],
    towers: int,
    cfg: Level1Config,
) -> Int[np.ndarray, " S"]:
    """Bits of 5 x 9 towers about the seed, of which the cluster has `towers`."""
    around = grid.around(seeds, symmetric(2), symmetric(4)).sum(axis=(1, 2)) - cluster
    excess = around - (45 - towers) * pileup[seeds.event] - cfg.isolation_offset
    return TIGHT * (excess < cfg.tight * pt) + LOOSE * (excess < cfg.loose * pt)


def _centroid(
    near: Float[np.ndarray, "S 3 3"], seeds: Seeds
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, " S"]]:
    """(eta, phi) weighted with the Et of the 3 x 3 towers about the seed."""
    total = near.sum(axis=(1, 2))
    weights = near.sum(axis=2) / total[:, None]
    rings = np.clip(seeds.ring[:, None] + np.arange(-1, 2), 0, RINGS - 1)
    eta = (weights * RING_ETA[rings]).sum(axis=1)
    shift = (near[:, :, 2] - near[:, :, 0]).sum(axis=1) / total
    return eta, (COLUMN_PHI[seeds.column] + shift * 2 * np.pi / COLUMNS) % (2 * np.pi)


@dataclass(frozen=True)
class Sums:
    """GeV and rad, one each per event."""

    et: Float[np.ndarray, " E"]
    met: Float[np.ndarray, " E"]
    met_phi: Float[np.ndarray, " E"]
    ht: Float[np.ndarray, " E"]
    mht: Float[np.ndarray, " E"]
    mht_phi: Float[np.ndarray, " E"]


def sums_of(towers: Towers, jets: Objects, pileup: Float[np.ndarray, " E"], cfg: Level1Config) -> Sums:
    """Energy sums; `jets` are all of them, not only those that are kept."""
    # HF's columns hold a part of their tower each; a threshold is for towers.
    area = (RING_WIDTH / BARREL_WIDTH)[:, None] * TOWER_COLUMNS
    threshold = cfg.sum_threshold + cfg.sum_slope * area * pileup[:, None, None]
    et = np.where(towers.et * TOWER_COLUMNS >= threshold, towers.et, 0)
    x, y = -(et * np.cos(COLUMN_PHI)).sum(axis=(1, 2)), -(et * np.sin(COLUMN_PHI)).sum(axis=(1, 2))
    counted = jets[(jets.pt >= cfg.ht_pt_min) & (np.abs(jets.eta) < cfg.ht_eta_max)]
    ht, jet_x, jet_y = (
        np.bincount(counted.event, counted.pt * factor, minlength=len(et)).astype(np.float64)
        for factor in (1, -np.cos(counted.phi), -np.sin(counted.phi))
    )
    return Sums(
        et=et[:, np.abs(RING_ETA) < CENTRAL_ET].sum(axis=(1, 2)),
        met=np.hypot(x, y),
        met_phi=np.arctan2(y, x) % (2 * np.pi),
        ht=ht,
        mht=np.hypot(jet_x, jet_y),
        mht_phi=np.arctan2(jet_y, jet_x) % (2 * np.pi),
    )
