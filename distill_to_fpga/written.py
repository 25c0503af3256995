"""What a distill run holds of its training, whatever the teacher was."""

from __future__ import annotations

import json

from distill_to_fpga.distill import Distilled
from distill_to_fpga.estimate import estimate
from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.lower import lower
from foundation.runs import Run
from foundation.train import METRICS


def describe(distilled: Distilled, layout: HardwareLayout) -> dict[str, float]:
    """Size of the student and how long it took."""
    return {**estimate(lower(distilled.student, layout)).to_dict(), "seconds": distilled.seconds}


def write_history(run: Run, distilled: Distilled) -> None:
    """`metrics.jsonl`: one line per 100 steps."""
    lines = [json.dumps({**record, "step": int(record["step"])}) + "\n" for record in distilled.history]
    (run.path / METRICS).write_text("".join(lines))
