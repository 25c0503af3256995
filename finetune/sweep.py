"""`detfm sweep`: number of labels x starting point x mode x seeds, ending in one table and one picture per metric.

Every point is an ordinary `detfm finetune` and `detfm evaluate` in a folder of its own. Points of one process share its
compiled programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune.sweep_pages import write_results
from finetune.sweep_points import (
    Point,
    SweepConfig,
    check_record,
    is_finished,
    points_of,
    record_of,
    run_point,
)
from finetune.sweep_results import Metric, missing_of, published_figures, refuse_missing, rows_of
from foundation.command import Command, to_yaml
from foundation.errors import ConfigError
from foundation.job_array import array_script
from foundation.progress import console
from foundation.runs import Run
from foundation.store import Store
from foundation.workers import Processes, share_of_cores

SCRIPT, SETTINGS = "sweep.sh", "sweep.yaml"
POINTS, RESULT = "points", "result"


def sweep(
    store: str | Path,
    *,
    cfg: SweepConfig,
    out: str | Path,
    workers: int = 1,
    point: int | None = None,
) -> Run | None:
    """Runs the points that are missing and, unless asked for a single one, puts together what all of them found.

    Args:
        store: labelled data.
        out: folder of the sweep: `points/NAME` for each point, `result` with the table.
        workers: processes that share the points; each gets its part of the cores. A script that asks for more than one
            must call this under `if __name__ == "__main__":`.
        point: run this one alone, counted from 0.

    Returns:
        The run folder `OUT/result`; None where a single point was asked for.

    Raises:
        ConfigError: a setting that cannot be.
        RunError: a point's folder was made with other settings or inputs; or points did not finish, which are named
            after the table of the others has been written.
    """
    data, store, folder = Store.open(store), Path(store), Path(out) / POINTS
    points, metrics = points_of(data, cfg), [Metric.parse(text) for text in cfg.metrics]
    published_figures(cfg.data_set, metrics)
    if point is not None and not 0 <= point < len(points):
        raise ConfigError(f"--point {point}: the sweep has points 0 to {len(points) - 1}")
    if workers < 1:
        raise ConfigError(f"--workers is a number of processes, 1 or more; it is {workers}")
    wanted = points if point is None else [points[point]]
    for each in wanted:
        check_record(folder / each.name, record_of(store, each, cfg.evaluate))
    waiting = [each for each in wanted if not is_finished(folder / each.name)]
    run_points(store, waiting, cfg, folder, workers, done=len(wanted) - len(waiting))
    if point is not None:
        refuse_missing(missing_of(wanted, folder), 1)
        return None
    return collect(data, points, cfg, Path(out))


def run_points(
    store: Path, points: Sequence[Point], cfg: SweepConfig, folder: Path, workers: int, done: int = 0
) -> None:
    """Runs points, here or in `workers` processes; what fails is told, and the others go on."""
    total = done + len(points)
    if done:
        console.print(f"sweep: {done} of {total} points were finished before", highlight=False)
    tasks = [(store, each, cfg.evaluate, folder / each.name) for each in points]
    with share_of_cores(workers if len(points) > 1 else 1):
        for name, error, seconds in Processes(workers).run(run_point, tasks):
            done += 1
            console.print(f"sweep: {done}/{total} {name}: {error or f'{seconds:.1f} s'}", highlight=False)


def collect(data: Store, points: Sequence[Point], cfg: SweepConfig, out: Path) -> Run:
    """Writes OUT/result.

    Raises:
        ConfigError: a metric that the evaluations do not have.
        RunError: points did not finish; the table of the others has been written.
    """
    metrics = [Metric.parse(text) for text in cfg.metrics]
    folder = out / POINTS
    rows, missing = rows_of(points, folder, metrics, cfg.modes), missing_of(points, folder)
    if not rows:
        refuse_missing(missing, len(points))
    encoders = {f"encoder {p.start}": p.encoder for p in points if p.encoder is not None}
    inputs = {"store": data.path, **encoders}
    run = Run.create(out / RESULT, "sweep", config=cfg, schema=data.schema, inputs=inputs, overwrite=True)
    title = cfg.data_set or data.schema.name
    write_results(run, rows, metrics, missing, reference=cfg.reference, data_set=cfg.data_set, caption=title)
    refuse_missing(missing, len(points))
    return run


def job_array(store: Path, cfg: SweepConfig, out: Path) -> Path:
    """Writes OUT/sweep.sh, a SLURM job array with a task for each point, and OUT/sweep.yaml, the settings it reads."""
    count = len(points_of(Store.open(store), cfg))
    out.mkdir(parents=True, exist_ok=True)
    starts = {name: str(Path(s).absolute()) if Path(s).is_dir() else s for name, s in cfg.starts.items()}
    (out / SETTINGS).write_text(to_yaml(replace(cfg, starts=starts)))
    return array_script(SCRIPT, out, count, {"STORE": store, "CONFIG": out / SETTINGS, "OUT": out})


def _run(args: Any) -> None:
    if args.array:
        script = job_array(Path(args.store), args.cfg, Path(args.out))
        console.print(f"sweep: sbatch {script}; then give this command again without --array for the table")
        return
    run = sweep(args.store, cfg=args.cfg, out=args.out, workers=args.workers, point=args.point)
    if run is not None:
        print((run.path / "table.md").read_text())
        print(f"written: {run.path}/report.html, table.md, table.json, table.csv")


COMMAND = Command(
    run=_run,
    config=SweepConfig,
    arguments=lambda parser: (
        parser.add_argument("store", help="labelled data, written by `detfm ingest`"),
        parser.add_argument("--out", default="runs/sweep", help="folder of the sweep"),
        parser.add_argument("--workers", type=int, default=1, help="processes of this machine that share the points"),
        parser.add_argument("--array", action="store_true", help="write a SLURM job array, OUT/sweep.sh; run nothing"),
        parser.add_argument("--point", type=int, help="run this point alone, counted from 0"),
    ),
    description="Fine-tunes and evaluates every combination of starting point, mode, number of labels and seed, and "
    "puts the figures in one table and one plot, with the number of labels from scratch that do as well. Points that "
    "have finished are not run again; one that fails is named and the others go on. "
    "Example: detfm sweep stores/toplandscape --cfg sweep/toplandscape --out runs/sweep --workers 2",
)
