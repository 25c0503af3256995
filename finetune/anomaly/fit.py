"""`detfm anomaly fit`: store (or encoder) -> anomaly run."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from jaxtyping import Int

from finetune.adapt import adapt
from finetune.anomaly.config import AnomalyConfig, RowsConfig
from finetune.anomaly.inputs import EmbeddingInputs, RawInputs
from finetune.anomaly.model import vectors
from finetune.anomaly.saved import STAGE, build_model, save_anomaly
from finetune.anomaly.vectors import VectorBatches
from foundation.command import Command
from foundation.embedding import apply, input_statistics
from foundation.errors import ConfigError, DataError
from foundation.models import count_parameters, load_encoder
from foundation.models.published import STAGE as PUBLISHED
from foundation.models.published import data_of
from foundation.progress import console
from foundation.runs import Run, continue_or_create
from foundation.store import Store
from foundation.train import check, fit

METRICS = "metrics.json"


def anomaly_fit(
    start: str | Path,
    *,
    cfg: AnomalyConfig,
    out: str | Path,
    store: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Learns what is normal in the `train` split.

    Args:
        start: a pretrain run or a published encoder (inputs: embedding), or a store (inputs: raw).
        store: the data, if another than the encoder was pretrained on.

    Raises:
        RunError, DataError: a folder is not what it should be, or no row is normal.
        ConfigError: the inputs are not those of `start`, or the method cannot take them.
    """
    begun = time.monotonic()
    origin = None if (Path(start) / "manifest.json").is_file() else Run.open(start, "pretrain", PUBLISHED)
    if (origin is not None) != (cfg.inputs == "embedding"):
        needs = "a pretrain run or a published encoder" if cfg.inputs == "embedding" else "a store"
        raise ConfigError(f"cfg.inputs is '{cfg.inputs}', which starts from {needs}; {start} is none")
    where = data_of(origin, store) if origin is not None else Path(store or start)
    data = Store.open(where)
    rows = normal_rows(data, cfg.rows, cfg.train.seed)
    inputs, notes = _inputs(origin, data, cfg)
    model = build_model(inputs, cfg)
    run = continue_or_create(
        out,
        STAGE,
        config=cfg,
        schema=data.schema,
        inputs={"store": where} | ({} if origin is None else {"encoder": origin.path}),
        seeds={"train": cfg.train.seed},
        resume=resume,
        overwrite=overwrite,
    )
    if resume and (run.path / METRICS).is_file():
        console.print(f"anomaly: {run.path} is finished already", highlight=False)
        return run
    for note in notes:
        console.print(f"anomaly: {note}", highlight=False)
    x = apply(inputs, vectors, data, "train", rows=rows)
    ones = np.ones(len(x), np.float32)
    if isinstance(inputs, EmbeddingInputs):
        x = inputs.standardize(x)
    model.method.prepare(x, ones, cfg.train.seed)
    found: dict = {"rows": len(x), "inputs": list(inputs.shape), "parameters": count_parameters(model.method)}
    if model.method.trains:
        check(model.method, cfg.train)
        batches = VectorBatches(x, ones, cfg.batch_size, cfg.train.seed)
        ended = fit(model.method, batches, cfg.train, run.path, label="anomaly", resume=resume, keep_last=False)
        found["steps"] = ended.steps
    save_anomaly(run.path, model)
    run.write(METRICS, found | {"seconds": time.monotonic() - begun})
    return run


def normal_rows(data: Store, cfg: RowsConfig, seed: int) -> Int[np.ndarray, " n"]:
    """Rows of `train` that are taken as normal, ascending.

    Raises:
        ConfigError, DataError: a label or class is not there, or no row is left.
    """
    rows = np.arange(data.length("train"))
    if cfg.label:
        label = data.schema.labels.get(cfg.label)
        unknown = [] if label is None else [c for c in cfg.classes if c not in label.classes]
        if label is None or label.kind != "class" or unknown or not cfg.classes:
            raise ConfigError(f"rows.label '{cfg.label}' with classes {list(cfg.classes)}: no such class label here")
        numbers = [list(label.classes).index(c) for c in cfg.classes]
        rows = rows[np.isin(data.labels("train", cfg.label), numbers)]
    if not len(rows):
        raise DataError(f"{data.path}: no row of 'train' is of {cfg.label} {list(cfg.classes)}: nothing to learn from")
    drawn = np.random.default_rng(seed).permutation(len(rows))[: cfg.most]
    return rows[np.sort(drawn)]


def _inputs(origin: Run | None, data: Store, cfg: AnomalyConfig) -> tuple[RawInputs | EmbeddingInputs, list[str]]:
    if origin is None:
        return RawInputs(data.schema, input_statistics(data), cfg.raw), []
    backbone, notes = adapt(load_encoder(origin.path), data, cfg.adapt)
    return EmbeddingInputs(backbone), notes


COMMAND = Command(
    run=lambda args: anomaly_fit(
        args.start, cfg=args.cfg, out=args.out, store=args.store, resume=args.resume, overwrite=args.overwrite
    ),
    config=AnomalyConfig,
    arguments=lambda parser: (
        parser.add_argument("start", help="a store; or, for inputs: embedding, a pretrain run or a published encoder"),
        parser.add_argument("--store", help="the data, if another than the encoder was pretrained on"),
        parser.add_argument("--out", default="runs/anomaly", help="run folder to write"),
        parser.add_argument("--resume", action="store_true", help="continue an interrupted run"),
        parser.add_argument("--overwrite", action="store_true", help="replace an anomaly run at --out"),
    ),
    description="Learns from unlabelled crossings what is normal. "
    "Example: detfm anomaly fit stores/zerobias --cfg anomaly/autoencoder --out runs/anomaly",
)
