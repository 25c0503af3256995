"""Evaluating a tagger on a split of its store, of another one, or of two against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from finetune.config import FinetuneConfig
from finetune.fits import check_same_classes, check_same_inputs
from finetune.labelled import labelled_rows
from finetune.leakage import leakage, refuse_leakage
from finetune.model import Tagger, outputs
from finetune.predict import WholeSplit, predict
from finetune.saved import load_tagger
from finetune.shift import (
    draw_shift,
    embedding_shift,
    input_shift,
    performance_shift,
    score_shift,
)
from foundation.embedding import apply, embed
from foundation.errors import ConfigError, DataError, RunError
from foundation.evaluation import Fitted, check_settings, evaluate_predictions, write_predictions
from foundation.evaluation_config import EvaluateConfig
from foundation.metrics_bootstrap import Bootstrap
from foundation.predictions import Predictions
from foundation.runs import Run
from foundation.store import Store
from foundation.tables import row_columns, write_table

__all__ = ["EvaluateConfig", "evaluate_tagger"]

AGAINST = "against"  # folder of what was found on the other store


def evaluate_tagger(
    origin: Run,
    *,
    cfg: EvaluateConfig,
    out: str | Path,
    store: str | Path | None = None,
    against: str | Path | None = None,
    overwrite: bool = False,
) -> Run:
    """Writes metrics.json, predictions and plots of a finetune run.

    Args:
        store: where to evaluate, if not on the store that it was trained on.
        against: another store, whose differences from the first are measured.

    Raises:
        RunError, DataError: a folder is not what it should be, the split holds no label of the task, or its rows were
            trained on.
        SchemaError: a store has other inputs or classes than the model.
        ConfigError: a setting names what is not there.
    """
    tagger, where = load_tagger(origin), Path(store) if store is not None else origin.input("store")
    if cfg.embeddings and not isinstance(tagger, Tagger):
        raise ConfigError(f"cfg.embeddings: {origin.path} is a boosted tree, which has no embedding")
    data, other = Store.open(where), None if against is None else Store.open(against)
    for each in (data, other):
        if each is not None:
            check_settings(cfg, each, cfg.split, tagger.task.classes)
            _check_fits(origin, tagger, each)
            _check_leakage(origin, tagger, each, cfg)
    found = _said(origin, tagger, data, cfg.split)
    inputs = {"model": origin.path, "store": where} | ({} if against is None else {"against": Path(against)})
    seeds = {"bootstrap": cfg.seed}
    run = Run.create(out, "evaluate", config=cfg, schema=data.schema, inputs=inputs, seeds=seeds, overwrite=overwrite)
    fitted = fitted_temperature(origin, tagger, cfg)
    figures = evaluate_predictions(run.path, data, cfg.split, found, cfg, fitted)
    if cfg.embeddings and isinstance(tagger, Tagger):
        columns = {"embedding": embed(tagger.encoder, data, cfg.split)} | row_columns(data, cfg.split)
        write_table(run.path, "embeddings", columns)
    if other is not None:
        figures |= _against(run.path, origin, tagger, data, other, found, cfg, fitted)
    run.write("metrics.json", figures)
    return run


def fitted_temperature(origin: Run, tagger: Tagger | WholeSplit, cfg: EvaluateConfig) -> Fitted:
    """The temperature, from the split `cfg.calibration` of the store that the model was trained on."""
    if not cfg.calibration or cfg.calibration == cfg.split:
        return Fitted(where="no split is left to fit a temperature on" if cfg.calibration else "switched off")
    try:
        data = Store.open(origin.input("store"))
    except (RunError, DataError):
        return Fitted(where="the store that the model was trained on is gone")
    if cfg.calibration not in data.splits or not data.length(cfg.calibration):
        return Fitted(where=f"{data.path.resolve()} has no rows in a split '{cfg.calibration}'")
    return Fitted.of(predict(tagger, data, cfg.calibration), f"{cfg.calibration} of {data.path.resolve()}")


def _check_fits(origin: Run, tagger: Tagger | WholeSplit, data: Store) -> None:
    if isinstance(tagger, Tagger):
        check_same_inputs(tagger.encoder.schema, data.schema)
    check_same_classes(origin.schema, data.schema, tagger.task.label)


def _check_leakage(origin: Run, tagger: Tagger | WholeSplit, data: Store, cfg: EvaluateConfig) -> None:
    """Refuses rows that the model was trained on, where the store of the training is still there."""
    if cfg.allow_leakage or cfg.split == "train":
        return
    try:
        trained = Store.open(origin.input("store"))
    except (RunError, DataError):
        return
    settings = origin.config(FinetuneConfig)
    rows = labelled_rows(trained, tagger.task, settings.labels, settings.train.seed)
    refuse_leakage(leakage(trained, rows, data, cfg.split), trained, data, cfg.split)


def _said(origin: Run, tagger: Tagger | WholeSplit, data: Store, split: str) -> Predictions:
    """Predictions, also for a store without the label of the task: its targets are unknown."""
    task = tagger.task
    known = check_same_classes(origin.schema, data.schema, task.label)
    if known or not isinstance(tagger, Tagger) or task.kind != "class":
        return predict(tagger, data, split)
    made = apply(tagger, outputs, data, split)
    unknown = np.full(len(made), -1, np.int32)
    return Predictions("class", task.classes, made[:, : len(task.classes)], unknown, np.arange(len(made)))


def _against(
    folder: Path,
    origin: Run,
    tagger: Tagger | WholeSplit,
    here: Store,
    there: Store,
    found: Predictions,
    cfg: EvaluateConfig,
    fitted: Fitted,
) -> dict[str, Any]:
    """`shift`, and under `against` the figures on the other store, if it has labels."""
    said = _said(origin, tagger, there, cfg.split)
    (folder / AGAINST).mkdir()
    labelled = said.kind == "none" or bool(np.any(said.targets >= 0))
    figures: dict[str, Any] = {}
    if labelled:
        figures[AGAINST] = evaluate_predictions(folder / AGAINST, there, cfg.split, said, cfg, fitted)
    else:
        write_predictions(folder / AGAINST, there, cfg.split, said)
    features = input_shift(here, there, cfg.split, cfg.seed)
    draw_shift(folder, features)
    samples = [
        Bootstrap(s.length(cfg.split), cfg.replicas, cfg.seed + i, cfg.confidence) for i, s in ((0, here), (1, there))
    ]
    shift: dict[str, Any] = {"here": str(here.path.resolve()), "there": str(there.path.resolve())}
    shift |= {"rows_here": here.length(cfg.split), "rows_there": there.length(cfg.split)}
    if isinstance(tagger, Tagger):
        shift["embedding"] = embedding_shift(tagger.encoder, here, there, cfg.split, cfg.seed)
    shift |= {"performance": performance_shift(found, said, (samples[0], samples[1]))}
    return figures | {"shift": shift | {"scores": score_shift(found, said), "features": features}}
