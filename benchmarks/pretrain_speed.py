"""Speed of pretraining: bucketed against padded to 128, against PyTorch, loader and host, two processes.

    python benchmarks/pretrain.py [--quick] [--torch-python /tmp/torch/bin/python]

One model and one loss (masked modelling with pair features) on JetClass-like jets; on a GPU, if jax finds one, in bf16
with 2.1 M parameters, else a quarter million in float32. All sides have the same token budget, threads and allocator,
and take turns in every round; figures are medians over the rounds. The jets per second of the bucketed side are those
of an epoch: the seconds of a step of each shape, times how often the shape comes.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jetclass_like
import numpy as np
import pretrain_model
from harness import publish
from pretrain_model import SIZES, TRAIN, Size, Trainer

from foundation.batch import TokenBatch
from foundation.loader import Loader
from foundation.models import count_parameters
from foundation.store import Store
from foundation.train import fit
from pretrain.chips import CHIPS
from pretrain.model import Pretrainer

HERE = Path(__file__).parent
INSTALL = "python3 -m venv /tmp/torch && /tmp/torch/bin/pip install numpy torch==2.13.0+cpu   # on a GPU: torch"
GOALS = {
    "ratio_to_padded": ">= 2.5",
    "ratio_to_torch": ">= 1.5",
    "host_overhead": "<= 0.05",
    "efficiency_2_processes": "-",
}
GPU_GOALS = {"ratio_to_torch": ">= 3", "mfu": ">= 0.4"}


class Epoch:
    """Batches of each shape of a loader, on the device, and how often each shape comes in an epoch."""

    def __init__(self, loader: Loader, each: int):
        self.rows = loader.rows
        found: dict[int, list[int]] = collections.defaultdict(list)
        for step in range(loader.batches_per_epoch):
            found[loader.plan.batch(step).bucket].append(step)
        self.counts = {bucket: len(steps) for bucket, steps in found.items()}
        self.batches = {b: [jax.device_put(loader.batch_at(s)) for s in steps[:each]] for b, steps in found.items()}

    def warm(self, trainer: Trainer) -> None:
        """Compiles, and runs each shape once: the first run of a program is slower."""
        for batches in self.batches.values():
            trainer.seconds(batches[:1])
            trainer.seconds(batches[:1])

    def seconds(self, trainer: Trainer) -> float:
        """Of an epoch, without loader."""
        return sum(self.counts[b] * trainer.seconds(batches) for b, batches in self.batches.items())


class Torch:
    """The PyTorch side, in a process of its own that waits until it is asked."""

    def __init__(self, python: str, settings: dict[str, Any]):
        self.process = subprocess.Popen(
            [python, str(HERE / "torch_reference.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.found = self._ask(settings)

    def _ask(self, what: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(what), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("benchmarks/torch_reference.py ended; its message is above")
        return json.loads(answer)

    def seconds(self) -> float:
        """Of a step."""
        return float(self._ask("go"))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def start_torch(
    python: str, folder: Path, size: Size, network: Pretrainer, batches: Sequence[TokenBatch], compile_: bool
) -> Torch | None:
    """None, and a word on how to get it, where that Python has no torch."""
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode:
        print(f"no PyTorch in {python}; the comparison is left out. To have it:\n  {INSTALL}\n  and --torch-python")
        return None
    tokens = [batch.modalities["particles"] for batch in batches]
    arrays = {f"values{i}": np.asarray(t.values) for i, t in enumerate(tokens)}
    np.savez(folder / "batches.npz", **arrays, **{f"mask{i}": np.asarray(t.mask) for i, t in enumerate(tokens)})
    particles = network.schema.modalities["particles"]
    inputs = network.encoder.inputs["particles"]
    settings = dataclasses.asdict(size) | {
        "file": str(folder / "batches.npz"),
        "device": "cuda" if jax.default_backend() == "gpu" else "cpu",
        "threads": len(os.sched_getaffinity(0)),
        "compile": compile_,
        "most": jetclass_like.MOST,
        "columns": [particles.coordinate_index(c) for c in ("pt", "eta", "phi")],
        "mean": np.asarray(inputs.mean[...]).tolist(),
        "std": np.asarray(inputs.std[...]).tolist(),
        "pair_width": network.encoder.config.pair_width,
    }
    side = Torch(python, settings)
    ours = count_parameters(network)
    if side.found["parameters"] != ours:
        raise RuntimeError(f"the sides differ: {ours} parameters here, {side.found['parameters']} in PyTorch")
    return side


class Watched:
    """A loader that notes what was asked of it, and when."""

    def __init__(self, loader: Loader):
        self.loader, self.seen, self.times = loader, list[TokenBatch](), list[float]()

    def __next__(self) -> TokenBatch:
        self.times.append(time.perf_counter())
        self.seen.append(next(self.loader))
        return self.seen[-1]

    def state(self) -> dict[str, Any]:
        return self.loader.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.loader.restore(state)


def host_share(loader: Loader, network: Pretrainer, trainer: Trainer, steps: int) -> float:
    """Of the time of `steps` steps of `fit` itself: the share beyond that of the compiled steps by themselves."""
    loader.restore({"step": 0})
    watched = Watched(loader)
    config = dataclasses.replace(TRAIN, steps=steps + 1)
    with tempfile.TemporaryDirectory() as folder:
        fit(network, watched, config, Path(folder), label="benchmark")
    whole = watched.times[-1] - watched.times[0]
    return 1 - trainer.seconds([jax.device_put(batch) for batch in watched.seen[:-1]]) * steps / whole


def utilisation(epoch: Epoch, trainer: Trainer, seconds: float) -> float | None:
    """Model FLOPs over what the chip can do at most; None on a CPU or a chip that is not in the table."""
    kind = jax.devices()[0].device_kind.lower()
    chip = next((chip for name, chip in CHIPS.items() if name in kind.replace(" ", "")), None)
    if jax.default_backend() != "gpu" or chip is None:
        return None
    shape = {b: batches[0].modalities["particles"].mask.shape for b, batches in epoch.batches.items()}
    flops = sum(count * trainer.flops[shape[b]] for b, count in epoch.counts.items())
    return flops / seconds / chip.bfloat16


def two_processes(quick: bool) -> float | None:
    """Jets per second of two processes of one core each, over twice those of one; None with fewer than two cores."""
    if jax.default_backend() != "cpu" or len(os.sched_getaffinity(0)) < 2:
        return None
    command = [sys.executable, str(HERE / "pretrain_processes.py"), *(["--quick"] if quick else [])]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return float(json.loads(next(line for line in reversed(lines) if not line.startswith("["))))  # "[Gloo] ..."


def measure(folder: Path, quick: bool, python: str) -> dict[str, float | int | None]:
    gpu = jax.default_backend() == "gpu"
    size = SIZES["gpu" if gpu else "cpu"]
    jets = 1_500 if quick else 20_000
    buckets, rounds, each = (3, 3, 1) if quick else (6, 5, 3)
    if gpu:
        jets, each = 10 * jets, 5 * each
    data: Store = pretrain_model.store(folder, jets)
    bucketed, padded = (pretrain_model.loader(data, size, n) for n in (buckets, 1))
    ours, theirs = Epoch(bucketed, each), Epoch(padded, 2 * each)
    ours_trainer, padded_trainer = (Trainer(pretrain_model.model(data, size)) for _ in range(2))
    ours.warm(ours_trainer)
    theirs.warm(padded_trainer)
    network = pretrain_model.model(data, size)
    torch = start_torch(python, folder, size, network, theirs.batches[0], compile_=not quick or gpu)
    host_share(bucketed, network, ours_trainer, 8 * each)  # compiles what `fit` runs
    seconds, of_padded, of_torch, host = [], [], [], []
    for _ in range(rounds):
        seconds.append(ours.seconds(ours_trainer))
        of_padded.append(theirs.seconds(padded_trainer))
        if torch is not None:
            of_torch.append(theirs.counts[0] * torch.seconds())
        host.append(host_share(bucketed, network, ours_trainer, 8 * each))
    if torch is not None:
        torch.close()
        print(f"PyTorch {torch.found['torch']}: {torch.found['best']}; seconds of a step: {torch.found['tried']}")
    epoch = statistics.median(seconds)
    ratio = [a / b for a, b in zip(of_torch, seconds)]
    return {
        "ratio_to_padded": statistics.median(a / b for a, b in zip(of_padded, seconds)),
        "ratio_to_torch": statistics.median(ratio) if ratio else None,
        "padded_ratio_to_torch": statistics.median(a / b for a, b in zip(of_torch, of_padded)) if ratio else None,
        "host_overhead": statistics.median(host),
        "jets_per_s": jets / epoch,
        "padded_jets_per_s": jets / statistics.median(of_padded),
        "torch_jets_per_s": jets / statistics.median(of_torch) if of_torch else None,
        "mfu": utilisation(ours, ours_trainer, epoch),
        "useful_tokens": 1 - bucketed.padding,
        "buckets": len(ours.counts),
        "compile_seconds_a_shape": statistics.median(ours_trainer.compile_seconds),
        "parameters": count_parameters(network),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer jets, shapes and rounds; no torch.compile on a CPU")
    parser.add_argument(
        "--torch-python",
        default=os.environ.get("TORCH_PYTHON", sys.executable),
        help="a Python that has torch (default: $TORCH_PYTHON, or this one)",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.quick, arguments.torch_python)
    figures["efficiency_2_processes"] = two_processes(arguments.quick)
    publish("pretrain", figures, GOALS | (GPU_GOALS if jax.default_backend() == "gpu" else {}))


if __name__ == "__main__":
    main()
