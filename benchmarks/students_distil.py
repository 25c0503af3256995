"""What a teacher is worth to a student of given size, and what eight bits keep of a DeepSets: part of students.py.

The tagger of the quickstart, pretrained and fine-tuned with 500 labels, teaches; the students see all of `train`
through it, or its 500 labels alone; a third sees what the first does and begins as the student of the next larger
budget. Background rejection: top against the four other classes at a signal efficiency of 0.7, on `test`.
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
    """The quickstart's line up to the tagger, once in a folder."""
    if (root / "teacher").exists():
        return root / "teacher"
    detfm("ingest", SAMPLE, "--schema", "data/jets", "--out", root / "store")
    detfm("pretrain", root / "store", "--cfg", "quickstart/pretrain", "--out", root / "pretrain")
    words = ["--cfg", "quickstart/finetune", "--cfg.labels", LABELS, "--out", root / "teacher"]
    detfm("finetune", root / "pretrain", *words)
    return root / "teacher"


def student(root: Path, steps: int, seed: int, *words: object, name: str = "student") -> dict[str, float]:
    """Rejection, accuracy and LUTs of one student, which lies in a folder of that name."""
    made, found = root / name, root / "evaluate"
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


def arms(root: Path, steps: int, seed: int) -> dict[str, dict[int, dict[str, float]]]:
    """For each budget: distilled, from labels alone, and distilled from the next larger budget's student on."""
    found: dict[str, dict[int, dict[str, float]]] = {"distilled": {}, "labels only": {}, "shrunk": {}}
    larger = ""
    for budget in sorted(BUDGETS, reverse=True):
        name, size = f"{budget}-{seed}", ["--cfg.distill.lut_budget", budget]
        found["distilled"][budget] = student(root, steps, seed, *size, name=f"distilled-{name}")
        found["labels only"][budget] = student(root, steps, seed, *size, "--cfg.distill.alpha", 0, name="alone")
        found["shrunk"][budget] = found["distilled"][budget]
        if larger:
            found["shrunk"][budget] = student(root, steps, seed, *size, "--start", root / larger, name=f"shrunk-{name}")
        larger = f"{'shrunk' if larger else 'distilled'}-{name}"
    return found


def gains(root: Path, steps: int, seeds: int) -> dict[str, float]:
    """Rejection of the distilled student over that of the one that has labels alone, and of the one that was shrunk
    over the one that was not."""
    teacher(root)
    runs = [arms(root, steps, seed) for seed in range(seeds)]
    figures = {}
    for budget in BUDGETS:
        for name in runs[0]:
            records = [run[name][budget] for run in runs]
            medians(f"{budget:,} LUTs, {name}", records)
            print("   rejections of the seeds:", ", ".join(f"{each['rejection']:.2f}" for each in records), flush=True)
        for key, one, other in (("distil", "distilled", "labels only"), ("shrink", "shrunk", "distilled")):
            pairs = [(run[one][budget], run[other][budget]) for run in runs]
            ratios, end = [a["rejection"] / b["rejection"] for a, b in pairs], f"{budget / 1000:g}k"
            figures |= {f"{key}_gain_{end}": statistics.median(ratios), f"{key}_gain_{end}_lowest": min(ratios)}
            figures[f"{key}_accuracy_gain_{end}"] = statistics.median(a["accuracy"] - b["accuracy"] for a, b in pairs)
    return figures


def eight_bits(root: Path, steps: int, seeds: int) -> dict[str, float]:
    """Rejection of a DeepSets of some 11,000 weights over that of the same in floating point."""
    teacher(root)
    found = {
        name: [student(root, steps, seed, *WIDE, *words) for seed in range(seeds)] for name, words in EIGHT_BITS.items()
    }
    for name, records in found.items():
        medians(f"DeepSets 72-64, 72: {name}", records)
    kept = {
        name: float(np.median([a["rejection"] / b["rejection"] for a, b in zip(records, found["float"])]))
        for name, records in found.items()
    }
    return {"kept_8bit": kept["trained"]} | {f"kept_{name}bit": kept[name] for name in kept if "after" in name}


def student_seconds(root: Path) -> dict[str, float]:
    """Of the quickstart's own distillation."""
    teacher(root)
    start = time.monotonic()
    detfm("distill", root / "teacher", "--cfg", "quickstart/distill", "--out", root / "preset")
    return {"student_seconds": time.monotonic() - start}
