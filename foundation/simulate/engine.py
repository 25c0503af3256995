"""Plan -> finished chunks in `OUT.partial/` -> the ROOT file, over processes or a cluster, interrupted or not."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foundation.cluster import ClusterConfig, make_workers
from foundation.errors import ConfigError, missing_extra
from foundation.interrupt import stoppable
from foundation.progress import Bar, progress
from foundation.simulate.config import SimulateConfig, check
from foundation.simulate.parts import Partial, make_chunk, open_partial, read_chunk
from foundation.simulate.plan import Plan, kind_of
from foundation.simulate.write import by_time, check_room, joined, metadata, new_file, shuffled
from foundation.workers import Workers

SHUFFLE_STREAM = 1 << 16  # beyond every class index, so that no chunk shares its seed with the shuffling


@dataclass(frozen=True)
class Simulated:
    """What was written: `clipped` jets had more than `max_constituents` constituents and lost the softest; `lost` jets
    are not there because one of their views had no such jet."""

    path: Path
    rows: int
    clipped: int
    lost: int = 0


def simulate(
    cfg: SimulateConfig,
    out: Path,
    processes: int = 1,
    scheduler: str = "",
    cluster: ClusterConfig | None = None,
    overwrite: bool = False,
) -> Simulated:
    """Generates the sample of `cfg` into the ROOT file `out`.

    Blocks are written in the order of the plan, in a random order of their rows if the plan says so. Equal settings
    give equal bytes, whatever the number of processes and however often the work was interrupted: finished chunks
    wait in `out`.partial, and the same call continues with them. `out` appears complete or not at all.

    Args:
        processes: spawned; 1 generates in this one.
        scheduler: address of a dask scheduler, or `slurm` (see `cluster`), instead of processes. All workers must see
            the folder of `out`.
        overwrite: replace a file that this function wrote, once the new one is complete; discard unfinished work
            of other settings.

    Raises:
        ConfigError: settings that cannot work, found before anything is generated.
        RunError: `out` exists and is not to be, or must not be, replaced; unfinished work of other settings is there.
        ToolError: an optional package is missing, or a worker process died.
        DataError: a class gives too few jets in the window.
        Stopped: SIGINT or SIGTERM came.
    """
    check(cfg)
    check_room(out, overwrite)
    for package in ("pythia8mc", "fastjet"):
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "sim", "`detfm simulate`")
    if processes < 1:
        raise ConfigError(f"{processes} processes: at least one is needed")
    plan, unit = kind_of(cfg).plan(cfg), kind_of(cfg).unit
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        open_partial(out, metadata(cfg), overwrite) as partial,
        stoppable(f"stopped; what is finished waits in {out}.partial, and the same command continues"),
    ):
        done = {number for number in range(len(plan.tasks)) if partial.chunk(number).exists()}
        rows_done = sum(plan.tasks[number].rows for number in done)
        with (
            closing(make_workers(scheduler, processes, cluster or ClusterConfig())) as workers,
            progress("simulate", float(plan.rows), unit, float(rows_done)) as bar,
            new_file(partial.output, cfg) as writer,
        ):
            clipped = lost = 0
            for number, block in enumerate(_blocks(cfg, plan, partial, done, workers, bar)):
                clipped += _clipped(block, cfg)
                lost += int(np.sum(block.get("views_lost", 0)))
                writer.append(_ordered(block, number, plan, cfg))
        check_room(out, overwrite)
        partial.output.replace(out)
        partial.remove()
    return Simulated(out, plan.rows * cfg.views.count, clipped, lost)


def _ordered(block: dict[str, Any], number: int, plan: Plan, cfg: SimulateConfig) -> dict[str, Any]:
    """The rows of a block as they are written: by time in a run, else in random order; views of one jet together."""
    if "time" in block:
        return by_time(block)
    if not plan.shuffle:
        return block
    seeds = np.random.SeedSequence(cfg.seed, spawn_key=(SHUFFLE_STREAM, number))
    return shuffled(block, np.random.default_rng(seeds), cfg.views.count)


def _blocks(
    cfg: SimulateConfig, plan: Plan, partial: Partial, done: set[int], workers: Workers, bar: Bar
) -> Iterator[dict[str, Any]]:
    """The blocks in order, each as soon as its chunks and those of all before it are there."""
    missing = [number for number in range(len(plan.tasks)) if number not in done]
    tasks = [(cfg, plan.tasks[number], number, partial.chunk(number)) for number in missing]
    made: Any = workers.run(make_chunk, tasks)
    first = 0
    with closing(made):  # which ends the processes
        for block in plan.blocks:
            numbers = range(first, first + len(block))
            first += len(block)
            while not done.issuperset(numbers):
                finished = next(made)
                done.add(finished)
                bar.advance(float(plan.tasks[finished].rows))
            yield joined([read_chunk(partial.chunk(number)) for number in numbers])


def _clipped(columns: dict[str, Any], cfg: SimulateConfig) -> int:
    counts = columns.get("jet_nparticles", ())
    return int((np.asarray(counts) > cfg.max_constituents).sum())
