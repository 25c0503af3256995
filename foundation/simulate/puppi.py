"""Pile-up weights of particle candidates, after PUPPI (arXiv:1407.6013), simplified.

Candidates are the Level-1 tracks and, for each tower, what is left of its Et when the pt of the tracks that point to it
is taken away. A track's weight is 1 if it belongs to the primary vertex, else 0. A neutral candidate i gets

    alpha_i = log sum_j (pt_j / deltaR_ij)^2   over j within `radius`,

j being the tracks of the primary vertex where there are tracks, all towers beyond. With the median and the width (from
values below the median) of alpha among pile-up, the weight is the chi^2(1) quantile of ((alpha - median) / width)^2, 0
below the median. Pile-up's alpha is taken from the tracks of other vertices in the centre, from all towers in the
forward part. Small weights, and small weighted pt, count as 0.

Simplified: sources sit at the centres of their towers and deltaR is at least half a tower, so that alpha is a
convolution on the grid, done for all towers at once by a Fourier transform in phi.

Axes: E events, R rings, C columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import erf

from foundation.simulate.events_config import CalorimeterConfig, PuppiConfig
from foundation.simulate.level1 import rank
from foundation.simulate.pileup import HADRON, Crossing
from foundation.simulate.towers import (
    BARREL_WIDTH,
    COLUMN_PHI,
    COLUMNS,
    FORWARD,
    FORWARD_COLUMNS,
    RING_ETA,
    RINGS,
    Towers,
    column_of,
    reach,
    ring_of,
)
from foundation.simulate.tracker import Tracks

HALF_TOWER = BARREL_WIDTH / 2


@dataclass(frozen=True)
class Candidates:
    """Flat, by event and descending pt. `z0` is 0 for the neutral ones. `pileup` is the truth: whether the particle,
    or most of the tower's energy, came from pile-up."""

    event: Int[np.ndarray, " N"]
    pt: Float[np.ndarray, " N"]
    eta: Float[np.ndarray, " N"]
    phi: Float[np.ndarray, " N"]
    z0: Float[np.ndarray, " N"]
    charge: Float[np.ndarray, " N"]
    weight: Float[np.ndarray, " N"]
    pileup: Bool[np.ndarray, " N"]


def candidates_of(
    tracks: Tracks,
    primary: Bool[np.ndarray, " T"],
    towers: Towers,
    density: Float[np.ndarray, " E"],
    cfg: PuppiConfig,
    calorimeter: CalorimeterConfig,
    track_eta_max: float,
) -> Candidates:
    """`primary` says which tracks belong to the primary vertex; `density` is that of `level1.density`."""
    central = np.abs(RING_ETA) < track_eta_max
    et = _whole_towers(towers.et)
    cell = _cells(tracks, calorimeter)
    left = np.maximum(et - _on_grid(cell, tracks.pt, len(et)), 0)
    weight = np.zeros_like(left)
    sources = _on_grid(cell[primary], tracks.pt[primary] ** 2, len(left))
    alpha = _alpha(sources, central, cfg.radius, itself=True)
    others = ~primary & (cell >= 0)
    median_width = _median_width(tracks.event[others], alpha.ravel()[cell[others]], len(left))
    weight[:, central] = _weights(alpha[:, central], *median_width)
    alpha = _alpha(et**2, ~central, cfg.radius, itself=False)
    event, ring, column = np.nonzero((et > 0) & ~central[:, None])
    median_width = _median_width(event, alpha[event, ring, column], len(left))
    weight[:, ~central] = _weights(alpha[:, ~central], *median_width)

    weight[weight < cfg.weight_min] = 0
    base, slope = (np.where(central, *pair)[:, None] for pair in _cuts(cfg))
    weight[weight * left < base + slope * _rho(density)[:, None, None]] = 0
    event, ring, column = np.nonzero(left > cfg.tower_min)
    shift = np.where(FORWARD, (FORWARD_COLUMNS - 1) / 2 * (2 * np.pi / COLUMNS), 0)  # to the centre of HF's towers
    zero = np.zeros(len(event))
    joined = [
        np.concatenate(pair)
        for pair in (
            (tracks.event, event),
            (tracks.pt, left[event, ring, column]),
            (tracks.eta, RING_ETA[ring]),
            (tracks.phi, COLUMN_PHI[column] + shift[ring]),
            (tracks.z0, zero),
            (tracks.charge, zero),
            (primary.astype(np.float64), weight[event, ring, column]),
            (tracks.vertex > 0, towers.pileup[event, ring, column] > 0.5),
        )
    ]
    order = np.lexsort((-joined[1], joined[0]))
    return Candidates(*(column[order] for column in joined))


def missing_pt(candidates: Candidates, events: int) -> tuple[Float[np.ndarray, " E"], Float[np.ndarray, " E"]]:
    """(pt, phi) that balance the weighted candidates."""
    pt = candidates.weight * candidates.pt
    x, y = (
        -np.bincount(candidates.event, pt * turned, minlength=events).astype(np.float64)
        for turned in (np.cos(candidates.phi), np.sin(candidates.phi))
    )
    return np.hypot(x, y), np.arctan2(y, x) % (2 * np.pi)


