"""`detfm anomaly fit`: store (or encoder) -> anomaly run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from finetune.adapt import adapt
from finetune.anomaly.config import AnomalyConfig
from finetune.anomaly.drift import recorded_of
from finetune.anomaly.fit_page import draw_scores, write_page
from finetune.anomaly.inputs import EmbeddingInputs, RawInputs
from finetune.anomaly.method import Method
from finetune.anomaly.model import AnomalyModel, scored, vectors
from finetune.anomaly.rows import normal_rows, weights_of
from finetune.anomaly.saved import RECORDED, STAGE, build_model, save_anomaly
from finetune.anomaly.vectors import VectorBatches, Vectors
from finetune.start import origin_of, start_arguments
from foundation.command import Command
from foundation.embedding import apply, input_statistics
from foundation.errors import ConfigError, DataError
from foundation.models import count_parameters, load_encoder
from foundation.models.published import data_of
from foundation.progress import console
from foundation.runs import Run, continue_or_create
from foundation.store import Store
from foundation.train import check, fit

METRICS = "metrics.json"
VALIDATED = 20_000  # rows of val at most, whose loss is followed
COMPARED = 20_000  # rows of the training set that later data is compared with
NAMED = 12  # constant inputs that are printed


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
        RunError, DataError: a folder is not what it should be, no row is normal, or an input is not finite.
        ConfigError: the inputs are not those of `start`, or the method cannot take them.
    """
    begun = time.monotonic()
    origin = origin_of(start)
    if (origin is not None) != (cfg.inputs == "embedding"):
        needs = "a pretrain run or a published encoder" if cfg.inputs == "embedding" else "a store"
        raise ConfigError(f"cfg.inputs is '{cfg.inputs}', which starts from {needs}; {start} is none")
    where = data_of(origin, store) if origin is not None else Path(store or start)
    data = Store.open(where)
    rows = normal_rows(data, cfg.rows, cfg.train.seed)
    weights = weights_of(data, "train", rows)
    inputs, notes = _inputs(origin, data, cfg)
    model = build_model(inputs, cfg)
    if model.method.trains:
        check(model.method, cfg.train)
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
    learning = Learning(data, cfg, model, rows, weights)
    for note in (*notes, *learning.notes()):
        console.print(f"anomaly: {note}", highlight=False)
    steps = learning.fit(run.path, resume)
    save_anomaly(run.path, model)
    learning.record(run)
    figures = learning.figures() | ({"steps": steps} if model.method.trains else {})
    run.write(METRICS, figures | {"seconds": time.monotonic() - begun})
    draw_scores(run.path, learning.scores, learning.by_class)
    write_page(run)
    console.print(f"{run.path}: {cfg.method} of {len(rows):,} crossings; its report is report.html", highlight=False)
    return run


