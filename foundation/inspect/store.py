"""`detfm inspect STORE` and `RUN`: splits, accounting of every row and token, statistics, provenance."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from rich.table import Table

from foundation.inspect.tables import pairs, table
from foundation.runs import Run
from foundation.store.accounting import for_people
from foundation.store.store import Store


def store_summary(store: Store) -> list[Table]:
    """Splits and classes, accounting of rows, feature statistics."""
    return [_splits(store), _accounting(store), *_statistics(store)]


def _splits(store: Store) -> Table:
    splits = store.manifest["splits"]
    shown = table(f"{store.path}: schema '{store.schema.name}'", "split", "rows", "shards", "tokens per row", "classes")
    for name, split in splits.items():
        tokens = ", ".join(f"{m} {_mean_length(h):.1f}" for m, h in split["lengths"].items())
        classes = "; ".join(f"{c} {n:,}" for label in split["classes"].values() for c, n in label.items() if n)
        shown.add_row(name, f"{split['rows']:,}", f"{split['shards']:,}", tokens, classes)
    return shown


def _mean_length(histogram: list[int]) -> float:
    return float(np.dot(np.arange(len(histogram)), histogram) / max(sum(histogram), 1))


def _accounting(store: Store) -> Table:
    found = store.manifest["accounting"]
    return pairs(f"rows of {found['files']['given']} file(s)", for_people(found))


def _statistics(store: Store) -> list[Table]:
    recorded = store.manifest["statistics"]
    groups = {**recorded["modalities"], "globals": recorded["globals"]}
    features = {**{n: m.features for n, m in store.schema.modalities.items()}, "globals": store.schema.globals}
    tables = []
    for group, found in groups.items():
        if not found:
            continue
        title = f"{group}: statistics of split '{recorded['split']}' (min, max raw; mean, std transformed)"
        shown = table(title, "feature", "unit", "min", "max", "transform", "mean", "std")
        for name, values in found.items():
            spec = features[group][name]
            numbers = ["" if values[k] is None else f"{values[k]:.4g}" for k in ("min", "max", "mean", "std")]
            shown.add_row(name, spec.unit, *numbers[:2], spec.transform, *numbers[2:])
        tables.append(shown)
    return tables


def run_summary(run: Run) -> list[Table]:
    """Stage, command, inputs, package versions; and the metrics, if the stage finished."""
    found = run.provenance
    facts = {k: found[k] for k in ("stage", "command", "created", "detfm", "git_commit", "python", "machine", "seeds")}
    facts["packages"] = " ".join(f"{name}=={version}" for name, version in found["packages"].items())
    tables = [pairs(str(run.path), facts), pairs("inputs", {r: i["path"] for r, i in found["inputs"].items()})]
    if (run.path / "metrics.json").is_file():
        tables.append(pairs("metrics", json.loads((run.path / "metrics.json").read_text())))
    return tables


def store_json(store: Store) -> dict[str, Any]:
    """The manifest without its schema: splits, accounting, statistics."""
    return {"path": str(store.path)} | {k: v for k, v in store.manifest.items() if k not in ("schema", "files")}
