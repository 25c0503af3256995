"""What .ci/slurm shows of its runs: `whole` and `preempted` are equal bit by bit, `alone` within rounding.

usage: slurm_compare.py FOLDER STEPS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

# one process adds the gradient of a batch in one order, two processes in another; Adam's first steps, which divide by
# a gradient's own size, turn rounding into visible differences of parameters whose gradient is nearly zero
RELATIVE = 1e-4


def main(folder: Path, steps: int) -> None:
    states = {name: read(folder / name / "checkpoints" / str(steps) / "state") for name in ("whole", "preempted")}
    models = {name: read(folder / name / "model") for name in ("whole", "preempted", "alone")}
    compare_bits("state after the last step (parameters, moving average, optimiser)", *states.values())
    compare_bits("finished encoder", models["whole"], models["preempted"])
    logs = [(folder / name / "metrics.jsonl").read_text() for name in ("whole", "preempted")]
    if logs[0] != logs[1]:
        raise SystemExit("metrics.jsonl of `whole` and `preempted` differ")
    print(f"metrics.jsonl: {len(logs[0].splitlines())} lines, equal")
    one, two = (flat(models[name]) for name in ("alone", "whole"))
    apart = float(np.linalg.norm(one - two) / np.linalg.norm(two))
    loss = [last_loss(folder / name / "metrics.jsonl") for name in ("alone", "whole")]
    print(f"one process against two: encoders apart by {apart:.1e} of their norm (at most {RELATIVE:.0e} allowed)")
    print(f"  loss of the last step: {loss[0]:.6f} and {loss[1]:.6f}")
    if not (apart < RELATIVE and np.isclose(*loss, rtol=RELATIVE)):
        raise SystemExit("one process and two do not agree")


def read(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint, on the one device here, whatever wrote them."""
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with ocp.StandardCheckpointer() as checkpointer:
        stored = checkpointer.metadata(folder.absolute()).item_metadata.items()
        target = {name: jax.ShapeDtypeStruct(found.shape, found.dtype, sharding=here) for name, found in stored}
        arrays = checkpointer.restore(folder.absolute(), target)
    return {name: np.asarray(array) for name, array in arrays.items()}


def compare_bits(what: str, one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    different = [n for n in one.keys() | other.keys() if n not in one or n not in other or not equal(one[n], other[n])]
    if different or len(one) < 10:
        raise SystemExit(f"{what}: not equal in {len(different)} of {len(one)} arrays: {sorted(different)[:5]}")
    print(f"{what}: {len(one)} arrays, {sum(a.size for a in one.values()):,} numbers, equal bit by bit")


def equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def flat(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([arrays[name].ravel().astype(np.float64) for name in sorted(arrays)])


def last_loss(path: Path) -> float:
    return [row["loss"] for row in map(json.loads, path.read_text().splitlines()) if "loss" in row][-1]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
