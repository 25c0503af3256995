"""Where things lie in a bundle."""

from __future__ import annotations

STUDENT_FOLDER = "student"  # of a distill run, too
TARGETS_FOLDER = "targets"
VECTORS_FOLDER = "vectors"
README = "README.md"
REPORT = "report"
CARD = "model_card"
INPUTS = "inputs.json"
SUMS = "SHA256SUMS"


def archive_name(name: str, version: int) -> str:
    return f"{name}_v{version}.tar.gz"
