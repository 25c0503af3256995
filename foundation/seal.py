"""The seal of a checkpoint: a list of its files with their checksums, by which damage is found and named."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from foundation.runs import sealed, sha256, write_json

SEAL = "seal.json"
LATE = ("_CHECKPOINT_METADATA", "commit_success.txt")
THREADS = 4


def seal(folder: Path) -> None:
    """Writes the checksums of the files in `folder` beside them.

    Not of the two that orbax still touches when it gives the folder its name: no array depends on them.
    """
    late = {folder / name for name in LATE}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path not in late)
    write_json(folder / SEAL, sealed({"files": _checksums(files, folder)}))


def damage(folder: Path) -> str:
    """What is wrong with a sealed checkpoint: the first file at fault and how, or an empty string."""
    try:
        found = json.loads((folder / SEAL).read_text())
    except FileNotFoundError:
        return f"{SEAL} is missing"
    except ValueError:
        return f"{SEAL} is not readable"
    if not isinstance(found, dict) or found != sealed(found) or "files" not in found:
        return f"{SEAL} has been changed"
    wanted = found["files"]
    missing = next((name for name in wanted if not (folder / name).is_file()), None)
    if missing is not None:
        return f"{missing} is missing"
    for name, (size, _) in wanted.items():
        if (now := (folder / name).stat().st_size) != size:
            return f"{name} has {now} bytes instead of {size}"
    now = _checksums([folder / name for name in wanted], folder)
    changed = next((name for name in wanted if now[name] != wanted[name]), None)
    return "" if changed is None else f"{changed} has been changed"


def _checksums(files: list[Path], folder: Path) -> dict[str, list]:
    """Relative path -> size in bytes, SHA-256."""
    with ThreadPoolExecutor(THREADS) as threads:  # hashing releases the interpreter
        found = list(threads.map(sha256, files))
    return {str(path.relative_to(folder)): [path.stat().st_size, digest] for path, digest in zip(files, found)}
