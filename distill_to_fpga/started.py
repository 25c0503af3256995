"""The student of another distill run, to begin as."""

from __future__ import annotations

from pathlib import Path

from distill_to_fpga.config import STUDENT
from distill_to_fpga.inputs import HardwareLayout
from distill_to_fpga.students import Student, load_student
from foundation.errors import ConfigError
from foundation.runs import Run


def started(run: str | Path, layout: HardwareLayout) -> Student:
    """The student of a distill run whose inputs are those of `layout`.

    Raises:
        RunError: it is no distill run.
        ConfigError: its student reads other inputs.
    """
    student, its = load_student(Run.open(run, "distill").path / STUDENT)
    if its != layout:
        raise ConfigError(f"--start: the student of {run} reads {_read(its)}; this one {_read(layout)}")
    return student


def _read(layout: HardwareLayout) -> str:
    kinds = (f"{name} ({h.bits} bits of {h.lsb:g})" for name, h in layout.features.items())
    return f"{layout.tokens} tokens of {layout.modality} with {', '.join(kinds)}"
