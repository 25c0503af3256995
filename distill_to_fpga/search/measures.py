"""What is recorded of a trial, and which way is better; figures on held-out examples, as they are and disturbed.

Axes: B examples, K tokens, H hardware features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from distill_to_fpga.energy import energy_pj
from distill_to_fpga.estimate import estimate
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.objective import Examples
from distill_to_fpga.students import Student, predict_exact
from foundation.errors import ConfigError
from foundation.metrics import classification, regression


@dataclass(frozen=True)
class Measure:
    """A figure of a trial.

    Attributes:
        text: for people, with its unit.
        more: whether more of it is better.
        objective: whether a search may be for it.
    """

    text: str
    more: bool = False
    objective: bool = True


MEASURES = {
    "auc": Measure("AUC, mean of the classes", True),
    "accuracy": Measure("accuracy", True),
    "resolution": Measure("resolution of predicted/true, mean of the targets"),
    "kept": Measure("signal efficiency, of the teacher's", True),
    "spearman": Measure("rank correlation with the teacher", True),
    "pearson": Measure("correlation with the teacher", True),
    "noise_loss": Measure("lost by noisy inputs"),
    "dead_loss": Measure("lost by dead inputs"),
    "luts": Measure("LUTs (estimate)"),
    "ebops": Measure("EBOPs"),
    "weight_bits": Measure("bits of the weights"),
    "nonzero_weights": Measure("weights that are not zero"),
    "inputs": Measure("input bits used"),
    "energy_pj": Measure("energy in pJ (45 nm table)"),
    "latency_ns": Measure("latency in ns (estimate)"),
    "latency_cycles": Measure("latency in cycles (estimate)"),
    "seconds": Measure("seconds of training", objective=False),
}
COSTS = ("luts", "ebops", "weight_bits", "nonzero_weights", "latency_cycles", "latency_ns")


@dataclass(frozen=True)
class RobustnessConfig:
    """What the inputs suffer when robustness is measured.

    Attributes:
        noise: error of every value of a token that is there, in standard deviations of that feature.
        dead: share of the inputs (a feature of a place) that always read zero.
        draws: of the noise, and of which inputs are dead; the loss is the mean.
    """

    noise: float = 0.1
    dead: float = 0.05
    draws: int = 3

    def check(self) -> None:
        """Raises ConfigError naming a setting out of range."""
        if self.noise < 0 or not 0 <= self.dead <= 1 or self.draws < 1:
            raise ConfigError(f"robustness needs noise >= 0, 0 <= dead <= 1 and draws >= 1; it is {self}")


def costs(graph: FixedPointGraph, clock_ns: float) -> dict[str, Any]:
    """What a student takes of the board."""
    summary = estimate(graph, clock_ns).summary()
    return {name: summary[name] for name in COSTS} | {"energy_pj": energy_pj(graph), "inputs": input_bits(graph)}


def input_bits(graph: FixedPointGraph) -> int:
    """Bits of the inputs as the first layer takes them: what is left of the ports behind the first quantiser."""
    for node in graph.nodes:
        if node.op.kind == "quantize":
            return int(np.broadcast_to(graph.wires[node.name].bits, graph.wires[node.name].shape).sum())
    return sum(int(graph.wires[name].bits.sum()) for name in graph.inputs)


def tagger_figures(student: Student, integers: Int[np.ndarray, "B K H"], truth: Examples) -> dict[str, float]:
    """AUC and accuracy of the classes, resolution of the regressions; the first is what robustness is measured in."""
    outputs = predict_exact(student, integers)
    found: dict[str, float] = {}
    count = len(student.classes)
    if count:
        known = classification(np.asarray(truth.labels), outputs[:, :count], student.classes, signal_efficiencies=())
        found |= {name: known[name] for name in ("auc", "accuracy")}
    if student.regressions:
        assert truth.targets is not None
        pairs = zip(np.asarray(truth.targets).T, outputs[:, count:].T)
        found["resolution"] = float(np.mean([regression(true, said)["resolution"] for true, said in pairs]))
    return found


Figures = Callable[[Int[np.ndarray, "B K H"]], dict[str, float]]


def robustness(
    figures: Figures, integers: Int[np.ndarray, "B K H"], layout: HardwareLayout, cfg: RobustnessConfig
) -> dict[str, float]:
    """How much of the first figure is lost by noise and by dead inputs; above 0 it is worse than undisturbed.

    Args:
        figures: of a student, from its inputs.
    """
    name, best = next(iter(figures(integers).items()))
    sign = 1 if MEASURES[name].more else -1
    found = {}
    for what, disturbed in (("noise", noisy(integers, layout, cfg)), ("dead", dead(integers, cfg))):
        found[f"{what}_loss"] = float(np.mean([sign * (best - figures(each)[name]) for each in disturbed]))
    return found


def noisy(
    integers: Int[np.ndarray, "B K H"], layout: HardwareLayout, cfg: RobustnessConfig
) -> Iterator[Int[np.ndarray, "B K H"]]:
    """Inputs with a normal error on every value, rounded and within their types; empty places stay empty."""
    present = integers.any(-1, keepdims=True)
    spread = np.sqrt(np.mean((integers - integers.mean((0, 1))) ** 2, axis=(0, 1), where=present))
    for seed in range(cfg.draws):
        error = np.random.default_rng(seed).normal(0, cfg.noise, integers.shape) * spread
        moved = np.clip(np.floor(integers + error + 0.5), layout.low, layout.high)
        yield np.where(present, moved, 0).astype(np.int32)


def dead(integers: Int[np.ndarray, "B K H"], cfg: RobustnessConfig) -> Iterator[Int[np.ndarray, "B K H"]]:
    """Inputs of which some always read zero, in all examples alike; at least one, if any is to be."""
    size = integers[0].size
    count = min(size, max(1, round(cfg.dead * size))) if cfg.dead else 0
    for seed in range(cfg.draws):
        alive = np.ones(size, np.int32)
        alive[np.random.default_rng(seed).permutation(size)[:count]] = 0
        yield integers * alive.reshape(integers.shape[1:])
