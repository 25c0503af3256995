"""Evaluating a tagger on a split of its store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetune.model import outputs
from finetune.saved import load_tagger
from foundation.embedding import apply
from foundation.evaluation import evaluate_split
from foundation.runs import Run
from foundation.store import Store


@dataclass(frozen=True)
class EvaluateConfig:
    """What to evaluate on.

    Attributes:
        split: of the store; `test` was never trained on.
    """

    split: str = "test"


def evaluate_tagger(
    origin: Run, *, cfg: EvaluateConfig, out: str | Path, store: str | Path | None = None, overwrite: bool = False
) -> Run:
    """Writes metrics.json, predictions and plots of a finetune run.

    Raises:
        RunError, DataError: a folder is not what it should be, or the split holds no label of the task.
    """
    where = Path(store) if store is not None else origin.input("store")
    data, tagger = Store.open(where), load_tagger(origin)
    predicted, task = apply(tagger, outputs, data, cfg.split), tagger.task
    targets = None if task.label is None else task.targets(data.labels(cfg.split, task.label))
    run = Run.create(
        out,
        "evaluate",
        config=cfg,
        schema=data.schema,
        inputs={"model": origin.path, "store": where},
        overwrite=overwrite,
    )
    found = evaluate_split(run.path, data, cfg.split, predicted, targets, task.classes, task.regression)
    run.write("metrics.json", found)
    return run
