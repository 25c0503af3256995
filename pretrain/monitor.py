"""What is seen of an embedding while it forms: `fit` calls a `Monitor` at intervals, its numbers join metrics.jsonl.

- probe_accuracy, knn_accuracy: with labels only.
- effective_rank, uniformity, spread: of the embeddings of some rows of val; alignment: between them and their augmented
  selves. A collapsed embedding is named on the screen and as `collapse/KIND`.
- val/TERM: every term of the loss on fixed batches of val with fixed random numbers (drop-out, masking and augmentation
  as in training).
- restored/MODALITY: the share of the variance of hidden tokens' features that the masked model explains.

All rows are read once; each function compiles for at most two shapes.

Axes: B batch, N tokens, F features, D width.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from foundation.batch import TokenBatch
from foundation.distributed import is_primary
from foundation.embedding import ridge_probe
from foundation.embedding_quality import alignment, collapse, effective_rank, knn_accuracy, spread, uniformity
from foundation.loader import Loader
from foundation.progress import console
from foundation.runs import read_metrics
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.train import METRICS
from pretrain.augment import AugmentConfig, augment
from pretrain.config import PretrainConfig
from pretrain.model import Pretrainer
from pretrain.objectives import Pass, View
from pretrain.rows import FixedRows, fixed_rows

RESTORED = "restored/"


class Monitor:
    """Measures a Pretrainer on rows of the train and val splits.

    Args:
        data: the store. Without a val split, other rows of train stand in for it.
        validation: a loader as in training, of val, for the losses; None: no losses.

    Raises:
        SchemaError: `monitor.label` is no class label of the schema.
    """

    def __init__(self, data: Store, cfg: PretrainConfig, validation: Loader | None = None):
        self.data, self.cfg = data, cfg
        self.label = label_of(data.schema, cfg.monitor.label)
        self.key = jax.random.key(cfg.train.seed)
        self.told = ""
        self.sets = _draw(data, cfg.monitor.rows, cfg.train.seed, cfg.batch_tokens) if cfg.monitor.rows else {}
        self.labels = {n: data.labels(s.split, self.label)[s.rows] for n, s in self.sets.items() if self.label}
        most = 0 if validation is None else min(cfg.monitor.batches, validation.batches_per_epoch)
        self.batches = [] if validation is None else [validation.batch_at(i) for i in range(most)]

    def __call__(self, model: nnx.Module) -> dict[str, float]:
        """Measures the model, in the first process alone. Names a collapse on the screen, with what to change."""
        if not is_primary():
            return {}
        assert isinstance(model, Pretrainer)
        graph, state = nnx.split(model)
        found = self._losses(graph, state)
        if "val" in self.sets:
            found = self._embedding(graph, state) | found | self._restored(graph, state)
        return found

    def _embedding(self, graph: Any, state: Any) -> dict[str, float]:
        x = {name: rows(lambda batch: pooled(state, batch, graph=graph)) for name, rows in self.sets.items()}
        found: dict[str, float] = {}
        if self.label and len(self.sets["train"].rows):
            y = self.labels
            if np.any(y["train"] >= 0) and np.any(y["val"] >= 0):
                found["probe_accuracy"] = ridge_probe(x["train"], y["train"], x["val"], y["val"])
                near = knn_accuracy(x["train"], y["train"], x["val"], y["val"], self.cfg.monitor.k)
                found |= {} if near is None else {"knn_accuracy": near}
        seen = x["val"]
        found |= {"effective_rank": effective_rank(seen), "uniformity": uniformity(seen), "spread": spread(seen)}
        if self.cfg.augment.acting:
            found["alignment"] = alignment(seen, self.sets["val"](lambda batch: self._augmented(graph, state, batch)))
        return found | self._collapse(seen)

    def _augmented(self, graph: Any, state: Any, batch: TokenBatch) -> jax.Array:
        return pooled(state, changed(batch, self.key, self.data.schema, self.cfg.augment), graph=graph)

    def _collapse(self, x: np.ndarray) -> dict[str, float]:
        found = collapse(x, self.cfg.monitor.narrow)
        if not found:
            self.told = ""
            return {}
        text = found.text if found.kind != self.told else found.text.partition(";")[0]
        console.print(f"pretrain: {text}", highlight=False)
        self.told = found.kind
        return {f"collapse/{found.kind}": 1.0}

    def _losses(self, graph: Any, state: Any) -> dict[str, float]:
        terms = [losses(state, batch, jax.random.fold_in(self.key, i), graph) for i, batch in enumerate(self.batches)]
        fetched = jax.device_get(terms)
        names = fetched[0] if fetched else {}
        return {f"val/{name}": float(np.mean([each[name] for each in fetched])) for name in names}

    def _restored(self, graph: Any, state: Any) -> dict[str, float]:
        example = self.restored_example(graph, state)
        return {f"{RESTORED}{name}": each for name, each in explained(example).items()}

    def restored_example(self, graph: Any, state: Any) -> dict[str, dict[str, np.ndarray]]:
        """Some rows of val: modality -> `true` and `predicted` standardised features [B, N, F], `hidden` and `visible`
        [B, N]; empty without a masked objective that predicts."""
        model: Any = nnx.merge(graph, state)
        if not hasattr(getattr(model, "masked", None), "predict"):
            return {}
        _, batch = self.sets["val"].batches[0]
        return jax.device_get(restore(state, batch, self.key, graph))


def label_of(schema: DetectorSchema, wanted: str) -> str:
    """The class label to watch; empty if the schema has none."""
    label = wanted or next(iter(schema.class_labels), "")
    if label:
        schema.class_names(label)  # refuses one that is not there
    return label


def _draw(data: Store, count: int, seed: int, tokens: int) -> dict[str, FixedRows]:
    """`count` rows of train and of val; where there is no val, both of train, with none in common."""
    rng = np.random.default_rng(seed)
    train = rng.permutation(data.length("train"))
    if "val" in data.splits and data.length("val"):
        val = ("val", np.sort(rng.permutation(data.length("val"))[:count]))
    else:
        val, train = ("train", np.sort(train[len(train) // 2 :][:count])), train[: len(train) // 2]
    return fixed_rows(data, {"train": ("train", np.sort(train[:count])), "val": val}, tokens)


def last_seen(run: Path) -> dict[str, float]:
    """The last numbers of a run's Monitor, from its metrics.jsonl: also those of a run that was resumed at its end."""
    path = run / METRICS
    rows = [row for row in read_metrics(path) if "loss" not in row] if path.is_file() else []
    return {name: value for name, value in rows[-1].items() if name != "step"} if rows else {}


