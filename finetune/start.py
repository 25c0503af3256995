"""Where a training starts: an encoder, or a store with nothing pretrained. For `finetune` and `anomaly fit`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from foundation.errors import RunError
from foundation.models.published import STAGE as PUBLISHED
from foundation.runs import Run
from foundation.store.index import MANIFEST


def origin_of(start: str | Path) -> Run | None:
    """The pretrain run or published encoder at `start`; None where it is a store.

    Raises:
        RunError: it is none of these; says which commands make them.
    """
    path = Path(start)
    if (path / MANIFEST).is_file():
        return None
    if not path.is_dir():
        raise RunError(
            f"{path}: no such folder; expected a store (`detfm ingest` makes one), a pretrain run (`detfm pretrain`) "
            "or a published encoder (`detfm publish`)"
        )
    return Run.open(path, "pretrain", PUBLISHED)


def start_arguments(stage: str, start: str, store: str) -> Callable[[Any], Any]:
    """Arguments of a command that trains from `start`; the texts are those of `--help`."""
    return lambda parser: (
        parser.add_argument("start", help=start),
        parser.add_argument("--store", help=store),
        parser.add_argument("--out", default=f"runs/{stage}", help="run folder to write"),
        parser.add_argument("--resume", action="store_true", help="continue an interrupted run"),
        parser.add_argument("--overwrite", action="store_true", help=f"replace a run of stage '{stage}' at --out"),
    )
