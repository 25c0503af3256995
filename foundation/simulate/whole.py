"""One chunk of whole events: hard collisions and pile-up -> detector -> Level-1 objects -> columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Float

from foundation.errors import DataError
from foundation.simulate.conditions import NO_EFFECTS, Effects, draw_moments
from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import Particles
from foundation.simulate.enrichment import bin_settings, enrichment_columns, probabilities, task_settings
from foundation.simulate.event_columns import columns_of, truth_of
from foundation.simulate.event_processes import EVENT_PROCESSES, process_settings
from foundation.simulate.events import stable_particles, start, world_settings
from foundation.simulate.level1 import density, find_egs, find_jets, find_taus, leading, rank, sums_of
from foundation.simulate.muons import muons_of
from foundation.simulate.pileup import (
    POOL_STREAM,
    Crossing,
    Pool,
    Vertices,
    cross,
    load_pool,
    pool_of,
    save_pool,
    visible_particles,
)
from foundation.simulate.plan import Task, event_blocks
from foundation.simulate.puppi import candidates_of
from foundation.simulate.towers import towers_of
from foundation.simulate.tracker import associated, primary_vertex, tracks_of

BLOCK_EVENTS = 20  # passed through the detector at once; part of what defines a sample
EVENT_STREAM = 1 << 17  # of the seeds: no chunk of jets shares one with a chunk of events
CHUNK_BITS, EVENT_BITS = 24, 24  # event_id is process index, chunk, event
MOST_TRIES = 10


def generate_events_chunk(cfg: SimulateConfig, task: Task) -> dict[str, Any]:
    """Columns of `task.rows` events of the process `task.name`; see `event_columns`.

    Raises:
        ConfigError: Pythia refuses a setting.
        DataError: Pythia gives up on too many events, or the pool file is of other settings.
    """
    forced = task_settings(cfg, task.name)
    process = EVENT_PROCESSES[task.name if forced is None else "zero_bias"]
    index = process.index if forced is None else forced[0]
    seeds = np.random.SeedSequence(cfg.seed, spawn_key=(EVENT_STREAM, index, task.chunk))
    rng, clock = np.random.default_rng(seeds), np.random.default_rng(seeds.spawn(1)[0])
    blocks = event_blocks(cfg)
    part = task.chunk / blocks, (task.chunk + 1) / blocks  # of the run
    first_id = ((np.int64(index) << CHUNK_BITS) + task.chunk) << EVENT_BITS
    pool = minimum_bias_pool(cfg) if cfg.events.pileup.mean > 0 else None
    pieces: list[dict[str, Any]] = []
    for start_row, hard, pthat, truth in _hard_events(cfg, task, int(seeds.generate_state(1)[0])):
        events = len(pthat)
        moments = draw_moments(cfg.conditions, part, events, clock)
        crossed = cross(
            hard, events, pool, not process.settings, cfg.events.pileup, rng, moments.effects, pthat, bool(forced)
        )
        columns = detect(*crossed, events, cfg, rng, moments.effects)
        if cfg.events.enrichment.bins:
            columns |= enrichment_columns(cfg, task.name, events, crossed[1], moments.effects)
        rows = np.arange(events)
        pieces.append({"event_id": first_id + start_row + rows, **columns, **truth, **moments.columns(rows)})
    joined = {name: ak.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    columns = {name: ak.to_numpy(column) if column.ndim == 1 else column for name, column in joined.items()}
    names = cfg.events.processes
    labels = {f"process_{name}": np.full(task.rows, int(name == process.name), np.int32) for name in names}
    return columns | {"process": np.full(task.rows, process.index, np.int32)} | labels


def detect(
    particles: Crossing,
    vertices: Vertices,
    events: int,
    cfg: SimulateConfig,
    rng: np.random.Generator,
    effects: Effects = NO_EFFECTS,
) -> dict[str, Any]:
    """The columns, but for the truth of the hard process, of crossings."""
    settings = cfg.events
    towers = towers_of(particles, events, settings.calorimeter, rng, effects)
    tracks = tracks_of(particles, settings.tracker, rng, effects)
    muons = muons_of(particles, settings.muons, rng)
    muons = muons[rank(muons.event) < settings.level1.most_muons]
    vertex = primary_vertex(tracks, events, settings.tracker)
    primary = associated(tracks, vertex, settings.tracker)
    pileup = density(towers)
    candidates = candidates_of(
        tracks, primary, towers, pileup, settings.puppi, settings.calorimeter, settings.tracker.eta_max
    )
    jets = find_jets(towers, settings.level1)
    objects = {
        "eg": find_egs(towers, pileup, settings.level1),
        "tau": find_taus(towers, pileup, settings.level1),
        "jet": leading(jets, settings.level1.most_jets),
    }
    sums = sums_of(towers, jets, pileup, settings.level1)
    return columns_of(
        events, vertices, towers, tracks, primary, vertex, candidates, muons, objects, sums, pileup, settings
    )


def _hard_events(
    cfg: SimulateConfig, task: Task, seed: int
) -> Iterator[tuple[int, Crossing, Float[np.ndarray, " E"], dict[str, Any]]]:
    """(number of the first event, hard collisions, their pTHat, columns of the truth) of each block.

    Zero bias has no hard collisions, and no truth even of those that are forced.
    """
    forced = task_settings(cfg, task.name)
    settings = process_settings(task.name, cfg.events.parameters.get(task.name, {})) if forced is None else forced[1]
    pythia = start(task.name, (*world_settings(cfg, seed), *settings, *cfg.pythia)) if settings else None
    for first in range(0, task.rows, BLOCK_EVENTS):
        events = min(BLOCK_EVENTS, task.rows - first)
        particles, pthat, records = _nothing(), np.zeros(events), None
        if pythia is not None:
            records, pthat = _batch(pythia, events, task.name)
            particles = stable_particles(records, pythia)
        truth = (None, _nothing()) if forced else (records, particles)
        yield first, visible_particles(particles), pthat, truth_of(*truth, events, cfg.events)


def _batch(pythia: Any, events: int, name: str) -> tuple[ak.Array, Float[np.ndarray, " events"]]:
    """(records, pTHat in GeV) of exactly so many events: Pythia gives up on one now and then, and another takes its
    place. In minimum bias pTHat is that of the hardest interaction."""
    parts = [pythia.nextBatch(events)]
    while (missing := events - sum(len(part) for part in parts)) > 0:
        if len(parts) == MOST_TRIES:
            raise DataError(f"{name}: Pythia failed {MOST_TRIES} times to make {events} events; see its messages")
        parts.append(pythia.nextBatch(missing))
    pthat = np.concatenate([np.sqrt(ak.to_numpy(part.info.pT2Hat)) for part in parts])
    return ak.concatenate([part.prt for part in parts]), pthat


def _nothing() -> Particles:
    integers, floats = np.zeros(0, np.int64), np.zeros(0)
    return Particles(integers, integers, *[floats] * 8)


def minimum_bias_pool(cfg: SimulateConfig) -> Pool:
    """The pool of these settings, from its file or generated (once per process)."""
    pileup, enrichment = cfg.events.pileup, cfg.events.enrichment
    world = world_settings(cfg, _pool_seed(cfg.seed))
    parts = [(pileup.settings, pileup.pool), *((bin_settings(*edges), enrichment.pool) for edges in enrichment.bins)]
    complete = tuple(((*world, *settings, *cfg.pythia), collisions) for settings, collisions in parts)
    shares = tuple(probabilities(cfg).tolist()) if enrichment.bins else ()
    return _pool(complete, shares, enrichment.pthat_edges, pileup.pool_file)


def _pool_seed(seed: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=(POOL_STREAM,)).generate_state(1)[0])


@lru_cache(maxsize=1)
def _pool(
    parts: tuple[tuple[tuple[str, ...], int], ...], shares: tuple[float, ...], edges: tuple[float, ...], path: str
) -> Pool:
    """Of each of (Pythia's settings, number of collisions); strata with `shares` after the first, which loses what is
    above the lowest of `edges`."""
    key = json.dumps({"parts": parts, "shares": shares})
    found = load_pool(Path(path), key) if path else None
    if found is not None:
        return found
    made: list[tuple[Particles, Float[np.ndarray, " _"]]] = []
    for settings, collisions in parts:
        pythia = start("minimum bias", settings)
        records, pthat = _batch(pythia, collisions, "minimum bias")
        if edges and not made:
            records, pthat = records[pthat < edges[0]], pthat[pthat < edges[0]]
        made.append((stable_particles(records, pythia), pthat))
    pool = pool_of(made, (1 - sum(shares), *shares) if shares else ())
    if path:
        save_pool(Path(path), pool, key)
    return pool