@partial(jax.jit, static_argnames=("graph",))
def pooled(state: Any, batch: TokenBatch, *, graph: Any) -> jax.Array:
    """Embeddings [B, D]."""
    return nnx.merge(graph, state).encoder(batch).pooled


@partial(jax.jit, static_argnums=(2, 3))
def changed(batch: TokenBatch, key: jax.Array, schema: DetectorSchema, config: AugmentConfig) -> TokenBatch:
    """The augmented batch. Compiled by itself, so that the encoder is not compiled again for each augmentation."""
    return augment(batch, schema, config, key)


@partial(jax.jit, static_argnums=(3,))
def losses(state: Any, batch: TokenBatch, key: jax.Array, graph: Any) -> dict[str, jax.Array]:
    """`loss` and its terms; the model is its own teacher."""
    model = nnx.merge(graph, state)
    loss, terms = model.loss(batch, key, teacher=model) if model.wants_teacher else model.loss(batch, key)
    return {"loss": loss, **terms}


@partial(jax.jit, static_argnums=(3,))
def restore(state: Any, batch: TokenBatch, key: jax.Array, graph: Any) -> dict[str, dict[str, jax.Array]]:
    """Hides tokens as in training and lets the masked model tell them: see `Monitor.restored_example`."""
    model = nnx.merge(graph, state)
    seen, hidden = model.masked.hide(batch, key)
    view = View(batch, seen, hidden, model.encoder(seen))
    predicted, true = model.masked.predict(Pass(model.encoder, (view,), None, key)), model.encoder.standardize(batch)
    return {
        name: {
            "true": true[name],
            "predicted": predicted[name],
            "hidden": hidden[name],
            "visible": seen.modalities[name].mask,
        }
        for name in predicted
    }


def explained(example: dict[str, dict[str, np.ndarray]]) -> dict[str, float]:
    """Modality -> 1 - (squared error) / (variance) over the hidden tokens and all features: 1 is perfect, 0 what the
    mean would do; modalities with fewer than two hidden tokens are left out."""
    found = {}
    for name, each in example.items():
        true, predicted = (each[k][each["hidden"]].astype(np.float64) for k in ("true", "predicted"))
        variance = np.sum((true - true.mean(axis=0)) ** 2) if len(true) > 1 else 0.0
        if variance > 0:
            found[name] = float(1 - np.sum((true - predicted) ** 2) / variance)
    return found
