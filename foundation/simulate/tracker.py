"""Level-1 tracks, the primary vertex that the trigger finds from them, and which tracks belong to it.

A track has the momentum of its particle, smeared. Not modelled: fakes, duplicates, losses in dense cores, material.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

from foundation.simulate.conditions import NO_EFFECTS, Effects
from foundation.simulate.detector import log_normal
from foundation.simulate.events_config import TrackerConfig
from foundation.simulate.pileup import ELECTRON, MUON, Crossing

LONGEST = 200.0  # mm, the range in z0 of the vertex histogram on either side


@dataclass(frozen=True)
class Tracks:
    """Flat, by event and descending pt. `vertex` and `pdgid` are those of the particle: the truth."""

    event: Int[np.ndarray, " T"]
    pt: Float[np.ndarray, " T"]
    eta: Float[np.ndarray, " T"]
    phi: Float[np.ndarray, " T"]
    z0: Float[np.ndarray, " T"]
    charge: Float[np.ndarray, " T"]
    vertex: Int[np.ndarray, " T"]
    pdgid: Int[np.ndarray, " T"]

    def __getitem__(self, keep: Bool[np.ndarray, " T"] | Int[np.ndarray, " S"]) -> Tracks:
        return Tracks(*(getattr(self, f.name)[keep] for f in fields(self)))


def z0_width(eta: Float[np.ndarray, " N"], cfg: TrackerConfig) -> Float[np.ndarray, " N"]:
    """mm."""
    return cfg.z0_constant + cfg.z0_eta * eta**2


def pt_width(pt: Float[np.ndarray, " N"], eta: Float[np.ndarray, " N"], cfg: TrackerConfig) -> Float[np.ndarray, " N"]:
    """Relative."""
    return (cfg.pt_constant + cfg.pt_linear * pt) * (1 + cfg.pt_eta * eta**2)


def tracks_of(
    particles: Crossing, cfg: TrackerConfig, rng: np.random.Generator, effects: Effects = NO_EFFECTS
) -> Tracks:
    """The tracks that are found of these particles; `effects` may lose some."""
    # Far below the threshold no smearing lifts a particle above it: less to smear.
    particles = particles[(particles.charge != 0) & (particles.pt > 0.5 * cfg.pt_min) & (particles.radius < LONGEST)]
    efficiency = np.select(
        [particles.kind == MUON, particles.kind == ELECTRON],
        [cfg.muon_efficiency, cfg.electron_efficiency],
        cfg.hadron_efficiency,
    )
    efficiency = efficiency * np.maximum(1 - particles.radius / max(cfg.birth_radius_max, 1e-9), 0)
    if effects.changes:
        efficiency = efficiency * (1 - effects.track_loss(particles.event, particles.eta, particles.phi))
    particles = particles[rng.random(len(efficiency)) < efficiency]
    width = pt_width(particles.pt, particles.eta, cfg)
    normal = rng.standard_normal((3, len(width)))
    phi = particles.phi + np.hypot(cfg.phi_constant, cfg.phi_scattering / particles.pt) * normal[0]
    start = particles.z - particles.radius * np.sinh(particles.eta)
    tracks = Tracks(
        event=particles.event,
        pt=log_normal(particles.pt, width, rng),
        eta=particles.eta + cfg.eta_width * normal[1],
        phi=phi % (2 * np.pi),
        z0=start + z0_width(particles.eta, cfg) * normal[2],
        charge=particles.charge,
        vertex=particles.vertex,
        pdgid=particles.pdgid,
    )
    tracks = tracks[(tracks.pt > cfg.pt_min) & (np.abs(tracks.eta) < cfg.eta_max)]
    return tracks[np.lexsort((-tracks.pt, tracks.event))]


def primary_vertex(tracks: Tracks, events: int, cfg: TrackerConfig) -> Float[np.ndarray, " E"]:
    """z0 in mm of the heaviest window of three bins, its tracks' mean; 0 in events without a track."""
    bins = int(2 * LONGEST / cfg.vertex_bin)
    place = np.floor((tracks.z0 + LONGEST) / cfg.vertex_bin).astype(np.int64)
    inside = (place >= 0) & (place < bins)
    event, place, z0 = tracks.event[inside], place[inside], tracks.z0[inside]
    weight = np.minimum(tracks.pt[inside], cfg.vertex_pt_max)
    sums = [
        np.bincount(event * bins + place, w, minlength=events * bins).astype(np.float64).reshape(events, bins)
        for w in (weight, weight * z0)
    ]
    windows = [s[:, :-2] + s[:, 1:-1] + s[:, 2:] for s in sums]
    best = windows[0].argmax(axis=1)
    total, moment = (w[np.arange(events), best] for w in windows)
    return np.divide(moment, total, out=np.zeros(events), where=total > 0)


def associated(tracks: Tracks, vertex: Float[np.ndarray, " E"], cfg: TrackerConfig) -> Bool[np.ndarray, " T"]:
    """Whether a track belongs to the vertex of its event."""
    window = cfg.association * z0_width(tracks.eta, cfg) + cfg.vertex_bin / 2
    return np.abs(tracks.z0 - vertex[tracks.event]) < window
