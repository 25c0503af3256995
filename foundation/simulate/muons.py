"""Level-1 muons: true muons that cross the iron, and pions and kaons that decay to one on their way to it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

from foundation.simulate.detector import log_normal
from foundation.simulate.events_config import MuonConfig
from foundation.simulate.pileup import KAON, MUON, PION, Crossing
from foundation.simulate.towers import BARREL_RADIUS, ENDCAP_Z

MUON_MASS = 0.10566
# PDG id -> mass in GeV, mean decay length c tau in mm, branching ratio to a muon and a neutrino (PDG 2022)
IN_FLIGHT = {PION: (0.13957, 7804.5, 0.99988), KAON: (0.49368, 3711.0, 0.6356)}


@dataclass(frozen=True)
class Muons:
    """Flat, by event and descending pt. `quality` is 12, 8 or 4; `vertex` the truth; `prompt` is not from a decay in
    flight."""

    event: Int[np.ndarray, " M"]
    pt: Float[np.ndarray, " M"]
    eta: Float[np.ndarray, " M"]
    phi: Float[np.ndarray, " M"]
    charge: Float[np.ndarray, " M"]
    quality: Int[np.ndarray, " M"]
    vertex: Int[np.ndarray, " M"]
    prompt: Bool[np.ndarray, " M"]

    def __getitem__(self, keep: Bool[np.ndarray, " M"]) -> Muons:
        return Muons(*(getattr(self, f.name)[keep] for f in fields(self)))


def muons_of(particles: Crossing, cfg: MuonConfig, rng: np.random.Generator) -> Muons:
    """The muons that the trigger finds."""
    close = (particles.pt > cfg.pt_min) & (np.abs(particles.eta) < cfg.eta_max)
    particles = particles[close]
    muon = particles.kind == MUON
    share = np.where(muon, 1.0, _decayed_share(particles, rng) if cfg.decays_in_flight else 0.0)
    pt = share * particles.pt
    found = (pt > cfg.pt_min) & (pt * np.cosh(particles.eta) > cfg.momentum_min)
    found &= rng.random(len(pt)) < cfg.efficiency
    particles, pt, muon = particles[found], pt[found], muon[found]
    normal = rng.standard_normal((2, len(pt)))
    flip = rng.random(len(pt)) < np.minimum(cfg.charge_flip + cfg.charge_flip_linear * pt, 0.5)
    poor = np.where(rng.random(len(pt)) < 0.5, 8, 4)
    measured = cfg.pt_scale * log_normal(pt, np.full(len(pt), cfg.pt_width), rng)
    order = np.lexsort((-measured, particles.event))
    columns = {
        "event": particles.event,
        "pt": measured,
        "eta": particles.eta + cfg.eta_width * normal[0],
        "phi": (particles.phi + cfg.phi_width * normal[1]) % (2 * np.pi),
        "charge": np.where(flip, -1, 1) * particles.charge,
        "quality": np.where(rng.random(len(pt)) < cfg.quality_good, 12, poor),
        "vertex": particles.vertex,
        "prompt": muon,
    }
    return Muons(**{name: column[order] for name, column in columns.items()})


def _decayed_share(particles: Crossing, rng: np.random.Generator) -> Float[np.ndarray, " N"]:
    """The part of its momentum that a pion or kaon gives to a muon before the calorimeter; 0 if it gives none.

    In a two-body decay in flight the muon's share is uniform between (m_muon / m)^2 and 1.
    """
    share = np.zeros(len(particles.pt))
    length = np.minimum(
        BARREL_RADIUS * np.cosh(particles.eta), ENDCAP_Z / np.maximum(np.abs(np.tanh(particles.eta)), 1e-6)
    )
    momentum = particles.pt * np.cosh(particles.eta)
    for pdgid, (mass, decay_length, branching) in IN_FLIGHT.items():
        rows = np.flatnonzero(np.abs(particles.pdgid) == pdgid)
        decays = -np.expm1(-length[rows] * mass / (momentum[rows] * decay_length))
        happens = rng.random(len(rows)) < branching * decays
        low = (MUON_MASS / mass) ** 2
        share[rows] = np.where(happens, low + (1 - low) * rng.random(len(rows)), 0)
    return share
