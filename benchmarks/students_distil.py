"""What a teacher is worth to a student of given size, and what eight bits keep of a DeepSets: part of students.py.

The tagger of the quickstart, pretrained and fine-tuned with 500 labels, teaches; the students see all of `train`
through it, or its 500 labels alone. Background rejection: top against the four other classes at a signal efficiency
of 0.7, on `test`.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import numpy as np

from foundation.cli import dispatch

SAMPLE = Path(__file__).parent.parent / "samples" / "jets.root"
LABELS = 500
BUDGETS = (500, 2000, 5000, 20000)
WIDE = ["--cfg.student.phi", "[72,64]", "--cfg.student.rho", "[72]", "--cfg.student.weight_format", "bits"]
NO_BUDGET = ["--cfg.distill.lut_budget", "null"]
EIGHT_BITS = {
    "float": [*NO_BUDGET, "--cfg.distill.quantize_after", "16"],  # trained in floating point; 16 bits lose nothing
    "trained": [*NO_BUDGET, "--cfg.student.uniform_bits", "8"],
    "after_8": [*NO_BUDGET, "--cfg.distill.quantize_after", "8"],
    "after_6": [*NO_BUDGET, "--cfg.distill.quantize_after", "6"],
    "after_4": [*NO_BUDGET, "--cfg.distill.quantize_after", "4"],
}
EFFICIENCY = 0.7


def detfm(command: str, *words: object) -> None:
    dispatch(command, [str(word) for word in words])


def teacher(root: Path) -> Path:
    """The quickstart's line up to the tagger."""
    detfm("ingest", SAMPLE, "--schema", "data/jets", "--out", root / "store")
    detfm("pretrain", root / "store", "--cfg", "quickstart/pretrain", "--out", root / "pretrain")
    words = ["--cfg", "quickstart/finetune", "--cfg.labels", LABELS, "--out", root / "teacher"]
    detfm("finetune", root / "pretrain", *words)
    return root / "teacher"


def student(root: Path, steps: int, seed: int, *words: object) -> dict[str, float]:
    """Rejection, accuracy and LUTs of one student."""
    made, found = root / "student", root / "evaluate"
    length = ["--cfg.distill.steps", steps, "--cfg.seed", seed, "--cfg.reference", "false"]
    detfm("distill", root / "teacher", "--cfg", "quickstart/distill", *length, *words, "--out", made, "--overwrite")
    quick = ["--cfg.efficiencies", f"[{EFFICIENCY}]", "--cfg.robustness.rows", 0, "--cfg.replicas", 2]
    detfm("evaluate", made, *quick, "--out", found, "--overwrite")
    values = json.loads((found / "metrics.json").read_text())
    size = json.loads((made / "metrics.json").read_text())["student"]
    (point,) = values["rejection/Tbqq"]
    return {"rejection": point["value"], "accuracy": values["accuracy"], "luts": size["luts"]}


def medians(name: str, records: list[dict[str, float]]) -> dict[str, float]:
    middle = {key: statistics.median(each[key] for each in records) for key in records[0]}
    print(
        f"{name:>28}: rejection {middle['rejection']:7.2f}  accuracy {middle['accuracy']:.4f}  "
        f"{middle['luts']:9,.0f} LUTs"
    )
    return middle


def gains(root: Path, steps: int, seeds: range) -> dict[str, float]:
    """Rejection of the distilled student over that of the one that has labels alone."""
    figures = {}
    for budget in BUDGETS:
        size = ["--cfg.distill.lut_budget", budget]
        pairs = [
            [student(root, steps, seed, *size, "--cfg.distill.alpha", alpha) for alpha in (0.7, 0.0)] for seed in seeds
        ]
        for name, column in zip(("distilled", "labels only"), zip(*pairs)):
            medians(f"{budget:,} LUTs, {name}", list(column))
            print("   rejections of the seeds:", ", ".join(f"{each['rejection']:.2f}" for each in column), flush=True)
        ratios = [distilled["rejection"] / alone["rejection"] for distilled, alone in pairs]
        figures[f"distil_gain_{budget / 1000:g}k"] = statistics.median(ratios)
        figures[f"distil_gain_{budget / 1000:g}k_lowest"] = min(ratios)
        figures[f"distil_accuracy_gain_{budget / 1000:g}k"] = statistics.median(
            distilled["accuracy"] - alone["accuracy"] for distilled, alone in pairs
        )
    return figures


def eight_bits(root: Path, steps: int, seeds: range) -> dict[str, float]:
    """Rejection of a DeepSets of some 11,000 weights over that of the same in floating point."""
    found = {name: [student(root, steps, seed, *WIDE, *words) for seed in seeds] for name, words in EIGHT_BITS.items()}
    for name, records in found.items():
        medians(f"DeepSets 72-64, 72: {name}", records)
    kept = {
        name: float(np.median([a["rejection"] / b["rejection"] for a, b in zip(records, found["float"])]))
        for name, records in found.items()
    }
    return {"kept_8bit": kept["trained"]} | {f"kept_{name}bit": kept[name] for name in kept if "after" in name}


def measured(root: Path, steps: int, seeds: int) -> dict[str, float]:
    """All figures of this part, which works in the folder `root`."""
    teacher(root)
    start = time.monotonic()
    detfm("distill", root / "teacher", "--cfg", "quickstart/distill", "--out", root / "preset")
    took = {"student_seconds": time.monotonic() - start}
    return took | gains(root, steps, range(seeds)) | eight_bits(root, steps, range(seeds))
