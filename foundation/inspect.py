"""`detfm inspect`: what is inside a file, a store or a run folder, as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from rich.console import Console
from rich.table import Table

from foundation.command import Command
from foundation.errors import DataError
from foundation.io import Reader, open_reader, table_names
from foundation.runs import Run
from foundation.store.store import MANIFEST, Store

CHUNK_ROWS = 50_000


def inspect(path: str | Path, *, tree: str = "", verify: bool = False, rows: int = 100_000) -> list[Table]:
    """Tables that describe `path`.

    Args:
        path: a detector file, a store, or a run folder.
        tree: of a file that holds several: describe the branches of this one. Without it, a file of several trees is
            answered with their list.
        verify: of a store: read everything again and compare checksums.
        rows: of a file: at most so many rows are read for the ranges.

    Raises:
        DataError: nothing of the kind, or damaged (with `verify`: names every file that differs from its checksum).
        RunError: the folder is neither a store nor a run.
    """
    path = Path(path)
    if path.is_dir() and (path / MANIFEST).is_file():
        store = Store.open(path)
        tables = store_summary(store)
        return [*tables, _pairs("verified", {"files equal to their SHA-256": store.verify()})] if verify else tables
    if verify:
        raise DataError(f"{path} is not a store; --verify compares a store with its checksums")
    if path.is_dir():
        return run_summary(Run.open(path))
    names = table_names(path)
    if not tree and len(names) > 1:
        return [_pairs(f"{path}: choose one with --tree", names)]
    reader = open_reader(path, tree)
    try:
        return [file_summary(reader, rows)]
    finally:
        reader.close()


def file_summary(reader: Reader, rows: int) -> Table:
    """One line per column: type, numbers per row, range, and how many are NaN or infinite."""
    read = min(rows, reader.num_rows)
    title = f"{reader.path}: {reader.num_rows:,} rows"
    title += f", ranges of the first {read:,}" if read < reader.num_rows else ""
    table = _table(title, "column", "type", "per row", "min", "max", "NaN", "inf")
    for name in reader.columns:
        table.add_row(name, reader.column_type(name), *_describe(reader, name, read))
    return table


def _describe(reader: Reader, column: str, rows: int) -> list[str]:
    """One pass over a column: per row, min, max, NaN, inf."""
    fewest, most, low, high = np.inf, 0, np.inf, -np.inf
    nans, infinities, left = 0, 0, rows
    try:
        for chunk in reader.chunks([column], min(CHUNK_ROWS, max(rows, 1))):
            array = chunk[column][:left]
            left -= len(array)
            if array.ndim > 1:
                counts = ak.num(array, axis=1)
                fewest, most = min(fewest, int(ak.min(counts))), max(most, int(ak.max(counts)))
            flat = ak.to_numpy(ak.flatten(array, axis=None))
            if flat.dtype.kind not in "biuf":
                return ["", "", "", "", ""]
            finite = flat[np.isfinite(flat)]
            nans, infinities = nans + int(np.isnan(flat).sum()), infinities + int(np.isinf(flat).sum())
            if len(finite):
                low, high = min(low, finite.min()), max(high, finite.max())
            if left <= 0:
                break
    except DataError as error:
        return ["damaged", str(error).rpartition(",")[2].strip(), "", "", ""]
    except (TypeError, ValueError):  # strings, records: nothing to take a range of
        return ["", "", "", "", ""]
    per_row = "1" if most == 0 and fewest == np.inf else f"{fewest:g}" if fewest == most else f"{fewest:g} to {most:g}"
    span = [f"{low:.6g}", f"{high:.6g}"] if low <= high else ["", ""]
    return [per_row, *span, *(f"[red]{n}[/red]" if n else "0" for n in (nans, infinities))]


def store_summary(store: Store) -> list[Table]:
    """Splits and classes, accounting of rows, feature statistics."""
    return [_splits(store), _accounting(store), *_statistics(store)]


def _splits(store: Store) -> Table:
    splits = store.manifest["splits"]
    table = _table(
        f"{store.path}: schema '{store.schema.name}'", "split", "rows", "shards", "tokens per row", "classes"
    )
    for name, split in splits.items():
        tokens = ", ".join(f"{m} {_mean_length(h):.1f}" for m, h in split["lengths"].items())
        classes = "; ".join(f"{c} {n:,}" for label in split["classes"].values() for c, n in label.items() if n)
        table.add_row(name, f"{split['rows']:,}", str(len(split["shards"])), tokens, classes)
    return table


def _mean_length(histogram: list[int]) -> float:
    return float(np.dot(np.arange(len(histogram)), histogram) / max(sum(histogram), 1))


def _accounting(store: Store) -> Table:
    found = store.manifest["accounting"]
    rows = {"read": found["read"], "removed by the cut": found["cut"]}
    rows |= {f"quarantined: {why}": count for why, count in found["quarantined"].items() if count}
    rows |= {"written": found["written"]}
    for modality, tokens in found["tokens"].items():
        rows |= {f"{modality}: tokens {what}": count for what, count in tokens.items() if count}
    rows |= {f"NaN or infinite: {where}": count for where, count in found["nonfinite_values"].items()}
    for label, values in found["unknown_values"].items():
        rows |= {f"unknown {label}: {value}": count for value, count in values.items()}
    return _pairs(f"rows of {len(store.manifest['sources'])} file(s)", rows)


def _statistics(store: Store) -> list[Table]:
    recorded = store.manifest["statistics"]
    groups = {**recorded["modalities"], "globals": recorded["globals"]}
    features = {**{n: m.features for n, m in store.schema.modalities.items()}, "globals": store.schema.globals}
    tables = []
    for group, found in groups.items():
        if not found:
            continue
        title = f"{group}: statistics of split '{recorded['split']}' (min, max raw; mean, std transformed)"
        table = _table(title, "feature", "unit", "min", "max", "transform", "mean", "std")
        for name, values in found.items():
            spec = features[group][name]
            numbers = ["" if values[k] is None else f"{values[k]:.4g}" for k in ("min", "max", "mean", "std")]
            table.add_row(name, spec.unit, *numbers[:2], spec.transform, *numbers[2:])
        tables.append(table)
    return tables


def run_summary(run: Run) -> list[Table]:
    """Stage, command, inputs, package versions; and the metrics, if the stage finished."""
    found = run.provenance
    facts = {k: found[k] for k in ("stage", "command", "created", "detfm", "git_commit", "python", "machine", "seeds")}
    facts["packages"] = " ".join(f"{name}=={version}" for name, version in found["packages"].items())
    tables = [_pairs(str(run.path), facts), _pairs("inputs", {r: i["path"] for r, i in found["inputs"].items()})]
    if (run.path / "metrics.json").is_file():
        tables.append(_pairs("metrics", json.loads((run.path / "metrics.json").read_text())))
    return tables


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _pairs(title: str, values: Mapping[str, Any]) -> Table:
    table = _table(title, "", "")
    table.min_width = min(len(title), 76)
    table.show_header = False
    for name, value in values.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.6g}" if isinstance(value, float) else str(value)
        table.add_row(name, shown)
    return table


def _arguments(parser: Any) -> None:
    parser.add_argument("path", type=Path, help="a detector file, a store or a run folder")
    parser.add_argument("--tree", default="", help="of a file with several trees: which one")
    parser.add_argument("--rows", type=int, default=100_000, help="of a file: how many rows to read for the ranges")
    parser.add_argument("--verify", action="store_true", help="of a store: compare every file with its SHA-256")


def _run(arguments: Any) -> None:
    output = Console()
    for table in inspect(arguments.path, tree=arguments.tree, verify=arguments.verify, rows=arguments.rows):
        output.print(table)


COMMAND = Command(
    run=_run,
    arguments=_arguments,
    description="Show what is inside a ROOT file (columns, types, ranges), a store (splits, statistics, accounting) or"
    " a run folder (stage, command, metrics). Example: detfm inspect samples/jets.root --tree tree",
)
