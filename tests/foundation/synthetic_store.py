"""Stores written straight from numpy arrays, for tests and benchmarks of what reads them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from foundation.schema import DetectorSchema
from foundation.store.index import shard_name
from foundation.store.store import FORMAT, VERSION, Store

EDGES = [4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 56, 64, 80, 96, 128]


def jet_schema(features: int = 17, labels: int = 10) -> DetectorSchema:
    names = {f"f{i}": {"expression": f"f{i}"} for i in range(features)}
    classes = {f"c{i}": f"is_c{i}" for i in range(labels)}
    return DetectorSchema.load(
        {
            "name": "synthetic",
            "modalities": {"particles": {"features": names, "max_tokens": 128}},
            "labels": {"kind": {"classes": classes}},
        }
    )


def jet_multiplicities(rng: np.random.Generator, jets: int) -> np.ndarray:
    """JetClass-like: about 40 constituents, up to 128."""
    return np.clip(rng.gamma(4.0, 10.0, jets).astype(np.int64), 1, 128)


def write_jets(
    folder: Path,
    jets: int,
    shards: int,
    *,
    features: int = 17,
    labels: int = 10,
    pure: bool = False,
    unbalanced: bool = False,
    seed: int = 0,
) -> Store:
    """A store of random jets in one split.

    Args:
        pure: every shard holds one class, as files of one process do.
        unbalanced: two classes: nine in ten jets are of the first and short, the others long.
    """
    rng, schema = np.random.default_rng(seed), jet_schema(features, labels)
    rows, tokens, digests, per_class = [], [], [], np.zeros((len(EDGES), labels), int)
    longest, worth = np.zeros(len(EDGES), int), np.zeros(len(EDGES))
    for number, size in enumerate(np.diff(np.linspace(0, jets, shards + 1).astype(int)).tolist()):
        counts = jet_multiplicities(rng, size)
        second = rng.random(size) < 0.1
        counts = np.where(second, counts + 40, counts).clip(1, 128) if unbalanced else counts
        length_class = np.searchsorted(EDGES, counts)
        order = np.argsort(length_class, kind="stable")
        counts, length_class = counts[order], length_class[order]
        kind = np.full(size, number % labels) if pure else rng.integers(0, labels, size)
        kind = second[order].astype(int) if unbalanced else kind
        arrays = {
            "tokens.particles.values": rng.normal(size=(counts.sum(), features)).astype(np.float32),
            "tokens.particles.offsets": np.concatenate([[0], np.cumsum(counts)]),
            "globals": np.zeros((size, 0), np.float32),
            "weights": (0.5 + rng.random(size)).astype(np.float32),
            "label.kind": kind.astype(np.int32),
            "source": np.stack([np.full(size, number), np.arange(size)], 1),
        }
        digests.append(_write_shard(folder / "train" / shard_name(number), size, arrays))
        rows.append(np.bincount(length_class, minlength=len(EDGES)))
        tokens.append(counts.sum())
        np.add.at(per_class, (length_class, kind), 1)
        np.maximum.at(longest, length_class, counts)
        np.add.at(worth, length_class, arrays["weights"])
    index = {"rows": np.array(rows, np.uint32), "tokens.particles": np.array(tokens), "sha256": np.array(digests)}
    return write_manifest(folder, schema, index, per_class, longest, worth)


def _write_shard(path: Path, rows: int, arrays: dict[str, np.ndarray]) -> np.ndarray:
    path.mkdir(parents=True)
    files = {}
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
        content = (path / f"{name}.npy").read_bytes()
        files[f"{name}.npy"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (path / "shard.json").write_text(json.dumps({"rows": rows, "files": files}))
    return np.frombuffer(hashlib.sha256((path / "shard.json").read_bytes()).digest(), np.uint8)


def write_manifest(
    folder: Path,
    schema: DetectorSchema,
    index: dict[str, np.ndarray],
    per_class: np.ndarray,
    longest: np.ndarray,
    worth: np.ndarray,
) -> Store:
    """Manifest and index of a store of one split, whose shards are there or not."""
    rows = index["rows"].astype(np.int64)
    (folder / "train").mkdir(parents=True, exist_ok=True)
    np.savez(folder / "train" / "index.npz", **index)
    (folder / "sources.json").write_text("[]")
    statistics = {n: {"count": 1, "mean": 0.0, "std": 1.0, "min": -5.0, "max": 5.0} for n in jet_features(schema)}
    split = {
        "rows": int(rows.sum()),
        "shards": len(rows),
        "lengths": {"particles": []},
        "classes": {"kind": dict(zip(schema.class_names("kind"), per_class.sum(axis=0).tolist()))},
        "length_classes": {
            "rows": rows.sum(axis=0).tolist(),
            "longest": {"particles": longest.tolist()},
            "weights": worth.tolist(),
            "labels": {"kind": per_class.tolist()},
        },
    }
    files = {f: hashlib.sha256((folder / f).read_bytes()).hexdigest() for f in ("sources.json", "train/index.npz")}
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "detfm": "test",
        "schema": schema.to_dict(),
        "splits": {"train": split},
        "accounting": {"read": int(rows.sum()), "written": int(rows.sum())},
        "statistics": {"split": "train", "modalities": {"particles": statistics}, "globals": {}},
        "files": {name: {"sha256": digest} for name, digest in files.items()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Store.open(folder)


def jet_features(schema: DetectorSchema) -> list[str]:
    return list(schema.modalities["particles"].features)
