"""The subcommand `detfm inspect`."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from foundation.command import Command
from foundation.errors import ConfigError, DataError
from foundation.inspect.event import file_event, store_event
from foundation.inspect.file import ROWS, WIDE, file_tables, summarise, to_json
from foundation.inspect.store import run_summary, store_json, store_summary
from foundation.inspect.store import verify as verify_store
from foundation.inspect.suggest import suggest
from foundation.inspect.tables import pairs
from foundation.inspect.targets import may_be_class
from foundation.inspect.write_schema import save_schema, schema_text
from foundation.io import open_reader, table_names
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.store.store import MANIFEST, Store

# imported when asked for: what pretraining does to examples is above this package
AUGMENTED = "pretrain.augment.picture:picture"
PIPED = 150  # characters per line where the output is no terminal


def inspect(
    path: str | Path, *, tree: str = "", verify: bool = False, rows: int = ROWS, columns: str = ""
) -> list[Table]:
    """Tables that describe `path`.

    Args:
        path: a detector file (or its URL), a store, or a run folder.
        tree: of a file that holds several: describe this one. Without it, the one with the most rows.
        verify: of a store: read everything again and compare checksums.
        rows: of a file: at most so many rows are read.
        columns: of a file: describe the columns that match this pattern (several with commas), one line each.

    Raises:
        DataError: nothing of the kind, or damaged (with `verify`: names every file that differs from its checksum).
        RunError: the folder is neither a store nor a run.
    """
    if is_store(path):
        store = Store.open(path)
        checked = [pairs("verified", {"files equal to their SHA-256": verify_store(store)})] if verify else []
        return [*store_summary(store), *checked]
    if verify:
        raise DataError(f"{path} is not a store; --verify compares a store with its checksums")
    if Path(path).is_dir():
        return run_summary(Run.open(Path(path)))
    trees, chosen = choose_tree(str(path), tree)
    listed = [pairs(f"{path}: trees; --tree chooses, without it '{chosen}'", trees)] if len(trees) > 1 else []
    return [*listed, *file_tables(summarise(str(path), chosen, rows, columns), wide=sys.maxsize if columns else WIDE)]


def is_store(path: str | Path) -> bool:
    return Path(path).is_dir() and (Path(path) / MANIFEST).is_file()


def choose_tree(path: str, tree: str = "") -> tuple[dict[str, str], str]:
    """What tables a file holds (name -> kind), and which to describe: `tree`, else the one with the most rows."""
    names = table_names(path)
    if tree or len(names) < 2:
        return (names if not tree else {}), tree or next(iter(names), "")
    rows: dict[str, int] = {}
    for name in names:
        reader = open_reader(path, name)
        rows[name] = reader.num_rows
        reader.close()
    return {n: f"{kind}, {rows[n]:,} rows" for n, kind in names.items()}, max(rows, key=lambda name: rows[name])


def _arguments(parser: Any) -> None:
    parser.add_argument("path", help="a detector file or its URL, a store or a run folder")
    parser.add_argument("--tree", default="", help="of a file with several trees: which one (default: the longest)")
    parser.add_argument("--rows", type=int, default=ROWS, help="of a file: how many rows to read")
    parser.add_argument("--columns", default="", help="of a file: only columns like this, each in full, e.g. 'Jet_*'")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--suggest-schema",
        nargs="?",
        const="-",
        default="",
        metavar="OUT.yaml",
        help="of a file: write a commented starting schema to OUT.yaml (never over a file), or print it",
    )
    parser.add_argument("--event", type=int, metavar="N", help="draw row N of a store's split, or of a file (--schema)")
    parser.add_argument(
        "--augment", action="store_true", help="of a store: draw a row (--event) before and after each augmentation"
    )
    parser.add_argument(
        "--cfg",
        default="",
        help="with --augment: preset or YAML of pretrain, or of its augmentations (default: all)",
    )
    parser.add_argument("--split", default="", help="with --event: of which split (default: the first)")
    parser.add_argument("--schema", default="", help="with --event of a file: YAML file or preset, e.g. data/jets")
    parser.add_argument("--out", type=Path, metavar="PNG", help="with --event, --augment: the picture")
    parser.add_argument("--verify", action="store_true", help="of a store: compare every file with its SHA-256")


def _run(arguments: Any) -> None:
    if arguments.rows < 1:
        raise ConfigError(f"--rows must be at least 1; it is {arguments.rows}")
    if arguments.cfg and not arguments.augment:
        raise ConfigError("--cfg is read with --augment only")
    if arguments.augment:
        return _draw_augmented(arguments)
    if arguments.event is not None:
        return _draw(arguments)
    if arguments.suggest_schema:
        return _suggest(arguments)
    if arguments.json:
        return print(json.dumps(_json(arguments), indent=1))
    output = console()
    tables = inspect(
        arguments.path, tree=arguments.tree, verify=arguments.verify, rows=arguments.rows, columns=arguments.columns
    )
    for table in tables:
        output.print(table)


def suggest_schema(path: str | Path, *, tree: str = "", rows: int = ROWS) -> str:
    """A commented starting schema for a file, as YAML. Raises DataError: not a file of lists."""
    if Path(path).is_dir():
        raise DataError(f"{path} is a folder; --suggest-schema takes one detector file")
    return schema_text(suggest(summarise(str(path), choose_tree(str(path), tree)[1], rows, whole=may_be_class)))


def _suggest(arguments: Any) -> None:
    text = suggest_schema(arguments.path, tree=arguments.tree, rows=arguments.rows)
    if arguments.suggest_schema == "-":
        return print(text, end="")
    save_schema(text, Path(arguments.suggest_schema))
    print(f"wrote {arguments.suggest_schema}; check what it says is a guess, then `detfm ingest`")


def event_display(
    path: str | Path, number: int, out: str | Path, *, split: str = "", schema: DetectorSchema | str | Path = ""
) -> Path:
    """Draws row `number` of a store's split, or of a file as `schema` says, as PNG.

    Raises:
        DataError: no such row.
        ConfigError: a file without a schema.
    """
    from foundation.inspect.display import draw  # matplotlib takes a second to import
    from foundation.plots import save

    if is_store(path):
        event = store_event(Store.open(path), number, split)
    elif not schema:
        raise ConfigError(f"{path} is not a store; to draw an entry of a file, say how to read it with --schema")
    else:
        schema = schema if isinstance(schema, DetectorSchema) else DetectorSchema.load(schema)
        event = file_event(str(path), schema, number)
    save(draw(event), Path(out))
    return Path(out)


def _draw(arguments: Any) -> None:
    out = arguments.out or Path(f"event_{arguments.event}.png")
    chosen = {"split": arguments.split, "schema": arguments.schema}
    print(f"wrote {event_display(arguments.path, arguments.event, out, **chosen)}")


def _draw_augmented(arguments: Any) -> None:
    if not is_store(arguments.path):
        raise DataError(f"{arguments.path} is not a store; --augment draws a row of one")
    number = arguments.event or 0
    out = arguments.out or Path(f"augmented_{number}.png")
    module, function = AUGMENTED.split(":")
    draw = getattr(importlib.import_module(module), function)
    print(f"wrote {draw(arguments.path, number, out, split=arguments.split, cfg=arguments.cfg)}")


def console() -> Console:
    """As wide as the terminal; where there is none, wide enough for most tables."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED)


