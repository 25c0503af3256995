"""Ingest against uproot's bare reading of the same branches: same file, same number of processes, one run.

    python benchmarks/ingest.py [--quick]

Goals (BENCHMARKS.md): at least 0.6 of the bare rate, at most 2 GB in this process and its workers together. The file is
like JetClass: 40 constituents per jet on average, 128 at most, 17 branches, ROOT's default compression (zlib), which
ingest reads with the library isal, and uproot by itself with zlib. Ingest does all it ever does: checksums of the file
and of the shards, checks of every value, statistics, division by content, fsync.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jetclass_like
import uproot
from harness import publish

from foundation.store.ingest import ingest
from foundation.store.settings import IngestConfig
from foundation.workers import Processes

GOALS = {"ratio_to_bare_uproot": ">= 0.6", "peak_rss_gb": "<= 2"}
PAGE = os.sysconf("SC_PAGE_SIZE")


def read(path: str, start: int, stop: int, step: int, isal: bool) -> int:
    """Bare uproot: the branches of some entries as awkward arrays, and nothing done with them.

    Args:
        isal: decompress with the library that ingest uses, not with the one that uproot does by itself.
    """
    if isal:
        importlib.import_module("foundation.io.root")
    with uproot.open(path, array_cache=None) as file:
        for first in range(start, stop, step):
            file["tree"].arrays(
                [*jetclass_like.BRANCHES, "label"], entry_start=first, entry_stop=min(first + step, stop)
            )
    return stop - start


def bare(path: Path, jets: int, processes: int, isal: bool = False) -> float:
    """Seconds."""
    step = IngestConfig().chunk_bytes // (4 * 40 * jetclass_like.FEATURES)
    begin = time.perf_counter()
    share = -(-jets // (4 * processes))
    tasks = [(str(path), start, min(start + share, jets), step, isal) for start in range(0, jets, share)]
    assert sum(Processes(processes).run(read, tasks)) == jets
    return time.perf_counter() - begin


def full(path: Path, out: Path, processes: int) -> float:
    """Seconds."""
    wanted = jetclass_like.schema()
    begin = time.perf_counter()
    ingest([path], schema=wanted, out=out, processes=processes)
    seconds = time.perf_counter() - begin
    shutil.rmtree(out)
    return seconds


@contextmanager
def memory() -> Iterator[list[float]]:
    """Fills in the most memory, in GB, that this process and its children took together in the block."""
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], sum(map(_resident, [os.getpid(), *_children()])) / 1e9)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _children() -> list[int]:
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    except OSError:  # it has just ended
        return 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer jets")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    arguments = parser.parse_args()
    jets, repeats = (60_000, 3) if arguments.quick else (400_000, 5)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        path = jetclass_like.write(folder / "jets.root", jets)
        long = jetclass_like.write(folder / "long.root", 250 if arguments.quick else 1_500, tokens=10_000)
        with memory() as peak:
            full(long, folder / "store", arguments.processes)
            times = [
                (
                    bare(path, jets, arguments.processes),
                    bare(path, jets, arguments.processes, isal=True),
                    full(path, folder / "store", arguments.processes),
                )
                for _ in range(repeats)
            ]
    publish(
        "ingest",
        {
            "ratio_to_bare_uproot": statistics.median(reading / ingesting for reading, _, ingesting in times),
            "ratio_to_uproot_with_isal": statistics.median(reading / ingesting for _, reading, ingesting in times),
            "peak_rss_gb": peak[0],
            "bare_jets_per_s": jets / statistics.median(reading for reading, *_ in times),
            "ingest_jets_per_s": jets / statistics.median(ingesting for *_, ingesting in times),
            "processes": arguments.processes,
            "jets": jets,
        },
        GOALS,
    )


if __name__ == "__main__":
    main()
