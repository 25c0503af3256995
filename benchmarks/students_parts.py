"""The parts of benchmarks/students.py and its command line."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from harness import publish
from students_against import OBSERVABLES, TABLES, against_hgq2, constituents
from students_data import constituents_file, observables_file
from students_distil import eight_bits, gains, student_seconds

from foundation.store import Store
from foundation.store.ingest import ingest

PARTS = ["observables", "tables", "constituents", "distil", "eight_bits"]
ROOT = Path(__file__).parent.parent
GOALS = {
    "lut_ratio_to_hgq2": "<= 0.9",
    "lut_ratio_largest": "<= 1",
    "step_time_ratio_to_hgq2": "<= 1",
    "student_seconds": "<= 300",
    "distil_gain_2k": "> 1",
    "kept_8bit": ">= 0.9",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="observables alone, two points, one seed, 300 steps: neither shrinks"
    )
    parser.add_argument("--steps", type=int, default=8000, help="of every training, on both sides")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--tokens", type=int, nargs="+", default=[8, 16, 32], help="constituents of a jet")
    parser.add_argument("--jets", type=Path, default=ROOT / "samples" / "jets.root", help="five classes of jets")
    parser.add_argument("--schema", default="data/jets")
    parser.add_argument("--hgq-python", default="", help="Python of an environment with hgq2, da4ml and alkaid")
    arguments = parser.parse_args()
    steps, seeds = (300, 1) if arguments.quick else (arguments.steps, arguments.seeds)
    parts = [arguments.only] if arguments.only else PARTS[:1] if arguments.quick else PARTS
    figures: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory(prefix="detfm-students-") as name:
        folder = Path(name)
        common = arguments.hgq_python, steps, seeds
        if set(parts) & {"observables", "tables", "constituents"}:
            store = Store.open(ingest([arguments.jets], schema=arguments.schema, out=folder / "store"))
        for part, network in (("observables", OBSERVABLES), ("tables", TABLES)):
            if part in parts:
                path = observables_file(store, folder / f"{part}.npz")
                figures |= against_hgq2(part, path, network.quick if arguments.quick else network, *common)
        if "constituents" in parts:
            for tokens in arguments.tokens:
                path = constituents_file(store, folder / f"constituents{tokens}.npz", tokens)
                figures |= against_hgq2(f"{tokens} constituents", path, constituents(tokens), *common)
        if "distil" in parts:
            figures |= student_seconds(folder / "distil") | gains(folder / "distil", steps, seeds)
        if "eight_bits" in parts:
            figures |= eight_bits(folder / "distil", steps, seeds)
    publish("students", figures, GOALS)
