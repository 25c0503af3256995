"""Bunch crossings: the particles of a hard collision and of the minimum-bias collisions around it.

Every minimum-bias collision comes from a pool that is a pure function of the settings. It is turned by a random azimuth
and reflected along the beam at random, symmetries of the beams, before it is laid over an event: no two overlays of one
pool collision are alike.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from foundation.errors import DataError
from foundation.simulate.conditions import NO_EFFECTS, Effects
from foundation.simulate.detector import Particles
from foundation.simulate.events_config import PileupConfig

HADRON, PHOTON, ELECTRON, MUON = range(4)
ETA_MAX = 5.6  # beyond it nothing reaches a tower
PION, KAON = 211, 321
POOL_STREAM = (1 << 17) + 1  # of the seeds, beyond those of the chunks
INVISIBLE = (12, 14, 16, 51, 52, 53)
INVISIBLE_FROM = 1_000_001  # supersymmetric and hidden particles; hadrons are below


@dataclass(frozen=True)
class Crossing:
    """Visible particles of many bunch crossings, flat, in no particular order.

    `vertex` is 0 for the hard collision and 1, 2, ... for the pile-up of the event; `kind` is HADRON, PHOTON, ELECTRON
    or MUON; (radius, z) is where the particle was born, in mm, z with its vertex.
    """

    event: Int[np.ndarray, " N"]
    vertex: Int[np.ndarray, " N"]
    kind: Int[np.ndarray, " N"]
    pdgid: Int[np.ndarray, " N"]
    charge: Float[np.ndarray, " N"]
    pt: Float[np.ndarray, " N"]
    eta: Float[np.ndarray, " N"]
    phi: Float[np.ndarray, " N"]
    energy: Float[np.ndarray, " N"]
    radius: Float[np.ndarray, " N"]
    z: Float[np.ndarray, " N"]

    def __getitem__(self, keep: Bool[np.ndarray, " N"] | Int[np.ndarray, " M"]) -> Crossing:
        return Crossing(*(getattr(self, f.name)[keep] for f in fields(self)))


@dataclass(frozen=True)
class Vertices:
    """Every collision of many crossings, ordered by event; the hard one, `index` 0, first. mm, ns and GeV."""

    event: Int[np.ndarray, " V"]
    index: Int[np.ndarray, " V"]
    z: Float[np.ndarray, " V"]
    t: Float[np.ndarray, " V"]
    pthat: Float[np.ndarray, " V"]


@dataclass(frozen=True)
class Pool:
    """Minimum-bias collisions about the origin: collision i owns particles first[i] : first[i + 1].

    `pthat` (GeV) is of the hardest interaction of each. All collisions are drawn alike, unless there are strata:
    stratum s, collisions edges[s] : edges[s + 1], then has the probability shares[s].
    """

    first: Int[np.ndarray, " C1"]
    particles: Crossing
    pthat: Float[np.ndarray, " C"]
    edges: Int[np.ndarray, " S1"] | None = None
    shares: Float[np.ndarray, " S"] | None = None

    def draw(self, number: int, rng: np.random.Generator) -> Int[np.ndarray, " number"]:
        """So many collisions, with replacement."""
        if self.edges is None or self.shares is None:
            return rng.integers(len(self.first) - 1, size=number)
        stratum = rng.choice(len(self.shares), size=number, p=self.shares)
        return rng.integers(self.edges[stratum], self.edges[stratum + 1])


def invisible(pdgid: Int[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    """Neutrinos, dark matter and whatever else leaves no trace."""
    kind = np.abs(pdgid)
    return np.isin(kind, INVISIBLE) | (kind >= INVISIBLE_FROM)


def visible_particles(particles: Particles) -> Crossing:
    """What can leave a trace within the acceptance, as the hard collisions (vertex 0) of crossings."""
    pt = np.hypot(particles.px, particles.py)
    eta = np.arcsinh(particles.pz / np.maximum(pt, 1e-9))
    keep = ~invisible(particles.pdgid) & (np.abs(eta) < ETA_MAX) & (particles.energy > 0)
    pdgid = particles.pdgid[keep].astype(np.int32)
    kind = np.select([np.abs(pdgid) == 22, np.abs(pdgid) == 11, np.abs(pdgid) == 13], [PHOTON, ELECTRON, MUON], HADRON)
    return Crossing(
        event=particles.event[keep],
        vertex=np.zeros(len(pdgid), np.int64),
        kind=kind.astype(np.int8),
        pdgid=pdgid,
        charge=np.sign(particles.charge[keep]),
        pt=pt[keep],
        eta=eta[keep],
        phi=np.arctan2(particles.py[keep], particles.px[keep]),
        energy=particles.energy[keep],
        radius=np.hypot(particles.x[keep], particles.y[keep]),
        z=particles.z[keep],
    )


def cross(
    hard: Crossing,
    events: int,
    pool: Pool | None,
    zero_bias: bool,
    cfg: PileupConfig,
    rng: np.random.Generator,
    effects: Effects = NO_EFFECTS,
    pthat: Float[np.ndarray, " events"] | None = None,
    forced: bool = False,
) -> tuple[Crossing, Vertices]:
    """Lays pile-up over the hard collisions of events 0 ... events - 1; each collision gets a vertex of its own.

    In zero bias the hard collision is absent and has no vertex; all collisions are pile-up. If `forced` is set, it is
    there, as one more collision of the pile-up, the last. `effects` may change the mean of the pile-up and the place of
    the beam spot along the beam. `pthat` is of the hard collisions.
    """
    moved = effects.beam_spot("z") if effects.changes else np.zeros(events)
    number = rng.poisson(mean_pileup(events, cfg, effects), events)
    total = int(number.sum())
    event = np.repeat(np.arange(events), number)
    hard_z, hard_t = moved + cfg.vertex_z * rng.standard_normal(events), cfg.vertex_t * rng.standard_normal(events)
    z, t = moved[event] + cfg.vertex_z * rng.standard_normal(total), cfg.vertex_t * rng.standard_normal(total)
    index = np.arange(total) - np.repeat(np.cumsum(number) - number, number) + 1
    hard_index = number + 1 if forced else np.zeros(events, np.int64)
    parts = [Crossing(**{**vars(hard), "z": hard.z + hard_z[hard.event], "vertex": hard_index[hard.event]})]
    drawn = np.zeros(total)
    if total and pool is not None:
        picked = pool.draw(total, rng)
        drawn = pool.pthat[picked]
        parts.append(_overlay(pool, picked, event, index, z, rng))
    joined = Crossing(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Crossing)))
    if zero_bias and not forced:
        vertices = Vertices(event, index, z, t, drawn)
    else:
        first = Vertices(np.arange(events), hard_index, hard_z, hard_t, np.zeros(events) if pthat is None else pthat)
        rest = Vertices(event, index, z, t, drawn)
        vertices = Vertices(*(np.concatenate([getattr(v, f.name) for v in (first, rest)]) for f in fields(Vertices)))
    order = np.lexsort((vertices.index, vertices.event))
    return joined, Vertices(*(getattr(vertices, f.name)[order] for f in fields(Vertices)))


def mean_pileup(events: int, cfg: PileupConfig, effects: Effects = NO_EFFECTS) -> Float[np.ndarray, " events"]:
    """The mean of the Poisson number of collisions in each of these events."""
    return cfg.mean * (effects.pileup() if effects.changes else np.ones(events))


def _overlay(
    pool: Pool,
    picked: Int[np.ndarray, " V"],
    event: Int[np.ndarray, " V"],
    index: Int[np.ndarray, " V"],
    z: Float[np.ndarray, " V"],
    rng: np.random.Generator,
) -> Crossing:
    turn = rng.uniform(0, 2 * np.pi, len(event))
    mirror = 2.0 * rng.integers(2, size=len(event)) - 1
    counts = pool.first[picked + 1] - pool.first[picked]
    collision = np.repeat(np.arange(len(event)), counts)
    rows = np.arange(len(collision)) + np.repeat(pool.first[picked] - np.cumsum(counts) + counts, counts)
    drawn, side = pool.particles[rows], mirror[collision]
    return Crossing(
        **{
            **vars(drawn),
            "event": event[collision],
            "vertex": index[collision],
            "eta": side * drawn.eta,
            "phi": (drawn.phi + turn[collision]) % (2 * np.pi),
            "z": side * drawn.z + z[collision],
        }
    )


def pool_of(parts: Sequence[tuple[Particles, Float[np.ndarray, " _"]]], shares: Sequence[float] = ()) -> Pool:
    """The pool of the collisions of all parts, each (particles, pthat); with `shares`, each part is a stratum."""
    firsts, crossings, offset = [np.zeros(1, np.int64)], [], 0
    for particles, pthat in parts:
        visible = visible_particles(particles)
        visible = visible[np.argsort(visible.event, kind="stable")]
        firsts.append(np.searchsorted(visible.event, np.arange(1, len(pthat) + 1)) + offset)
        offset += len(visible.event)
        crossings.append(visible)
    joined = Crossing(*(np.concatenate([getattr(c, f.name) for c in crossings]) for f in fields(Crossing)))
    edges = np.cumsum([0, *(len(pthat) for _, pthat in parts)])
    strata = (edges, np.asarray(shares, np.float64)) if shares else (None, None)
    return Pool(np.concatenate(firsts), joined, np.concatenate([pthat for _, pthat in parts]), *strata)


def load_pool(path: Path, key: str) -> Pool | None:
    """The pool kept at `path`, or None where there is no such file.

    Raises:
        DataError: the file is no pool, or one of other settings.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            found, first = str(file["key"]), file["first"]
            columns = {f.name: file[f.name] for f in fields(Crossing)}
            more = {name: file[name] for name in ("pthat", "edges", "shares") if name in file.files}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a pool of minimum-bias collisions; choose another pool_file") from error
    if found != key:
        raise DataError(
            f"{path} holds a pool of other settings; remove it, or choose another pool_file\n"
            f"  in the file: {found}\n  wanted: {key}"
        )
    return Pool(first, Crossing(**columns), **more)


def save_pool(path: Path, pool: Pool, key: str) -> None:
    """Writes the pool to `path`, which appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            strata = {name: getattr(pool, name) for name in ("edges", "shares") if getattr(pool, name) is not None}
            columns: dict[str, Any] = {"key": np.array(key), "first": pool.first, "pthat": pool.pthat, **strata}
            np.savez(file, **columns, **vars(pool.particles))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
