"""External programs: found, or named with what to install."""

from __future__ import annotations

import shutil

from foundation.errors import ToolError


def tool(program: str, package: str, purpose: str) -> str:
    """Path of a program. Raises ToolError: it is not installed; the message is the install command."""
    found = shutil.which(program)
    if found is None:
        raise ToolError(
            f"{purpose} needs '{program}', which is not on PATH.\n"
            f"  Debian, Ubuntu: apt install {package}    Fedora: dnf install {package}"
        )
    return found
