"""How long a fine-tune of 1,000 labels takes, from the shell's prompt to the written tagger."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from stages import detfm

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples/jets.root"


def speed(folder: Path, rounds: int) -> dict[str, float]:
    """Seconds of `detfm finetune` with nothing compiled (cold), and again (warm): medians.

    The encoder and the jets are the quickstart's. How well the encoder was pretrained changes no time, so it is
    pretrained for a few steps only.
    """
    store, encoder = folder / "store", folder / "encoder"
    detfm("ingest", SAMPLE, "--schema", "data/jets", "--out", store, unless=store / "manifest.json")
    few = ("--cfg.train.steps", 20, "--cfg.monitor.report_rows", 0)
    detfm("pretrain", store, "--cfg", "quickstart/pretrain", *few, "--out", encoder, unless=encoder / "metrics.json")
    found: dict[str, list[float]] = {"seconds_cold": [], "seconds_warm": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for times in found.values():
                words = ("finetune", encoder, "--cfg", "quickstart/finetune", "--cfg.labels", 1000)
                out = ("--out", folder / "tagger", "--overwrite")
                times.append(detfm(*words, *out, environment={"DETFM_CACHE": cache}))
    return {name: statistics.median(times) for name, times in found.items()}
