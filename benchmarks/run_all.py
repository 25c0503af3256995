"""Runs every benchmark and writes docs/benchmarks.md: figures, goals, machine. `--quick` for a smaller run of each.

python benchmarks/run_all.py [--quick] [--only loader ingest]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
NOT_BENCHMARKS = {"harness", "jetclass_like", "run_all"}


def run(name: str, quick: bool) -> dict[str, Any]:
    """The JSON line that a benchmark prints last. Raises CalledProcessError if it fails."""
    command = [sys.executable, str(HERE / f"{name}.py"), *(["--quick"] if quick else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)
    return json.loads(last)


def page(results: list[dict[str, Any]], quick: bool) -> str:
    machine = results[0]["machine"]
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; the goals are this project's own, a goal missed is shown so.",
    ]
    lines += ["", "Machine: " + ", ".join(f"{key} {value}" for key, value in machine.items()) + "."]
    lines += ["Quick runs: smaller data, fewer rounds."] if quick else []
    for result in results:
        lines += ["", f"## {result['benchmark']}", "", f"`python benchmarks/{result['benchmark']}.py`", ""]
        lines += ["| figure | value | goal |", "| --- | --- | --- |"]
        goals = result.get("goals", {})
        lines += [f"| {k} | {_text(v)} | {goals.get(k, '')} |" for k, v in result["figures"].items()]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller run of each")
    parser.add_argument("--only", nargs="+", help="names of benchmarks")
    arguments = parser.parse_args()
    names = arguments.only or sorted({path.stem for path in HERE.glob("*.py")} - NOT_BENCHMARKS)
    results = []
    for name in names:
        print(f"== {name}", flush=True)
        results.append(run(name, arguments.quick))
    PAGE.write_text(page(results, arguments.quick))
    print(f"{PAGE} written")


if __name__ == "__main__":
    main()
