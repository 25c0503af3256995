"""What the compiled firmware of an export run computes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from distill_to_fpga.hls.containers import container
from distill_to_fpga.verify.executors import firmware
from distill_to_fpga.verify.subject import opened
from foundation.runs import Run


def firmware_outputs(export: Run, integers: Int[np.ndarray, "n K H"]) -> Float[np.ndarray, "n O"]:
    """What the compiled or simulated firmware of an export run makes of hardware integers, in real units; of several
    targets, that of the first in the order of `TARGETS`."""
    with opened(export.path) as subject, tempfile.TemporaryDirectory(prefix="detfm-evaluate-") as build:
        (port,), (wire,) = subject.graph.inputs, subject.graph.outputs.values()
        name, project = next(iter(subject.projects.items()))
        executor = firmware(name, project, subject.graph, Path(build) / name)
        words = executor.execute({port: integers.astype(np.int64)}).words
        return words * 2.0 ** -container(subject.graph.wires[wire]).fraction
