"""Cells of a design after logic synthesis with Yosys for UltraScale+; free, and without placement or timing."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill_to_fpga.rtl.tools import tool
from foundation.errors import ToolError

LABEL = "synthesis (Yosys)"
FAMILY = "xcup"


@dataclass(frozen=True)
class Synthesis:
    """Counted cells.

    Attributes:
        luts: LUT1 to LUT6, each one LUT. Inverters (INV) are no cells of the device and are not counted.
        shift_registers: SRL16 and SRLC32, LUTs used as delays; part of `luts`' total in Vivado's reports, not here.
        flip_flops, carries, dsps, block_rams: FD*, CARRY*, DSP48*, RAMB18 and RAMB36.
        seconds: wall time.
        version: of Yosys.
    """

    luts: int
    shift_registers: int
    flip_flops: int
    carries: int
    dsps: int
    block_rams: int
    seconds: float
    version: str

    def to_dict(self) -> dict[str, Any]:
        return {"label": LABEL, **asdict(self)}


CELLS = {
    "luts": r"LUT[1-6]",
    "shift_registers": r"SRL\w+",
    "flip_flops": r"FD\w+",
    "carries": r"CARRY\d",
    "dsps": r"DSP\w+",
    "block_rams": r"RAMB\w+",
}


def synthesize(sources: Iterable[Path], top: str) -> Synthesis:
    """Run `synth_xilinx` on Verilog files; products are built of LUTs, as the estimates count them.

    Raises:
        ToolError: Yosys is not installed, or it fails.
    """
    program = tool("yosys", "yosys", "A synthesis count")
    files = " ".join(f'"{path.resolve()}"' for path in sources)
    with tempfile.TemporaryDirectory(prefix="detfm-yosys-") as folder:
        report = Path(folder, "stat.txt")
        script = (  # -defer: alkaid's modules have default parameters that do not elaborate
            f"read_verilog -defer {files}; hierarchy -top {top}; "
            f"synth_xilinx -family {FAMILY} -flatten -nodsp -noiopad -top {top}; tee -o {report} stat"
        )
        start = time.perf_counter()
        result = subprocess.run([program, "-q", "-p", script], capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if result.returncode != 0:
            raise ToolError(f"yosys failed on {top}:\n{(result.stderr or result.stdout)[-2000:]}")
        counts = {name: count(report.read_text(), cell) for name, cell in CELLS.items()}
    version = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    return Synthesis(**counts, seconds=seconds, version=version)


def count(report: str, cell: str) -> int:
    return sum(int(number) for number in re.findall(rf"^ +{cell} +(\d+)$", report, re.MULTILINE))
