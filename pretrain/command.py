"""`detfm pretrain`: store -> encoder, without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flax import nnx

from foundation.command import Command
from foundation.distributed import ending_together, initialize, is_primary, primary_first, process_count, process_index
from foundation.embedding import input_statistics
from foundation.errors import ConfigError, DataError
from foundation.loader import Loader, Pairs
from foundation.models import count_parameters, save_encoder
from foundation.progress import console
from foundation.runs import Run, continue_or_create
from foundation.store import Store
from foundation.train import check, fit
from pretrain.config import PretrainConfig
from pretrain.generator import save_generator, tokenizers
from pretrain.model import Pretrainer
from pretrain.monitor import Monitor, last_seen
from pretrain.objectives.supervised import label_statistics, labels_used
from pretrain.warm_start import Taken, warm_start


def pretrain(
    store: str | Path,
    *,
    cfg: PretrainConfig,
    out: str | Path,
    start: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Trains an encoder on the `train` split of a store, without its labels.

    It begins with the first of these that there is: the newest checkpoint (`resume`), an earlier encoder (`start`),
    fresh parameters. In a job of several processes each calls this; the first one writes the run.

    Args:
        store: folder written by `detfm ingest`.
        out: run folder to write: checkpoints, metrics.jsonl, the finished encoder, report.html.
        start: a pretrain run or a published encoder, see `pretrain.warm_start`.
        resume: continue an interrupted run of equal settings.
        overwrite: replace a pretrain run at `out`.

    Raises:
        DataError, RunError, ConfigError, SchemaError, TrainingError, Interrupted: see the modules that raise them.
    """
    initialize()
    with ending_together():
        data = Store.open(store)
        model = build(data, cfg)
        check(model, cfg.train)
        taken = None if start is None else warm_start(model.encoder, start)
        batches = loader(data, "train", cfg, process_index(), process_count())
        monitor = Monitor(data, cfg, _validation(data, cfg))
        inputs = {"store": store} | ({} if start is None else {"encoder": start}) | tokenizers(cfg)

        def create() -> Run:
            return continue_or_create(
                out,
                "pretrain",
                config=cfg,
                schema=data.schema,
                inputs=inputs,
                seeds={"train": cfg.train.seed},
                resume=resume,
                overwrite=overwrite,
            )

        run = primary_first(create, lambda: Run.open(out, "pretrain"))
        if is_primary():
            for line in _remarks(batches, start, taken):
                console.print(f"pretrain: {line}", highlight=False)
        fit(model, batches, cfg.train, run.path, label="pretrain", resume=resume, evaluate=monitor)
        save_encoder(run.path, model.encoder)
        save_generator(run.path, model.encoder, getattr(model, "next_token", None), cfg)
        if is_primary():
            _finish(run, model, data, cfg)
        return run


def build(data: Store, cfg: PretrainConfig) -> Pretrainer:
    """The model of step 0, with the statistics of a store."""
    statistics = input_statistics(data) | label_statistics(data, cfg.supervised)
    return Pretrainer(data.schema, statistics, cfg, rngs=nnx.Rngs(cfg.train.seed))


def loader(data: Store, split: str, cfg: PretrainConfig, index: int = 0, count: int = 1) -> Loader:
    """Batches of a split for process `index` of `count`, in pairs where the positives are re-simulations."""
    batches = Loader(
        data,
        split,
        subset=_subset(data, cfg) if split == "train" else None,
        batch_tokens=cfg.batch_tokens,
        buckets=cfg.buckets,
        seed=cfg.train.seed,
        process_index=index,
        process_count=count,
    )
    return Pairs(batches) if cfg.positives == "resimulation" else batches


def _subset(data: Store, cfg: PretrainConfig) -> np.ndarray | None:
    """Rows of train, or None for all of them. Raises ConfigError if there are fewer than `rows`."""
    have = data.length("train")
    if not 0 <= cfg.rows <= have:
        raise ConfigError(f"rows {cfg.rows:,}: the train split of {data.path} has {have:,}; 0 takes all")
    return np.sort(np.random.default_rng(cfg.train.seed).permutation(have)[: cfg.rows]) if cfg.rows else None


def _remarks(batches: Loader, start: str | Path | None, taken: Taken | None) -> list[str]:
    """What the user should know before the training begins."""
    found = [] if taken is None else [f"start from {start}: {taken}"]
    if isinstance(batches, Pairs):
        found.append(f"{batches.rows // 2:,} pairs in an epoch; {batches.left_out:,} rows have no partner")
        if shared := batches.across_files:
            found.append(
                f"{shared:,} values of event_id occur in more than one file, and their rows are paired: right if those "
                "files show the same events, wrong if each numbers its own from the beginning"
            )
    return found


def _validation(data: Store, cfg: PretrainConfig) -> Loader | None:
    """Batches of val, if there is one (and, for pairs, if it holds any)."""
    try:
        return loader(data, "val", cfg) if cfg.monitor.batches else None
    except DataError:
        return None


def _finish(run: Run, model: Pretrainer, data: Store, cfg: PretrainConfig) -> None:
    """metrics.json, which says that the run has finished, and the report."""
    used = {"parameters": count_parameters(model.encoder), "labels_used": labels_used(cfg.supervised)}
    run.write("metrics.json", {**used, **last_seen(run.path)})
    if cfg.monitor.report_rows:
        from pretrain.report import write_report  # scikit-learn and matplotlib, which training does not need

        write_report(run, model, data, cfg)


COMMAND = Command(
    run=lambda args: pretrain(
        args.store, cfg=args.cfg, out=args.out, start=args.start, resume=args.resume, overwrite=args.overwrite
    ),
    config=PretrainConfig,
    arguments=lambda parser: (
        parser.add_argument("store", help="folder written by `detfm ingest`"),
        parser.add_argument("--out", default="runs/pretrain", help="run folder to write"),
        parser.add_argument("--start", help="begin with the encoder of this pretrain run or published folder"),
        parser.add_argument("--resume", action="store_true", help="continue an interrupted run"),
        parser.add_argument("--overwrite", action="store_true", help="replace a pretrain run at --out"),
    ),
    description="Learns an embedding from a store without labels: masked tokens, contrastive views, or both. "
    "Example: detfm pretrain stores/jets --cfg quickstart/pretrain --cfg.train.steps 500 --out runs/pretrain",
)
