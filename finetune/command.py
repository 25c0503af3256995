"""`detfm finetune`: encoder (or store, from scratch) + labels -> tagger."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from flax import nnx

from finetune.adapt import adapt
from finetune.backbone import build_backbone
from finetune.config import FinetuneConfig
from finetune.labelled import Labelled, choose
from finetune.leakage import check_leakage
from finetune.model import Tagger
from finetune.modes import check_mode, learning, training
from finetune.saved import load_tagger, save_tagger
from finetune.start import origin_of, start_arguments
from finetune.tree_run import finetune_tree
from finetune.truth import scales
from finetune.validation import Validation
from foundation.command import Command
from foundation.embedding import input_statistics
from foundation.loader import Loader
from foundation.models import Backbone, count_parameters, load_encoder
from foundation.models.lora import add_adapters, merge_adapters
from foundation.models.published import data_of
from foundation.progress import console
from foundation.runs import Run, continue_or_create
from foundation.store import Store
from foundation.train import Finished, check, fit

__all__ = ["COMMAND", "finetune", "load_tagger"]

METRICS = "metrics.json"
SMALL = 20_000  # labelled rows that are read so fast that nothing needs to read ahead


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
        SchemaError: the task names labels that the data lacks, or the encoder cannot read this data.
        ConfigError: settings that contradict each other.
        DataError: too few labelled examples, or examples of `val` or `test` among them.
    """
    begun = time.monotonic()
    origin = origin_of(start)
    where = data_of(origin, store) if origin is not None else Path(store or start)
    data, pretrained = Store.open(where), origin is not None
    check_mode(cfg, pretrained=pretrained)
    labelled = choose(data, cfg)
    if cfg.model == "tree":
        return finetune_tree(data, cfg, labelled, out=out, resume=resume, overwrite=overwrite)
    tagger, adapted = _build(origin, data, cfg, labelled)
    plan = training(cfg, tagger, pretrained=pretrained)
    check(tagger, plan)
    learnt = learning(tagger, plan)
    validation = Validation(data, labelled.task, cfg.stop, cfg.train.seed) if cfg.stop.metric else None
    leaked, unchecked = check_leakage(data, labelled.rows, origin, allow=cfg.allow_leakage)
    batches = Loader(
        data,
        "train",
        batch_size=cfg.batch_size,
        buckets=cfg.buckets,
        seed=plan.seed,
        subset=labelled.rows,
        ahead=len(labelled.rows) > SMALL,
    )
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
    if resume and (run.path / METRICS).is_file():
        console.print(f"finetune: {run.path} is finished already", highlight=False)
        return run
    for note in (*labelled.notes(), *adapted, *unchecked):
        console.print(f"finetune: {note}", highlight=False)
    ended = fit(
        tagger,
        batches,
        plan,
        run.path,
        label="finetune",
        resume=resume,
        evaluate=validation,
        stop=cfg.stop if validation else None,
        keep_last=False,
    )
    merge_adapters(tagger)
    save_tagger(run.path, tagger)
    found = {"parameters": count_parameters(tagger), "trained": learnt, "mode": cfg.mode if pretrained else "scratch"}
    found |= {"adapted": adapted, "leaked": leaked} | labelled.figures() | _end(ended, cfg.stop.metric)
    run.write(METRICS, found | {"seconds": time.monotonic() - begun})
    return run


def _end(ended: Finished, metric: str) -> dict[str, Any]:
    """How the training ended, for metrics.json."""
    found = {"steps": ended.steps, "model_of_step": ended.step, "stopped": ended.reason}
    return found | ({} if ended.value is None else {f"val/{metric}": ended.value})


def _build(origin: Run | None, data: Store, cfg: FinetuneConfig, labelled: Labelled) -> tuple[Tagger, list[str]]:
    """The tagger of step 0, and what the user should know of how it reads the data."""
    rngs = nnx.Rngs(cfg.train.seed)
    backbone: Backbone
    if origin is None:
        backbone, notes = build_backbone(data.schema, input_statistics(data), cfg, rngs=rngs), data.constants()
        notes = [f"{name} is the same in all training examples: nothing can be learnt from it" for name in notes]
    else:
        encoder = load_encoder(origin.path)
        backbone, notes = adapt(encoder, data, cfg.adapt)
        if cfg.mode == "lora":
            add_adapters(encoder, cfg.lora, rngs=nnx.Rngs(cfg.train.seed + 1))
    return Tagger(
        backbone, labelled.task, cfg, **scales(data, labelled.task, cfg.task, labelled.rows), rngs=rngs
    ), notes


COMMAND = Command(
    run=lambda args: finetune(
        args.start, cfg=args.cfg, out=args.out, store=args.store, resume=args.resume, overwrite=args.overwrite
    ),
    config=FinetuneConfig,
    arguments=start_arguments(
        "finetune",
        "a pretrain run or a published encoder; or a store, to train from scratch",
        "labelled data, if another than the encoder was pretrained on",
    ),
    description="Trains a tagger (and regressor) on a pretrained encoder, or from scratch on a store. "
    "Example: detfm finetune runs/pretrain --cfg finetune/full --cfg.labels 1000 --out runs/finetune",
)
