"""`manifest.json` of an exported project or a bundle of them: what it is, and the checksum of every file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from distill_to_fpga.graph import FixedPointGraph
from foundation import __version__
from foundation.errors import DataError, RunError
from foundation.runs import sha256

MANIFEST = "manifest.json"
GRAPH = "graph.json"
BUNDLE = "detfm.bundle"
FORMAT_VERSION = 1


def form_of(target: str) -> str:
    """What the manifest of a project of this target says of its kind."""
    return f"detfm.{target}_project"


HLS, RTL = form_of("hls"), form_of("rtl")


def write_manifest(root: Path, graph: FixedPointGraph, form: str, **facts: Any) -> None:
    """`form` says which back end wrote the project; the SHA-256 is of every other file."""
    files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and p != root / MANIFEST)
    data = {
        "format": form,
        "format_version": FORMAT_VERSION,
        "detfm": __version__,
        "name": graph.name,
        "version": graph.version,
        "namespace": f"detfm_{graph.name}_v{graph.version}",
        **facts,
        "sha256": {name: sha256(root / name) for name in files},
    }
    (root / MANIFEST).write_text(json.dumps(data, indent=1) + "\n")


def check_manifest(root: Path) -> dict[str, Any]:
    """What the manifest says, once every file is there and has the bytes that were exported.

    Raises:
        RunError: not a project folder.
        DataError: a file is missing or has been changed; names all of them.
    """
    if not (root / MANIFEST).is_file():
        raise RunError(f"{root} is not an exported project: it has no {MANIFEST}; `detfm export` makes one")
    try:
        data = json.loads((root / MANIFEST).read_text())
        if not str(data["format"]).startswith("detfm.") or data["format_version"] != FORMAT_VERSION:
            raise DataError(f"{root / MANIFEST}: expected the manifest of a project, version {FORMAT_VERSION}")
        recorded = dict(data["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{root / MANIFEST} is damaged: {error}; export the project again") from error
    wrong = []
    for name, digest in recorded.items():
        if not (root / name).is_file():
            wrong.append(f"{name} is missing")
        elif sha256(root / name) != digest:
            wrong.append(f"{name} has been changed")
    if wrong:
        raise DataError(f"{root} is not what was exported: {'; '.join(wrong)}. Export it again")
    return data
