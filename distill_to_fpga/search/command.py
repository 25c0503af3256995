"""`detfm search`: many students of one teacher, and the front of those that no other beats in everything.

OUT/{config.yaml, journal.jsonl, examples/, trials/NUMBER/, trials.parquet, metrics.json, front*.png, report.html}
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from distill_to_fpga.search.examples import material, stores_of
from distill_to_fpga.search.kept import STAGE, TRIALS
from distill_to_fpga.search.results import front_table, write_results
from distill_to_fpga.search.space import SearchConfig, settings_of
from distill_to_fpga.search.trial import EXAMPLES, run_trial
from finetune.anomaly.saved import STAGE as ANOMALY
from foundation.command import Command, to_yaml
from foundation.errors import ConfigError, RunError
from foundation.interrupt import stoppable
from foundation.job_array import array_script
from foundation.progress import console
from foundation.runs import Run, check_room, continue_or_create
from foundation.store import Store
from foundation.workers import Processes, share_of_cores

if TYPE_CHECKING:  # optuna is an extra; `--help` does without
    from optuna.study import Study
    from optuna.trial import Trial

SCRIPT, SETTINGS = "search.sh", "search.yaml"


def search(
    teacher: str | Path,
    *,
    cfg: SearchConfig,
    out: str | Path,
    store: str | Path | None = None,
    processes: int = 1,
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Runs the trials that are missing and writes what all of them found.

    Args:
        teacher: a finetune or anomaly run.
        store: its data, if it has moved.
        out: run folder to write.
        processes: of this machine, which share the trials; each gets its part of the cores. A script that asks for more
            than one must call this under `if __name__ == "__main__":`.
        resume: go on with the search at `out`; `cfg.trials` may be another number, all else must be equal.

    Raises:
        ConfigError, SchemaError, DataError: settings or inputs that cannot be; nothing is run then.
        RunError: `out` is something else; or no trial succeeded.
        ToolError: optuna is not installed.
    """
    if processes < 1:
        raise ConfigError(f"--processes is a number, 1 or more; it is {processes}")
    found = prepared(teacher, cfg, out, store, resume=resume, overwrite=overwrite)
    if resume:
        found.take_back()
    found.explore(processes)
    return found.finish()


def join(teacher: str | Path, *, cfg: SearchConfig, out: str | Path, store: str | Path | None = None) -> None:
    """Takes trials of a search that `prepared` has begun, beside other processes, until there are enough."""
    found = prepared(teacher, cfg, out, store, resume=True, alone=False)
    found.explore(1)


def prepared(
    teacher: str | Path,
    cfg: SearchConfig,
    out: str | Path,
    store: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    alone: bool = True,
) -> Search:
    """Checks everything, lets the teacher speak, and makes the run folder.

    Args:
        alone: no other process works on this search.

    Raises:
        ConfigError, SchemaError, DataError, RunError, ToolError: see `search`.
    """
    from distill_to_fpga.search.study import mend, open_study

    cfg.check()
    origin = Run.open(teacher, "finetune", ANOMALY)
    if score := sorted(name for name in cfg.space if name.startswith("score.")) if origin.stage != ANOMALY else []:
        raise ConfigError(f"space: {score[0]} is of the students of anomaly models; {origin.path} is a tagger")
    inputs = stores_of(origin, cfg, store)
    schema = Store.open(inputs["store"]).schema
    cfg.check_inputs(schema)
    out = Path(out)
    asked = cfg
    if resume and (out / "config.yaml").is_file():
        asked = dataclasses.replace(cfg, trials=Run.open(out, STAGE).config(SearchConfig).trials)
    check_room(out, STAGE, overwrite or resume)
    fresh = not (resume and out.exists())
    known = material(None if fresh else out / EXAMPLES, origin, cfg, store)
    rest: dict[str, Any] = {"schema": schema, "inputs": inputs, "seeds": {"sampler": cfg.seed}, "overwrite": overwrite}
    run = continue_or_create(out, STAGE, config=asked, resume=resume, **rest)
    if asked != cfg:
        (run.path / "config.yaml").write_text(to_yaml(cfg))
    known.keep(run.path / EXAMPLES)
    if alone:
        mend(run.path)
    return Search(
        run,
        cfg,
        {role: Path(path) for role, path in inputs.items()},
        open_study(run.path, cfg),
        known.teacher_figures(),
    )


