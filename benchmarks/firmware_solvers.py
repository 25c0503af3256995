"""Adder networks of da4ml and alkaid, as plain numbers. Runs in any environment that has one of them (see firmware.py):

python firmware_solvers.py da4ml|alkaid LAYERS.npz        one JSON line for each `matrix_N`, `low_N`, `high_N`
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np


def solved(tool: str, matrix: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[dict[str, Any]]:
    """The two stages of `x @ matrix` for integers x within low and high.

    Each has `ops`, `[opcode, left, right, shift]`: -1 an input (`left` its number), 0 left + right * 2^shift, 1 the
    difference, -2 the negative of `left`; and shifts of its inputs, numbers, shifts and signs of its outputs.
    """
    ends = list(zip(low.tolist(), high.tolist()))
    kernel = np.ascontiguousarray(matrix, np.float32)
    stages: Any
    if tool == "da4ml":
        from da4ml.cmvm import QInterval, solve

        intervals = [QInterval(float(a), float(b), 1.0) for a, b in ends]
        stages = solve(kernel, qintervals=intervals, adder_size=1, carry_size=-1).solutions
    else:
        from alkaid.cmvm import QInterval, cmvm_solve

        stages = cmvm_solve(kernel, qintervals=[QInterval(float(a), float(b), 1.0) for a, b in ends])
    return [
        {
            "in_shifts": [int(v) for v in stage.inp_shifts],
            "ops": [plain(tool, op) for op in stage.ops],
            "outputs": [int(v) for v in stage.out_idxs],
            "out_shifts": [int(v) for v in stage.out_shifts],
            "negative": [bool(v) for v in stage.out_negs],
        }
        for stage in stages
    ]


def plain(tool: str, op: Any) -> list[int]:
    if op.opcode not in (-2, -1, 0, 1):
        raise ValueError(f"{tool}: an operation with the code {op.opcode} in a network of adders")
    if tool == "da4ml":
        return [int(op.opcode), int(op.id0), int(op.id1), int(op.data)]
    left, right = (*op.addr, 0, 0)[:2]
    return [int(op.opcode), int(op.data[0] if op.opcode == -1 else left), int(right), int((*op.data, 0)[0])]


if __name__ == "__main__":
    with np.load(sys.argv[2]) as file:
        for i in range(len(file.files) // 3):
            print(json.dumps(solved(sys.argv[1], file[f"matrix_{i}"], file[f"low_{i}"], file[f"high_{i}"])))
