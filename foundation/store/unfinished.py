"""The folder of unfinished work, `STORE.partial`: who may write there, what is known, what is left when it is over."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundation.errors import RunError
from foundation.runs import sha256
from foundation.store.index import MANIFEST
from foundation.store.plan import FILE as PLAN
from foundation.store.plan import Plan

DONE = "done.json"  # the store is complete and only has to take its place


class Journal:
    """What was learnt about files, one line each; a line that an interruption cut short counts for nothing."""

    def __init__(self, path: Path):
        self.path = path
        self.hashes: dict[int, str] = {}
        self.damaged: dict[int, str] = {}
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        for line in whole.splitlines():
            self._note(**json.loads(line))
        path.write_text(f"{whole}\n" if whole else "")

    def add(self, number: int, what: str, value: str) -> None:
        self._note(number, what, value)
        with self.path.open("a") as file:
            file.write(json.dumps({"number": number, "what": what, "value": value}) + "\n")

    def _note(self, number: int, what: str, value: str) -> None:
        (self.hashes if what == "sha256" else self.damaged)[number] = value


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for unfinished work, for this process alone; without a plan in it, it goes again."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"{folder}: another `detfm ingest` is at work there") from error
        try:
            yield
        finally:
            if folder.exists() and not (folder / PLAN).exists():
                discard(folder)


def in_place(folder: Path, out: Path) -> bool:
    """Whether the store that `folder` was about is complete at `out`."""
    if not (folder / DONE).is_file() or (folder / "store").exists() or not (out / MANIFEST).is_file():
        return False
    return json.loads((folder / DONE).read_text())["manifest"] == sha256(out / MANIFEST)


def empty(folder: Path) -> None:
    """Removes everything but the lock; last of all what says that there is something."""
    last = (PLAN, DONE)
    for path in sorted(folder.iterdir(), key=lambda path: path.name in last):
        if path.is_dir():
            _remove(path)
        elif path.name != "lock":
            path.unlink()


def discard(folder: Path) -> None:
    empty(folder)
    _remove(folder)


def _remove(folder: Path) -> None:
    """A folder and all in it, also while a worker that is far away still writes there: it fails at its next file."""
    for wait in (0.1, 1.0, 10.0):
        try:
            return shutil.rmtree(folder)
        except OSError:
            time.sleep(wait)
    shutil.rmtree(folder)


def check_disk(plan: Plan, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if plan.bytes > free:
        raise RunError(
            f"the store needs about {plan.bytes / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free at {folder.parent}; "
            "choose another --out, or cut with --cfg.select"
        )
