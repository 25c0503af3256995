"""Students against HGQ2: the same jets, network, steps and batch, LUTs of both counted by da4ml. See students.py."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import publish
from students_data import high_level_file
from students_distil import measured as distilled
from students_front import Point, common_range, lut_ratio

from distill_to_fpga.distill import distill
from distill_to_fpga.estimate import estimate
from distill_to_fpga.inputs import layout_of
from distill_to_fpga.lower import lower
from distill_to_fpga.objective import DistillConfig, Examples
from distill_to_fpga.students import Student, StudentConfig, predict_exact
from foundation.store import Store
from foundation.store.ingest import ingest

ROOT = Path(__file__).parent.parent
OTHER_SIDE = Path(__file__).parent / "students_hgq2.py"
GOALS = {
    "lut_ratio_to_hgq2": "<= 0.9",
    "step_time_ratio_to_hgq2": "<= 1",
    "distil_gain_2k": "> 1",
    "kept_8bit": ">= 0.9",
}
HIDDEN = (64, 32, 32)
BUDGETS = (600, 1000, 1700, 2800, 4600, 7500)
BETAS = (1e-4, 5e-5, 3e-5, 1.5e-5, 8e-6, 4e-6)
BATCH = 512
HGQ2 = {"betas": BETAS, "bits": 5, "learning_rate": 1e-2}


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def accuracy(student: Student, data: dict[str, np.ndarray], split: str) -> float:
    return float((predict_exact(student, data[split]).argmax(-1) == data[f"y_{split}"]).mean())


def ours(data: dict[str, np.ndarray], steps: int, seeds: int, folder: Path) -> Iterator[dict[str, Any]]:
    """One record for each budget and seed; the graphs lie in the folder."""
    names = [str(i) for i in range(int(data["y_train"].max()) + 1)]
    for seed in range(seeds):
        for budget in BUDGETS:
            config = DistillConfig(steps=steps, batch=BATCH, alpha=0.0, lut_budget=budget)
            shape = StudentConfig(kind="mlp", tokens=data["train"].shape[1], hidden=HIDDEN)
            made = distill(config, shape, Examples(data["train"], data["y_train"]), names, seed=seed)
            path = folder / f"student-{budget}-{seed}.json"
            graph = lower(made.student, layout_of(data["train"]))
            graph.save(path)
            found = {split: accuracy(made.student, data, split) for split in ("val", "test")}
            yield {"budget": budget, "seed": seed, "graph": str(path), "luts": estimate(graph).total("luts"), **found}


def other_side(python: str, *words: str) -> list[dict[str, Any]]:
    """Records that the other environment prints."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, str(OTHER_SIDE), *words], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise SystemExit(f"{python} {OTHER_SIDE.name} {words[0]} failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def against_hgq2(store: Store, folder: Path, python: str, steps: int, seeds: int) -> dict[str, float | None]:
    """Fronts on 16 observables; LUTs of both by da4ml; accuracy on test, medians over the seeds."""
    path = high_level_file(store, folder / "observables.npz")
    data = arrays(path)
    mine = list(ours(data, steps, seeds, folder))
    if not python:
        for record in mine:
            print(f"  ours {record['luts']:9,.0f} LUT (our estimate)   accuracy {record['test']:.4f}")
        print("without --hgq-python there is no other side: pip install hgq2 da4ml keras jax jaxtyping threadpoolctl")
        return {"lut_ratio_to_hgq2": None, "step_time_ratio_to_hgq2": None}
    costs = other_side(python, "cost", *(each["graph"] for each in mine))
    assert not any(each["mismatches"] for each in costs), "da4ml and the golden model differ"
    for record, cost in zip(mine, costs):
        record["luts"] = cost["luts"]
    theirs = []
    for seed in range(seeds):
        settings = HGQ2 | {"steps": steps, "batch": BATCH, "seed": seed, "hidden": HIDDEN}
        theirs += other_side(python, "train", str(path), json.dumps(settings))
    points = medians(mine, "budget"), medians(theirs, "beta")
    for name, each in zip(("ours", "HGQ2"), points):
        for luts, value in sorted(each):
            print(f"{name:>6} {luts:9,.0f} LUT   accuracy {value:.4f}")
    mean, least, largest = lut_ratio(*points)
    low, high = common_range(*points)
    print(f"common range of accuracy {low:.4f} to {high:.4f}: LUTs ours / HGQ2 {least:.2f} to {largest:.2f}")
    ratio = step_seconds(data) / statistics.median(each["seconds"] for each in theirs)
    return {"lut_ratio_to_hgq2": mean, "lut_ratio_largest": largest, "step_time_ratio_to_hgq2": ratio}


def medians(records: list[dict[str, Any]], key: str) -> list[Point]:
    """Median LUTs and test accuracy over the seeds, for each setting."""
    groups: dict[float, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(record[key], []).append(record)
    return [
        (statistics.median(r["luts"] for r in group), statistics.median(r["test"] for r in group))
        for group in groups.values()
    ]


def step_seconds(data: dict[str, np.ndarray], steps: int = 400) -> float:
    """Seconds per step without the compilation: of two trainings of different length."""
    names = [str(i) for i in range(int(data["y_train"].max()) + 1)]
    shape = StudentConfig(kind="mlp", tokens=data["train"].shape[1], hidden=HIDDEN)

    def run(count: int) -> float:
        config = DistillConfig(steps=count, batch=BATCH, alpha=0.0)
        start = time.monotonic()
        distill(config, shape, Examples(data["train"], data["y_train"]), names)
        return time.monotonic() - start

    return (run(3 * steps) - run(steps)) / (2 * steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 steps and one seed, in which HGQ2 hardly shrinks")
    parser.add_argument("--steps", type=int, default=8000, help="of every training, on both sides")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=("hgq2", "distil"))
    parser.add_argument("--jets", type=Path, default=ROOT / "samples" / "jets.root", help="five classes of jets")
    parser.add_argument("--schema", default="data/jets")
    parser.add_argument("--hgq-python", default="", help="Python of an environment with hgq2 and da4ml")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="detfm-students-") as name:
        folder = Path(name)
        steps, seeds = (1000, 1) if arguments.quick else (arguments.steps, arguments.seeds)
        figures: dict[str, float | None] = {}
        if arguments.only != "distil":
            store = Store.open(ingest([arguments.jets], schema=arguments.schema, out=folder / "store"))
            figures |= against_hgq2(store, folder, arguments.hgq_python, steps, seeds)
        if arguments.only != "hgq2":
            figures |= distilled(folder / "distil", steps, seeds)
    publish("students", figures, GOALS)