def _whole_towers(et: Float[np.ndarray, "E R C"]) -> Float[np.ndarray, "E R C"]:
    """HF's towers with all their Et in the first of their columns."""
    first = np.arange(COLUMNS) % FORWARD_COLUMNS == 0
    return np.where(FORWARD[:, None], FORWARD_COLUMNS * first * et, et)


def _cuts(cfg: PuppiConfig) -> tuple[tuple[float, float], tuple[float, float]]:
    """((base, base), (slope, slope)) of the least weighted pt in the (centre, forward part)."""
    return (cfg.neutral_pt, cfg.forward_pt), (cfg.neutral_slope, cfg.forward_slope)


def _rho(density: Float[np.ndarray, " E"]) -> Float[np.ndarray, " E"]:
    return density / (BARREL_WIDTH * 2 * np.pi / COLUMNS)


def _cells(tracks: Tracks, cfg: CalorimeterConfig) -> Int[np.ndarray, " T"]:
    """Flat number of the tower that a track points to; -1 if to none."""
    count = len(tracks.pt)
    zero = np.zeros(count)
    particles = Crossing(
        tracks.event, tracks.vertex, np.full(count, HADRON), tracks.pdgid, tracks.charge,
        tracks.pt, tracks.eta, tracks.phi, tracks.pt * np.cosh(tracks.eta), zero, tracks.z0,
    )  # fmt: skip
    eta, phi, arrives = reach(particles, cfg)
    ring = ring_of(eta)
    return np.where(arrives & (ring >= 0), (tracks.event * RINGS + ring) * COLUMNS + column_of(phi), -1)


def _on_grid(cell: Int[np.ndarray, " T"], values: Float[np.ndarray, " T"], events: int) -> Float[np.ndarray, "E R C"]:
    inside = cell >= 0
    summed = np.bincount(cell[inside], values[inside], minlength=events * RINGS * COLUMNS).astype(np.float64)
    return summed.reshape(events, RINGS, COLUMNS)


def _alpha(
    sources: Float[np.ndarray, "E R C"], targets: Bool[np.ndarray, " R"], radius: float, itself: bool
) -> Float[np.ndarray, "E R C"]:
    """log of the summed sources / deltaR^2 within the radius, those of the tower `itself` or not; -inf without any, and
    outside the target rings."""
    spectrum = np.fft.rfft(sources, axis=2).transpose(2, 1, 0)
    kernel = _kernel(radius, itself)[:, targets]
    spectrum = kernel @ np.ascontiguousarray(spectrum.real) + 1j * (kernel @ np.ascontiguousarray(spectrum.imag))
    total = np.fft.irfft(spectrum.transpose(2, 1, 0), n=COLUMNS, axis=2)
    alpha = np.full(sources.shape, -np.inf)
    # What rounding leaves of nothing is not a neighbour: the least true sum is a 0.1 GeV source at the edge.
    real = total > 1e-9 * np.maximum(total.max(axis=(1, 2), keepdims=True), 1)
    alpha[:, targets] = np.log(total, out=np.full(total.shape, -np.inf), where=real)
    return alpha


@lru_cache(maxsize=2)
def _kernel(radius: float, itself: bool) -> Float[np.ndarray, "K R R"]:
    """Fourier transform in phi of 1 / deltaR^2 between rings."""
    turn = np.minimum(np.arange(COLUMNS), COLUMNS - np.arange(COLUMNS)) * (2 * np.pi / COLUMNS)
    distance = np.hypot((RING_ETA[:, None] - RING_ETA)[:, :, None], turn)
    near = (distance < radius) & (itself or distance > 0)
    inverse = np.where(near, 1 / np.maximum(distance, HALF_TOWER) ** 2, 0)
    return np.fft.rfft(inverse, axis=2).real.transpose(2, 0, 1)


def _median_width(
    event: Int[np.ndarray, " N"], alpha: Float[np.ndarray, " N"], events: int
) -> tuple[Float[np.ndarray, " E"], Float[np.ndarray, " E"]]:
    """Per event the median of the finite values, and the root mean square distance to it of those below."""
    finite = np.isfinite(alpha)
    event, alpha = event[finite], alpha[finite]
    order = np.lexsort((alpha, event))
    event, alpha = event[order], alpha[order]
    counts = np.bincount(event, minlength=events)
    middle = np.zeros(events)
    chosen = rank(event) == counts[event] // 2
    middle[event[chosen]] = alpha[chosen]
    below = alpha < middle[event]
    squares = np.bincount(event[below], (alpha - middle[event])[below] ** 2, minlength=events)
    width = np.sqrt(squares / np.maximum(np.bincount(event[below], minlength=events), 1))
    # Without pile-up to compare with (fewer than three), everything that has neighbours counts.
    return np.where(counts < 3, -1e3, middle), np.where(counts < 3, 1.0, np.maximum(width, 1e-3))


def _weights(
    alpha: Float[np.ndarray, "E R C"], median: Float[np.ndarray, " E"], width: Float[np.ndarray, " E"]
) -> Float[np.ndarray, "E R C"]:
    pull = (alpha - median[:, None, None]) / width[:, None, None]
    return erf(np.maximum(pull, 0) / np.sqrt(2))  # the chi^2(1) quantile of pull^2
