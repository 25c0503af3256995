"""What a tagger loses where the data are not as in its training, and how much of that a pretrained encoder avoids.

    python benchmarks/shift.py [--quick] [--folder runs/shift] [--encoder runs/embedding/pretrain]

Taggers of top against QCD jets learn from nominal simulation and are judged on the same hard partons under each
variation of configs/simulate/shift.yaml (generator tune, underlying event, shower, detector), and on the top-tagging
benchmark (--data), which others simulated: another generator version, Delphes instead of our detector, other jets.
Several seeds each (a seed: which labels, and the initial parameters):
- scratch: the network trained on the labels alone;
- pretrained: an encoder pretrained without labels on nominal simulation (--encoder; made if none is given), fine-tuned;
- frozen: the same encoder, left as it is, under a linear head;
- adapted: that encoder pretrained on for some hundred steps without labels on jets of the variation (half of them, none
  that it is judged on), then fine-tuned on nominal labels: what pretraining on real data is for.

loss avoided = 1 - (drop of the arm) / (drop from scratch), drop = AUC(nominal) - AUC(variation). Intervals (68 %):
seeds and hard scatterings are drawn anew together, the same for every arm and both stores; where the drop from scratch
is not above 0 in 84 % of the replicas, no loss is seen that could be avoided, and no ratio is given. A drop is not all
shift: a worse detector shows less of the jet, and the jets of the benchmark are others.

Published, on another data set and another shift (real CMS jets against simulation; RINO): supervised falls to an AUC of
0.55-0.63, self-distilled holds 0.75-0.81. Not comparable number by number.

Every stage is kept in --folder and used again. The full version simulates 2 x 3,000 hard scatterings six times (a few
hours on two cores), pretrains unless --encoder is given, and trains 4 arms x 5 seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import harness  # noqa: F401  first: it puts this folder behind the packages
import numpy as np
import uproot
from embedding_stages import DATA, QUICK, pretrained, simulated
from harness import publish
from jaxtyping import Float, Int
from stages import detfm

from finetune.predict import predict
from finetune.saved import load_tagger
from finetune.shift import embedding_shift, input_shift
from foundation.calibration import probabilities
from foundation.command import load_config, to_yaml
from foundation.compilation_cache import keep_compiled
from foundation.metrics import roc
from foundation.metrics_bootstrap import Bootstrap
from foundation.models import load_encoder
from foundation.runs import Run
from foundation.schema import DetectorSchema, Split
from foundation.simulate.config import SimulateConfig
from foundation.store import Store

NOMINAL, LANDSCAPE = "nominal", "toplandscape"
FRACTIONS = {"train": 0.5, "test": 0.5}
AUGMENTED = tuple(
    word
    for name in ("rotation", "smearing", "splitting", "dropout")
    for word in (f"--cfg.augment.{name}.probability", "1")
)
REPLICAS = 500
Figures = dict[str, float | None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        variations: of configs/simulate/shift.yaml; empty: all.
        jets: hard scatterings of each class.
        labels: of each tagger.
        steps: of fine-tuning, and from scratch.
        seeds: of the taggers.
        adapt: steps of pretraining on the variation; 0 leaves the arm out.
    """

    variations: tuple[str, ...] = ()
    jets: int = 3000
    labels: int = 1000
    steps: tuple[int, int] = (300, 600)
    seeds: int = 5
    adapt: int = 300


SMALL = Plan(("dense_mpi", "detector"), jets=100, labels=100, steps=(40, 60), seeds=2, adapt=20)
Judged = tuple[np.ndarray, np.ndarray, np.ndarray]  # whether top, score, number of the hard scattering


def stores(folder: Path, plan: Plan, data: Path) -> dict[str, Path]:
    """Nominal and every variation, each in a store of its own; equal hard partons are in equal splits."""
    cfg: SimulateConfig = load_config(SimulateConfig, "simulate/shift")
    kept = tuple(v for v in cfg.views.variations if not plan.variations or v.name in plan.variations)
    views = dataclasses.replace(cfg.views, count=len(kept) + 1, variations=kept)
    settings, file = folder / "simulate.yaml", folder / "shift.root"
    settings.write_text(to_yaml(dataclasses.replace(cfg, jets_per_class=plan.jets, views=views)))
    detfm("simulate", "--cfg", settings, "--out", file, "--processes", "2", unless=file)
    schema = DetectorSchema.load("data/embedding_simulated")
    dataclasses.replace(schema, split=Split("event_id", FRACTIONS)).save(folder / "schema.yaml")
    found = {}
    for number, name in enumerate([NOMINAL, *(v.name for v in kept)]):
        part, store = folder / f"{name}.root", folder / name
        if not part.exists():
            _select(file, part, number)
        detfm("ingest", part, "--schema", folder / "schema.yaml", "--out", store, unless=store / "manifest.json")
        found[name] = store
    if data.is_file():
        store = folder / LANDSCAPE
        words = ("ingest", data, "--schema", "data/embedding_toplandscape", "--out", store)
        detfm(*words, unless=store / "manifest.json")
        found[LANDSCAPE] = store
    return found


