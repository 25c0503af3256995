"""The stages that end in an encoder for top tagging."""

from __future__ import annotations

from pathlib import Path

from stages import detfm

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data/jets/toplandscape_2000.npz"
QUICK = (
    *("--cfg.positives", "augmentation", "--cfg.train.steps", "40", "--cfg.batch_tokens", "5120"),
    *("--cfg.augment.rotation.probability", "1", "--cfg.augment.smearing.probability", "1"),
    *("--cfg.encoder.pair_features", "false", "--cfg.encoder.layers", "2", "--cfg.train.ema", "0"),
    *("--cfg.monitor.rows", "200", "--cfg.monitor.batches", "1"),
)


def simulated(folder: Path, quick: bool) -> Path:
    """The store to pretrain on; --quick takes the sample that comes with the project, which has no re-simulation."""
    file, store = (ROOT / "samples/jets.root" if quick else folder / "simulated.root"), folder / "simulated"
    others = ("--cfg.unknown_label", "unlabelled") if quick else ()  # jets of W, Z and H
    if not quick:
        detfm("simulate", "--cfg", "simulate/embedding", "--out", file, "--processes", "2", unless=file)
    schema = ("--schema", "data/embedding_simulated")
    detfm("ingest", file, *schema, *others, "--out", store, unless=store / "manifest.json")
    return store


def pretrained(store: Path, out: Path, *more: str) -> Path:
    """An encoder's run."""
    detfm("pretrain", store, "--cfg", "embedding/pretrain", *more, "--out", out, unless=out / "metrics.json")
    return out
