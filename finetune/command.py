"""`detfm finetune`: encoder (or store, from scratch) + labels -> tagger."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from flax import nnx
from jaxtyping import Int

from finetune.adapt import check_same_inputs
from finetune.backbone import build_backbone
from finetune.config import FinetuneConfig
from finetune.labelled import labelled_rows
from finetune.model import Tagger
from finetune.saved import load_tagger, save_tagger
from finetune.task import Task
from finetune.truth import missing, present, scales, unknown
from foundation.command import Command
from foundation.embedding import input_statistics
from foundation.errors import DataError
from foundation.loader import Loader
from foundation.models import count_parameters, load_encoder
from foundation.models.published import STAGE, data_of
from foundation.runs import Run, continue_or_create
from foundation.store import Store
from foundation.train import LearningRate, check, fit

__all__ = ["COMMAND", "finetune", "load_tagger"]


def finetune(
    start: str | Path,
    *,
    cfg: FinetuneConfig,
    out: str | Path,
    store: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Trains a tagger on labelled examples of the `train` split.

    Args:
        start: a pretrain run or a published encoder (fine-tuning), or a store (from scratch).
        store: labelled data, if another than the encoder was pretrained on; a published encoder comes without.
        out: run folder to write.

    Raises:
        RunError, DataError: a folder is not what it should be.
        SchemaError: the task names labels that the data lacks, or the encoder was trained on another schema.
        DataError: too few labelled examples.
    """
    origin = None if (Path(start) / "manifest.json").is_file() else Run.open(start, "pretrain", STAGE)
    where = data_of(origin, store) if origin is not None else Path(store or start)
    data = Store.open(where)
    tagger, rows = _build(origin, data, cfg)
    check(tagger, cfg.train)
    batches = Loader(data, "train", batch_size=cfg.batch_size, buckets=cfg.buckets, seed=cfg.train.seed, subset=rows)
    run = continue_or_create(
        out,
        "finetune",
        config=cfg,
        schema=data.schema,
        inputs={"store": where} | ({} if origin is None else {"encoder": origin.path}),
        seeds={"train": cfg.train.seed},
        resume=resume,
        overwrite=overwrite,
    )
    fit(tagger, batches, _rates(cfg, pretrained=origin is not None), run.path, label="finetune", resume=resume)
    save_tagger(run.path, tagger)
    found = {"parameters": count_parameters(tagger), "labels": len(rows)}
    run.write("metrics.json", found | {"unknown": unknown(data, "train", tagger.task)})
    return run


def _build(origin: Run | None, data: Store, cfg: FinetuneConfig) -> tuple[Tagger, Int[np.ndarray, " n"]]:
    rngs = nnx.Rngs(cfg.train.seed)
    if origin is None:
        encoder = build_backbone(data.schema, input_statistics(data), cfg, rngs=rngs)
    else:
        encoder = load_encoder(origin.path)
        check_same_inputs(encoder.schema, data.schema)
    task = Task.resolve(data.schema, cfg.task, present(data, cfg.task))
    rows = labelled_rows(data, task, cfg.labels, cfg.train.seed)
    if lacking := missing(data, task, rows):
        raise DataError(
            f"no labelled example of {', '.join(lacking)} among the {len(rows)} training rows drawn; "
            "raise labels, or take the class out of task.groups"
        )
    return Tagger(encoder, task, cfg, **scales(data, task, cfg.task, rows), rngs=rngs), rows


def _rates(cfg: FinetuneConfig, pretrained: bool):
    factor = 0.0 if cfg.mode != "full" else (cfg.trunk if pretrained else 1.0)
    rates = (LearningRate("^encoder/", factor), *cfg.train.learning_rates)
    return dataclasses.replace(cfg.train, learning_rates=rates)


COMMAND = Command(
    run=lambda args: finetune(
        args.start, cfg=args.cfg, out=args.out, store=args.store, resume=args.resume, overwrite=args.overwrite
    ),
    config=FinetuneConfig,
    arguments=lambda parser: (
        parser.add_argument("start", help="a pretrain run or a published encoder; or a store, to train from scratch"),
        parser.add_argument("--store", help="labelled data, if another than the encoder was pretrained on"),
        parser.add_argument("--out", default="runs/finetune", help="run folder to write"),
        parser.add_argument("--resume", action="store_true", help="continue an interrupted run"),
        parser.add_argument("--overwrite", action="store_true", help="replace a finetune run at --out"),
    ),
    description="Trains a tagger (and regressor) on a pretrained encoder, or from scratch on a store. "
    "Example: detfm finetune runs/pretrain --cfg.labels 1000 --cfg.mode full --out runs/finetune",
)
