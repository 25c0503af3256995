"""Taggers from few labels and from all, each number a point of `detfm sweep`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embedding_stages import pretrained, simulated
from stages import detfm

SHARED = Path(__file__).parents[2] / "shared/data"
WORKERS = 2
Figures = dict[str, float | None]


def sweep(
    store: Path, preset: str, encoder: Path, folder: Path, seeds: Sequence[int], *settings: Any
) -> dict[str, Any]:
    """The result of a sweep; points that are finished in `folder` are not run again."""
    start = ("--cfg", preset, "--cfg.starts.pretrained", encoder, "--cfg.seeds", f"[{','.join(map(str, seeds))}]")
    detfm("sweep", store, *start, *settings, "--out", folder, "--workers", WORKERS)
    print((folder / "result/table.md").read_text(), flush=True)
    return json.loads((folder / "result/table.json").read_text())


def ingested(file: Path, preset: str, store: Path) -> Path:
    detfm("ingest", file, "--schema", preset, "--out", store, unless=store / "manifest.json")
    return store


def means(prefix: str, found: dict[str, Any], metric: str) -> Figures:
    """PREFIX_METRIC_ARM_LABELS: mean over the seeds."""
    name = f"{prefix}_{metric.replace('/', '_')}"
    return {f"{name}_{row['arm'].replace(', ', '_')}_{row['labels']}": row["mean"] for row in found[metric]["summary"]}


def top(folder: Path, seeds: Sequence[int], encoder: Path | None) -> Figures:
    """The top-tagging benchmark (arXiv:1902.09914), and the labels that a pretrained encoder is worth."""
    file = SHARED / "jets/toplandscape_2000.npz"
    if not file.is_file():
        print(f"skipped: the real data is not here: {file}")
        return {}
    encoder = encoder or pretrained(simulated(folder, quick=False), folder / "pretrain")
    store = ingested(file, "data/embedding_toplandscape", folder / "store")
    found = sweep(store, "sweep/toplandscape", encoder, folder / "sweep", seeds)
    worth = {(row["arm"], row["labels"]): row for row in found["auc"]["label efficiency"]}
    print(worth["pretrained", 100]["statement"])
    return {"label_ratio": worth["pretrained", 100]["ratio"], **means("top", found, "auc")}


def deepjet(folder: Path, seeds: Sequence[int]) -> Figures:
    """b against c, light and gluon jets from charged and neutral candidates and secondary vertices."""
    file = SHARED / "deepjet/ntuple_ttbar.root"
    if not file.is_file():
        print(f"skipped: the real data is not here: {file}")
        return {}
    store, encoder = ingested(file, "data/deepjet", folder / "store"), folder / "pretrain"
    detfm("pretrain", store, "--cfg", "pretrain/deepjet", "--out", encoder, unless=encoder / "metrics.json")
    return means("deepjet", sweep(store, "sweep/deepjet", encoder, folder / "sweep", seeds), "auc/b")


def classes(folder: Path, seeds: Sequence[int]) -> Figures:
    """Ten classes of simulated jets: ours and the field's reference models with the same budget of steps."""
    file, encoder = folder / "jets.root", folder / "pretrain"
    detfm("simulate", "--cfg", "simulate/jetclass_views", "--out", file, "--processes", WORKERS, unless=file)
    store = ingested(file, "data/jetclass_views", folder / "store")
    detfm("pretrain", store, "--cfg", "pretrain/jetclass", "--out", encoder, unless=encoder / "metrics.json")
    figures: Figures = {}
    for preset in ("models_few", "models"):
        found = sweep(store, f"sweep/{preset}", encoder, folder / preset, seeds)
        figures |= means("classes", found, "accuracy") | means("classes", found, "auc")
    return figures
