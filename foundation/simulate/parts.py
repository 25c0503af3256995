"""`OUT.partial/`: the finished chunks of a simulation, so that one that was interrupted continues."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from foundation.errors import RunError
from foundation.runs import flatten
from foundation.simulate.config import SimulateConfig
from foundation.simulate.plan import Task, run_task

PLAN, LOCK, CHUNKS = "plan.json", "lock", "chunks"
COUNTS = ".counts"  # beside the flat values of a jagged column


@dataclass(frozen=True)
class Partial:
    """The folder of unfinished work of one output file."""

    folder: Path

    @property
    def output(self) -> Path:
        """The ROOT file while it is written."""
        return self.folder / "output.root"

    def chunk(self, number: int) -> Path:
        return self.folder / CHUNKS / f"{number:08d}.npz"

    def remove(self) -> None:
        shutil.rmtree(self.folder)


@contextmanager
def open_partial(out: Path, plan: dict[str, Any], overwrite: bool = False) -> Iterator[Partial]:
    """The folder `out`.partial, new or with the finished chunks of the same plan, for this process alone.

    Args:
        plan: all that the chunks depend on, as JSON.
        overwrite: discard unfinished work of another plan.

    Raises:
        RunError: the folder holds something else, another plan, or is in use.
    """
    folder = out.with_name(f"{out.name}.partial")
    if folder.exists() and not (folder / PLAN).exists() and any(folder.iterdir()):
        raise RunError(f"{folder} is in the way and was not written by `detfm simulate`; choose another --out")
    (folder / CHUNKS).mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"another `detfm simulate` is at work in {folder}; wait for it, or stop it") from error
        _check_plan(folder, json.loads(json.dumps(plan)), overwrite)
        try:
            yield Partial(folder)
        finally:
            if folder.exists() and not any((folder / CHUNKS).glob("*.npz")):
                shutil.rmtree(folder)  # nothing to continue with


def _check_plan(folder: Path, plan: dict[str, Any], overwrite: bool) -> None:
    path = folder / PLAN
    before = json.loads(path.read_text()) if path.exists() else plan
    if before != plan:
        if not overwrite:
            old, new = flatten(before), flatten(plan)
            keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
            shown = "; ".join(f"{key}: {old.get(key)!r} then, {new.get(key)!r} now" for key in keys[:4])
            raise RunError(
                f"{folder} holds unfinished work of other settings ({shown}). Give the same settings to finish it, "
                "choose another --out, or --overwrite to discard it"
            )
        shutil.rmtree(folder / CHUNKS)
        (folder / CHUNKS).mkdir()
    _write(path, json.dumps(plan, indent=1).encode())


def make_chunk(cfg: SimulateConfig, task: Task, number: int, path: Path) -> int:
    """Runs the task and writes its columns to `path`, which appears complete or not at all. Returns `number`."""
    columns = run_task(cfg, task)
    flat: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        if isinstance(column, ak.Array):
            flat[name] = ak.to_numpy(ak.flatten(column))
            flat[name + COUNTS] = ak.to_numpy(ak.num(column))
        else:
            flat[name] = column
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            np.savez(file, **flat)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return number


def read_chunk(path: Path) -> dict[str, Any]:
    """The columns that `make_chunk` wrote."""
    with np.load(path) as flat:
        counts = {name.removesuffix(COUNTS): flat[name] for name in flat.files if name.endswith(COUNTS)}
        names = [name for name in flat.files if not name.endswith(COUNTS)]
        return {name: ak.unflatten(flat[name], counts[name]) if name in counts else flat[name] for name in names}


def _write(path: Path, content: bytes) -> None:
    temporary = _temporary(path)
    temporary.write_bytes(content)
    temporary.replace(path)


def _temporary(path: Path) -> Path:
    """A name of this process alone: a chunk may be under way twice, on a cluster that thought a worker lost."""
    return path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
