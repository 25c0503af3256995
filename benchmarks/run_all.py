"""Runs every benchmark and writes docs/benchmarks.md: figures, each beside its goal, and the machine.

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
PARTS = "_"  # in the name of a file that is part of other benchmarks


def run(name: str, quick: bool) -> tuple[str, dict[str, Any]]:
    """What a benchmark prints for people, and its JSON line. Raises CalledProcessError if it fails."""
    command = [sys.executable, str(HERE / f"{name}.py"), *(["--quick"] if quick else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)
    return "".join(lines[:-1]), json.loads(lines[-1])


def page(results: dict[str, tuple[str, dict[str, Any]]], quick: bool) -> str:
    machine = next(iter(results.values()))[1]["machine"]
    how = "Quick runs: smaller data, fewer rounds. " if quick else ""
    lines = ["# Benchmarks", "", f"{how}Machine: " + ", ".join(f"{k} {v}" for k, v in machine.items()) + "."]
    for name, (text, _) in results.items():
        lines += ["", f"## {name}", "", "```", f"python benchmarks/{name}.py{' --quick' if quick else ''}"]
        lines += [text.rstrip(), "```"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller run of each")
    parser.add_argument("--only", nargs="+", help="names of benchmarks")
    arguments = parser.parse_args()
    names = arguments.only or sorted({path.stem for path in HERE.glob("*.py") if PARTS not in path.stem} - {"harness"})
    results = {}
    for name in names:
        print(f"== {name}", flush=True)
        results[name] = run(name, arguments.quick)
    PAGE.write_text(page(results, arguments.quick))
    print(f"{PAGE} written")


if __name__ == "__main__":
    main()
