"""The students that a search keeps: each trial is a distill run of its own, found by its number."""

from __future__ import annotations

from pathlib import Path

from foundation.errors import RunError
from foundation.runs import PROVENANCE, Run

STAGE = "search"
TRIALS, FAILURE = "trials", "error.txt"


def chosen(path: str | Path, trial: int | None, *stages: str) -> Run:
    """The run at `path`; of a search, the distill run of one of its trials.

    Args:
        trial: number of it; None, if `path` is no search.
        stages: that the run may be of, apart from a search.

    Raises:
        RunError: it is of another stage, or there is no such trial (it says what became of it, or which there are).
    """
    if trial is None:
        found = Run.open(path, *stages, STAGE)
        if found.stage == STAGE:
            raise RunError(f"{path} is a search: choose one of its students by --trial N; {_numbers(found)}")
        return found
    found = Run.open(path, STAGE)
    folder = found.path / TRIALS / str(trial)
    if (folder / FAILURE).is_file():
        reason = (folder / FAILURE).read_text().strip().splitlines()[-1]
        raise RunError(f"{path}: trial {trial} failed and has no student: {reason}")
    if not (folder / PROVENANCE).is_file():
        raise RunError(f"{path} has no trial {trial}; {_numbers(found)}")
    return Run.open(folder, "distill")


def _numbers(found: Run) -> str:
    if not (found.path / "metrics.json").is_file():
        return "it has not ended: `detfm search --resume`"
    front = found.read("metrics.json")["front"]
    return f"on its front: {', '.join(str(record['number']) for record in front)}"
