"""Compiled programs are kept between processes, so that a second run of equal shapes starts at once.

JAX does the keeping; here is only where: `$DETFM_CACHE`, by default `~/.cache/detfm`, in a folder per processor type,
since code compiled for one processor may not run on another that shares the home directory. `DETFM_CACHE=off` keeps
nothing; `JAX_COMPILATION_CACHE_DIR`, if set, is left as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from pathlib import Path

BYTES = 2 * 1024**3  # what is older goes
SHORTEST = 0.3  # seconds of compiling that are worth keeping
MOST_MAPPED = 20_000  # regions of memory of a process; Linux allows 65,530 (vm.max_map_count)


def keep_compiled() -> Path | None:
    """Tells JAX, before it is imported, where to keep what it compiles. Returns the folder, or None if it was told
    otherwise or the folder cannot be written."""
    wanted = os.environ.get("DETFM_CACHE", "")
    if wanted.lower() == "off" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return None
    base = Path(wanted or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "detfm")
    folder = base / "compiled" / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    _prune(folder, BYTES)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", str(SHORTEST))
    return folder


def forget_compiled() -> bool:
    """Frees the programs that this process has compiled, once they are many; whether it did.

    Each program on a CPU maps some ten regions of memory, and JAX lets none go: after some thousands the kernel gives
    no more and the process dies of a segmentation fault. To be called where one process compiles without end, between
    programs: after a trial of a search, after a module of tests.
    """
    if mapped_regions() <= MOST_MAPPED:
        return False
    import jax  # not above: `keep_compiled` has to come first

    jax.clear_caches()
    return True


def mapped_regions() -> int:
    """Regions of memory that this process maps; 0 where the kernel does not list them (it is not Linux)."""
    try:
        with Path("/proc/self/maps").open("rb") as regions:
            return sum(1 for _ in regions)
    except OSError:
        return 0


def _prune(folder: Path, most: int) -> None:
    """Deletes the oldest files beyond `most` bytes. (JAX could, but then every reader waits for a lock.)"""
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process prunes, too
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    total = 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > most:
            with contextlib.suppress(OSError):
                path.unlink()


def _processor() -> str:
    """A short name for the instruction set of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        described = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        described = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(described.encode()).hexdigest()[:12]}"
