"""Calorimeter towers: particles to the calorimeters' faces, their energy into ECAL and HCAL, noise, zero suppression.

The grid is CMS's of Level-1 towers (edges in eta as CaloTools in CMSSW; 72 in phi): |ieta| 1 to 28 within |eta| < 3,
20 of them 0.087 wide; 12 rings of HF to 5.191. HF has 18 towers in phi: here each covers four of the 72 columns, which
hold a fourth of its Et each. HF measures no separate electromagnetic energy: all of it is in the HCAL part. ieta has no
0 and the two sides are mirrored; a ring's number here runs from 0 (eta = -5.191) to 79.

Not modelled: showers that spread over towers, material before the calorimeters, cracks, out-of-time pile-up. The
transverse position of a displaced particle's birth is ignored where it meets the calorimeter.

Axes: E events, R = 80 rings, C = 72 columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from foundation.simulate.conditions import NO_EFFECTS, Effects
from foundation.simulate.detector import CURVATURE_RADIUS, log_normal
from foundation.simulate.events_config import CalorimeterConfig
from foundation.simulate.pileup import HADRON, MUON, Crossing

BARREL_RADIUS, ENDCAP_Z = 1290.0, 3170.0  # mm, the faces of CMS's ECAL (JINST 3 S08004)
BARREL_WIDTH = 0.087
EDGES = np.concatenate(
    [
        BARREL_WIDTH * np.arange(21),
        [1.830, 1.930, 2.043, 2.172, 2.322, 2.500, 2.650, 3.000],
        [3.139, 3.314, 3.489, 3.664, 3.839, 4.013, 4.191, 4.363, 4.538, 4.716, 4.889, 5.191],
    ]
)
SIDE = len(EDGES) - 1
RINGS, COLUMNS, CENTRAL = 2 * SIDE, 72, 28  # CENTRAL: rings of ECAL and HCAL on each side, the rest is HF
FORWARD_COLUMNS = 4  # columns of the grid that one HF tower covers
RING_ETA = np.concatenate([-(EDGES[1:] + EDGES[:-1])[::-1], EDGES[1:] + EDGES[:-1]]) / 2
RING_WIDTH = np.concatenate([np.diff(EDGES)[::-1], np.diff(EDGES)])
COLUMN_PHI = (np.arange(COLUMNS) + 0.5) * (2 * np.pi / COLUMNS)
FORWARD = np.abs(RING_ETA) > EDGES[CENTRAL]
# The first column of each column's tower.
_CHANNEL = np.where(FORWARD[:, None], np.arange(COLUMNS) // FORWARD_COLUMNS * FORWARD_COLUMNS, np.arange(COLUMNS))
# A uniform fine binning of |eta| -> ring of its side: a look-up is many times faster than a binary search.
_FINE = 1000
_FINE_RING = np.searchsorted(EDGES, (np.arange(int(EDGES[-1] * _FINE) + 1) + 0.5) / _FINE, side="right") - 1


@dataclass(frozen=True)
class Towers:
    """Et in GeV; HF's in each of its four columns. `pileup` is the part of the deposited Et that came from pile-up
    (0 where nothing was deposited)."""

    ecal: Float[np.ndarray, "E R C"]
    hcal: Float[np.ndarray, "E R C"]
    pileup: Float[np.ndarray, "E R C"]

    @property
    def et(self) -> Float[np.ndarray, "E R C"]:
        return self.ecal + self.hcal


def ring_of(eta: Float[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Number of the ring, -1 beyond the last."""
    fine = np.minimum(np.abs(eta) * _FINE, len(_FINE_RING)).astype(np.int64)
    inside = fine < len(_FINE_RING) - 1
    ring = _FINE_RING[np.where(inside, fine, 0)]
    return np.where(inside, np.where(eta < 0, SIDE - 1 - ring, SIDE + ring), -1)