@dataclass
class Search:
    """A search under way.

    Attributes:
        run: its folder.
        inputs: role -> folder, of every trial's run.
        study: trials so far.
        teacher: figures of the teacher on `val`.
        asked: trials that this process has begun and not ended.
    """

    run: Run
    cfg: SearchConfig
    inputs: Mapping[str, Path]
    study: Study
    teacher: dict[str, float]
    asked: dict[int, Trial] = field(default_factory=dict)

    def take_back(self) -> None:
        """Trials that a process began, which then died, are repeated. Not while others work on the same search."""
        from distill_to_fpga.search.study import running

        for trial in running(self.study):
            self._give_back(trial.number)

    def explore(self, processes: int) -> None:
        """Runs trials until there are as many as wanted. One that fails is told, and the others go on."""
        from distill_to_fpga.search.study import records, tell

        waiting, done = _Waiting(self), len(records(self.study))
        if done:
            console.print(f"search: {done} of {self.cfg.trials} trials were there before", highlight=False)
        with (
            share_of_cores(min(processes, len(waiting))),
            stoppable(f"{self.run.path}: trials that have ended are kept; go on with --resume"),
        ):
            try:
                for record in Processes(processes).run(run_trial, waiting):
                    tell(self.study, self.asked.pop(record["number"]), self.cfg, record)
                    console.print(f"search: {_line(record, self.cfg, len(records(self.study)))}", highlight=False)
            except BaseException:
                for number in sorted(self.asked):
                    self._give_back(number)
                raise

    def tasks(self) -> Iterator[tuple]:
        """Arguments of `run_trial`, each drawn when its turn comes."""
        from distill_to_fpga.search.study import begun, drawn, ordinal

        while begun(self.study) < self.cfg.trials:
            trial = self.study.ask()
            self.asked[trial.number] = trial
            settings = settings_of(self.cfg, drawn(trial, self.cfg.space))
            seed = self.cfg.base.seed + ordinal(self.study, trial.number)
            yield self.run.path.absolute(), self.cfg, trial.number, seed, settings, self.inputs

    def finish(self) -> Run:
        """Writes the table, the front and the page.

        Raises:
            RunError: no trial succeeded; the table says why.
        """
        from distill_to_fpga.search.study import records

        found = records(self.study)
        write_results(self.run, self.cfg, found, self.teacher)
        if all(record["error"] for record in found):
            reason = found[0]["error"] if found else "none was run"
            raise RunError(f"{self.run.path}: not one of {len(found)} trials succeeded; the first: {reason}")
        return self.run

    def _give_back(self, number: int) -> None:
        from distill_to_fpga.search.study import repeat

        shutil.rmtree(self.run.path / TRIALS / str(number), ignore_errors=True)
        repeat(self.study, number)
        self.asked.pop(number, None)


@dataclass(frozen=True)
class _Waiting:
    """Trials that are still to run, drawn one by one."""

    search: Search

    def __len__(self) -> int:
        from distill_to_fpga.search.study import begun

        return max(0, self.search.cfg.trials - begun(self.search.study))

    def __iter__(self) -> Iterator[tuple]:
        return self.search.tasks()


def _line(record: Mapping[str, Any], cfg: SearchConfig, done: int) -> str:
    said = ", ".join(f"{name} {record['figures'][name]:,.5g}" for name in cfg.objectives if name in record["figures"])
    return f"{done}/{cfg.trials} trial {record['number']}: {record['error'] or said} ({record['seconds']:.0f} s)"


def job_array(found: Search, teacher: Path, tasks: int) -> Path:
    """Writes OUT/search.sh, a SLURM job array whose tasks share the trials, and OUT/search.yaml, the settings."""
    folder = found.run.path
    (folder / SETTINGS).write_text(to_yaml(found.cfg))
    return array_script(SCRIPT, folder, tasks, {"TEACHER": teacher, "CONFIG": folder / SETTINGS, "OUT": folder})


def _run(args: Any) -> None:
    if args.array is not None and args.array < 1:
        raise ConfigError(f"--array is a number of tasks, 1 or more; it is {args.array}")
    if args.join:
        join(args.teacher, cfg=args.cfg, out=args.out, store=args.store)
        return
    if args.array:
        found = prepared(args.teacher, args.cfg, args.out, args.store, resume=args.resume, overwrite=args.overwrite)
        script = job_array(found, Path(args.teacher), args.array)
        console.print(f"search: sbatch {script}; then give this command with --resume instead of --array for the front")
        return
    run = search(
        args.teacher,
        cfg=args.cfg,
        out=args.out,
        store=args.store,
        processes=args.processes,
        resume=args.resume,
        overwrite=args.overwrite,
    )
    console.print(front_table(run))
    console.print(
        f"{run.path}/report.html; a student of the front: detfm evaluate {run.path} --trial N, "
        f"detfm export {run.path} --trial N",
        highlight=False,
    )


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("teacher", help="a finetune or anomaly run")
    parser.add_argument("--store", help="the data, if it has moved")
    parser.add_argument("--out", default="runs/search", help="run folder to write")
    parser.add_argument("--processes", type=int, default=1, help="processes of this machine that share the trials")
    parser.add_argument("--resume", action="store_true", help="go on with the search at --out, to --cfg.trials in all")
    parser.add_argument(
        "--array", type=int, help="make ready and write a SLURM job array of so many tasks; run nothing"
    )
    parser.add_argument("--join", action="store_true", help="take part in a search made ready by --array, till its end")
    parser.add_argument("--overwrite", action="store_true", help="replace a search at --out")


COMMAND = Command(
    run=_run,
    config=SearchConfig,
    arguments=_arguments,
    description="Trains students of many kinds, sizes and prices, judged on held-out examples (never on the test set) "
    "by several figures at once, and keeps those that no other beats in all of them: the Pareto front. Every trial is "
    "kept; evaluate and export take any of them by --trial. "
    "Example: detfm search runs/finetune --cfg quickstart/search --cfg.trials 40 --processes 2 --out runs/search",
)
