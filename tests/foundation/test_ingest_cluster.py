"""Ingest by the workers of a real dask scheduler; what SLURM would be given."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from detector import columns, schema, write

from foundation.cluster import ClusterConfig, slurm_cluster
from foundation.errors import ConfigError, DataError, RunError, ToolError
from foundation.store.ingest import IngestConfig, ingest

distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")
CFG = IngestConfig(chunk_rows=70, shard_rows=100)


@pytest.fixture(scope="module")
def cluster():
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as made:
        yield made


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    return [write(folder / f"{seed}.root", columns(600, seed)) for seed in (0, 1)]


def content(store: Path) -> dict[str, bytes]:
    paths = [path for path in store.rglob("*") if path.is_file() and path.name != "provenance.json"]
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(paths)}


@pytest.fixture(scope="module")
def expected(files, tmp_path_factory) -> dict[str, bytes]:
    return content(ingest(files, schema=schema(), cfg=CFG, out=tmp_path_factory.mktemp("expected") / "store"))


@pytest.mark.slow
def test_dask_workers_make_the_same_store(cluster, files, expected, tmp_path):
    out = ingest(files, schema=schema(), cfg=CFG, out=tmp_path / "s", scheduler=cluster.scheduler_address)
    assert content(out) == expected


@pytest.mark.slow
def test_a_worker_killed_midway_changes_nothing(cluster, files, expected, tmp_path):
    with distributed.Client(cluster, set_as_default=False) as client:
        workers = list(client.run(os.getpid).values())
    units, killed = tmp_path / "s.partial" / "units", []

    def kill() -> None:
        while not list(units.glob("0*")):
            time.sleep(0.001)
        killed.append(len(list(units.glob("0*"))))
        os.kill(workers[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    out = ingest(files, schema=schema(), cfg=CFG, out=tmp_path / "s", scheduler=cluster.scheduler_address)
    thread.join()
    assert killed[0] < 12, "the worker died while there was work"
    assert content(out) == expected


@pytest.mark.slow
def test_an_error_of_the_user_comes_back_as_it_is(cluster, files, tmp_path):
    bad = columns(600)
    bad["process"][599] = 7
    paths = [*files, write(tmp_path / "bad.root", bad)]
    with pytest.raises(DataError, match=r"bad\.root, entries \d+ to 599: unknown label: labels\.kind = 7"):
        ingest(paths, schema=schema(), cfg=CFG, out=tmp_path / "s", scheduler=cluster.scheduler_address)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.root"]


def test_no_scheduler_there(files, tmp_path, monkeypatch):
    monkeypatch.setattr("foundation.cluster.SECONDS_TO_CONNECT", 1)
    with pytest.raises(RunError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"):
        ingest(files, schema=schema(), cfg=CFG, out=tmp_path / "s", scheduler="tcp://127.0.0.1:9")
    assert not list(tmp_path.iterdir())


def test_the_job_that_slurm_is_given(monkeypatch):
    """There is no SLURM here: the script is checked, not run."""
    jobqueue = pytest.importorskip("dask_jobqueue", reason="needs the extra `cluster`")
    scaled = []
    monkeypatch.setattr(jobqueue.SLURMCluster, "scale", lambda self, jobs: scaled.append(jobs))
    cfg = ClusterConfig(
        jobs=7,
        cores=8,
        memory="16GB",
        walltime="01:30:00",
        queue="short",
        account="cms",
        directives=["--constraint=cpu"],
        prologue=["module load python"],
    )
    with slurm_cluster(cfg) as made:
        script = made.job_script()
    assert scaled[0] == 7
    for line in ["-p short", "-A cms", "--cpus-per-task=8", "--mem=15G", "-t 01:30:00", "--constraint=cpu"]:
        assert f"#SBATCH {line}\n" in script
    assert "\nmodule load python\n" in script
    assert "--nthreads 1 " in script
    assert "--nworkers 8 " in script


@pytest.mark.parametrize(("scheduler", "package"), [("slurm", "dask_jobqueue"), ("tcp://127.0.0.1:9", "distributed")])
def test_without_the_packages_the_command_to_install_them(files, tmp_path, monkeypatch, scheduler, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ToolError, match=r"pip install 'detfm\[cluster\]'"):
        ingest(files, schema=schema(), cfg=CFG, out=tmp_path / "s", scheduler=scheduler)
    assert not list(tmp_path.iterdir())


def test_processes_and_cluster_give_equal_plans():
    """Cluster settings are no part of what a store depends on."""
    from foundation.store.plan import _identity

    one, other = IngestConfig(), IngestConfig(cluster=ClusterConfig(jobs=100))
    assert _identity(one) == _identity(other)
    assert np.isin(["select", "chunk_rows", "nonfinite"], list(_identity(one))).all()
    with pytest.raises(ConfigError):
        IngestConfig(chunk_bytes=0).check()