def _select(file: Path, part: Path, variation: int) -> None:
    """The jets of one variation."""
    with uproot.open(file) as whole:
        columns = whole["tree"].arrays()
    columns = columns[columns["variation"] == variation]
    new = part.with_suffix(".new.root")
    with uproot.recreate(new) as made:
        made.mktree("tree", {name: columns[name].type.content for name in columns.fields})
        made["tree"].extend({name: columns[name] for name in columns.fields})
    new.rename(part)


def encoder_of(folder: Path, quick: bool) -> Path:
    """An encoder pretrained on nominal simulation, as benchmarks/embedding.py does."""
    store = simulated(folder, quick)
    return pretrained(store, folder / "pretrain", *(QUICK if quick else ()))


def taggers(folder: Path, data: dict[str, Path], encoder: Path, plan: Plan) -> dict[tuple[str, int, str], Path]:
    """Finetune runs by arm, seed and variation (empty where one tagger serves all)."""
    found = {}
    batch = ("--cfg.labels", str(plan.labels), "--cfg.batch_size", str(min(32, plan.labels)))
    adapted = {}
    for name in list(data)[1:] if plan.adapt else []:
        adapted[name] = folder / f"adapted_{name}"
        more = ("--cfg.positives", "augmentation", "--cfg.train.steps", str(plan.adapt), *AUGMENTED)
        more = (*more, "--cfg.train.evaluate_every", "0", "--cfg.train.learning_rate", "5e-4")
        words = ("pretrain", data[name], "--start", encoder, "--cfg", "embedding/pretrain", *more)
        detfm(*words, "--out", adapted[name], unless=adapted[name] / "metrics.json")
    for seed in range(plan.seeds):
        own = (*batch, "--cfg.train.seed", str(seed), "--store", data[NOMINAL])
        starts: list[tuple[str, str, Path, tuple[str, ...]]] = [
            ("scratch", "", data[NOMINAL], ("embedding/finetune_scratch", str(plan.steps[1]))),
            ("pretrained", "", encoder, ("embedding/finetune", str(plan.steps[0]))),
            ("frozen", "", encoder, ("embedding/finetune", str(plan.steps[0]), "--cfg.mode", "linear")),
            *(("adapted", name, run, ("embedding/finetune", str(plan.steps[0]))) for name, run in adapted.items()),
        ]
        for arm, variation, start, (preset, steps, *more) in starts:
            out = folder / "_".join(filter(None, (arm, variation, str(seed))))
            words = ("finetune", start, "--cfg", preset, "--cfg.train.steps", steps, *own, *more, "--out", out)
            detfm(*words, unless=out / "metrics.json")
            found[arm, seed, variation] = out
    return found


def judge(run: Path, store: Path) -> Judged:
    """Scores of the test rows, in the order of the hard scatterings."""
    data, tagger = Store.open(store), load_tagger(Run.open(run, "finetune"))
    said = predict(tagger, data, "test")
    score = probabilities(said.logits, exclusive=True)[:, said.classes.index("top")]
    events = data.observer("test", "event_id") if "event_id" in data.schema.observers else np.arange(len(score))
    order, number = np.argsort(events, kind="stable"), np.unique(events, return_inverse=True)[1]
    return said.targets[order] == said.classes.index("top"), score[order], number[order]


@dataclasses.dataclass
class Areas:
    """AUC of every arm and seed on nominal and varied jets, and of every replica of the hard scatterings."""

    value: dict[tuple[str, str, bool], list[float]] = dataclasses.field(default_factory=dict)
    replicas: dict[tuple[str, str, bool], list[Float[np.ndarray, " R"]]] = dataclasses.field(default_factory=dict)

    def add(self, arm: str, variation: str, varied: bool, judged: Judged) -> None:
        truth, score, number = judged
        areas, _ = Bootstrap(int(number.max()) + 1, REPLICAS).areas(truth, score, number, np.zeros(0))
        self.value.setdefault((arm, variation, varied), []).append(roc(truth, score).auc)
        self.replicas.setdefault((arm, variation, varied), []).append(areas)

    def drops(self, arm: str, variation: str, seeds: Int[np.ndarray, "R S"]) -> tuple[float, Float[np.ndarray, " R"]]:
        """Mean over the seeds of AUC(nominal) - AUC(variation), and of each replica with its own draw of seeds."""
        value = np.mean(self.value[arm, variation, False]) - np.mean(self.value[arm, variation, True])
        lost = np.stack(self.replicas[arm, variation, False]) - np.stack(self.replicas[arm, variation, True])
        return float(value), np.take_along_axis(lost.T, seeds, axis=1).mean(axis=1)


