"""detfm commands as stages of a benchmark: printed, run in a process of their own, kept if their output is there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path


def detfm(*words: str | int | float | Path, unless: Path | None = None, environment: Mapping[str, str] = {}) -> float:
    """Runs a command and prints it, unless its output is there. Returns the seconds it took.

    Args:
        unless: what the command makes.
        environment: variables to set beside the present ones.
    """
    text, there = [str(word) for word in words], unless is not None and unless.exists()
    print(f"$ detfm {shlex.join(text)}" + ("    # kept from before" if there else ""), flush=True)
    if there:
        return 0.0
    start = time.perf_counter()
    command = [sys.executable, "-m", "foundation.cli", *text]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    return time.perf_counter() - start
