"""A budget in LUTs: what the circuit takes is estimated now and then during the training, and the EBOPs follow.

LUTs cannot be differentiated and EBOPs can. Their ratio hardly changes while a student shrinks: the budget in EBOPs,
which the price of an EBOP follows, is the budget in LUTs divided by the ratio found.
"""

from __future__ import annotations

import numpy as np

from distill_to_fpga.estimate import estimate
from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.lower import lower
from distill_to_fpga.objective import DistillConfig
from distill_to_fpga.students import Student
from distill_to_fpga.students.freeze import snapshot

LUTS_PER_EBOP = 1.2  # of the first guess
LOOKS = np.linspace(0.3, 0.74, 12)  # of the steps: when the circuit is looked at
SETTLED = 0.55  # of the steps: from then on what is left of the error is worked against, too
FIXED = 0.75  # of the steps: from then on widths stay as they are and cost nothing, and the weights recover


def first_budget(config: DistillConfig) -> float:
    """Logarithm of the EBOPs to fall to, before anything is known of the circuit; 0 without a budget."""
    wanted = config.ebops_budget if config.lut_budget is None else config.lut_budget / LUTS_PER_EBOP
    return float(np.log(wanted)) if wanted else 0.0


def due(config: DistillConfig, before: int, after: int) -> bool:
    """Whether the circuit is to be looked at between two steps."""
    return config.lut_budget is not None and any(before < look * config.steps <= after for look in LOOKS)


def budget_found(student: Student, layout: HardwareLayout, wanted: int, share: float) -> float:
    """Logarithm of the EBOPs to fall to, so that the circuit takes as many LUTs as wanted.

    Args:
        student: in training.
        layout: of its inputs.
        wanted: LUTs.
        share: of the steps that are done.
    """
    found = max(luts(student, layout), 1)
    ratio = found / max(float(student.ebops("train")), 1.0)
    missing = np.log(wanted / found) if share > SETTLED else 0.0
    return float(np.log(wanted / ratio) + missing)


def luts(student: Student, layout: HardwareLayout) -> int:
    """Estimated LUTs of a student in training, activations as wide as they have been lately."""
    return estimate(lower(snapshot(student), layout)).total("luts")
