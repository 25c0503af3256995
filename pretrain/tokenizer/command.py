"""`detfm tokenize`: store -> a tokenizer, codes for tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flax import nnx

from foundation.checkpoint import save_model
from foundation.command import Command
from foundation.embedding import input_statistics
from foundation.loader import Loader
from foundation.runs import Run, continue_or_create
from foundation.store import Store
from foundation.train import check, fit
from pretrain.tokenizer.measure import measure, sample_batches
from pretrain.tokenizer.quantizers import KMeans
from pretrain.tokenizer.settings import TokenizerConfig
from pretrain.tokenizer.tokenizer import Tokenizer, learn_averages


def tokenize(
    store: str | Path, *, cfg: TokenizerConfig, out: str | Path, resume: bool = False, overwrite: bool = False
) -> Run:
    """Trains a tokenizer on the `train` split of a store; its metrics are of the `val` split.

    Args:
        store: folder written by `detfm ingest`.
        out: run folder to write.
        resume: continue the training of a VQ-VAE.
        overwrite: replace a tokenize run at `out`.

    Raises:
        DataError, RunError, ConfigError, TrainingError, Interrupted: see the modules that raise them.
    """
    data = Store.open(store)
    tokenizer = Tokenizer(data.schema, input_statistics(data), cfg, rngs=nnx.Rngs(cfg.train.seed))
    check(tokenizer, cfg.train)
    run = continue_or_create(
        out,
        "tokenize",
        config=cfg,
        schema=data.schema,
        inputs={"store": store},
        seeds={"train": cfg.train.seed},
        resume=resume,
        overwrite=overwrite,
    )
    sample = sample_batches(data, "train", cfg.rows, cfg.train.seed)
    for name, part in tokenizer.parts.items():
        tokens = [batch.modalities[name] for batch in sample]
        values = np.concatenate([t.values[t.mask] for t in tokens])
        part.features.learn(values)
        if isinstance(part.quantizer, KMeans):
            part.quantizer.learn(np.asarray(part.standard(values)), cfg.train.seed)
    if cfg.kind == "vqvae":
        batches = Loader(data, "train", batch_tokens=cfg.batch_tokens, buckets=cfg.buckets, seed=cfg.train.seed)
        fit(tokenizer, batches, cfg.train, run.path, label="tokenize", resume=resume)
    learn_averages(tokenizer, sample)
    save_model(run.path, tokenizer)
    run.write("metrics.json", measure(tokenizer, sample_batches(data, "val", cfg.rows, cfg.train.seed)))
    return run


COMMAND = Command(
    run=lambda args: tokenize(args.store, cfg=args.cfg, out=args.out, resume=args.resume, overwrite=args.overwrite),
    config=TokenizerConfig,
    arguments=lambda parser: (
        parser.add_argument("store", help="folder written by `detfm ingest`"),
        parser.add_argument("--out", default="runs/tokenize", help="run folder to write"),
        parser.add_argument("--resume", action="store_true", help="continue an interrupted run"),
        parser.add_argument("--overwrite", action="store_true", help="replace a tokenize run at --out"),
    ),
    description="Learns codes for tokens, by k-means or a VQ-VAE: the targets of masked modelling "
    "(--cfg.masked.targets codes) and the vocabulary of next-token generation. "
    "Example: detfm tokenize stores/jets --cfg tokenize/jets --out runs/tokenize",
)