def measure(runs: dict[tuple[str, int, str], Path], data: dict[str, Path]) -> Areas:
    areas = Areas()
    for (arm, _, own), run in runs.items():
        nominal = judge(run, data[NOMINAL])
        for variation in [own] if own else list(data)[1:]:
            areas.add(arm, variation, False, nominal)
            areas.add(arm, variation, True, judge(run, data[variation]))
    return areas


def summary(areas: Areas, variations: list[str], seeds: int) -> Figures:
    """AUCs, drops and shares of the loss that are avoided, with intervals; prints the table."""
    drawn = np.random.default_rng(0).integers(0, seeds, (REPLICAS, seeds))
    interval = Bootstrap(1, REPLICAS).interval
    figures: Figures = {}
    print("| variation | arm | AUC nominal | AUC varied | drop | loss avoided |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for variation in variations:
        base, base_replicas = areas.drops("scratch", variation, drawn)
        lost = np.quantile(base_replicas, 0.16) > 0
        for arm in dict.fromkeys(name for name, where, _ in areas.value if where == variation):
            here, there = (areas.value[arm, variation, varied] for varied in (False, True))
            drop, replicas = areas.drops(arm, variation, drawn)
            ends = interval(replicas) or [float("nan")] * 2
            figures[f"auc_{arm}_{variation}_nominal"] = float(np.mean(here))
            figures[f"auc_{arm}_{variation}"] = float(np.mean(there))
            figures[f"drop_{arm}_{variation}"] = drop
            text = f"| {variation} | {arm} | {np.mean(here):.4f} | {np.mean(there):.4f} "
            text += f"| {drop:+.4f} ({ends[0]:+.4f} to {ends[1]:+.4f}) "
            if arm != "scratch":
                avoided = 1 - drop / base if lost else None
                figures[f"loss_avoided_{arm}_{variation}"] = avoided
                low, high = interval(1 - replicas / base_replicas) or [float("nan")] * 2
                shown = "– (none seen)" if avoided is None else f"{avoided:.2f} ({low:.2f} to {high:.2f})"
                text += f"| {shown} "
            print(text + ("|" if arm != "scratch" else "| |"), flush=True)
    return figures


def shifts(data: dict[str, Path], encoder: Path) -> Figures:
    """How far each variation is from nominal: its most shifted input, and the embedding."""
    model, nominal, figures = load_encoder(encoder), Store.open(data[NOMINAL]), Figures()
    for name, path in list(data.items())[1:]:
        varied = Store.open(path)
        worst = input_shift(nominal, varied, "test")[0]
        cloud = embedding_shift(model, nominal, varied, "test")
        print(
            f"{name}: largest shift of an input: {worst['feature']}, KS {worst['ks']:.3f} (statistics "
            f"{worst['of_statistics']:.3f}); embedding: domain AUC {cloud['domain_auc']:.3f} "
            f"({cloud['domain_auc_of_statistics']:.3f}), Frechet {cloud['frechet']:.3g} "
            f"({cloud['frechet_of_statistics']:.3g})"
        )
        figures |= {f"ks_{name}": worst["ks"], f"domain_auc_{name}": cloud["domain_auc"]}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two variations, few jets, two seeds")
    parser.add_argument("--folder", type=Path, help="keeps every stage (default: a temporary one)")
    parser.add_argument(
        "--encoder", type=Path, help="a pretrain run with configs/data/embedding_simulated.yaml's inputs"
    )
    parser.add_argument("--data", type=Path, default=DATA, help="toplandscape_2000.npz; left out if it is not there")
    parser.add_argument("--labels", type=int, help="of each tagger")
    given = parser.parse_args()
    keep_compiled()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        plan = SMALL if given.quick else Plan()
        plan = plan if given.labels is None else dataclasses.replace(plan, labels=given.labels)
        run(given, plan, folder)


def run(given: argparse.Namespace, plan: Plan, folder: Path) -> None:
    data = stores(folder, plan, given.data)
    encoder = given.encoder or encoder_of(folder, given.quick)
    runs = taggers(folder, data, encoder, plan)
    figures = shifts(data, encoder) | summary(measure(runs, data), list(data)[1:], plan.seeds)
    (folder / "shift.json").write_text(json.dumps(figures, indent=1))
    publish("shift", figures)


if __name__ == "__main__":
    main()
