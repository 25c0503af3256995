"""The command of firmware.py, and its goals."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from firmware_adders import against_solvers
from firmware_network import SIZES, SMALL, Figures, through_firmware
from firmware_shapes import through_targets
from harness import publish

GOALS = {
    "export_seconds": "<= 2",
    "csim_build_seconds": "<= 30",
    "rtl_export_seconds": "<= 5",
    "verilator_build_seconds": "<= 60",
    "verify_seconds": "<= 180",
    "vectors": ">= 100,000",
    "mismatches": "0",
    "inferences_per_s": ">= 1,000,000",
    "lut_ratio_to_da4ml": "<= 1.05",
    "lut_ratio_to_alkaid": "<= 1.05",
    "axol1tl_mismatches": "0",
    "cicada_mismatches": "0",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small network, 10,000 vectors, fewer targets")
    parser.add_argument("--only", choices=("network", "adders", "shapes"))
    parser.add_argument("--da4ml-python", default="", help="Python of an environment with da4ml")
    arguments = parser.parse_args()
    quick, count = arguments.quick, 10_000 if arguments.quick else 100_000
    sizes = SMALL if quick else SIZES
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="detfm-firmware-") as name:
        folder = Path(name)
        if arguments.only in (None, "network"):
            figures |= through_firmware(sizes, count, quick, folder)
        if arguments.only in (None, "adders"):
            figures |= against_solvers(sizes, arguments.da4ml_python, folder)
        if arguments.only in (None, "shapes"):
            figures |= through_targets(count, quick, folder)
    publish("firmware", figures, GOALS)
