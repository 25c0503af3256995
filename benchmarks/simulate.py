"""QCD dijet events per second from the generator to the written ROOT file, our share of it, and pile-up 200.

    python benchmarks/simulate.py [--quick]

events_per_s: collisions of `label_QCD` with the default settings (13 TeV, jets of 500 to 1000 GeV, all of Pythia's
multiparton interactions, showers, hadronisation and decays), generated over two processes by `detfm simulate`; the
time is all of it, processes started and file written.
own_share_of_pythia: CPU time of one process in everything but Pythia (records to arrays, detector, clustering,
substructure, writing) over that of Pythia alone, which makes the same events in a bare loop of `next()`.
pu200_events_per_s: whole events, top quark pairs at a mean pile-up of 200 (preset simulate/ttbar_pu200), of two
processes at once, each with its pool of minimum-bias collisions made before.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from harness import publish

from foundation.command import load_config
from foundation.simulate import SimulateConfig
from foundation.simulate.chunks import EVENT_BITS
from foundation.simulate.engine import simulate
from foundation.simulate.events import BATCH_EVENTS, hard_settings, start, world_settings
from foundation.simulate.plan import Task, run_task
from foundation.simulate.processes import PROCESSES
from foundation.simulate.write import new_file
from foundation.workers import Processes

CORES = 2
LABEL = "label_QCD"
GOALS = {"events_per_s": ">= 120", "own_share_of_pythia": "<= 0.5", "pu200_events_per_s": ">= 6"}


def generated(event_id: np.ndarray) -> int:
    """Collisions behind the jets: a chunk generates in batches until it has its jets."""
    chunk, event = event_id >> EVENT_BITS, event_id & ((1 << EVENT_BITS) - 1)
    return sum((int(event[chunk == each].max()) // BATCH_EVENTS + 1) * BATCH_EVENTS for each in np.unique(chunk))


def whole(jets: int, seed: int, folder: Path) -> dict[str, float]:
    """Rates of the command's engine."""
    began = time.perf_counter()
    made = simulate(SimulateConfig(classes=(LABEL,), jets_per_class=jets, seed=seed), folder / f"{seed}.root", CORES)
    seconds = time.perf_counter() - began
    with uproot.open(made.path) as file:
        events = generated(file["tree"]["event_id"].array(library="np"))
    return {"events_per_s": events / seconds, "jets_per_s": jets / seconds}


def own_share(jets: int, seed: int, folder: Path) -> float:
    """CPU time of one chunk and its file, without and with what Pythia alone takes."""
    cfg = SimulateConfig(classes=(LABEL,), jets_per_class=jets, seed=seed)
    began = time.process_time()
    columns = run_task(cfg, Task(LABEL, 0, jets))
    with new_file(folder / "own.root", cfg) as writer:
        writer.append(columns)
    everything = time.process_time() - began
    process = PROCESSES[LABEL]
    same = int(np.random.SeedSequence(seed, spawn_key=(process.index, 0)).generate_state(1)[0])  # as the chunk's
    began = time.process_time()
    pythia = start(LABEL, (*world_settings(cfg, same), *hard_settings(process, cfg), *process.settings))
    for _ in range(generated(columns["event_id"])):
        pythia.next()
    alone = time.process_time() - began
    return everything / alone - 1


def pile_up(cfg: SimulateConfig, chunk: int, events: int) -> float:
    """Events per second of one process."""
    run_task(cfg, Task("ttbar", chunk, 1))  # makes the pool
    began = time.perf_counter()
    run_task(cfg, Task("ttbar", chunk, events))
    return events / (time.perf_counter() - began)


def pile_up_cfg(pool: int) -> SimulateConfig:
    cfg = load_config(SimulateConfig, "simulate/ttbar_pu200")
    pileup: Any = dataclasses.replace(cfg.events.pileup, pool=pool)
    return dataclasses.replace(cfg, events=dataclasses.replace(cfg.events, pileup=pileup))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a smaller run, under a minute")
    quick = parser.parse_args().quick
    rounds, jets, own_jets, pool, events = (1, 1000, 200, 300, 30) if quick else (3, 4000, 500, 2000, 100)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = [whole(jets, seed, folder) for seed in range(1, rounds + 1)]
        shares = [own_share(own_jets, seed, folder) for seed in range(1, rounds + 1)]
    calls = [(pile_up_cfg(pool), chunk, events) for chunk in range(CORES)]
    rates = [sum(Processes(CORES).run(pile_up, calls)) for _ in range(rounds)]
    figures = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    figures |= {"own_share_of_pythia": statistics.median(shares), "pu200_events_per_s": statistics.median(rates)}
    publish("simulate", figures, GOALS)


if __name__ == "__main__":
    main()