def column_of(phi: Float[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    return np.floor(phi * (COLUMNS / (2 * np.pi))).astype(np.int64) % COLUMNS


def reach(
    particles: Crossing, cfg: CalorimeterConfig
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
    """(eta, phi) of the points where particles meet the calorimeters, seen from the origin, and whether they do.

    Straight lines and helices from the beam line; the field is taken to reach to the end of the ECAL.
    """
    slope = np.sinh(particles.eta)
    start = particles.z - particles.radius * slope  # back along the flight line to the beam
    charged = particles.charge != 0
    # Half of the turning angle per mm of path in the transverse plane; 0 for straight lines.
    bend = np.where(charged, 0.5 * cfg.magnetic_field / (CURVATURE_RADIUS * np.maximum(particles.pt, 1e-6)), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        sine = BARREL_RADIUS * bend
        path = np.where(charged, np.arcsin(np.minimum(sine, 1)) / bend, BARREL_RADIUS)
        z = start + path * slope
        endcap = (np.abs(z) > ENDCAP_Z) | (sine > 1)
        path = np.where(endcap, (np.copysign(ENDCAP_Z, slope) - start) / slope, path)
    half_turn = path * bend
    radius = np.where(charged, np.sin(half_turn) / np.maximum(bend, 1e-12), path)
    z = np.where(endcap, np.copysign(ENDCAP_Z, slope), z)
    phi = particles.phi - particles.charge * half_turn + np.where(radius < 0, np.pi, 0)
    eta = np.arcsinh(z / np.maximum(np.abs(radius), 1e-6))
    return eta, phi % (2 * np.pi), (half_turn < np.pi * cfg.turns_max) & (path > 0)


def hadron_response(energy: Float[np.ndarray, " N"], cfg: CalorimeterConfig) -> Float[np.ndarray, " N"]:
    """Mean measured over true energy of hadrons, before the calibration of the HCAL."""
    return np.maximum(1 - cfg.hadron_loss * np.maximum(energy, 1e-3) ** -cfg.hadron_power, 0)


def towers_of(
    particles: Crossing,
    events: int,
    cfg: CalorimeterConfig,
    rng: np.random.Generator,
    effects: Effects = NO_EFFECTS,
) -> Towers:
    """The towers of events 0 ... events - 1; `effects` may change gains and kill towers."""
    eta, phi, arrives = reach(particles, cfg)
    ring = ring_of(eta)
    keep = arrives & (ring >= 0)
    particles, ring, phi = particles[keep], ring[keep], phi[keep]
    ecal, hcal = _deposits(particles, FORWARD[ring], cfg, rng)
    cell = (particles.event * RINGS + ring) * COLUMNS + column_of(phi)
    transverse = 1 / np.cosh(RING_ETA)[ring]
    ecal, hcal = ecal * transverse, hcal * transverse
    soft, size = particles.vertex > 0, events * RINGS * COLUMNS
    summed = [
        np.bincount(cells, weights, minlength=size).astype(np.float64).reshape(events, RINGS, COLUMNS)
        for cells, weights in ((cell, ecal), (cell, hcal), (cell[soft], (ecal + hcal)[soft]))
    ]
    shared_ecal, shared_hcal, shared_soft = (_share_forward(column) for column in summed)
    return _read_out(shared_ecal, shared_hcal, shared_soft, cfg, rng, effects)


def _deposits(
    particles: Crossing, forward: Bool[np.ndarray, " N"], cfg: CalorimeterConfig, rng: np.random.Generator
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Energy measured of each particle in ECAL and HCAL."""
    energy, kind = particles.energy, particles.kind
    hadron, muon = kind == HADRON, kind == MUON
    terms = np.array(
        [
            [cfg.ecal_stochastic, cfg.ecal_constant],
            [cfg.hadron_stochastic, cfg.hadron_constant],
            [cfg.forward_electron_stochastic, cfg.forward_electron_constant],
            [cfg.forward_hadron_stochastic, cfg.forward_hadron_constant],
        ]
    )[hadron + 2 * forward]
    width = np.sqrt(terms[:, 0] ** 2 / energy + terms[:, 1] ** 2)
    mean = np.where(hadron, energy * hadron_response(energy, cfg), energy)
    measured = log_normal(mean, width, rng)
    passes = rng.random(len(energy)) < cfg.hadron_mip
    share = np.where(hadron, rng.random(len(energy)), 1.0)
    ecal = np.where(hadron & passes, np.minimum(cfg.mip_ecal, measured), share * measured)
    ecal, hcal = np.where(forward, 0, ecal), np.where(forward, measured, measured - ecal)
    ecal = np.where(muon, np.where(forward, 0, np.minimum(cfg.mip_ecal, energy)), ecal)
    hcal = np.where(muon, np.minimum(cfg.mip_hcal, energy - ecal), hcal)
    calibrated = hadron & ~forward
    return ecal, np.where(calibrated, cfg.hcal_calibration, 1) * hcal


def _share_forward(et: Float[np.ndarray, "E R C"]) -> Float[np.ndarray, "E R C"]:
    """HF's Et spread evenly over the four columns of its towers."""
    wide = et[:, FORWARD].reshape(len(et), -1, COLUMNS // FORWARD_COLUMNS, FORWARD_COLUMNS)
    et[:, FORWARD] = np.repeat(wide.mean(axis=3), FORWARD_COLUMNS, axis=2)
    return et


def _read_out(
    ecal: Float[np.ndarray, "E R C"],
    hcal: Float[np.ndarray, "E R C"],
    soft: Float[np.ndarray, "E R C"],
    cfg: CalorimeterConfig,
    rng: np.random.Generator,
    effects: Effects,
) -> Towers:
    """Gains, noise, dead towers, zero suppression, and the true part of pile-up in what was deposited."""
    deposited = ecal + hcal
    pileup = np.divide(soft, deposited, out=np.zeros_like(soft), where=deposited > 0)
    central = ~FORWARD
    events, wide = len(ecal), COLUMNS // FORWARD_COLUMNS
    if effects.changes:
        where = _places(events)
        ecal = ecal * effects.gain("ecal", *where).reshape(ecal.shape)
        hcal = hcal * effects.gain("hcal", *where).reshape(hcal.shape)
    ecal[:, central] += cfg.ecal_noise * rng.standard_normal((events, 2 * CENTRAL, COLUMNS))
    hcal[:, central] += cfg.hcal_noise * rng.standard_normal((events, 2 * CENTRAL, COLUMNS))
    noise = cfg.forward_noise * rng.standard_normal((events, RINGS - 2 * CENTRAL, wide)) / FORWARD_COLUMNS
    hcal[:, FORWARD] += np.repeat(noise, FORWARD_COLUMNS, axis=2)
    if effects.changes:
        channel = _flat(np.arange(RINGS)[:, None], ecal.shape), _flat(_CHANNEL, ecal.shape)
        ecal[effects.dead("ecal", *where, channel).reshape(ecal.shape)] = 0
        hcal[effects.dead("hcal", *where, channel).reshape(hcal.shape)] = 0
    threshold = np.where(FORWARD, cfg.forward_threshold / FORWARD_COLUMNS, cfg.hcal_threshold)[:, None]
    ecal = np.where(ecal >= max(cfg.ecal_threshold, 1e-9), ecal, 0)
    hcal = np.where(hcal >= np.maximum(threshold, 1e-9), hcal, 0)
    return Towers(ecal, hcal, pileup)


def _places(events: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(event, eta, phi) of all towers, flat; the columns of a tower of HF are at one place."""
    shape = (events, RINGS, COLUMNS)
    phi = (_CHANNEL + np.where(FORWARD, FORWARD_COLUMNS, 1)[:, None] / 2) * (2 * np.pi / COLUMNS)
    return _flat(np.arange(events)[:, None, None], shape), _flat(RING_ETA[:, None], shape), _flat(phi, shape)


def _flat(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(values, shape).ravel()


def regions_of(towers: Towers) -> Float[np.ndarray, "E 14 18"]:
    """Et of the regions, 4 x 4 towers within |eta| < 3. As in CMS the first region in phi begins two towers before
    phi = 0."""
    central = np.roll(towers.et[:, SIDE - CENTRAL : SIDE + CENTRAL], 2, axis=2)
    return central.reshape(len(central), 2 * CENTRAL // 4, 4, COLUMNS // 4, 4).sum(axis=(2, 4))
