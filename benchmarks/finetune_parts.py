"""Taggers from few labels: accuracy against the field's reference models and trees, labels saved, time.

    python benchmarks/finetune.py [--quick] [--folder runs/benchmark] [--only speed l1jets top deepjet classes]

- speed: `detfm finetune` of 1,000 labels on the shipped sample, start-up and compilation included, with nothing
  compiled before (cold) and again (warm);
- l1jets: real CMS Level-1 jets, flavour and pt correction in one network, beside a tree on the same labels;
- top: the top-tagging benchmark at 100, 300 and 1,000 labels, with the encoder of benchmarks/embedding.py (--encoder:
  one that is there; it takes an hour to make);
- deepjet: CMS b tagging at 100, 300, 1,000 and 5,000 labels;
- classes: ten classes of simulated jets, ours beside PFN, P-CNN, ParticleNet and ParT, all with the same number of
  steps.

Every stage is a detfm command, printed; its output is kept in --folder and used again. Settings were chosen on training
jets alone (docs/finetuning.md). --quick: one round of `speed`, one seed of `l1jets`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from finetune_l1jets import l1jets
from finetune_speed import speed
from finetune_sweeps import Figures, classes, deepjet, top
from harness import publish

PARTS = ("speed", "l1jets", "top", "deepjet", "classes")
GOALS = {
    "seconds_cold": "<= 60",
    "seconds_warm": "<= 20",
    "l1jets_b_auc": "> l1jets_b_auc_tree",
    "label_ratio": ">= 10",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under a minute or so: no sweeps")
    parser.add_argument("--folder", type=Path, help="keeps every stage (default: a temporary one)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="these parts")
    parser.add_argument("--encoder", type=Path, help="for `top`: the encoder that benchmarks/embedding.py pretrained")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        publish("finetune", run(given, folder), GOALS)


def run(given: argparse.Namespace, folder: Path) -> Figures:
    """Every figure of the parts asked for."""
    five, three = range(5), range(3)
    parts = {
        "speed": lambda: speed(folder / "speed", 1 if given.quick else 3),
        "l1jets": lambda: l1jets(folder / "l1jets", range(1) if given.quick else five),
        "top": lambda: top(folder / "top", five, given.encoder),
        "deepjet": lambda: deepjet(folder / "deepjet", five),
        "classes": lambda: classes(folder / "classes", three),
    }
    figures: Figures = {}
    for name in [part for part in given.only if not given.quick or part in ("speed", "l1jets")]:
        print(f"-- {name}", flush=True)
        (folder / name).mkdir(exist_ok=True)
        figures |= parts[name]()
    return figures
