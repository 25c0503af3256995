"""The whole line on the shipped sample, timed: `detfm quickstart` in a process of its own.

python benchmarks/quickstart.py [--quick]      `--quick` takes one seed instead of three
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import publish

GOALS = {"seconds": "<= 360", "mismatches": "0", "vectors": ">= 10,000", "auc_gain": "> 0"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    seeds = ["--cfg.seeds", "[0]"] if parser.parse_args().quick else []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "quickstart"
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "foundation.cli", "quickstart", "--out", str(out), *seeds], check=True)
        seconds = time.perf_counter() - start
        found = json.loads((out / "metrics.json").read_text())
    figures = {"seconds": seconds, **{key: found[key] for key in ("mismatches", "vectors", "auc_gain")}}
    for name in ("scratch", "finetuned"):
        for seed, value in enumerate(found[name]["auc"]):
            figures[f"auc_{name}_{seed}"] = value
    figures |= {f"auc_{name}": found[name]["auc"] for name in ("label_only", "student", "firmware")}
    publish("quickstart", figures, GOALS)


if __name__ == "__main__":
    main()