def _json(arguments: Any) -> dict[str, Any]:
    path = arguments.path
    if is_store(path):
        store = Store.open(path)
        checked = {"verified": verify_store(store)} if arguments.verify else {}
        return store_json(store) | checked
    if Path(path).is_dir():
        return Run.open(Path(path)).provenance
    chosen = choose_tree(path, arguments.tree)[1]
    return to_json(summarise(path, chosen, arguments.rows, arguments.columns))


COMMAND = Command(
    run=_run,
    arguments=_arguments,
    description="Show what is inside a detector file (columns by collection, multiplicities, ranges, NaN, units), a"
    " store (splits, accounting, statistics) or a run folder (stage, command, metrics); suggest a schema for a file;"
    " check a store's files; draw an event. Reads any format that ingest reads, also URLs."
    " Example: detfm inspect samples/jets.root; or"
    " detfm inspect nano.root --columns 'Jet_*,Muon_*';"
    " detfm inspect nano.root --suggest-schema nano.yaml;"
    " detfm inspect stores/jets --verify;"
    " detfm inspect stores/jets --event 12 --split test --out event.png;"
    " detfm inspect samples/jets.root --event 12 --schema data/jets;"
    " detfm inspect stores/jets --augment --cfg quickstart/pretrain --out augmented.png",
)
