"""`detfm ingest`: detector files -> store. Every row is written, removed by a cut or quarantined, and counted.

plan: every file is looked at, and all rows are divided into units of work (`plan.json` in `STORE.partial`).
units: each is read and written by itself, by any process of any machine, into `STORE.partial/units`.
finish: the units' shards become the store. Interrupted anywhere, the same command goes on and ends with the same store.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from foundation.cluster import make_workers
from foundation.command import Command
from foundation.errors import ConfigError, DataError, RunError, SchemaError
from foundation.interrupt import stoppable
from foundation.io.files import expand, is_url
from foundation.progress import console, progress
from foundation.runs import check_room, sha256, write_json
from foundation.schema import DetectorSchema
from foundation.store import spare
from foundation.store.finish import Finish
from foundation.store.index import MANIFEST
from foundation.store.job import Job, SourceFile, Unit
from foundation.store.plan import FILE as PLAN
from foundation.store.plan import Plan, Planner
from foundation.store.probe import SKIP_ADVICE, columns_of, probe
from foundation.store.settings import IngestConfig
from foundation.store.unfinished import DONE, Journal, check_disk, discard, empty, in_place, locked
from foundation.store.unit import Outcome, is_complete, run_unit
from foundation.workers import Processes, Workers

BYTES_PER_PROCESS = 20_000_000  # of input, for which another process is worth starting
FEW_FILES = 16  # are looked at here; more by all workers


class UnreadableFile(DataError):
    """A file turned out damaged while it was read. What is done is kept."""


def ingest(
    files: Sequence[str | Path],
    *,
    schema: DetectorSchema | str | Path,
    cfg: IngestConfig | None = None,
    out: str | Path,
    overwrite: bool = False,
    skip_bad_files: bool = False,
    processes: int | None = None,
    scheduler: str = "",
) -> Path:
    """Reads `files` as `schema` says and writes the store `out`.

    An interrupted ingest leaves its state in `OUT.partial`, and the same call goes on from there; one that was refused
    leaves nothing. The store is the same to the last byte (but for provenance.json) however often it was interrupted
    and whoever did the work.

    Args:
        files: paths, URLs or globs; read in this order.
        schema: a schema, a YAML file, or the name of a preset (`data/jets`).
        overwrite: replace a store at `out` once the new one is complete; discard unfinished work of another plan.
        skip_bad_files: leave out files that cannot be opened, lack a column that others have, or turn out damaged while
            they are read: then all of their rows, also those that were read before.
        processes: of this machine; default: one per core, if there is so much to do.
        scheduler: address of a dask scheduler, or `slurm` (see `IngestConfig.cluster`).

    Returns:
        `out`.

    Raises:
        DataError: a file is missing, damaged, lacks a column, or holds values that the settings refuse.
        SchemaError: the schema does not fit the files.
        RunError: `out` exists and may not be replaced, or `OUT.partial` holds another ingest.
    """
    out, cfg = Path(out), cfg or IngestConfig()
    schema = schema if isinstance(schema, DetectorSchema) else DetectorSchema.load(schema)
    schema.check()
    cfg.check()
    if processes is not None and processes < 1:
        raise ConfigError(f"processes must be positive; it is {processes}")
    paths = expand(files)
    folder = out.with_name(f"{out.name}.partial")
    if not in_place(folder, out):
        check_room(out, "ingest", overwrite)
    job = Job(schema, cfg, {}, columns_of(schema, cfg)[0], folder.absolute(), Path.cwd())
    processes = processes or _worthwhile(paths)
    with locked(folder), closing(make_workers(scheduler, processes, cfg.cluster)) as workers:
        try:
            Ingest(job, out, workers, overwrite, skip_bad_files).run(paths)
        finally:
            spare.clear()
    return out


def _worthwhile(paths: Sequence[str]) -> int:
    """Processes of this machine: one per core, but fewer where starting them takes longer than the work."""
    size = sum(BYTES_PER_PROCESS if is_url(path) else Path(path).stat().st_size for path in paths)
    return min(len(os.sched_getaffinity(0)), 1 + size // BYTES_PER_PROCESS)


@dataclass(frozen=True)
class Checksum:
    """The work of hashing one file."""

    number: int
    file: SourceFile


@dataclass(frozen=True)
class Hashed:
    number: int
    sha256: str


def perform(job: Job, task: Unit | Checksum) -> Outcome | Hashed:
    """What workers do. Raises as `run_unit`, and RunError where the worker does not see the folder."""
    if not (job.folder / PLAN).is_file():
        raise RunError(f"{os.uname().nodename} does not see {job.folder}; all workers must share its file system")
    if isinstance(task, Unit):
        return run_unit(job, task)
    path = Path(job.locate(task.file.path))
    digest, found = sha256(path), path.stat()
    if (found.st_size, found.st_mtime_ns) != (task.file.bytes, task.file.modified):
        raise DataError(f"{task.file.path} was changed while it was read; ingest again when it is complete")
    return Hashed(task.number, digest)


class Ingest:
    """One call of `ingest`."""

    def __init__(self, job: Job, out: Path, workers: Workers, overwrite: bool, skip: bool):
        self.job, self.out, self.workers, self.overwrite, self.skip = job, out, workers, overwrite, skip
        self.folder, self.started = job.folder, time.monotonic()

    def run(self, paths: Sequence[str]) -> None:
        plan = self._plan(paths)
        if in_place(self.folder, self.out):  # killed after the store had taken its place
            return discard(self.folder)
        try:
            skipped, hashes = self._work(plan)
            units = self._units(plan, skipped)
            facts = {"seconds": round(time.monotonic() - self.started, 3)}
            Finish(self.job, plan, units, skipped, hashes).write(self.folder / "store", self.out, facts)
        except UnreadableFile:
            raise
        except (ConfigError, DataError, SchemaError):
            discard(self.folder)  # the same plan would be refused again
            raise
        self._take_place()

    def _plan(self, paths: Sequence[str]) -> Plan:
        """Makes the plan, and sees to it that the folder holds no work of another."""
        there = (self.folder / PLAN).is_file()
        looks = [(self.job.locate(path), path, self.job.schema, self.job.columns) for path in paths]
        workers = Processes(1) if len(paths) <= FEW_FILES else self.workers
        found = {each.path: each for each in workers.run(probe, looks)}
        plan = Planner(self.job, self.skip).plan([found[path] for path in paths])
        self.job = replace(self.job, edges=plan.edges)
        if there and not plan.is_saved(self.folder):
            check_room(self.out, "ingest", self.overwrite)
            if not self.overwrite:
                raise RunError(plan.refusal(self.folder, self.out))
            empty(self.folder)
            there = False
        if not there:
            check_disk(plan, self.folder)
            empty(self.folder)
            (self.folder / "units").mkdir()
            plan.save(self.folder)
        return plan

    def _units(self, plan: Plan, skipped: dict[int, str]) -> list[Unit]:
        units = [plan.unit(number, skipped) for number in range(len(plan.units))]
        return [unit for unit in units if unit.segments]

    def _work(self, plan: Plan) -> tuple[dict[int, str], dict[int, str]]:
        """All units and checksums. Returns the files left out with the reason, and SHA-256 of the others."""
        found = Journal(self.folder / "files.jsonl")
        skipped = {n: file.skipped for n, file in enumerate(plan.files) if file.skipped} | found.damaged
        while True:
            units = self._units(plan, skipped)
            left = [unit for unit in units if not is_complete(self.job, unit)]
            files = [n for n, f in enumerate(plan.files) if not is_url(f.path) and n not in {*skipped, *found.hashes}]
            if not left and not files:
                return skipped, {n: digest for n, digest in sorted(found.hashes.items()) if n not in skipped}
            total, done = sum(unit.rows for unit in units), sum(unit.rows for unit in units)
            done -= sum(unit.rows for unit in left)
            if done:
                console.print(f"{self.folder}: {len(units) - len(left)} of {len(units)} units are done; going on")
            tasks = [(self.job, Checksum(n, plan.files[n])) for n in files] + [(self.job, unit) for unit in left]
            with closing(self.workers.run(perform, tasks)) as results, progress("ingest", total, "rows", done) as bar:
                for result in results:
                    if isinstance(result, Hashed):
                        found.add(result.number, "sha256", result.sha256)
                    elif result.damaged is None:
                        bar.advance(result.rows)
                    elif self.skip:
                        found.add(result.damaged, "damaged", result.reason)
                    else:
                        raise UnreadableFile(f"{result.reason}; {SKIP_ADVICE}. What is done is kept")
            skipped |= found.damaged

    def _take_place(self) -> None:
        store = self.folder / "store"
        write_json(self.folder / DONE, {"manifest": sha256(store / MANIFEST)})
        check_room(self.out, "ingest", self.overwrite)
        if self.out.exists():
            self.out.rename(self.folder / "replaced")
        store.rename(self.out)
        discard(self.folder)


def _arguments(parser: Any) -> None:
    parser.add_argument("files", nargs="+", help="detector files, URLs, or quoted patterns such as 'data/*.root'")
    parser.add_argument("--schema", required=True, help="YAML file or preset that describes the data, e.g. data/jets")
    parser.add_argument("--out", type=Path, required=True, help="the store's folder")
    parser.add_argument("--overwrite", action="store_true", help="replace a store (or unfinished work) that is there")
    parser.add_argument("--skip-bad-files", action="store_true", help="leave out files that cannot be read; list them")
    parser.add_argument("--processes", type=int, help="processes of this machine (default: one per core)")
    parser.add_argument("--scheduler", default="", help="address of a dask scheduler, or slurm (see cfg.cluster)")


def _run(arguments: Any) -> None:
    with stoppable("stopped; what is done is kept, the same command goes on"):
        out = ingest(
            arguments.files,
            schema=arguments.schema,
            cfg=arguments.cfg,
            out=arguments.out,
            overwrite=arguments.overwrite,
            skip_bad_files=arguments.skip_bad_files,
            processes=arguments.processes,
            scheduler=arguments.scheduler,
        )
    from foundation.inspect import store_summary
    from foundation.store.store import Store

    store = Store.open(out)
    for table in store_summary(store):
        console.print(table)
    left_out = [source for source in store.sources() if source["skipped"]]
    for source in left_out:
        console.print(f"[red]left out: {escape(source['skipped'])}[/red]")


COMMAND = Command(
    run=_run,
    config=IngestConfig,
    arguments=_arguments,
    description="Read detector files as a schema says and write a store: shards, statistics, checksums, accounting."
    " An interrupted ingest is resumed by giving the same command again; there is no --resume."
    " Example: detfm ingest samples/jets.root --schema data/jets --out stores/jets",
)
