"""What every benchmark prints: a table for people, then one JSON line."""

from __future__ import annotations

import json
import operator
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = str(Path(__file__).parent)
if HERE in sys.path:  # to the end: `pretrain` and `finetune` are the packages, not the benchmarks in this folder
    sys.path.remove(HERE)
    sys.path.append(HERE)


def machine() -> dict[str, str | int | None]:
    """The machine and the versions that figures depend on."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    found: dict[str, str | int | None] = {
        "cpus": os.cpu_count(),
        "processor": names[0] if names else platform.machine(),
    }
    return found | {"python": platform.python_version(), "jax": version("jax")}


def _cpuinfo() -> list[str]:
    try:
        with open("/proc/cpuinfo") as file:
            return file.readlines()
    except OSError:
        return []


def other_python(python: str, script: Path, *words: str) -> list[Any]:
    """What a script prints, a line of JSON for each, in an environment of its own.

    Raises:
        SystemExit: it fails; with the end of what it says.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [python, str(script), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{python} {script.name} {words[0]} failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("{", "["))]


def publish(name: str, figures: Mapping[str, float | int | None], goals: Mapping[str, str] | None = None) -> None:
    """Prints figures (the goal beside each that has one, and whether it is missed), then the JSON line."""
    for key, value in figures.items():
        text = "-" if value is None else f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"
        goal = (goals or {}).get(key)
        verdict = "   missed" if goal and missed(value, goal, figures) else ""
        print(f"{key:<28} {text:>14}{f'   goal {goal}' if goal else ''}{verdict}")
    print(json.dumps({"benchmark": name, "machine": machine(), "figures": dict(figures)}))


COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq}


def missed(value: float | int | None, goal: str, figures: Mapping[str, float | int | None]) -> bool:
    """Of goals like `<= 1,000`, `0` or `> another_figure`; of others, and of what was not measured, no is said."""
    found = re.fullmatch(r"(<=|>=|<|>|) *(\S+)", goal)
    if found is None or value is None:
        return False
    word = found[2].replace(",", "")
    try:
        wanted = figures[word] if word in figures else float(word)
    except ValueError:
        return False
    return wanted is not None and not COMPARE[found[1] or "="](value, wanted)
