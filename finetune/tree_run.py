"""`detfm finetune` with model `tree`: a boosted tree from the same store and the same labels as a network."""

from __future__ import annotations

import time
from pathlib import Path

from finetune.config import FinetuneConfig
from finetune.labelled import Labelled
from finetune.leakage import check_leakage
from finetune.trees import check_tree, save_tree, train_tree
from foundation.progress import console
from foundation.runs import Run, continue_or_create
from foundation.store import Store


def finetune_tree(
    data: Store,
    cfg: FinetuneConfig,
    labelled: Labelled,
    *,
    out: str | Path,
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Trains a boosted tree on the labelled rows; settings of networks (head, mode, train.steps) have no effect.

    Args:
        resume: accepted of an interrupted run, which starts again.

    Raises:
        ConfigError: a tree cannot do this task.
        DataError: early stopping without labels in `val`, or examples of `val` or `test` among the training examples.
        ToolError: xgboost is not installed.
    """
    begun = time.monotonic()
    task, seed = labelled.task, cfg.train.seed
    check_tree(task, cfg.tree, cfg.task)
    leaked, unchecked = check_leakage(data, labelled.rows, None, allow=cfg.allow_leakage)
    run = continue_or_create(
        out,
        "finetune",
        config=cfg,
        schema=data.schema,
        inputs={"store": data.path},
        seeds={"train": seed},
        resume=resume,
        overwrite=overwrite,
    )
    for note in (*labelled.notes(), *unchecked):
        console.print(f"finetune: {note}", highlight=False)
    tree = train_tree(data, task, labelled.rows, cfg.tree, cfg.task, seed)
    save_tree(run.path, tree)
    run.write("task.json", {"classes": task.classes})
    run.write(
        "metrics.json",
        {
            "parameters": tree.nodes,
            "labels": len(labelled.rows),
            "labels_per_class": labelled.per_class,
            "left_out": labelled.left_out,
            "unknown": labelled.unknown,
            "mode": "tree",
            "leaked": leaked,
            "rounds": tree.rounds,
            "seconds": time.monotonic() - begun,
        },
    )
    return run
