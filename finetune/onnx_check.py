"""The exported file against JAX, on real examples: what differs most, and what an example costs.

Axes: B examples, N tokens, n rows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from finetune.deployed import GLOBALS, MASK, Deployed
from foundation.loader import Loader
from foundation.store import Store

EXACT = 48  # rows that are also given alone, without any padding
Arrays = dict[str, Float[np.ndarray, "..."]]
Run = Callable[[Arrays], list[np.ndarray]]


def session(file: bytes, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def of_session(made: Any) -> Run:
    """A session as a function of named arrays."""
    names = [each.name for each in made.get_inputs()]
    return lambda arrays: made.run(None, {name: arrays[name] for name in names})


def rows_to_check(store: Store, split: str, most: int) -> Int[np.ndarray, " n"]:
    """At most so many rows of a split, with every multiplicity that occurs among them, ascending."""
    lengths = np.stack([store.tokens_lengths(split, name) for name in store.schema.modalities], axis=1)
    _, first = np.unique(lengths.sum(axis=1), return_index=True)
    others = np.setdiff1d(np.random.default_rng(0).permutation(len(lengths)), first, assume_unique=True)
    return np.sort(np.concatenate([first, others])[: most or None])


def batches(
    deployed: Deployed, store: Store, split: str, rows: Int[np.ndarray, " n"], fixed: Mapping[str, int] | None = None
) -> Iterator[Arrays]:
    """The rows in the loader's padded shapes, and at last a batch that is empty: no token, and zero globals.

    Args:
        fixed: tokens of each modality to pad to.
    """
    loader = Loader(store, split, batch_tokens=16384, seed=0, shuffle=False, subset=rows)
    arrays: Arrays = {}
    for batch in loader.one_pass():
        arrays = padded(deployed.arrays(batch), fixed)
        yield arrays
    yield {name: np.zeros_like(array) for name, array in arrays.items()}


def padded(arrays: Arrays, fixed: Mapping[str, int] | None) -> Arrays:
    """With so many tokens of each modality; as they are without `fixed`."""
    if not fixed:
        return arrays
    found = {}
    for name, array in arrays.items():
        count = fixed.get(name.removesuffix(MASK))
        if name == GLOBALS or count is None:
            found[name] = array
            continue
        room = [(0, 0), (0, max(count - array.shape[1], 0)), *[(0, 0)] * (array.ndim - 2)]
        found[name] = np.pad(array[:, :count], room)
    return found


def alone(arrays: Arrays, row: int) -> Arrays:
    """One example of a batch, with as many tokens as it has (one of padding at the least)."""
    found = {}
    for name, array in arrays.items():
        mask = arrays.get(name.removesuffix(MASK) + MASK)
        count = None if name == GLOBALS or mask is None else max(int(mask[row].sum()), 1)
        found[name] = array[row : row + 1] if count is None else array[row : row + 1, :count]
    return found


def jitted(deployed: Deployed) -> Run:
    """The tagger in JAX as a function of named arrays."""
    function, names = jax.jit(deployed), [port.name for port in deployed.inputs]
    return lambda arrays: [np.asarray(each) for each in function(*(arrays[name] for name in names))]


def differences(
    ours: Run, theirs: Run, given: Sequence[Arrays], outputs: Sequence[str], *, free: bool
) -> dict[str, float]:
    """The largest difference of each output, |theirs - ours| / max(1, |ours|).

    Args:
        given: batches; with `free` sizes some of their examples are also given alone, without padding, to `theirs`.
    """
    largest = dict.fromkeys(outputs, 0.0)
    step = max(sum(len(next(iter(b.values()))) for b in given) // EXACT, 1)
    for arrays in given:
        wanted = ours(arrays)
        _compare(largest, theirs(arrays), wanted, outputs)
        for row in range(0, len(wanted[0]), step) if free else ():
            single = theirs(alone(arrays, row))
            same = [w[row : row + 1, : s.shape[1]] if s.ndim > 1 else w[row : row + 1] for w, s in zip(wanted, single)]
            _compare(largest, single, same, outputs)
    return largest


def _compare(
    largest: dict[str, float], found: Sequence[np.ndarray], wanted: Sequence[np.ndarray], outputs: Sequence[str]
) -> None:
    for name, theirs, ours in zip(outputs, found, wanted, strict=True):
        off = np.abs(theirs - ours) / np.maximum(1.0, np.abs(ours))
        off = np.where(np.isnan(theirs) == np.isnan(ours), np.nan_to_num(off), np.inf)
        largest[name] = max(largest[name], float(off.max(initial=0.0)))


def latency(runs: Mapping[str, Run], arrays: Arrays, sizes: Sequence[int], seconds: float = 0.5) -> dict[str, Any]:
    """Microseconds for each example, median over calls, all on one core.

    Args:
        runs: name -> function.
        arrays: a batch, of whose examples the first ones are taken, and again from the start where it has too few.
    """
    found: dict[str, Any] = {}
    with one_core():
        for size in sizes:
            some = {name: np.resize(a, (size, *a.shape[1:])) for name, a in arrays.items()}
            for name, run in runs.items():
                run(some)
                spent: list[float] = []
                while sum(spent) < seconds:
                    start = time.perf_counter()
                    run(some)
                    spent.append(time.perf_counter() - start)
                found.setdefault(name, {})[f"batch {size}"] = round(float(np.median(spent)) / size * 1e6, 2)
    return found


@contextmanager
def one_core() -> Iterator[None]:
    """All threads of this process on one core, so that libraries with threads of their own compare."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        yield
        return
    before = os.sched_getaffinity(0)
    core = {min(before)}
    try:
        _pin(tasks, core)
        yield
    finally:
        _pin(tasks, before)


def _pin(tasks: Path, cores: set[int]) -> None:
    for task in tasks.iterdir():
        try:
            os.sched_setaffinity(int(task.name), cores)
        except ProcessLookupError:  # it ended meanwhile
            continue
