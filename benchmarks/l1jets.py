"""Real CMS Level-1 jets, b against light and gluon: ours at each stage, beside a gradient-boosted tree.

python benchmarks/l1jets.py [--quick]      `--quick` takes one seed instead of three

The tree sees the flattened 16 x 19 inputs and the labels of every training jet (60% of the file), all classes; ours see
1,000 labels, and the rest without. Same test jets. A second tree is given the same 1,000 labels as ours.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from harness import publish
from sklearn.ensemble import HistGradientBoostingClassifier

from foundation.cli import dispatch
from foundation.metrics import discriminant, roc
from foundation.schema import DetectorSchema
from foundation.store import Store

FILE = Path(__file__).parents[2] / "shared/data/l1jets/ggHHbbbb_PU200.root"
CLASSES = ("b", "charm", "light", "gluon")
LABELS = 1000


def tree(store: Store, rows: np.ndarray) -> float:
    """AUC of b against light and gluon of a tree fitted to `rows` of the training split."""

    def split(name: str) -> tuple[np.ndarray, np.ndarray]:
        batch = store.read(name, np.arange(store.length(name)), {"particles": 16})
        return batch.modalities["particles"].values.reshape(batch.size, -1), store.labels(name, "flavour")

    (x, y), (x_test, y_test) = split("train"), split("test")
    model = HistGradientBoostingClassifier(random_state=0).fit(x[rows], y[rows])
    used = np.isin(y_test, [0, 2, 3])
    names = [CLASSES[i] for i in model.classes_]
    score = discriminant(model.predict_proba(x_test[used]), names, ["b"], ["light", "gluon"])
    return roc(y_test[used] == 0, score).auc


def line(root: Path, store: Path, seed: int) -> dict[str, float]:
    """One run of the presets; AUC and pt resolution of each model."""

    def detfm(command: str, *words: object) -> None:
        dispatch(command, [str(word) for word in words])

    def figures(name: str) -> dict:
        detfm("evaluate", root / name, "--out", root / f"evaluate-{name}")
        return json.loads((root / f"evaluate-{name}/metrics.json").read_text())

    seeds = ["--cfg.train.seed", seed]
    detfm("pretrain", store, "--cfg", "l1jets/pretrain", *seeds, "--out", root / "pretrain")
    for name, start in (("scratch", store), ("finetuned", root / "pretrain")):
        detfm("finetune", start, "--cfg", "l1jets/finetune", "--cfg.labels", LABELS, *seeds, "--out", root / name)
    detfm("distill", root / "finetuned", "--cfg", "l1jets/distill", "--cfg.seed", seed, "--out", root / "student")
    detfm("export", root / "student", "--cfg", "l1jets/export", "--out", root / "firmware")
    detfm("verify", root / "firmware")
    found = {name: figures(name) for name in ("scratch", "finetuned", "student", "firmware")}
    found["label_only"] = found["student"]["reference"]
    cost = json.loads((root / "firmware/metrics.json").read_text())
    proof = json.loads((root / "firmware/verify.json").read_text())
    result = {f"auc_{name}": values["auc/b"] for name, values in found.items()}
    result |= {f"pt_resolution_{n}": found[n]["pt_ratio"]["relative_resolution"] for n in ("finetuned", "firmware")}
    return result | {"luts": cost["luts"], "mismatches": sum(proof["mismatches"].values()), "vectors": proof["vectors"]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    seeds = range(1 if parser.parse_args().quick else 3)
    if not FILE.is_file():
        sys.exit(f"the real data is not here: {FILE}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dispatch("ingest", [str(FILE), "--schema", "data/l1jets", "--out", str(root / "store")])
        store = Store.open(root / "store")
        assert DetectorSchema.load("data/l1jets") == store.schema
        runs = [line(root / str(seed), root / "store", seed) for seed in seeds]
        every = np.arange(store.length("train"))
        few = [np.sort(np.random.default_rng(seed).permutation(every)[:LABELS]) for seed in seeds]
        figures = {"auc_tree_all_labels": tree(store, every)}
        figures["auc_tree_1000_labels"] = float(np.mean([tree(store, rows) for rows in few]))
        target = store.labels("test", "pt_ratio")
        low, middle, high = np.quantile(1 / target[target > 0], [0.1587, 0.5, 0.8413])
    figures["pt_resolution_uncorrected"] = float((high - low) / 2 / middle)
    for key in runs[0]:
        figures[key] = sum(r[key] for r in runs) if key == "mismatches" else float(np.mean([r[key] for r in runs]))
        if key.startswith("auc_"):
            figures |= {f"{key}_seed{seed}": run[key] for seed, run in enumerate(runs)}
    publish("l1jets", figures, {"auc_tree_all_labels": "0.70 published with the data", "mismatches": "0"})


if __name__ == "__main__":
    main()
