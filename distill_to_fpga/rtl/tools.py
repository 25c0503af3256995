"""External programs: found, or named with what to install."""

from __future__ import annotations

import shutil

from foundation.errors import MissingToolError


def tool(program: str, package: str, purpose: str) -> str:
    """Path of a program. Raises MissingToolError: it is not installed; the message says how to install it."""
    found = shutil.which(program)
    if found is None:
        raise MissingToolError(
            f"{purpose} needs '{program}', which is not on PATH.\n"
            f"  Debian, Ubuntu: apt install {package}    Fedora: dnf install {package}"
        )
    return found
