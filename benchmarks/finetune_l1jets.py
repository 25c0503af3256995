"""Real CMS Level-1 jets: every class that occurs and the pt correction in one network, beside a tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.special import softmax
from stages import detfm

from finetune.predict import predict
from finetune.saved import load_tagger
from foundation.metrics import discriminant, regression, roc
from foundation.predictions import Predictions
from foundation.runs import Run
from foundation.store import Store

FILE = Path(__file__).parents[2] / "shared/data/l1jets/ggHHbbbb_PU200.root"
SHAPE = (
    *("--cfg.encoder.width", 32, "--cfg.encoder.dropout", 0.2, "--cfg.encoder.counts", "true"),
    *("--cfg.train.steps", 400, "--cfg.train.ema", 0.99),
)
SIGNAL, BACKGROUND = ["b"], ["light", "gluon"]


def b_auc(found: Predictions, flavours: np.ndarray, names: list[str]) -> float:
    """Area under the ROC curve of b against light and gluon jets."""
    used = np.isin(flavours, [names.index(name) for name in [*SIGNAL, *BACKGROUND]])
    score = discriminant(softmax(found.logits[used].astype(float), axis=1), found.classes, SIGNAL, BACKGROUND)
    return roc(flavours[used] == names.index("b"), score).auc


def l1jets(folder: Path, seeds: range) -> dict[str, float | None]:
    """Means over seeds and every seed; the pt resolution before and after the correction."""
    if not FILE.is_file():
        print(f"skipped: the real data is not here: {FILE}")
        return {}
    where = folder / "store"
    detfm("ingest", FILE, "--schema", "data/l1jets", "--out", where, unless=where / "manifest.json")
    encoder = folder / "encoder"
    detfm("pretrain", where, "--cfg", "l1jets/pretrain", *SHAPE, "--out", encoder, unless=encoder / "metrics.json")
    store = Store.open(where)
    flavours, names = store.labels("test", "flavour"), store.schema.class_names("flavour")
    ratio = store.labels("test", "pt_ratio")
    arms = {
        "": (encoder, "finetune/l1jets"),
        "_scratch": (where, "finetune/l1jets"),
        "_tree": (where, "finetune/l1jets_tree"),
    }
    figures: dict[str, float | None] = {}
    resolutions = []
    for arm, (start, preset) in arms.items():
        areas = []
        for seed in seeds:
            out = folder / f"tagger{arm}_{seed}"
            words = ("finetune", start, "--cfg", preset, "--cfg.train.seed", seed, "--out", out)
            detfm(*words, unless=out / "metrics.json")
            found = predict(load_tagger(Run.open(out)), store, "test")
            areas.append(b_auc(found, flavours, names))
            if not arm:
                resolutions.append(regression(ratio, found.regressions["pt_ratio"].value)["relative_resolution"])
        figures[f"l1jets_b_auc{arm}"] = float(np.mean(areas))
        figures |= {f"l1jets_b_auc{arm}_{seed}": area for seed, area in zip(seeds, areas)}
    figures["l1jets_pt_resolution_before"] = regression(ratio, np.ones_like(ratio))["relative_resolution"]
    figures["l1jets_pt_resolution_after"] = float(np.mean(resolutions))
    return figures
