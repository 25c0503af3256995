"""Students against HGQ2: the same jets, network, steps and batch, LUTs of both by da4ml and alkaid. See students.py."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from harness import other_python
from students_front import Point, common_range, lut_ratio

from distill_to_fpga.distill import distill
from distill_to_fpga.estimate import estimate
from distill_to_fpga.inputs import layout_of
from distill_to_fpga.lower import lower
from distill_to_fpga.objective import DistillConfig, Examples
from distill_to_fpga.rtl.replay import replay
from distill_to_fpga.students import Student, StudentConfig, predict_exact
from distill_to_fpga.students.settings import TablesConfig

OTHER_SIDE = Path(__file__).parent / "students_hgq2.py"
BATCH = 512
HGQ2 = {"bits": 5, "learning_rate": 1e-2, "batch": BATCH}
COUNTERS = ("da4ml", "alkaid")


@dataclass(frozen=True)
class Network:
    """What both sides train: layers of each token (none: all inputs side by side), their sum, layers after it.

    Attributes:
        tables: layers of look-up tables: ours as KANELÉ's, theirs those of HGQ-LUT. da4ml's side of `cost` has none.
    """

    hidden: tuple[int, ...]
    budgets: tuple[int, ...]
    betas: tuple[float, ...]
    phi: tuple[int, ...] = ()
    tables: bool = False

    def student(self, tokens: int) -> StudentConfig:
        if self.tables:
            return StudentConfig(kind="lut", tokens=tokens, tables=TablesConfig(self.hidden), weight_fraction=4)
        if self.phi:
            return StudentConfig(kind="deepsets", tokens=tokens, phi=self.phi, rho=self.hidden)
        return StudentConfig(kind="mlp", tokens=tokens, hidden=self.hidden)

    @property
    def quick(self) -> Network:
        """Two points of each front."""
        return replace(self, budgets=self.budgets[1::3], betas=self.betas[1::3])

    @property
    def training(self) -> dict[str, float]:
        """How ours are trained, as the presets have it."""
        return {"learning_rate": 0.01, "width_rate": 3.0, "shrink": 0.15} if self.tables else {"learning_rate": 0.03}

    @property
    def counters(self) -> tuple[str, ...]:
        return COUNTERS[1:] if self.tables else COUNTERS


OBSERVABLES = Network(
    hidden=(64, 32, 32), budgets=(600, 1000, 1700, 2800, 4600, 7500), betas=(1e-4, 5e-5, 3e-5, 1.5e-5, 8e-6, 4e-6)
)

TABLES = Network(hidden=(16,), budgets=(700, 1200, 2000, 3000), betas=(3e-5, 1.2e-5, 5e-6, 2e-6), tables=True)


def constituents(tokens: int) -> Network:
    budgets = tuple(tokens * each for each in (150, 350, 800, 1800))
    betas = tuple(each / tokens for each in (2.4e-4, 1.2e-4, 5e-5, 2e-5))
    return Network(hidden=(32,), budgets=budgets, betas=betas, phi=(16, 16))


@dataclass
class Compared:
    """Records of both sides: LUTs by either counter, accuracies on `val` and `test`, seconds of a step of theirs."""

    ours: list[dict[str, Any]] = field(default_factory=list)
    theirs: list[dict[str, Any]] = field(default_factory=list)

    def fronts(self, counter: str) -> tuple[list[Point], list[Point]]:
        return medians(self.ours, "budget", counter), medians(self.theirs, "beta", counter)


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def accuracy(student: Student, data: dict[str, np.ndarray], split: str) -> float:
    return float((predict_exact(student, data[split]).argmax(-1) == data[f"y_{split}"]).mean())


def class_names(data: dict[str, np.ndarray]) -> list[str]:
    return [str(i) for i in range(int(data["y_train"].max()) + 1)]


def ours(data: dict[str, np.ndarray], network: Network, steps: int, seed: int, folder: Path) -> Iterator[dict]:
    """One record for each budget; the graphs lie in the folder."""
    for budget in network.budgets:
        config = DistillConfig(steps=steps, batch=BATCH, **network.training, alpha=0.0, lut_budget=budget)
        shape = network.student(data["train"].shape[1])
        made = distill(config, shape, Examples(data["train"], data["y_train"]), class_names(data), seed=seed)
        path = folder / f"student-{budget}-{seed}.json"
        graph = lower(made.student, layout_of(data["train"]))
        graph.save(path)
        found = {split: accuracy(made.student, data, split) for split in ("val", "test")}
        sizes = {"luts": estimate(graph).total("luts"), "alkaid": float(replay(graph).cost)}
        yield {"budget": budget, "seed": seed, "graph": str(path), **sizes, **found}


def trained(path: Path, network: Network, python: str, steps: int, seeds: int) -> Compared:
    """Both sides, seed by seed; every record is printed when it is there."""
    found, data = Compared(), arrays(path)
    for seed in range(seeds):
        mine = list(ours(data, network, steps, seed, path.parent))
        if python and "da4ml" in network.counters:
            costs = other_python(python, OTHER_SIDE, "cost", *(each["graph"] for each in mine))
            assert not any(each["mismatches"] for each in costs), "da4ml and the golden model differ"
            mine = [record | {"da4ml": cost["luts"]} for record, cost in zip(mine, costs)]
        found.ours += mine
        shown("ours", mine)
        if python:
            settings = HGQ2 | asdict(network) | {"steps": steps, "seed": seed}
            found.theirs += other_python(python, OTHER_SIDE, "train", str(path), json.dumps(settings))
            shown("HGQ2", found.theirs[-len(network.betas) :])
    return found


def shown(name: str, records: list[dict[str, Any]]) -> None:
    for record in records:
        sizes = "   ".join(f"{key} {record[key]:8,.0f}" for key in ("luts", *COUNTERS) if key in record)
        print(f"  seed {record['seed']} {name:>5}: {sizes}   accuracy {record['test']:.4f}", flush=True)


def against_hgq2(name: str, path: Path, network: Network, python: str, steps: int, seeds: int) -> dict[str, Any]:
    """Fronts of accuracy on test, medians over the seeds, and the LUTs of ours over theirs at equal accuracy."""
    print(f"{name}: {steps:,} steps of {BATCH} jets, {seeds} seeds", flush=True)
    found = trained(path, network, python, steps, seeds)
    end = "" if name == "observables" else f"_{name.split()[0]}"
    if not python:
        print("without --hgq-python there is no other side: pip install hgq2 da4ml alkaid keras jax jaxtyping")
        return {f"lut_ratio_to_hgq2{end}": None, f"step_time_ratio_to_hgq2{end}": None}
    figures: dict[str, Any] = {}
    for counter in network.counters:
        points, kind = found.fronts(counter), "" if counter == "da4ml" else f"_by_{counter}"
        for side, each in zip(("ours", "HGQ2"), points):
            for luts, value in sorted(each):
                print(f"{side:>6} {luts:9,.0f} LUT by {counter:<6} accuracy {value:.4f}")
        low, high = common_range(*points)
        mean, least, largest = lut_ratio(*points) if low < high else (None, None, None)
        print(f"common range of accuracy {low:.4f} to {high:.4f}: LUTs ours / HGQ2 {least} to {largest}")
        figures |= {f"lut_ratio_to_hgq2{kind}{end}": mean, f"lut_ratio_largest{kind}{end}": largest}
    theirs = statistics.median(each["seconds"] for each in found.theirs)
    return figures | {f"step_time_ratio_to_hgq2{end}": step_seconds(arrays(path), network) / theirs}


def medians(records: list[dict[str, Any]], key: str, counter: str) -> list[Point]:
    """Median LUTs and test accuracy over the seeds, for each setting."""
    groups: dict[float, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(record[key], []).append(record)
    return [
        (statistics.median(r[counter] for r in group), statistics.median(r["test"] for r in group))
        for group in groups.values()
    ]


def step_seconds(data: dict[str, np.ndarray], network: Network, steps: int = 400) -> float:
    """Seconds per step without the compilation: of two trainings of different length, both compiled before."""

    def run(count: int) -> float:
        config = DistillConfig(steps=count, batch=BATCH, alpha=0.0)
        start = time.monotonic()
        examples = Examples(data["train"], data["y_train"])
        distill(config, network.student(data["train"].shape[1]), examples, class_names(data))
        return time.monotonic() - start

    run(steps), run(3 * steps)
    return (run(3 * steps) - run(steps)) / (2 * steps)
