"""Files in a bundle that others wrote: each lies in a folder with its licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# What tells one licence from another -> its SPDX name; the first that fits.
MARKS = (
    (("GNU LESSER GENERAL PUBLIC LICENSE", "Version 3"), "LGPL-3.0"),
    (("GNU GENERAL PUBLIC LICENSE", "Version 3"), "GPL-3.0"),
    (("Apache License", "Version 2.0"), "Apache-2.0"),
    (("Permission is hereby granted, free of charge",), "MIT"),
    (("Redistribution and use in source and binary forms", "Neither the name"), "BSD-3-Clause"),
    (("Redistribution and use in source and binary forms",), "BSD-2-Clause"),
)


@dataclass(frozen=True)
class Licence:
    """A folder of third-party files.

    Attributes:
        folder: inside the bundle.
        files: names inside the folder.
        spdx: the licence's name.
        text: file with its text, inside the bundle.
    """

    folder: str
    files: tuple[str, ...]
    spdx: str
    text: str


def third_party(root: Path) -> list[Licence]:
    """Every folder below `root` that has a licence file."""
    found = []
    for path in sorted(p for p in root.rglob("*") if p.stem in ("LICENSE", "LICENCE", "COPYING") and p.is_file()):
        files = sorted(p.relative_to(path.parent).as_posix() for p in path.parent.rglob("*") if p.is_file())
        files.remove(path.name)
        folder, text = path.parent.relative_to(root).as_posix(), path.relative_to(root).as_posix()
        found.append(Licence(folder, tuple(files), spdx(path), text))
    return found


def spdx(path: Path) -> str:
    """Name of the licence in a file."""
    text = path.read_text(errors="replace")
    for marks, name in MARKS:
        if all(mark in text for mark in marks):
            return name
    return "see its text"
