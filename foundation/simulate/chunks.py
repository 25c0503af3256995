"""One chunk: a fixed number of jets of one class, generated from a seed of its own.

A chunk depends on the settings, the class and its number, on nothing else: neither on which process makes it nor on
the other classes. Chunks are therefore the unit of parallel work, and any number of workers gives the same sample.

The jet pt spectrum: a chunk accepts the same number of jets in each of `PT_BINS` equal bins of the window and rejects
the rest, so every class has the same flat spectrum and pt alone cannot tell the classes apart.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Float, Int

from foundation.errors import DataError
from foundation.simulate.branches import jet_branches
from foundation.simulate.config import SimulateConfig
from foundation.simulate.detector import respond
from foundation.simulate.events import BATCH_EVENTS, generate_events
from foundation.simulate.jets import find_jets, parton_groups
from foundation.simulate.plan import Task
from foundation.simulate.processes import PROCESSES

PT_BINS = 10
MOST_EVENTS_PER_JET = 400  # a chunk that needs more will not end
CHUNK_BITS, EVENT_BITS = 24, 24  # event_id is class index, chunk, event; 15 bits remain for the class


def generate_chunk(cfg: SimulateConfig, task: Task) -> dict[str, Any]:
    """Columns of one task, jets of one class: those of `jet_branches`, the labels and `event_id`.

    Jagged columns are awkward arrays (jets x var), the others numpy arrays (jets,).

    Raises:
        ConfigError: Pythia refuses a setting.
        DataError: the process gives too few matched jets in the window.
    """
    label, chunk, jets = task.name, task.chunk, task.rows
    process = PROCESSES[label]
    seeds = np.random.SeedSequence(cfg.seed, spawn_key=(process.index, chunk))
    rng = np.random.default_rng(seeds)
    missing = np.full(PT_BINS, jets // PT_BINS) + (rng.permutation(PT_BINS) < jets % PT_BINS)
    edges = np.linspace(cfg.pt_min, cfg.pt_max, PT_BINS + 1)
    first_id = ((np.int64(process.index) << CHUNK_BITS) + chunk) << EVENT_BITS
    pieces: list[dict[str, Any]] = []
    for batch, (records, stable) in enumerate(generate_events(process, cfg, int(seeds.generate_state(1)[0]))):
        candidates = respond(stable, cfg.detector, rng)
        found = find_jets(candidates, parton_groups(records, process), cfg, rng)
        bins = np.digitize(found.pt, edges[1:-1])
        found = found[np.flatnonzero(_rank_within(bins) < missing[bins])]
        if len(found.event):
            event_id = first_id + batch * BATCH_EVENTS + found.event
            pieces.append({"event_id": event_id, **jet_branches(found, candidates, cfg)})
        missing = np.maximum(missing - np.bincount(bins, minlength=PT_BINS), 0)
        if not missing.any():
            break
        _refuse_endless(label, (batch + 1) * BATCH_EVENTS, jets, missing, edges)
    joined = {name: ak.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    columns = {name: ak.to_numpy(column) if column.ndim == 1 else column for name, column in joined.items()}
    return columns | {name: np.full(jets, int(name == label), np.int32) for name in cfg.classes}


def _rank_within(bins: Int[np.ndarray, " J"]) -> Int[np.ndarray, " J"]:
    """How many earlier jets are in the same bin."""
    return (bins[:, None] == bins[None, :]).astype(int).cumsum(axis=1).diagonal() - 1


def _refuse_endless(
    label: str, events: int, jets: int, missing: Int[np.ndarray, " Q"], edges: Float[np.ndarray, " Q1"]
) -> None:
    if events < MOST_EVENTS_PER_JET * max(jets, PT_BINS):
        return
    empty = [f"{low:.0f}-{high:.0f}" for low, high, n in zip(edges, edges[1:], missing) if n]
    raise DataError(
        f"{label}: after {events} events, jets are still missing at pt = {', '.join(empty)} GeV\n"
        "  are jets of this class contained in one cone of R = 0.8 at this pt? raise pt_min, or leave the class out"
    )
