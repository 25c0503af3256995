"""A store is the same to the last byte, however often its making was interrupted and whoever did the work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from detector import SCHEMA, columns, schema, write

from foundation.errors import DataError, RunError
from foundation.store import Store, unfinished
from foundation.store import finish as finishing
from foundation.store import ingest as ingesting
from foundation.store.ingest import IngestConfig, ingest

CFG = IngestConfig(chunk_rows=70, shard_rows=150, nonfinite="quarantine")
ROWS = 300


def make_files(folder: Path) -> list[Path]:
    files = []
    for seed in (0, 1):
        content = columns(ROWS, seed)
        content["met"][[5, 200]] = np.nan
        files.append(write(folder / f"{seed}.root", content, basket=60))
    return files


def content(store: Path) -> dict[str, bytes]:
    """Every file but provenance.json, which tells of the machine and the time."""
    paths = [path for path in store.rglob("*") if path.is_file() and path.name != "provenance.json"]
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(paths)}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def expected(files, tmp_path_factory) -> dict[str, bytes]:
    """From one uninterrupted process."""
    return content(run(files, tmp_path_factory.mktemp("expected") / "store"))


def run(files: list[Path], out: Path, **options) -> Path:
    return ingest(files, schema=schema(labels={}), cfg=CFG, out=out, **options)


def command(files: list[Path], out: Path, *more: str) -> list[str]:
    described = out.with_suffix(".yaml")
    described.write_text(json.dumps(SCHEMA | {"labels": {}}))
    sizes = ["--cfg.chunk_rows", "70", "--cfg.shard_rows", "150", "--cfg.nonfinite", "quarantine"]
    words = ["ingest", *map(str, files), "--schema", str(described), "--out", str(out), *sizes, *more]
    return [sys.executable, "-m", "foundation.cli", *words]


def test_there_are_units_to_interrupt(expected):
    manifest = json.loads(expected["manifest.json"])
    assert manifest["splits"]["train"]["shards"] == 4
    assert manifest["accounting"]["quarantined"] == {"nonfinite": 4}


def test_processes_change_nothing(files, expected, tmp_path):
    assert content(run(files, tmp_path / "store", processes=3)) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_workers_import_no_jax():
    code = "import sys, foundation.store.ingest; sys.exit('jax' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("moment", [0, 1, 3, 4])
def test_killed_at_any_moment_of_the_work(files, expected, tmp_path, monkeypatch, moment):
    """What SIGKILL leaves at each durable step: `moment` units are done, another is half written."""

    class Killed(BaseException):
        pass

    real, done = ingesting.run_unit, []

    def deadly(job, unit):
        if len(done) == moment:
            half = job.unit_folder(unit.number).with_name(f".{unit.number:06d}.1")
            (half / "train-0").mkdir(parents=True)
            (half / "train-0" / "weights.npy").write_bytes(b"\x93NUMPY")
            raise Killed
        done.append(unit)
        return real(job, unit)

    monkeypatch.setattr(ingesting, "run_unit", deadly)
    if moment < 4:
        with pytest.raises(Killed):
            run(files, tmp_path / "store")
        assert not (tmp_path / "store").exists()
        monkeypatch.setattr(ingesting, "run_unit", lambda job, unit: done.append(unit) or real(job, unit))
    run(files, tmp_path / "store")
    assert len(done) == 4, "each unit once"
    assert content(tmp_path / "store") == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


STEPS = {
    "shards are moved": (Path, "rename", 4),
    "shards are half moved": (Path, "rename", 9),
    "indices are written": (finishing, "write_durably", 1),
    "the manifest is written": (finishing, "write_durably", 4),
    "the run is described": (finishing.Finish, "_write_run", 0),
    "the store is complete": (ingesting, "write_json", 0),
    "the store takes its place": (ingesting, "check_room", 1),
    "the store has taken its place": (ingesting, "discard", 0),
    "what is left is half removed": (unfinished, "empty", -1),
}


@pytest.mark.parametrize("step", STEPS)
def test_killed_while_the_store_is_put_together(files, expected, tmp_path, monkeypatch, step):
    class Killed(BaseException):
        pass

    owner, name, count = STEPS[step]
    real, calls = getattr(owner, name), []

    def deadly(*arguments, **options):
        inside = any("store" in str(a) for a in arguments)
        if inside or name != "rename":
            calls.append(arguments)
        if len(calls) > count:
            raise Killed
        return real(*arguments, **options)

    if count < 0:
        real_empty = unfinished.empty

        def half(folder):
            if (folder / unfinished.DONE).exists():
                (folder / "units").rename(folder / "gone")
                raise Killed
            real_empty(folder)

        monkeypatch.setattr(unfinished, "empty", half)
    else:
        monkeypatch.setattr(owner, name, deadly)
    with pytest.raises(Killed):
        run(files, tmp_path / "store")
    monkeypatch.undo()
    run(files, tmp_path / "store")
    assert content(tmp_path / "store") == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def wait_for(condition, process: subprocess.Popen, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("units", [1, 3])
def test_sigkill_of_a_real_process_and_its_workers(files, expected, tmp_path, units):
    out = tmp_path / "store"
    folder = tmp_path / "store.partial" / "units"
    with subprocess.Popen(command(files, out, "--processes", "2"), stderr=subprocess.PIPE) as process:
        wait_for(lambda: folder.exists() and len(list(folder.glob("0*"))) >= units, process)
        process.kill()
    wait = time.monotonic() + 20
    while _alive(str(out)) and time.monotonic() < wait:
        time.sleep(0.05)
    assert not _alive(str(out)), "the workers end with the process that started them"
    finished = subprocess.run(command(files, out, "--processes", "2"), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert content(out) == expected


def _alive(word: str) -> list[int]:
    """Processes that hold a file under the folder open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        found += [int(process.name)] if any(word in link for link in links) else []
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_workers_and_keeps_what_is_done(files, expected, tmp_path, number, status):
    out = tmp_path / "store"
    folder = tmp_path / "store.partial" / "units"
    with subprocess.Popen(command(files, out, "--processes", "2"), stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: folder.exists() and list(folder.glob("0*")), process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(number)
        shown = process.communicate(timeout=20)[1]
    assert process.returncode == status
    assert "the same command goes on" in shown
    assert "Traceback" not in shown
    assert len(children) >= 2
    end = time.monotonic() + 10  # one of them is Python's own, which ends in its own time
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert content(run(files, out)) == expected


@pytest.mark.slow
def test_a_worker_that_dies_is_told_and_nothing_is_lost(files, expected, tmp_path):
    out = tmp_path / "store"
    folder = tmp_path / "store.partial" / "units"
    with subprocess.Popen(command(files, out, "--processes", "2"), stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: folder.exists() and list(folder.glob("0*")), process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [c for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]
        os.kill(int(workers[0]), signal.SIGKILL)
        shown = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert "a worker process ended before its work did (signal 9)" in shown
    assert content(run(files, out)) == expected


def test_another_plan_is_refused_by_name(files, tmp_path, monkeypatch):
    def killed(job, unit):
        raise KeyboardInterrupt

    real = ingesting.run_unit
    monkeypatch.setattr(ingesting, "run_unit", killed)
    out = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        run(files, out)
    monkeypatch.setattr(ingesting, "run_unit", real)
    with pytest.raises(RunError, match=r"store\.partial holds an unfinished ingest of other files \(.*1\.root differs"):
        run(files[:1], out)
    other = IngestConfig(chunk_rows=70, shard_rows=150, nonfinite="quarantine", select="event < 100")
    with pytest.raises(RunError, match=r"other settings \(cfg\.select: '' then, 'event < 100' now\).*--overwrite"):
        ingest(files, schema=schema(labels={}), cfg=other, out=out)
    assert (tmp_path / "store.partial" / "plan.json").exists()
    ingest(files, schema=schema(labels={}), cfg=other, out=out, overwrite=True)
    assert Store.open(out).manifest["accounting"]["cuts"] == {"select": 2 * ROWS - 200}


def test_a_file_that_changes_meanwhile_is_another_file(tmp_path, monkeypatch):
    files = make_files(tmp_path)
    real = ingesting.run_unit

    def touched(job, unit):
        os.utime(files[1])
        return real(job, unit)

    monkeypatch.setattr(ingesting, "run_unit", touched)
    real_sha = ingesting.sha256
    monkeypatch.setattr(ingesting, "sha256", lambda path: os.utime(files[1]) or real_sha(path))
    with pytest.raises(DataError, match=r"1\.root was changed while it was read"):
        run(files, tmp_path / "store")


def test_two_at_once_are_refused(files, tmp_path):
    with (
        unfinished.locked(tmp_path / "store.partial"),
        pytest.raises(RunError, match="another `detfm ingest` is at work"),
    ):
        run(files, tmp_path / "store")


def test_overwriting_is_the_last_step(files, expected, tmp_path, monkeypatch):
    out = run(files[:1], tmp_path / "store")
    before = content(out)
    monkeypatch.setattr(ingesting, "check_room", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(files, out, overwrite=True)
    monkeypatch.undo()
    assert content(out) == before
    run(files, out, overwrite=True)
    assert content(out) == expected
