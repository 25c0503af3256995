"""The Verilated payload as an executor, from frames of links to frames of links."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
from jaxtyping import UInt64

from distill_to_fpga.board.patterns import Frames
from foundation.errors import ToolError

VALID, START, LAST, ORBIT, STROBE, RESET, APART = (1 << bit for bit in range(7))  # of the flags in a record


def records(frames: Frames) -> UInt64[np.ndarray, "C R"]:
    """Words of all links, then flags, for every clock."""
    flags = VALID * frames.valid | START * frames.start | LAST * frames.last | ORBIT * frames.orbit
    return np.concatenate([frames.data, flags.astype(np.uint64)[:, None]], axis=1)


def drive(
    program: Path, given: UInt64[np.ndarray, "C R"], columns: int, *settings: str
) -> UInt64[np.ndarray, "found columns"]:
    """What a harness reports of records sent to it, `columns` numbers each.

    Raises:
        ToolError: it fails, or breaks off within a record.
    """
    sent, reported = program.with_suffix(".in"), program.with_suffix(".out")
    given.astype("<u8").tofile(sent)
    result = subprocess.run([program, sent, reported, *settings], capture_output=True, text=True, check=False)
    found = np.fromfile(reported, dtype="<u8") if reported.exists() else np.zeros(0, np.uint64)
    if result.returncode != 0 or found.size % columns:
        said = f"status {result.returncode}, {found.size} numbers. {result.stderr[:500]}"
        raise ToolError(f"the simulation {program.name} broke off: {said}")
    return found.astype(np.uint64).reshape(-1, columns)
