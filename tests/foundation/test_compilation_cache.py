"""Where compiled programs are kept, and that a second process takes them from there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from foundation import compilation_cache
from foundation.compilation_cache import keep_compiled

NAMES = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
PROGRAM = """
import os; os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
from foundation.compilation_cache import keep_compiled
keep_compiled()
import jax, jax.numpy as jnp
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name) if "cache_hits" in name else None)
jax.jit(lambda x: jnp.sin(x @ x.T).sum())(jnp.ones((9, 7))).block_until_ready()
print(len(hits))
"""


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*NAMES, "DETFM_CACHE"):
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    for name in NAMES:  # what keep_compiled set itself
        os.environ.pop(name, None)


def test_a_second_process_compiles_nothing_again(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in NAMES} | {"DETFM_CACHE": str(tmp_path)}
    hits = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        hits.append(int(done.stdout))
    assert hits[0] == 0
    assert hits[1] > 0


def test_off_keeps_nothing(unset: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unset.setenv("DETFM_CACHE", "off")
    unset.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert keep_compiled() is None
    assert not any(tmp_path.iterdir())


def test_the_users_own_folder_is_left_as_it_is(unset: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unset.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "mine"))
    assert keep_compiled() is None
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "mine")


def test_a_folder_that_cannot_be_made_is_no_error(unset: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    unset.setenv("DETFM_CACHE", str(tmp_path / "file"))
    assert keep_compiled() is None


def test_the_oldest_go_when_there_are_too_many(unset: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unset.setenv("DETFM_CACHE", str(tmp_path))
    unset.setattr(compilation_cache, "BYTES", 250)
    folder = keep_compiled()
    for age in range(4):
        (folder / f"{age}-cache").write_bytes(b"x" * 100)
        os.utime(folder / f"{age}-cache", (1e9 - age, 1e9 - age))
    unset.delenv("JAX_COMPILATION_CACHE_DIR")
    assert keep_compiled() == folder
    assert sorted(path.name for path in folder.iterdir()) == ["0-cache", "1-cache"]


def test_compiled_programs_are_freed_once_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    jax.clear_caches()
    before = compilation_cache.mapped_regions()
    programs = [jax.jit(lambda x: jnp.tanh(x @ x.T).sum()) for _ in range(30)]
    for size, program in enumerate(programs, start=1):
        program(jnp.ones((size, 3)))
    grown = compilation_cache.mapped_regions() - before
    monkeypatch.setattr(compilation_cache, "MOST_MAPPED", 10**6)
    assert not compilation_cache.forget_compiled()
    assert [program._cache_size() for program in programs] == [1] * 30
    monkeypatch.setattr(compilation_cache, "MOST_MAPPED", -1)
    assert compilation_cache.forget_compiled()
    assert [program._cache_size() for program in programs] == [0] * 30
    assert compilation_cache.mapped_regions() - before <= 0.75 * grown
