"""One chunk: a fixed number of jets of one class, generated from a seed of its own.

A chunk depends on the settings, the class and its number, on nothing else: neither on which process makes it nor on
the other classes. Chunks are therefore the unit of parallel work, and any number of workers gives the same sample.

The jet pt spectrum: a chunk accepts the same number of jets in each of ten equal bins of the window and rejects the
rest (`Quota`), so every class has the same flat spectrum and pt alone cannot tell the classes apart.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Int

from foundation.simulate.branches import jet_branches
from foundation.simulate.conditions import draw_moments
from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import respond
from foundation.simulate.events import BATCH_EVENTS, generate_events
from foundation.simulate.jets import find_jets
from foundation.simulate.plan import CHUNK_JETS, Task
from foundation.simulate.processes import PROCESSES, Process
from foundation.simulate.quota import Quota
from foundation.simulate.truth import truth_of

CHUNK_BITS, EVENT_BITS = 24, 24  # event_id is class index, chunk, event; 15 bits remain for the class


def generate_chunk(cfg: SimulateConfig, task: Task) -> dict[str, Any]:
    """Columns of one task, jets of one class: those of `jet_branches`, the labels and `event_id`.

    Jagged columns are awkward arrays (jets x var), the others numpy arrays (jets,).

    Raises:
        ConfigError: Pythia refuses a setting.
        DataError: the process gives too few matched jets in the window.
    """
    process = PROCESSES[task.name]
    seeds = np.random.SeedSequence(cfg.seed, spawn_key=(process.index, task.chunk))
    rng, clock = np.random.default_rng(seeds), np.random.default_rng(seeds.spawn(1)[0])
    quota = Quota(cfg, task, rng)
    pieces: list[dict[str, Any]] = []
    for batch, (records, stable) in enumerate(generate_events(process, cfg, int(seeds.generate_state(1)[0]))):
        moments = draw_moments(cfg.conditions, part_of_run(cfg, task), BATCH_EVENTS, clock)
        candidates = respond(stable, cfg.detector, rng, moments.effects)
        found = find_jets(candidates, truth_of(records, process), cfg, rng)
        found = found[quota.wanted(found.pt)]
        if len(found.event):
            quota.take(found.pt)
            event_id = first_event_id(process, task) + batch * BATCH_EVENTS + found.event
            rows = {"event_id": event_id, **jet_branches(found, candidates, cfg), **moments.columns(found.event)}
            pieces.append(rows)
        if quota.filled:
            break
        quota.refuse_endless((batch + 1) * BATCH_EVENTS)
    return joined_pieces(pieces) | label_columns(cfg, task, task.rows)


def first_event_id(process: Process, task: Task) -> np.int64:
    """The `event_id` of event 0 of a task: different for all events of a sample."""
    return ((np.int64(process.index) << CHUNK_BITS) + task.chunk) << EVENT_BITS


def part_of_run(cfg: SimulateConfig, task: Task) -> tuple[float, float]:
    """Where in the run, as two fractions of it, the events of a task happen."""
    first = task.chunk * CHUNK_JETS
    return first / cfg.jets_per_class, (first + task.rows) / cfg.jets_per_class


def joined_pieces(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows of all pieces; flat columns as numpy arrays."""
    joined = {name: ak.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return {name: ak.to_numpy(column) if column.ndim == 1 else column for name, column in joined.items()}


def label_columns(cfg: SimulateConfig, task: Task, rows: int) -> dict[str, Int[np.ndarray, " rows"]]:
    """One-hot labels of so many rows of one task."""
    return {name: np.full(rows, int(name == task.name), np.int32) for name in cfg.classes}
