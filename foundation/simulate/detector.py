"""A parametrised detector: stable particles in, particle-flow candidates out.

What is modelled: track efficiency and momentum resolution, the helix in the solenoid's field and so the impact
parameters of displaced decays, calorimeter cells that merge what falls into them, energy resolution, thresholds. A
charged particle without a track is not lost: it deposits its energy in the calorimeter and comes out as a neutral
hadron or photon. What is not: showers that spread over cells, pile-up, wrong assignments, tracks lost in dense cores,
a reconstructed primary vertex (it is the origin). The numbers are of the size of the CMS phase-1 detector's
(arXiv:1706.04965, section 3).

Lengths in millimetres, energies in GeV. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from foundation.simulate.columns import CHARGED_HADRON, ELECTRON, MUON, NEUTRAL_HADRON, PHOTON
from foundation.simulate.conditions import NO_EFFECTS, Calorimeter, Effects

# Particle flow gives every charged hadron the mass of the pion.
TRACK_MASS = np.zeros(5)
TRACK_MASS[[CHARGED_HADRON, ELECTRON, MUON]] = 0.13957, 0.000511, 0.10566
NEUTRINOS = (12, 14, 16)
# Radius of curvature in mm of a unit charge with pt = 1 GeV in a field of 1 T.
CURVATURE_RADIUS = 1e3 / 0.299792458


@dataclass(frozen=True)
class DetectorConfig:
    """The response. Resolutions add in quadrature; energies and momenta in GeV, lengths in mm, field in T."""

    magnetic_field: float = 3.8
    track_eta_max: float = 2.5
    track_pt_min: float = 0.5
    hadron_efficiency: float = 0.95
    electron_efficiency: float = 0.92
    muon_efficiency: float = 0.98
    # Efficiency falls linearly to zero for particles born at this radius: fewer and fewer pixel layers are crossed.
    track_birth_radius_max: float = 160.0
    track_pt_constant: float = 0.008
    track_pt_linear: float = 1.5e-4  # times pt / GeV
    d0_constant: float = 0.015
    d0_scattering: float = 0.08  # times GeV / pt
    dz_constant: float = 0.03
    dz_scattering: float = 0.10  # times GeV / pt
    calorimeter_eta_max: float = 3.0
    ecal_cell: float = 0.0174
    ecal_stochastic: float = 0.03  # times sqrt(GeV / E)
    ecal_noise: float = 0.12  # times GeV / E
    ecal_constant: float = 0.005
    photon_pt_min: float = 0.5
    hcal_cell: float = 0.087
    hcal_stochastic: float = 1.0  # times sqrt(GeV / E)
    hcal_noise: float = 0.5  # times GeV / E
    hcal_constant: float = 0.05
    neutral_hadron_pt_min: float = 1.0


@dataclass(frozen=True)
class Particles:
    """Stable particles of many events, flat: momenta in GeV, production vertex in mm, charge in units of e."""

    event: Int[np.ndarray, " N"]
    pdgid: Int[np.ndarray, " N"]
    charge: Float[np.ndarray, " N"]
    px: Float[np.ndarray, " N"]
    py: Float[np.ndarray, " N"]
    pz: Float[np.ndarray, " N"]
    energy: Float[np.ndarray, " N"]
    x: Float[np.ndarray, " N"]
    y: Float[np.ndarray, " N"]
    z: Float[np.ndarray, " N"]

    def __getitem__(self, keep: Bool[np.ndarray, " N"]) -> Particles:
        return Particles(*(getattr(self, f.name)[keep] for f in fields(self)))


@dataclass(frozen=True)
class Candidates:
    """Particle-flow candidates of many events, flat, ordered by event. `kind` as in `columns.PARTICLE_KINDS`."""

    event: Int[np.ndarray, " N"]
    kind: Int[np.ndarray, " N"]
    charge: Float[np.ndarray, " N"]
    px: Float[np.ndarray, " N"]
    py: Float[np.ndarray, " N"]
    pz: Float[np.ndarray, " N"]
    energy: Float[np.ndarray, " N"]
    d0: Float[np.ndarray, " N"]
    d0err: Float[np.ndarray, " N"]
    dz: Float[np.ndarray, " N"]
    dzerr: Float[np.ndarray, " N"]


def respond(
    particles: Particles, detector: DetectorConfig, rng: np.random.Generator, effects: Effects = NO_EFFECTS
) -> Candidates:
    """The candidates that the detector reconstructs of these particles; `effects` are the conditions of their events.

    Effects draw no random numbers: with those of size zero the candidates are the same as without, to the last bit.
    """
    # Pythia's records hold a photon of exactly zero energy now and then.
    particles = particles[~np.isin(np.abs(particles.pdgid), NEUTRINOS) & (particles.energy > 0)]
    particles = _moved(particles, effects)
    tracked = _has_track(particles, detector, rng, effects)
    tracks = _tracks(particles[tracked], detector, rng)
    rest = particles[~tracked & (np.abs(particles.pdgid) != 13)]
    electromagnetic = np.isin(np.abs(rest.pdgid), (11, 22))
    photons = _clusters(rest[electromagnetic], PHOTON, detector, rng, effects)
    hadrons = _clusters(rest[~electromagnetic], NEUTRAL_HADRON, detector, rng, effects)
    parts = (tracks, photons, hadrons)
    joined = [np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Candidates)]
    order = np.argsort(joined[0], kind="stable")
    return Candidates(*(column[order] for column in joined))


def impact_parameters(
    particles: Particles, magnetic_field: float
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """(d0, dz) in mm of charged particles at their closest approach to the beam line, on the exact helix.

    d0 carries the sign of -x sin(phi) + y cos(phi), to which it tends for a straight track; then dz tends to
    z - (x cos(phi) + y sin(phi)) pz/pt.
    """
    pt = np.hypot(particles.px, particles.py)
    sin, cos = particles.py / pt, particles.px / pt
    radius = CURVATURE_RADIUS * pt / (particles.charge * magnetic_field)  # signed; positive turns clockwise
    centre_x, centre_y = particles.x + radius * sin, particles.y - radius * cos
    distance = np.hypot(centre_x, centre_y)
    d0 = np.sign(radius) * (np.abs(radius) - distance)
    # Direction of flight at the closest approach, where the beam line, the track and the centre are in one line.
    turn = np.arctan2(sin, cos) - np.arctan2(np.sign(radius) * centre_x, -np.sign(radius) * centre_y)
    path = -radius * ((turn + np.pi) % (2 * np.pi) - np.pi)
    return d0, particles.z - path * particles.pz / pt


def log_normal(
    mean: Float[np.ndarray, " N"], relative_width: Float[np.ndarray, " N"], rng: np.random.Generator
) -> Float[np.ndarray, " N"]:
    """Positive random numbers of these means and relative standard deviations: smearing that keeps the mean energy."""
    sigma = np.sqrt(np.log1p(relative_width**2))
    return mean * np.exp(sigma * rng.standard_normal(mean.shape) - sigma**2 / 2)


def _moved(particles: Particles, effects: Effects) -> Particles:
    """With the production vertices where the beam spot of their event has taken them."""
    moves = {axis: effects.beam_spot(axis) for axis in ("x", "y", "z")}
    moves = {axis: move for axis, move in moves.items() if move.any()}
    return replace(
        particles, **{axis: getattr(particles, axis) + move[particles.event] for axis, move in moves.items()}
    )


def _pseudorapidity(particles: Particles) -> Float[np.ndarray, " N"]:
    return np.arcsinh(particles.pz / np.maximum(np.hypot(particles.px, particles.py), 1e-9))


def _kind(particles: Particles) -> Int[np.ndarray, " N"]:
    """Kind of charged particles."""
    pdgid = np.abs(particles.pdgid)
    return np.select([pdgid == 11, pdgid == 13], [ELECTRON, MUON], CHARGED_HADRON)


def _has_track(
    particles: Particles, detector: DetectorConfig, rng: np.random.Generator, effects: Effects
) -> Bool[np.ndarray, " N"]:
    efficiencies = np.zeros(5)
    efficiencies[[CHARGED_HADRON, ELECTRON, MUON]] = (
        detector.hadron_efficiency,
        detector.electron_efficiency,
        detector.muon_efficiency,
    )
    birth = np.hypot(particles.x, particles.y) / max(detector.track_birth_radius_max, 1e-9)
    eta, phi = _pseudorapidity(particles), np.arctan2(particles.py, particles.px)
    kept = 1 - effects.track_loss(particles.event, eta, phi)
    found = rng.random(particles.px.shape) < efficiencies[_kind(particles)] * (1 - birth) * kept
    in_tracker = (np.abs(eta) < detector.track_eta_max) & (np.hypot(particles.px, particles.py) > detector.track_pt_min)
    return found & in_tracker & (particles.charge != 0)


def _tracks(particles: Particles, detector: DetectorConfig, rng: np.random.Generator) -> Candidates:
    pt = np.hypot(particles.px, particles.py)
    scale = log_normal(np.ones_like(pt), np.hypot(detector.track_pt_constant, detector.track_pt_linear * pt), rng)
    px, py, pz = scale * particles.px, scale * particles.py, scale * particles.pz
    kind = _kind(particles)
    d0, dz = impact_parameters(particles, detector.magnetic_field)
    d0err = np.hypot(detector.d0_constant, detector.d0_scattering / pt)
    dzerr = np.hypot(detector.dz_constant, detector.dz_scattering / pt)
    return Candidates(
        event=particles.event,
        kind=kind,
        charge=np.sign(particles.charge),
        px=px,
        py=py,
        pz=pz,
        energy=np.sqrt(px**2 + py**2 + pz**2 + TRACK_MASS[kind] ** 2),
        d0=d0 + d0err * rng.standard_normal(pt.shape),
        d0err=d0err,
        dz=dz + dzerr * rng.standard_normal(pt.shape),
        dzerr=dzerr,
    )


def _clusters(
    particles: Particles, kind: int, detector: DetectorConfig, rng: np.random.Generator, effects: Effects
) -> Candidates:
    """One massless candidate per calorimeter cell that is above threshold, at the cell's centre."""
    part: Calorimeter = "ecal" if kind == PHOTON else "hcal"
    if part == "ecal":
        cell, threshold = detector.ecal_cell, detector.photon_pt_min
        terms = detector.ecal_stochastic, detector.ecal_noise, detector.ecal_constant
    else:
        cell, threshold = detector.hcal_cell, detector.neutral_hadron_pt_min
        terms = detector.hcal_stochastic, detector.hcal_noise, detector.hcal_constant
    eta = _pseudorapidity(particles)
    inside = np.abs(eta) < detector.calorimeter_eta_max
    particles, eta = particles[inside], eta[inside]

    around = max(round(2 * np.pi / cell), 1)  # a whole number of cells in phi
    eta_cells = np.floor(eta / cell).astype(np.int64)
    phi_cells = np.floor(np.arctan2(particles.py, particles.px) / (2 * np.pi) * around).astype(np.int64) % around
    cells, members = np.unique(np.stack([particles.event, eta_cells, phi_cells]), axis=1, return_inverse=True)
    deposited = np.bincount(members.ravel(), particles.energy, minlength=cells.shape[1]).astype(np.float64)  # if empty
    stochastic, noise, constant = terms
    width = np.sqrt((stochastic**2 / deposited) + (noise / deposited) ** 2 + constant**2)
    energy = log_normal(deposited, width, rng)

    eta, phi = (cells[1] + 0.5) * cell, (cells[2] + 0.5) * (2 * np.pi / around)
    energy = energy * effects.gain(part, cells[0], eta, phi)
    pt = energy / np.cosh(eta)
    above = (pt > threshold) & ~effects.dead(part, cells[0], eta, phi, (cells[1], cells[2]))
    event, eta, phi, pt, energy = cells[0][above], eta[above], phi[above], pt[above], energy[above]
    zero = np.zeros_like(pt)
    return Candidates(
        event=event,
        kind=np.full(pt.shape, kind),
        charge=zero,
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pt * np.sinh(eta),
        energy=energy,
        d0=zero,
        d0err=zero,
        dz=zero,
        dzerr=zero,
    )
