"""Columns -> a ROOT file: one TTree `tree` of jagged and flat branches, and the settings as JSON in `metadata`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from foundation import __version__
from foundation.command import to_dict
from foundation.errors import RunError
from foundation.simulate.config import SimulateConfig

TREE, METADATA = "tree", "metadata"
MADE_BY = "detfm simulate"
PARTICLES = "part"  # jagged columns are branches part_*, with the branch npart as their common counter


class JetWriter:
    """Appends blocks of jets to the tree; each block becomes one basket per branch."""

    def __init__(self, file: Any):
        self.file = file
        self.tree: Any = None

    def append(self, columns: dict[str, Any]) -> None:
        prefix = f"{PARTICLES}_"
        particles = {n.removeprefix(prefix): c for n, c in columns.items() if n.startswith(prefix)}
        block = {n: c for n, c in columns.items() if not n.startswith(prefix)}
        block[PARTICLES] = ak.zip(particles)
        if self.tree is None:
            types = {n: c.type if isinstance(c, ak.Array) else c.dtype for n, c in block.items()}
            types[PARTICLES] = ak.type(block[PARTICLES]).content
            self.tree = self.file.mktree(TREE, types)
        self.tree.extend(block)


def shuffled(blocks: list[dict[str, Any]], rng: np.random.Generator) -> dict[str, Any]:
    """The jets of several chunks in random order."""
    order = rng.permutation(sum(len(block["event_id"]) for block in blocks))
    return {name: _join([block[name] for block in blocks])[order] for name in blocks[0]}


def _join(parts: list[Any]) -> Any:
    return ak.concatenate(parts) if isinstance(parts[0], ak.Array) else np.concatenate(parts)


@contextmanager
def new_file(out: Path, cfg: SimulateConfig, overwrite: bool = False) -> Iterator[JetWriter]:
    """A writer whose file appears at `out` complete, when the block ends without an error, or not at all.

    Raises:
        RunError: see `check_room`.
    """
    check_room(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        with uproot.recreate(partial, compression=uproot.LZMA(9)) as file:
            file[METADATA] = json.dumps(metadata(cfg), indent=1)
            yield JetWriter(file)
        check_room(out, overwrite)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def check_room(out: Path, overwrite: bool) -> None:
    """Refuses to touch what exists, unless `overwrite` and it is a file that `detfm simulate` wrote.

    Raises:
        RunError: `out` exists and stays.
    """
    if not out.exists():
        return
    if not overwrite:
        raise RunError(f"{out} exists and is left as it is; choose another --out, or --overwrite to replace it")
    try:
        with uproot.open(out) as file:
            ours = json.loads(file[METADATA])["made_by"] == MADE_BY
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise RunError(
            f"{out} was not written by `{MADE_BY}`, so --overwrite does not replace it; choose another --out"
        )


def metadata(cfg: SimulateConfig) -> dict[str, Any]:
    """What is stored beside the jets: every setting, and the versions of what made them."""
    packages = ("pythia8mc", "fastjet", "numpy", "awkward", "uproot")
    versions = {"detfm": __version__, **{package: version(package) for package in packages}}
    return {"made_by": MADE_BY, "settings": to_dict(cfg), "versions": versions}
