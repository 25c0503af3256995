"""What benchmarks/embedding.py compares, each from the same labelled rows to scores on the same test rows.

Axes: n rows, D width of the embedding.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from finetune.command import finetune
from finetune.config import FinetuneConfig
from finetune.labelled import labelled_rows
from finetune.model import outputs
from finetune.saved import load_tagger
from finetune.task import Task, TaskConfig
from foundation.command import load_config
from foundation.embedding import apply, embed
from foundation.models import load_encoder
from foundation.runs import Run
from foundation.store import Store

LABEL = "jet_class"
OBSERVED = ("mass", "multiplicity", "width", "lead_0", "lead_1", "lead_2", "lead_3", "lead_4")
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # of the probe; scikit-learn's C, large is weak regularisation
FOLDS, REPEATS = 5, 3


@dataclasses.dataclass(frozen=True)
class Split:
    """Rows to learn from and rows to be judged on.

    Attributes:
        store: labelled jets.
        test: the split that is judged on.
    """

    store: Store
    test: str = "test"

    def labelled(self, count: int, seed: int) -> Int[np.ndarray, " n"]:
        """The rows of `train` that a tagger with these settings is trained on."""
        return labelled_rows(self.store, Task.resolve(self.store.schema, TaskConfig(label=LABEL)), count, seed)

    def labels(self, split: str) -> Int[np.ndarray, " n"]:
        return self.store.labels(split, LABEL)

    def area(self, scores: Float[np.ndarray, " m"]) -> float:
        """Under the ROC curve of scores of the test rows."""
        return float(roc_auc_score(self.labels(self.test), scores))


def tree(split: Split, rows: Int[np.ndarray, " n"], seed: int) -> Float[np.ndarray, " m"]:
    """Gradient-boosted trees on mass, multiplicity, width and the leading five constituents' shares of pt."""
    x, x_test = (np.stack([split.store.observer(s, name) for name in OBSERVED], 1) for s in ("train", split.test))
    settings = {"n_estimators": 100, "max_depth": 3, "learning_rate": 0.05, "subsample": 0.7}
    model = GradientBoostingClassifier(**settings, random_state=seed).fit(x[rows], split.labels("train")[rows])
    return model.decision_function(x_test)


class Embedded:
    """The frozen embeddings of a pretrained encoder, made once."""

    def __init__(self, run: Path, split: Split):
        encoder = load_encoder(run)
        self.run, self.split = run, split
        self.train, self.test = (embed(encoder, split.store, name) for name in ("train", split.test))

    def probe(self, rows: Int[np.ndarray, " n"], seed: int) -> Float[np.ndarray, " m"]:
        """Logistic regression whose strength is chosen by cross-validation within the labelled rows."""
        x, y = self.train[rows], self.split.labels("train")[rows]
        with threadpool_limits(1):  # the matrices are too small to share
            return _logistic(_strength(x, y, seed)).fit(x, y).decision_function(self.test)


def _logistic(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))


def _strength(x: Float[np.ndarray, "n D"], y: Int[np.ndarray, " n"], seed: int) -> float:
    folds = [
        fold
        for repeat in range(REPEATS)
        for fold in StratifiedKFold(FOLDS, shuffle=True, random_state=100 * seed + repeat).split(x, y)
    ]

    def loss(strength: float) -> float:
        fits = [(_logistic(strength).fit(x[a], y[a]).predict_proba(x[b])[:, 1], y[b]) for a, b in folds]
        return float(np.mean([log_loss(truth, p, labels=[0, 1]) for p, truth in fits]))

    return min(STRENGTHS, key=loss)


def tagger(
    start: Path, preset: Path, split: Split, count: int, seed: int, steps: int, out: Path
) -> Float[np.ndarray, " m"]:
    """Scores of a finetune run: `start` is a pretrain run, or the store (from scratch). Reused if it is finished."""
    cfg = load_config(FinetuneConfig, preset)
    train = dataclasses.replace(cfg.train, steps=steps, seed=seed)
    cfg = dataclasses.replace(cfg, labels=count, train=train, batch_size=min(cfg.batch_size, count))
    if not (out / "metrics.json").is_file():
        finetune(start, cfg=cfg, out=out, store=split.store.path, overwrite=True)
    logits = apply(load_tagger(Run.open(out, "finetune")), outputs, split.store, split.test)
    return logits[:, 1] - logits[:, 0]
