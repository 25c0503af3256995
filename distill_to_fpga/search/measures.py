"""What is recorded of a trial, and which way is better.

Axes: B examples, K tokens, H hardware features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from distill_to_fpga.energy import energy_pj
from distill_to_fpga.estimate import estimate
from distill_to_fpga.graph import FixedPointGraph
from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.robustness import Figures, energy_features, losses, robustness
from foundation.evaluation_config import RobustnessConfig
from foundation.schema import DetectorSchema


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
    "shift_loss": Measure("lost by pile-up and energy scale"),
    "luts": Measure("LUTs (estimate)"),
    "ebops": Measure("EBOPs"),
    "weight_bits": Measure("bits of the weights"),
    "nonzero_weights": Measure("weights that are not zero"),
    "input_bits": Measure("input bits used"),
    "energy_pj": Measure("energy in pJ (45 nm table)"),
    "latency_ns": Measure("latency in ns (estimate)"),
    "latency_cycles": Measure("latency in cycles (estimate)"),
    "seconds": Measure("seconds of training", objective=False),
}
COSTS = ("luts", "ebops", "weight_bits", "nonzero_weights", "latency_cycles", "latency_ns")


def costs(graph: FixedPointGraph, clock_ns: float) -> dict[str, Any]:
    """What a student takes of the board."""
    summary = estimate(graph, clock_ns).summary()
    return {name: summary[name] for name in COSTS} | {"energy_pj": energy_pj(graph), "input_bits": input_bits(graph)}


def input_bits(graph: FixedPointGraph) -> int:
    """Bits of the inputs as the first layer takes them: what is left of the ports behind the first quantiser."""
    for node in graph.nodes:
        if node.op.kind == "quantize":
            return int(np.broadcast_to(graph.wires[node.name].bits, graph.wires[node.name].shape).sum())
    return sum(int(graph.wires[name].bits.sum()) for name in graph.inputs)


def lost(
    figures: Figures,
    integers: Int[np.ndarray, "B K H"],
    layout: HardwareLayout,
    schema: DetectorSchema,
    cfg: RobustnessConfig,
) -> dict[str, float]:
    """How much of the first figure is lost by disturbed inputs: `noise_loss`, `dead_loss`, `shift_loss`.

    Args:
        figures: of a student, from these inputs, disturbed or not.
        integers: undisturbed.
        schema: of the inputs.
    """
    energies = energy_features(schema, layout.modality)
    records = robustness({"": figures}, integers, layout, energies, cfg)
    first = next(name for name in records[0] if name in MEASURES)
    return losses(records, first)
