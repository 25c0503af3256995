"""Columns -> a ROOT file: one TTree `tree` of jagged and flat branches, and the settings as JSON in `metadata`.

Equal columns give equal bytes: the file's identifier is made from the settings, and its dates are all the same.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import awkward as ak
import numpy as np
import uproot

from foundation import __version__
from foundation.command import to_dict
from foundation.errors import RunError
from foundation.simulate.config import SimulateConfig

TREE, METADATA, ENRICHMENT = "tree", "metadata", "enrichment"
MADE_BY = "detfm simulate"
DATE = datetime.datetime(2000, 1, 1)
COMPRESSION = {"zstd": uproot.ZSTD(5), "zlib": uproot.ZLIB(4), "lzma": uproot.LZMA(9)}


class TreeWriter:
    """Appends blocks of rows to the tree; each block becomes one basket per branch."""

    def __init__(self, file: Any):
        self.file = file
        self.tree: Any = None

    def append(self, columns: dict[str, Any]) -> None:
        """Jagged columns are branches `PREFIX_name` with the branch nPREFIX as their common counter."""
        groups: dict[str, dict[str, ak.Array]] = {}
        for name, column in columns.items():
            if isinstance(column, ak.Array):
                prefix, _, field = name.partition("_")
                groups.setdefault(prefix, {})[field] = column
        records = {prefix: ak.zip(fields) for prefix, fields in groups.items()}
        block = {n: c for n, c in columns.items() if not isinstance(c, ak.Array)} | records
        if self.tree is None:
            flat = {n: (c.dtype, c.shape[1:]) if c.ndim > 1 else c.dtype for n, c in block.items() if n not in records}
            self.tree = self.file.mktree(TREE, flat | {n: ak.type(c).content for n, c in records.items()})
        self.tree.extend(block)


def joined(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows of several chunks, one after the other."""
    return {name: _join([chunk[name] for chunk in chunks]) for name in chunks[0]}


def shuffled(columns: dict[str, Any], rng: np.random.Generator, together: int = 1) -> dict[str, Any]:
    """The rows in random order; each `together` of them stay as they are."""
    lots = rng.permutation(len(next(iter(columns.values()))) // together)
    order = (lots[:, None] * together + np.arange(together)).ravel()
    return {name: column[order] for name, column in columns.items()}


def by_time(columns: dict[str, Any]) -> dict[str, Any]:
    """The rows in order of `time`; those of one time stay as they are."""
    order = np.argsort(columns["time"], kind="stable")
    return {name: column[order] for name, column in columns.items()}


def _join(parts: list[Any]) -> Any:
    return ak.concatenate(parts) if isinstance(parts[0], ak.Array) else np.concatenate(parts)


@contextmanager
def new_file(path: Path, cfg: SimulateConfig) -> Iterator[TreeWriter]:
    """Writes the file `path`, replacing what is there. The cross sections that weights are made of are kept in it."""
    text = json.dumps(metadata(cfg), indent=1)
    identifier = uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4)
    # uproot dates every object that it writes, and takes no date from its caller.
    same_date = mock.patch("uproot._util.datetime_to_code", return_value=uproot._util.datetime_to_code(DATE))
    options = {"compression": COMPRESSION[cfg.compression], "uuid_function": lambda: identifier}
    with same_date, uproot.recreate(path, **options) as file:
        file[METADATA] = text
        if cfg.events.enrichment.bins:
            file[ENRICHMENT] = json.dumps(_enrichment(cfg), indent=1)
        yield TreeWriter(file)


def _enrichment(cfg: SimulateConfig) -> dict[str, Any]:
    from foundation.simulate.enrichment import cross_sections  # needs Pythia, which reading does not

    sigma, whole = cross_sections(cfg)
    edges = cfg.events.enrichment.pthat_edges
    return {"pthat_edges": edges, "sigma_mb": sigma.tolist(), "sigma_all_mb": whole, "probability": list(sigma / whole)}


def check_room(out: Path, overwrite: bool) -> None:
    """Refuses to touch what exists, unless `overwrite` and it is a file that `detfm simulate` wrote.

    Raises:
        RunError: `out` exists and stays.
    """
    if not out.exists():
        return
    if not overwrite:
        raise RunError(f"{out} exists and is left as it is; choose another --out, or --overwrite to replace it")
    if read_metadata(out) is None:
        raise RunError(
            f"{out} was not written by `{MADE_BY}`, so --overwrite does not replace it; choose another --out"
        )


def read_metadata(path: Path) -> dict[str, Any] | None:
    """What `metadata` gave when `path` was written; None for any other file."""
    try:
        with uproot.open(path) as file:
            found = json.loads(file[METADATA])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) and found.get("made_by") == MADE_BY else None


def metadata(cfg: SimulateConfig) -> dict[str, Any]:
    """What is stored beside the rows: every setting that has an effect, with the seed, and the versions of what made
    them."""
    packages = ("pythia8mc", "fastjet", "numpy", "awkward", "uproot")
    versions = {"detfm": __version__, **{package: version(package) for package in packages}}
    settings = to_dict(cfg)
    if cfg.sample == "jets":
        del settings["events"]
    return {"made_by": MADE_BY, "settings": settings, "versions": versions}
