"""`detfm pretrain`: store -> encoder, without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flax import nnx

from foundation.command import Command
from foundation.embedding import embed, input_statistics, ridge_probe
from foundation.loader import Loader
from foundation.models import count_parameters, save_encoder
from foundation.runs import Run, continue_or_create
from foundation.store import Store
from foundation.train import fit
from pretrain.config import PretrainConfig
from pretrain.model import Pretrainer


def pretrain(
    store: str | Path, *, cfg: PretrainConfig, out: str | Path, resume: bool = False, overwrite: bool = False
) -> Run:
    """Trains an encoder on the `train` split of a store, without its labels.

    Args:
        store: folder written by `detfm ingest`.
        out: run folder to write: checkpoints, metrics.jsonl, and the finished encoder.
        resume: continue an interrupted run of equal settings.
        overwrite: replace a pretrain run at `out`.

    Raises:
        DataError, RunError, ConfigError, TrainingError, Interrupted: see the modules that raise them.
    """
    data = Store.open(store)
    model = Pretrainer(data.schema, input_statistics(data), cfg, rngs=nnx.Rngs(cfg.train.seed))
    batches = Loader(data, "train", batch_tokens=cfg.batch_tokens, buckets=cfg.buckets, seed=cfg.train.seed)
    run = continue_or_create(
        out,
        "pretrain",
        config=cfg,
        schema=data.schema,
        inputs={"store": store},
        seeds={"train": cfg.train.seed},
        resume=resume,
        overwrite=overwrite,
    )
    probe = _Probe(data, cfg)
    fit(model, batches, cfg.train, run.path, label="pretrain", resume=resume, evaluate=probe if probe.label else None)
    save_encoder(run.path, model.encoder)
    run.write("metrics.json", {"parameters": count_parameters(model.encoder), **probe.latest})
    return run


class _Probe:
    """Accuracy of a ridge classifier on the frozen embedding: fitted on some of train, measured on some of val."""

    def __init__(self, data: Store, cfg: PretrainConfig):
        classes = data.schema.class_labels
        self.data, self.latest = data, dict[str, float]()
        self.label = cfg.probe.label or (classes[0] if classes and cfg.probe.rows else "")
        if self.label:
            data.schema.class_names(self.label)  # refuses a label that is not there
            rng = np.random.default_rng(cfg.train.seed)
            self.rows = {s: np.sort(rng.permutation(data.length(s))[: cfg.probe.rows]) for s in ("train", "val")}

    def __call__(self, model: nnx.Module) -> dict[str, float]:
        assert isinstance(model, Pretrainer)
        found = [embed(model.encoder, self.data, split, rows) for split, rows in self.rows.items()]
        labels = [self.data.labels(split, self.label)[rows] for split, rows in self.rows.items()]
        self.latest = {"probe_accuracy": ridge_probe(found[0], labels[0], found[1], labels[1])}
        return self.latest


COMMAND = Command(
    run=lambda args: pretrain(args.store, cfg=args.cfg, out=args.out, resume=args.resume, overwrite=args.overwrite),
    config=PretrainConfig,
    arguments=lambda parser: (
        parser.add_argument("store", help="folder written by `detfm ingest`"),
        parser.add_argument("--out", default="runs/pretrain", help="run folder to write"),
        parser.add_argument("--resume", action="store_true", help="continue an interrupted run"),
        parser.add_argument("--overwrite", action="store_true", help="replace a pretrain run at --out"),
    ),
    description="Learns an embedding from a store without labels: masked tokens, contrastive views, or both. "
    "Example: detfm pretrain stores/jets --cfg quickstart/pretrain --cfg.train.steps 500 --out runs/pretrain",
)
