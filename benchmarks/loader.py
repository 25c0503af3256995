"""Jets per second from a store into batches, against one record per jet and against uproot with padding.

    python benchmarks/loader.py [--quick]

All three sides deliver the same jets (JetClass-like: about 40 constituents, up to 128, of 17 features) as padded
float32 batches with masks and labels, with two threads, in one process, one after another in every round.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import grain
import jax
import jetclass_like
import numpy as np
import uproot
from harness import publish

from foundation.loader import Loader
from foundation.store import Store
from foundation.store.ingest import ingest

TOKENS, BUCKETS, ROUNDS = 32768, 7, 3
GOALS = {
    "jets_per_s": ">= 1,000,000",
    "ratio_to_per_jet_records": ">= 40",
    "ratio_to_uproot_padded": ">= 8",
    "useful_tokens": ">= 0.85",
    "label_variance": "0.9 to 1.1 of a multinomial",
    "seek_seconds": "<= 1",
    "peak_rss_gb": "<= 2",
}


class JetRecords:
    """One grain record per jet, straight from the same memory map (of one shard): what a loader per example does."""

    def __init__(self, store: Store):
        folder = store.path / "train" / "000000"
        self.values = np.load(folder / "tokens.particles.values.npy", mmap_mode="r").view(np.ndarray)
        self.offsets = np.load(folder / "tokens.particles.offsets.npy")
        self.labels = np.load(folder / "label.jet.npy")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, np.ndarray]:
        start, stop = self.offsets[row], self.offsets[row + 1]
        values = np.zeros((jetclass_like.MOST, jetclass_like.FEATURES), np.float32)
        values[: stop - start] = self.values[start:stop]
        return {"values": values, "mask": np.arange(jetclass_like.MOST) < stop - start, "label": self.labels[row]}


def per_jet(store: Store, seconds: float) -> float:
    data: Any = grain.MapDataset.source(JetRecords(store)).shuffle(seed=0).repeat().batch(256)  # type: ignore[arg-type]
    batches = iter(data.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)))
    return rate(lambda: len(next(batches)["label"]), seconds)


def padded(path: Path) -> float:
    """Jets per second of uproot with padding to 128, all of the file once, decompressing with two threads.

    Scattering the flat values under the mask is several times faster than awkward's own `pad_none`.
    """
    start, jets = time.perf_counter(), 0
    tree = f"{path}:tree"
    columns = [*jetclass_like.BRANCHES, "label"]
    options = {"decompression_executor": uproot.ThreadPoolExecutor(2), "step_size": 10_000}
    for chunk in uproot.iterate(tree, columns, library="ak", **options):
        mask = np.arange(jetclass_like.MOST) < ak.to_numpy(ak.num(chunk[jetclass_like.BRANCHES[0]]))[:, None]
        values = np.zeros((*mask.shape, jetclass_like.FEATURES), np.float32)
        for position, name in enumerate(jetclass_like.BRANCHES):
            values[mask, position] = ak.to_numpy(ak.flatten(chunk[name]))
        label = ak.to_numpy(chunk["label"])
        jets += len(label)
    return jets / (time.perf_counter() - start)


def rate(deliver: Callable[[], int], seconds: float) -> float:
    """Jets per second over about `seconds`, after the first batch (which imports and maps)."""
    deliver()
    start, jets = time.perf_counter(), 0
    while (now := time.perf_counter()) < start + seconds:
        jets += deliver()
    return jets / (now - start)


def ours(loader: Loader, seconds: float) -> float:
    return rate(lambda: int((next(loader).index >= 0).sum()), seconds)


def on_device(loader: Loader, seconds: float) -> float:
    """As `ours`, each batch put on the device and waited for."""
    return rate(lambda: int((jax.block_until_ready(jax.device_put(next(loader))).index >= 0).sum()), seconds)


def label_variance(store: Store, batch_size: int = 256) -> float:
    """Variance of the class counts of a batch over that of independent draws, one length bucket."""
    loader = Loader(store, "train", seed=0, buckets=1, batch_size=batch_size)
    labels = store.labels("train", "jet")
    rows: Iterator[np.ndarray] = (loader.plan.batch(step).rows for step in range(loader.batches_per_epoch - 1))
    counts = np.array([np.bincount(labels[each], minlength=jetclass_like.CLASSES) for each in rows])
    share = np.bincount(labels, minlength=jetclass_like.CLASSES) / len(labels)
    expected = batch_size * share
    return float((((counts - expected) ** 2).mean(axis=0) / (expected * (1 - share))).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer jets and shorter rounds")
    quick = parser.parse_args().quick
    jets, seconds = (40_000, 1.5) if quick else (400_000, 8.0)
    with tempfile.TemporaryDirectory() as folder:
        path = jetclass_like.write(Path(folder) / "jets.root", jets)
        store = Store.open(
            ingest([path], schema=jetclass_like.schema(split={"fractions": {"train": 1.0}}), out=Path(folder) / "store")
        )
        loader = Loader(store, "train", seed=0, batch_tokens=TOKENS, buckets=BUCKETS)
        ours(loader, seconds)
        peak = (
            int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**20
        )  # before the other sides
        rounds = []
        for _ in range(ROUNDS):
            rounds.append((ours(loader, seconds), on_device(loader, seconds), per_jet(store, seconds), padded(path)))
        start = time.perf_counter()
        loader.restore({"step": 1_000_000})
        next(loader)
        seek = time.perf_counter() - start
        host, device, single, root = (np.array(column) for column in zip(*rounds))
        figures: dict[str, float | int | None] = {
            "jets_per_s": round(statistics.median(host)),
            "jets_per_s_on_device": round(statistics.median(device)),
            "per_jet_records_per_s": round(statistics.median(single)),
            "uproot_padded_per_s": round(statistics.median(root)),
            "ratio_to_per_jet_records": round(float(np.median(host / single)), 1),
            "ratio_to_uproot_padded": round(float(np.median(host / root)), 1),
            "useful_tokens": round(1 - loader.padding, 4),
            "label_variance": round(label_variance(store), 3),
            "seek_seconds": round(seek, 3),
            "peak_rss_gb": round(peak, 2),
            "jets": jets,
        }
    publish("loader", figures, GOALS)


if __name__ == "__main__":
    main()
