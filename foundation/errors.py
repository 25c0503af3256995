"""Errors meant for the user: what was expected, what came, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DetfmError(Exception):
    """Base of every error a user can cause. The CLI prints it as one message and exits with status 2."""


class ConfigError(DetfmError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class SchemaError(DetfmError):
    """A detector schema is malformed, or does not fit the data or model it meets."""


class DataError(DetfmError):
    """An input file or store is missing, truncated, corrupted or holds values that cannot be used."""


class RunError(DetfmError):
    """A run folder is missing, of the wrong stage, incomplete, or would be overwritten."""


class TrainingError(DetfmError):
    """Training cannot go on (a loss became NaN, a checkpoint does not fit)."""


class ToolError(DetfmError):
    """An external tool or an optional dependency is missing or failed."""


class MissingToolError(ToolError):
    """It is not installed; the message is what to install."""


def close_names(name: str, known: Iterable[str], most: int = 4) -> str:
    """A hint for a misspelt `name`: the close ones among `known`, else all of them if they are few."""
    names = sorted(known)
    close = [each for each in names if each.lower() == name.lower()]
    close = close or difflib.get_close_matches(name, names, n=most, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"known: {shown or 'none'}"


def missing_extra(package: str, extra: str, purpose: str) -> MissingToolError:
    """The error for an optional dependency that is not installed: it is the install command."""
    return MissingToolError(
        f"{purpose} needs the package '{package}', which is not installed.\n  pip install 'detfm[{extra}]'"
    )
