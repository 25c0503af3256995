"""`detfm inspect STORE` and `RUN`: splits, accounting of every row and token, statistics, provenance."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.table import Table

from foundation.errors import DataError
from foundation.inspect.tables import pairs, table
from foundation.runs import Run
from foundation.schema import Feature, Hardware
from foundation.store.accounting import for_people
from foundation.store.store import Store

COUNTS = ("off_grid", "saturated")


def store_summary(store: Store) -> list[Table]:
    """Splits and classes, accounting of rows and tokens, files that were skipped, feature statistics."""
    return [_splits(store), _accounting(store), *_skipped(store), *_statistics(store)]


def _splits(store: Store) -> Table:
    splits = store.manifest["splits"]
    names = ["split", "rows", "shards", "tokens per row: mean (longest)", "classes"]
    shown = table(f"{store.path}: schema '{store.schema.name}'", *names)
    for name, split in splits.items():
        tokens = ", ".join(f"{m} {_mean(h):.1f} ({max(len(h) - 1, 0)})" for m, h in split["lengths"].items())
        classes = "; ".join(f"{c} {n:,}" for label in split["classes"].values() for c, n in label.items() if n)
        shown.add_row(name, f"{split['rows']:,}", f"{split['shards']:,}", tokens, classes)
    return shown


def _mean(histogram: list[int]) -> float:
    return float(np.dot(np.arange(len(histogram)), histogram) / max(sum(histogram), 1))


def _accounting(store: Store) -> Table:
    found = store.manifest["accounting"]
    lines = {k: n for k, n in for_people(found).items() if not k.startswith("hardware ")}  # those are with the features
    shown = pairs(f"rows of {found['files']['given'] - found['files']['skipped']} file(s)", lines)
    if sum(found["quarantined"].values()):
        shown.caption = "quarantine.parquet lists the quarantined rows: file, entry, reason"
        shown.caption_justify = "left"
    return shown


def _skipped(store: Store) -> list[Table]:
    if not store.manifest["accounting"]["files"]["skipped"]:
        return []
    sources = _readable(store.path / "sources.json", json.loads)
    return [pairs("skipped files", {s["path"]: s["skipped"] for s in sources if s["skipped"]})]


def _statistics(store: Store) -> list[Table]:
    recorded = store.manifest["statistics"]
    groups = {**recorded["modalities"], "globals": recorded["globals"]}
    features = {**{n: m.features for n, m in store.schema.modalities.items()}, "globals": store.schema.globals}
    return [_group(store, name, features[name], found) for name, found in groups.items() if found]


def _group(store: Store, group: str, features: dict[str, Feature], found: dict[str, dict[str, Any]]) -> Table:
    """Statistics of one modality's features, and how many values lie off the grid of their hardware type."""
    trigger = any(feature.hardware is not None for feature in features.values())
    split = store.manifest["statistics"]["split"]
    title = f"{group}: statistics of split '{split}' (min, max raw; mean, std transformed)"
    names = ["feature", "unit", "min", "max", "transform", "mean", "std"]
    shown = table(title, *names, *(["hardware", "off grid", "saturated"] if trigger else []))
    for name, values in found.items():
        spec = features[name]
        numbers = ["" if values[k] is None else f"{values[k]:.4g}" for k in ("min", "max", "mean", "std")]
        where = f"globals.{name}" if group == "globals" else f"modalities.{group}.features.{name}"
        cells = _hardware(spec.hardware, store.manifest["accounting"]["hardware"].get(where, {})) if trigger else []
        shown.add_row(name, spec.unit, *numbers[:2], spec.transform, *numbers[2:], *cells)
    if trigger:
        shown.caption = (
            "off grid: values of all splits that are no whole multiple of the lsb; saturated: beyond the bits"
        )
        shown.caption_justify = "left"
    return shown


def _hardware(hardware: Hardware | None, found: dict[str, int]) -> list[str]:
    """`12 bits, signed, lsb 0.25`, and the counts."""
    if hardware is None:
        return ["", "", ""]
    signed = " signed" if hardware.signed else ""
    return [f"{hardware.bits} bits{signed}, lsb {hardware.lsb:.6g}", *(f"{found.get(k, 0):,}" for k in COUNTS)]


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


def verify(store: Store) -> int:
    """Compares every file with its checksum, and what no checksum covers with what it must agree with.

    Returns:
        The number of files.

    Raises:
        DataError: names every file that differs.
    """
    files = store.verify()
    _readable(store.path / "config.yaml", yaml.safe_load)
    _readable(store.path / "provenance.json", json.loads)
    if _readable(store.path / "schema.yaml", yaml.safe_load) != store.manifest["schema"]:
        raise DataError(f"{store.path}: manifest.json and schema.yaml hold different schemas; one is damaged")
    for split in store.splits:
        if store.length(split) != int(store.index(split).rows.sum()):
            raise DataError(
                f"{store.path}: manifest.json says other rows of split '{split}' than its index; it is damaged"
            )
    accounting = store.manifest["accounting"]
    gone = sum(accounting["cuts"].values()) + sum(accounting["quarantined"].values())
    total = sum(store.length(split) for split in store.splits)
    if accounting["read"] != accounting["written"] + gone or total != accounting["written"]:
        raise DataError(f"{store.path}: the rows in manifest.json do not add up; it is damaged")
    return files


def _readable(path: Path, parse: Callable[[str], Any]) -> Any:
    """What a file of settings holds. Raises DataError that names it."""
    try:
        return parse(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: damaged ({error})") from error
