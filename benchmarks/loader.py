"""Jets per second through ingest and loader, at about 40 constituents x 17 features. Prints one JSON line.

python benchmarks/loader.py            (CPU seconds are of the thread that works, so a busy machine matters little)
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from foundation.loader import Loader
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.ingest import ingest

FEATURES = 17
SCHEMA = {
    "name": "benchmark",
    "modalities": {"p": {"features": {f"f{i}": {"expression": "x" if i % 2 else "y"} for i in range(FEATURES)}}},
}


def write(path: Path, jets: int) -> None:
    rng = np.random.default_rng(0)
    with uproot.recreate(path) as file:
        file.mktree("t", {"x": "var * float32", "y": "var * float32"})
        counts = np.clip(rng.poisson(40, jets), 1, 128)
        columns = {name: rng.normal(size=int(counts.sum())).astype(np.float32) for name in "xy"}
        file["t"].extend({name: ak.unflatten(values, counts) for name, values in columns.items()})


def loading(store: Store, batch_tokens: int, prefetch: bool, batches: int = 100) -> tuple[float, float]:
    """Jets per second of wall time and of the calling thread's CPU time."""
    loader = Loader(store, "train", batch_tokens=batch_tokens, seed=0)
    next(loader)  # imports grain, maps the shards
    wall, cpu = time.perf_counter(), time.thread_time()
    jets = sum((next(loader) if prefetch else loader.batch_at(step)).size for step in range(batches))
    return jets / (time.perf_counter() - wall), jets / (time.thread_time() - cpu)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jets", type=int, default=100_000)
    parser.add_argument("--batch-tokens", type=int, default=16384)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jets.root"
        write(path, arguments.jets)
        start = time.perf_counter()
        store = Store.open(ingest([path], schema=DetectorSchema.load(SCHEMA), out=Path(folder) / "store"))
        seconds = time.perf_counter() - start
        wall, cpu = loading(store, arguments.batch_tokens, prefetch=False)
        ahead, _ = loading(store, arguments.batch_tokens, prefetch=True)
        figures = {
            "benchmark": "loader",
            "features": FEATURES,
            "ingest_jets_per_s": round(arguments.jets / seconds),
            "load_jets_per_s": round(wall),
            "load_jets_per_cpu_s": round(cpu),
            "prefetched_jets_per_s": round(ahead),
            "padding": round(float(Loader(store, "train", batch_tokens=arguments.batch_tokens, seed=0).padding), 3),
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