@dataclass
class Learning:
    """The training set as vectors in memory, and what is done with it."""

    data: Store
    cfg: AnomalyConfig
    model: AnomalyModel
    rows: Int[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]

    def __post_init__(self) -> None:
        inputs, self.val = self.model.inputs, self._validation_rows()
        if isinstance(inputs, RawInputs) and inputs.hardware:
            self.x = inputs.fit(apply(inputs, counts, self.data, "train", rows=self.rows))
        else:
            self.x = apply(inputs, vectors, self.data, "train", rows=self.rows)
        bad = ~np.isfinite(self.x).all(axis=tuple(range(1, self.x.ndim)))
        if bad.any():
            flat = ~np.isfinite(self.x).reshape(len(self.x), -1)
            named = [inputs.names[i] for i in np.flatnonzero(flat.any(axis=0))[:NAMED]]
            raise DataError(
                f"{self.data.path}: {bad.sum()} crossings of 'train' have inputs that are NaN or infinite: "
                f"{', '.join(named)}; row {self.rows[np.flatnonzero(bad)[0]]} first"
            )
        flat_x = self.x.reshape(len(self.x), -1)
        still = flat_x.max(axis=0) == flat_x.min(axis=0)
        self.constant = [name for name, same in zip(inputs.names, still) if same]
        if isinstance(inputs, EmbeddingInputs):
            self.x = inputs.standardize(self.x, self.weights)

    def _validation_rows(self) -> Int[np.ndarray, " m"]:
        if "val" not in self.data.splits or not self.data.length("val"):
            return np.zeros(0, np.int64)
        try:
            return normal_rows(self.data, self.cfg.rows, self.cfg.train.seed, "val")[:VALIDATED]
        except DataError:  # none of val is normal
            return np.zeros(0, np.int64)

    def notes(self) -> list[str]:
        """What the user should know of the training set."""
        found = []
        if isinstance(self.model.inputs, RawInputs) and self.model.inputs.left_out:
            found.append(f"without a hardware type, and left out: {', '.join(self.model.inputs.left_out)}")
        if self.constant:
            more = f", and {len(self.constant) - NAMED} more" if len(self.constant) > NAMED else ""
            found.append(f"the same in all training crossings: {', '.join(self.constant[:NAMED])}{more}")
        return found

    def fit(self, run: Path, resume: bool) -> int:
        """Prepares and trains the method. Returns the steps taken."""
        method, cfg = self.model.method, self.cfg
        method.prepare(self.x, self.weights, cfg.train.seed)
        if not method.trains:
            return 0
        batches: Any = VectorBatches(self.x, self.weights, cfg.batch_size, cfg.train.seed)
        evaluate = self._validation() if len(self.val) else None
        return fit(
            method, batches, cfg.train, run, label="anomaly", resume=resume, evaluate=evaluate, keep_last=False
        ).steps

    def _validation(self) -> Callable[[nnx.Module], dict[str, float]]:
        x = apply(self.model.inputs, vectors, self.data, "val", rows=self.val)
        weights = weights_of(self.data, "val", self.val)
        size, seed = min(self.cfg.batch_size, len(x)), self.cfg.train.seed

        def evaluate(method: nnx.Module) -> dict[str, float]:
            graph, state = nnx.split(method)
            starts, key = range(0, len(x) - size + 1, size), jax.random.key(seed)
            parts = [Vectors(x[i : i + size], weights[i : i + size]) for i in starts]
            found = [_loss(state, part, jax.random.fold_in(key, i), graph=graph) for i, part in enumerate(parts)]
            return {"val/loss": float(np.mean([np.asarray(each) for each in found]))}

        return evaluate

    def record(self, run: Run) -> None:
        """What later data is compared with, and the scores that the page shows."""
        rows = np.sort(np.random.default_rng(self.cfg.train.seed).permutation(self.rows)[:COMPARED])
        scores = apply(self.model, scored, self.data, "train", rows=rows)
        unusable = int(np.sum(~np.isfinite(scores)))
        if unusable:
            raise DataError(
                f"{unusable} of {len(scores)} scores of the training set are NaN or infinite: the method "
                f"'{self.cfg.method}' did not learn; lower train.learning_rate, or look at the inputs"
            )
        run.write(RECORDED, recorded_of(self.data, "train", rows, scores))
        self.scores = {"train": scores}
        if len(self.val):
            self.scores["val"] = apply(self.model, scored, self.data, "val", rows=self.val)
        self.by_class = self._scores_by_class()

    def _scores_by_class(self) -> dict[str, dict[str, np.ndarray]]:
        split = next((s for s in ("val", "test") if s in self.data.splits and self.data.length(s)), "")
        if not split or not self.data.schema.class_labels:
            return {}
        rows = np.sort(np.random.default_rng(0).permutation(self.data.length(split))[:COMPARED])
        scores = apply(self.model, scored, self.data, split, rows=rows)
        found: dict[str, dict[str, np.ndarray]] = {}
        for label in self.data.schema.class_labels:
            given = self.data.labels(split, label)[rows]
            names = self.data.schema.class_names(label)
            found[label] = {n: scores[given == i] for i, n in enumerate(names) if (given == i).any()}
        return {label: each for label, each in found.items() if len(each) > 1}

    def figures(self) -> dict[str, Any]:
        """What metrics.json says of the model."""
        return {
            "rows": len(self.x),
            "method": self.cfg.method,
            "score": self.model.score,
            "inputs": list(self.model.inputs.shape),
            "parameters": count_parameters(self.model.method),
            "constant": self.constant,
            "scores": {name: _quantiles(each) for name, each in self.scores.items()},
            "classes": {
                label: {name: _quantiles(each) for name, each in classes.items()}
                for label, classes in self.by_class.items()
            },
        }


def counts(inputs: RawInputs, batch: Any) -> Any:
    """For `foundation.embedding.apply`."""
    return inputs.counts(batch)


@partial(jax.jit, static_argnames="graph")
def _loss(state: Any, batch: Vectors, key: jax.Array, *, graph: nnx.GraphDef) -> jax.Array:
    method: Method = nnx.merge(graph, state)
    return method.loss(batch, key)[0]


def _quantiles(scores: Float[np.ndarray, " n"]) -> dict[str, float]:
    """Rows and the score's quantiles, as many as so many rows can tell."""
    found: dict[str, float] = {"rows": len(scores)}
    for level in (0.5, 0.9, 0.99, 0.999):
        if len(scores) * (1 - level) >= 1:
            found[f"{level:g}"] = float(np.quantile(scores, level))
    return found


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
    arguments=start_arguments(
        STAGE,
        "a store; or, for inputs: embedding, a pretrain run or a published encoder",
        "the data, if another than the encoder was pretrained on",
    ),
    description="Learns from unlabelled crossings what is normal. "
    "Example: detfm anomaly fit stores/zerobias --cfg anomaly/autoencoder --out runs/anomaly",
)
