"""Small labelled stores and a pretrain run on them, for tests of fine-tuning."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from flax import nnx

from foundation.embedding import input_statistics
from foundation.models import Encoder, EncoderConfig, save_encoder
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.ingest import IngestConfig, ingest

SIZES = EncoderConfig(width=8, layers=2, heads=2, hidden=1)
SCHEMA: dict[str, Any] = {
    "name": "toy",
    "modalities": {
        "particles": {
            "max_tokens": 8,
            "coordinates": {"pt": "pt", "eta": "eta", "phi": "phi"},
            "features": {
                "pt": {"expression": "pt", "unit": "GeV", "transform": "log"},
                "eta": {"expression": "eta"},
                "phi": {"expression": "phi", "unit": "rad"},
                "d0": {"expression": "d0", "unit": "mm", "transform": "asinh"},
            },
        }
    },
    "globals": {"met": {"expression": "met", "unit": "GeV", "transform": "log1p"}},
    "labels": {
        "kind": {"expression": "kind", "classes": {"wide": 0, "narrow": 1, "never": 2}},
        "ratio": {"kind": "regression", "expression": "ratio"},
    },
    "split": {"key": "event", "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}},
}


def jets(count: int = 240, seed: int = 0) -> dict[str, Any]:
    """Jets of two classes that differ in how wide they are; every tenth one without a class."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(3, 8, count)
    kind = rng.integers(0, 2, count)
    width = np.repeat(np.where(kind == 0, 0.5, 0.1), numbers)

    def ragged(values: np.ndarray) -> ak.Array:
        return ak.unflatten(values.astype(np.float32), numbers)

    total = numbers.sum()
    return {
        "pt": ragged(rng.exponential(20, total) + 1),
        "eta": ragged(width * rng.normal(size=total)),
        "phi": ragged(width * rng.normal(size=total)),
        "d0": ragged(0.1 * rng.normal(size=total)),
        "met": rng.exponential(30, count).astype(np.float32),
        "kind": np.where(np.arange(count) % 10 == 0, -1, kind),
        "ratio": rng.normal(1, 0.1, count).astype(np.float32),
        "event": np.arange(count) + 1000 * seed,
    }


def changed(edit: Callable[[dict[str, Any]], Any]) -> DetectorSchema:
    """The schema after `edit` of the mapping it is read from."""
    mapping = copy.deepcopy(SCHEMA)
    edit(mapping)
    return DetectorSchema.load(mapping)


def toy_store(folder: Path, columns: dict[str, Any], schema: DetectorSchema | None = None) -> Store:
    folder.mkdir(parents=True, exist_ok=True)
    ak.to_parquet(ak.zip(columns, depth_limit=1), folder / "jets.parquet")
    cfg = IngestConfig(unknown_label="unlabelled")
    schema = schema or changed(dict)
    return Store.open(ingest([folder / "jets.parquet"], schema=schema, cfg=cfg, out=folder / "store"))


def toy_pretrained(folder: Path, store: Store) -> Run:
    """A pretrain run that ended after no step."""
    encoder = Encoder(store.schema, input_statistics(store), SIZES, rngs=nnx.Rngs(0))
    run = Run.create(folder, "pretrain", config=SIZES, schema=store.schema, inputs={"store": store.path})
    save_encoder(run.path, encoder)
    return run
