"""Anomaly triggers: every method on real and simulated crossings, beside what a cut on energy gives.

    python benchmarks/anomaly.py [--quick] [--folder runs/benchmark] [--only l1ugt simulated l1calo speed student]

- l1ugt: trained on data of 2022 and 2023, tested on data of 2024 and on simulated signals, split by content;
- simulated: H -> aa -> 4b and the other processes of the simulator under pile-up (--pileup 60 140) against enriched
  zero bias: efficiency and gain beside a menu of Run 3 at fixed rates, raw inputs against the embedding;
- l1calo: CICADA's image and network; total Et alone tells the two files apart, so they are matched in it;
- speed: crossings that `detfm anomaly score` writes in a second;
- student: a network of AXOL1TL's size distilled from the best method of `simulated`, as firmware.

No setting was chosen on a test set: the methods have the settings of their presets, and the method that the figures
name is the one with the highest mean efficiency at 10 kHz of the other signals on the val split. Tables give mean and
deviation over the seeds.
--sample PU FILE...: simulated files that are there; otherwise they are generated (an hour at pile-up 60 on two cores).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

from anomaly_l1calo import l1calo
from anomaly_l1ugt import l1ugt
from anomaly_measure import Figures
from anomaly_simulated import simulated
from anomaly_student import speed, student
from harness import publish

PARTS = ("l1ugt", "simulated", "l1calo", "speed", "student")
SHARED = Path(__file__).parents[1] / ".." / "shared" / "data"
GOALS = {
    "gain_1khz": "> gain_ht_1khz",
    "gain_10khz": "> gain_ht_10khz",
    "auc_best": "> auc_ht",
    "crossings_per_s": ">= 100,000",
    "student_luts": "< 10,400",
    "student_efficiency_kept": ">= 0.95",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under a minute: one seed, few steps, a small sample")
    parser.add_argument("--folder", type=Path, help="keeps every stage (default: a temporary one)")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="these parts (default: all; --quick: simulated)")
    parser.add_argument("--pileup", nargs="+", type=int, default=[60], help="60, 140: of `simulated`")
    parser.add_argument("--sample", nargs="+", action="append", default=[], help="pile-up, then simulated files of it")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of l1ugt/ and l1calo/")
    parser.add_argument("--seeds", type=int, default=3, help="of every method that is trained")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        publish("anomaly", run(given, folder), GOALS)


def run(given: argparse.Namespace, folder: Path) -> Figures:
    """Every figure of the parts asked for."""
    seeds = range(1 if given.quick else given.seeds)
    samples: Mapping[int, list[Path]] = {int(mean): [Path(file) for file in files] for mean, *files in given.sample}
    parts = {
        "l1ugt": lambda: l1ugt(folder / "l1ugt", given.data, seeds, given.quick),
        "simulated": lambda: simulated(folder / "simulated", given.pileup, samples, seeds, given.quick),
        "l1calo": lambda: l1calo(folder / "l1calo", given.data, seeds, given.quick),
        "speed": lambda: speed(folder, given.data, given.quick),
        "student": lambda: student(folder, given.pileup[0], given.quick),
    }
    figures: Figures = {}
    for name in given.only or (PARTS[1:2] if given.quick else PARTS):
        print(f"-- {name}", flush=True)
        (folder / name).mkdir(exist_ok=True)
        figures |= parts[name]()
    return figures
