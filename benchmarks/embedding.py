"""Does pretraining learn? Encoders pretrained without labels on simulated jets, judged on real top-tagging jets.

    python benchmarks/embedding.py [--quick] [--folder runs/embedding] [--ablations]

For 30, 100, 300 and 1,000 labels and five seeds (a seed: which labels, and the initial parameters), all on the same
labelled jets and judged on the same half of the jets, on which nothing was chosen:
- tree: gradient-boosted trees on mass, multiplicity, width and the leading five constituents;
- scratch: the network of the pretraining, trained on the labels alone;
- finetune: the pretrained network, trained on;
- probe: logistic regression on the frozen embedding. It is `pretrained` in the figures: on the training half it was
  better than fine-tuning and than the mean of both.

Every stage is a detfm command, printed; its output is kept in --folder and used again. The first time takes about two
hours on two cores: half an hour to simulate, half an hour to pretrain, the rest for 40 taggers. --ablations pretrains
short ones, each with one thing changed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import harness  # noqa: F401  first: it puts this folder behind the packages
import numpy as np
from embedding_ablations import ABLATIONS, STEPS
from embedding_arms import Embedded, Split, tagger, tree
from embedding_picture import Found, ablation_line, draw, table
from embedding_stages import DATA, QUICK, ROOT, pretrained, simulated
from harness import publish
from stages import detfm

from foundation.compilation_cache import keep_compiled
from foundation.store import Store

PRESETS = ROOT / "configs/embedding"
SEEDS = range(5)
# Labels -> steps of (fine-tuning, from scratch); those at 100 labels were compared on the training half.
BUDGETS = {30: (60, 100), 100: (100, 150), 300: (150, 300), 1000: (300, 600)}
GOALS = {"auc_100_pretrained": "> auc_1000_tree"}
QUICK_BUDGET = (40, 60)


def arms(
    split: Split, embedded: Embedded, folder: Path, count: int, seed: int, budget: tuple[int, int]
) -> dict[str, float]:
    """Area under the ROC curve of each arm."""
    rows = split.labelled(count, seed)
    steps = dict(zip(("finetune", "scratch"), budget))
    starts = {"finetune": (embedded.run, "finetune"), "scratch": (split.store.path, "finetune_scratch")}
    scores = {"tree": tree(split, rows, seed), "probe": embedded.probe(rows, seed)}
    for arm, (start, preset) in starts.items():
        out = folder / f"{arm}_{count}_{seed}"
        scores[arm] = tagger(start, PRESETS / f"{preset}.yaml", split, count, seed, steps[arm], out)
    return {name: split.area(score) for name, score in scores.items()}


def ablations(split: Split, store: Path, folder: Path) -> dict[str, list[float]]:
    """Short pretrainings with one thing changed each: what the probe makes of them with 100 labels."""
    found = {}
    for name, (words, settings) in ABLATIONS.items():
        run = pretrained(store, folder / name, "--cfg.train.steps", str(STEPS), *settings)
        embedded = Embedded(run, split)
        found[words] = [split.area(embedded.probe(split.labelled(100, seed), seed)) for seed in SEEDS]
        print(ablation_line(words, found[words]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="the shipped sample, a small encoder, 100 labels, one seed"
    )
    parser.add_argument("--folder", type=Path, help="keeps every stage (default: a temporary one)")
    parser.add_argument("--store", type=Path, help="a store of simulated jets, instead of making one")
    parser.add_argument("--data", type=Path, default=DATA, help="toplandscape_2000.npz")
    parser.add_argument("--ablations", action="store_true", help="short pretrainings with one thing changed each")
    given = parser.parse_args()
    keep_compiled()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run(given, folder)


def run(given: argparse.Namespace, folder: Path) -> None:
    store = given.store or simulated(folder, given.quick)
    labelled, schema = folder / "toplandscape", "data/embedding_toplandscape"
    detfm("ingest", given.data, "--schema", schema, "--out", labelled, unless=labelled / "manifest.json")
    split = Split(Store.open(labelled))
    settings = QUICK if given.quick else ()
    encoder = pretrained(store, folder / "pretrain", *settings)
    embedded = Embedded(encoder, split)
    budgets, seeds = ({100: QUICK_BUDGET}, range(1)) if given.quick else (BUDGETS, SEEDS)
    found: Found = {}
    for count in budgets:
        found[count] = [arms(split, embedded, folder, count, seed, budgets[count]) for seed in seeds]
        print(table({count: found[count]}), flush=True)
    if given.quick:
        found[1000] = [{"tree": split.area(tree(split, split.labelled(1000, 0), 0))}]
    more = ablations(split, store, folder / "ablations") if given.ablations else {}
    result = {"arms": found, "ablations": more}
    (folder / "embedding.json").write_text(json.dumps(result, indent=1))
    if not given.quick:
        draw(found, folder / "embedding.png")
    publish("embedding", figures(found), GOALS)


def figures(found: Found) -> dict[str, float | None]:
    """Means over seeds, and every seed of the figure of merit."""

    def mean(count: int, arm: str) -> float | None:
        values = [each[arm] for each in found.get(count, []) if arm in each]
        return float(np.mean(values)) if values else None

    names = {"pretrained": "probe", "scratch": "scratch", "finetune": "finetune", "tree": "tree"}
    values = {f"auc_{n}_{name}": mean(n, arm) for n in BUDGETS for name, arm in names.items() if n in found}
    return values | {f"auc_100_pretrained_{i}": each["probe"] for i, each in enumerate(found[100])}


if __name__ == "__main__":
    main()
