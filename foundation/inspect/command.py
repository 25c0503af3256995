"""The subcommand `detfm inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from foundation.command import Command
from foundation.errors import DataError
from foundation.inspect.file import file_summary
from foundation.inspect.store import run_summary, store_summary
from foundation.inspect.tables import pairs
from foundation.io import open_reader, table_names
from foundation.runs import Run
from foundation.store.store import MANIFEST, Store


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
        return [*tables, pairs("verified", {"files equal to their SHA-256": store.verify()})] if verify else tables
    if verify:
        raise DataError(f"{path} is not a store; --verify compares a store with its checksums")
    if path.is_dir():
        return run_summary(Run.open(path))
    names = table_names(path)
    if not tree and len(names) > 1:
        return [pairs(f"{path}: choose one with --tree", names)]
    reader = open_reader(path, tree)
    try:
        return [file_summary(reader, rows)]
    finally:
        reader.close()


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
