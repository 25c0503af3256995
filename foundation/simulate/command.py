"""`detfm simulate`: labelled jets as a ROOT file, in chunks spread over processes."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foundation.command import Command
from foundation.errors import ConfigError, ToolError, missing_extra
from foundation.progress import console, progress
from foundation.simulate.config import CHUNK_JETS, SimulateConfig, check
from foundation.simulate.write import check_room, new_file, shuffled

SHUFFLE_STREAM = 1 << 16  # beyond every class index, so that no chunk shares its seed with the shuffling


@dataclass(frozen=True)
class Simulated:
    """What was written: `clipped` jets had more than `max_constituents` constituents and lost the softest."""

    path: Path
    jets: int
    clipped: int


def simulate(cfg: SimulateConfig, out: Path, workers: int = 1, overwrite: bool = False) -> Simulated:
    """Generates `cfg.jets_per_class` jets of each class into the ROOT file `out`.

    Classes are interleaved: the file is a sequence of blocks, each a random permutation of one chunk of every class.
    Equal settings give equal columns, whatever `workers`. `overwrite` replaces a file that this function wrote, once
    the new one is complete.

    Raises:
        ConfigError: settings that cannot work, found before anything is generated.
        RunError: `out` exists and is not to be, or must not be, replaced.
        ToolError: an optional package is missing, or a worker process died.
        DataError: a class gives too few jets in the window.
    """
    check(cfg)
    check_room(out, overwrite)
    for package in ("pythia8mc", "fastjet"):
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "sim", "`detfm simulate`")
    if workers < 1:
        raise ConfigError(f"workers = {workers}: at least one is needed")

    sizes = [min(CHUNK_JETS, cfg.jets_per_class - start) for start in range(0, cfg.jets_per_class, CHUNK_JETS)]
    tasks = [(cfg, label, chunk, size) for chunk, size in enumerate(sizes) for label in cfg.classes]
    clipped = 0
    total = cfg.jets_per_class * len(cfg.classes)
    with (
        new_file(out, cfg, overwrite) as writer,
        _map(min(workers, len(tasks))) as run,
        progress("simulate", float(total), "jets") as bar,
    ):
        made = run(_generate, tasks)
        for block in range(len(sizes)):
            chunks = []
            for _ in cfg.classes:
                chunks.append(next(made))
                bar.advance(float(len(chunks[-1]["event_id"])))
            clipped += sum(int((c["jet_nparticles"] > cfg.max_constituents).sum()) for c in chunks)
            seeds = np.random.SeedSequence(cfg.seed, spawn_key=(SHUFFLE_STREAM, block))
            writer.append(shuffled(chunks, np.random.default_rng(seeds)))
    return Simulated(out, total, clipped)


def _generate(task: tuple[SimulateConfig, str, int, int]) -> dict[str, Any]:
    from foundation.simulate.chunks import generate_chunk  # needs the optional packages, checked by now

    return generate_chunk(*task)


@contextmanager
def _map(workers: int) -> Iterator[Any]:
    """`map` in this process, or over a pool of fresh ones, which Ctrl-C in the terminal ends at once."""
    if workers == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_DFL))
    try:
        yield pool.map
    except BrokenProcessPool as error:
        raise ToolError("a worker process died, most often because memory ran out: use fewer --workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _arguments(parser: Any) -> None:
    parser.add_argument("--out", type=Path, default=Path("jets.root"), help="the ROOT file to write")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; the jets are the same")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that this command wrote")


def _run(arguments: Any) -> None:
    made = simulate(arguments.cfg, arguments.out, arguments.workers, arguments.overwrite)
    size = made.path.stat().st_size / 1e6
    console.print(
        f"{made.path}: {made.jets:,} jets, {size:.2f} MB; {made.clipped:,} jets had more than "
        f"{arguments.cfg.max_constituents} constituents and lost the softest"
    )


COMMAND = Command(
    run=_run,
    config=SimulateConfig,
    arguments=_arguments,
    description="Generate labelled jets with Pythia 8, FastJet and a parametrised detector, in JetClass branches."
    " Example: detfm simulate --out jets.root --cfg simulate/sample --cfg.jets_per_class 10000",
)
