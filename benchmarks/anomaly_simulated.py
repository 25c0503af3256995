"""Simulated crossings of LHC Run 3 and the HL-LHC: enriched zero bias, H -> aa -> 4b and other processes.

Rates are of the zero bias of the test split, with the weights of `simulate/zerobias_enriched`; methods and embedding
learn from that of the train split, with the weights, in a store that has nothing else. The menu is that of
`anomaly/rates/run3`, a dozen seeds of the 200 of 2024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from anomaly_measure import (
    BASELINES,
    EMBEDDING,
    LINEAR,
    QUICK,
    RAW,
    Arm,
    Figures,
    Scores,
    auc,
    clear,
    fitted,
    observed,
    row,
    scores_of,
    seeds_of,
    spread,
)

from finetune.anomaly.config import RowsConfig
from finetune.anomaly.rates_config import RatesConfig
from foundation.command import load_config
from foundation.runs import Run
from foundation.schema import DetectorSchema
from foundation.simulate.config import SimulateConfig
from foundation.simulate.engine import simulate
from foundation.store import Store
from foundation.store.ingest import ingest
from foundation.trigger.beam import Beam
from foundation.trigger.dependence import dependence
from foundation.trigger.efficiency import efficiency_at
from foundation.trigger.gain import gains
from foundation.trigger.menu import fired
from foundation.trigger.rates import rate_khz, thresholds

FRACTIONS = {"train": 0.25, "val": 0.15, "test": 0.6}
RATES = (1.0, 5.0, 10.0)  # kHz
CHOICE = 10.0  # kHz, at which the method is chosen
NORMAL, SHOWN = "zero_bias", "haa4b"
CHOSEN = "chosen.txt"  # the name of the arm that the figures are of
ENERGY = {60: 13_600.0, 140: 14_000.0}  # GeV
SIGNALS = (SHOWN, "qcd", "ttbar", "w_lnu", "z_ee", "z_mumu", "z_tautau", "vbf_hinv", "wprime", "leptoquark",
           "hidden_valley", "high_multiplicity", "suep")  # fmt: skip
FULL = {"plain": 60_000, "bin": 5_000, SHOWN: 4_000, "signal": 1_000, "pool": 10_000}
FEW = {"plain": 300, "bin": 40, SHOWN: 40, "signal": 40, "pool": 100}


@dataclass(frozen=True)
class Sample:
    """The test split: masks of zero bias and signals, weights, observables, and whether the menu fires."""

    store: Store
    split: str
    background: np.ndarray
    signals: Mapping[str, np.ndarray]
    weights: np.ndarray
    columns: Mapping[str, np.ndarray]
    taken: np.ndarray

    @staticmethod
    def of(store: Store, split: str) -> Sample:
        label, names = store.labels(split, "process"), store.schema.class_names("process")
        weights = np.asarray(store.part(split, "weights", 0, store.length(split)), np.float64)
        columns = observed(store, split)
        menu = load_config(RatesConfig, "anomaly/rates/run3").menu
        signals = {name: label == names.index(name) for name in names if name != NORMAL}
        return Sample(
            store,
            split,
            label == names.index(NORMAL),
            {name: mask for name, mask in signals.items() if mask.any()},
            weights,
            columns,
            fired(menu, columns).any(axis=1),
        )


def simulated(
    folder: Path, pileups: Sequence[int], samples: Mapping[int, Sequence[Path]], seeds: Sequence[int], quick: bool
) -> Figures:
    """The figures of the first pile-up, and tables of all."""
    figures: Figures = {}
    for number, pileup in enumerate(pileups):
        where = folder / str(pileup)
        where.mkdir(exist_ok=True)
        found = _one(where, pileup, samples.get(pileup) or _generate(where, pileup, quick), seeds, quick)
        figures |= found if number == 0 else {f"{key}_pu{pileup}": value for key, value in found.items()}
    return figures


def _generate(folder: Path, pileup: int, quick: bool) -> list[Path]:
    """Signals apart from zero bias: Pythia starts for every chunk of a process, so chunks had better be full."""
    n = FEW if quick else FULL
    counts = {SHOWN: n[SHOWN]} | dict.fromkeys(SIGNALS[1:3] if quick else SIGNALS[1:], n["signal"])
    edges = [30, 80, 170] if quick else [20, 30, 50, 80, 120, 170, 250]
    enrichment = {"pthat_edges": edges, "crossings": [n["bin"]], "pool": 20 if quick else 500}
    files = []
    for seed, (name, processes, more) in enumerate(
        (("zerobias", {NORMAL: n["plain"]}, {"enrichment": enrichment}), ("signals", counts, {})), start=1
    ):
        events: dict[str, Any] = {
            "processes": processes,
            "collections": ["region", "muon", "eg", "tau", "jet"],
            "parameters": {SHOWN: {"m_a": 15}},
            "pileup": {"mean": pileup, "pool": n["pool"], "pool_file": str(folder / f"{name}_pool.npz")},
        } | more
        if quick:  # without diffraction Pythia starts in a tenth of the time
            events["pileup"]["settings"] = ["SoftQCD:nonDiffractive = on"]
        settings = {"sample": "events", "seed": 770_000 + 1000 * seed + pileup, "beam_energy": ENERGY[pileup]}
        files.append(folder / f"{name}.root")
        if not files[-1].exists():
            simulate(load_config(SimulateConfig, settings | {"events": events}), files[-1], 1 if quick else 2)
    return files


def store_of(folder: Path, files: Sequence[Path], name: str, linear: bool = False) -> Path:
    """Splits follow from the event number, and are the same in every store."""
    out = folder / name
    if not out.exists():
        schema = DetectorSchema.load("data/l1events_axol1tl").to_dict()
        schema["split"]["fractions"] = FRACTIONS
        if linear:
            schema["modalities"]["objects"]["features"]["pt"]["transform"] = "identity"
        ingest(list(files), schema=DetectorSchema.load(schema), out=out, processes=1)
    return out


def _one(folder: Path, pileup: int, files: Sequence[Path], seeds: Sequence[int], quick: bool) -> Figures:
    store = Store.open(store_of(folder, files, "store"))
    test, val = Sample.of(store, "test"), Sample.of(store, "val")
    _describe(pileup, test)
    baselines = {name: [test.columns[name]] for name in BASELINES}
    arms: dict[str, list[np.ndarray]] = {}
    chosen: dict[str, float] = {}
    for arm in QUICK if quick else (*RAW, *EMBEDDING, *LINEAR):
        each = [_scores(folder, files, arm, seed, quick) for seed in seeds_of(arm, seeds)]
        clear()
        arms[arm.name] = [scores["test"] for scores in each]
        chosen[arm.name] = float(np.mean([_kept_by_others(val, scores["val"]) for scores in each]))
    _aucs(test, baselines | arms)
    _efficiencies(test, baselines | arms)
    gained = _gains(test, baselines | arms)
    best_name = max(chosen, key=lambda name: chosen[name])
    print(f"chosen by the mean efficiency at {CHOICE:g} kHz of the other signals on val: {best_name},"
          f" {chosen[best_name]:.3f}")  # fmt: skip
    (folder / CHOSEN).write_text(best_name)
    _dependence(test, best_name, arms[best_name][0])
    return _figures(test, best_name, arms[best_name], gained, len(val.signals))


def run_of(folder: Path, files: Sequence[Path], arm: Arm, seed: int, quick: bool) -> Run:
    """Fitted to the zero bias of the first file; arms of linear pt have a store and an embedding of their own."""
    where = folder / "linear" if arm.linear else folder
    where.mkdir(exist_ok=True)
    return fitted(store_of(where, files[:1], "zerobias", arm.linear), where, arm, seed, RowsConfig(), quick)


def _scores(folder: Path, files: Sequence[Path], arm: Arm, seed: int, quick: bool) -> Scores:
    run = run_of(folder, files, arm, seed, quick)
    where = folder / "linear" if arm.linear else folder
    return scores_of(run, Store.open(store_of(where, files, "store", arm.linear)))


def _kept_by_others(val: Sample, scores: np.ndarray) -> float:
    """Mean efficiency of the signals that the figures are not of."""
    b = val.background
    cut = thresholds(scores[b], val.weights[b], (CHOICE,), Beam())[0].value
    kept = [float((scores[mask] >= cut).mean()) for name, mask in val.signals.items() if name != SHOWN]
    return float(np.mean(kept)) if kept else 0.0


def _describe(pileup: int, test: Sample) -> None:
    w = test.weights[test.background]
    menu = rate_khz(test.taken[test.background], w, Beam())
    signals, effective = sum(m.sum() for m in test.signals.values()), w.sum() ** 2 / (w**2).sum()
    print(f"\npile-up {pileup}: {len(w):,} zero-bias crossings (effective {effective:,.0f}), {signals:,} of signals")
    print(f"the menu takes {menu.khz:,.0f} kHz ({menu.low:,.0f} to {menu.high:,.0f})")


def _aucs(test: Sample, arms: Mapping[str, Sequence[np.ndarray]]) -> None:
    print("\nAUC against zero bias")
    row("", [name[:12] for name in test.signals])
    w = test.weights[test.background]
    for name, each in arms.items():
        row(name, [spread([auc(x[m], x[test.background], w) for x in each]) for m in test.signals.values()])


def _efficiencies(test: Sample, arms: Mapping[str, Sequence[np.ndarray]]) -> None:
    for rate in RATES:
        print(f"\nefficiency at {rate:g} kHz (total rate; 68% interval of the rate; * not measured)")
        row("", ["rate, kHz", *(name[:12] for name in test.signals)])
        for name, each in arms.items():
            cuts = [thresholds(x[test.background], test.weights[test.background], (rate,), Beam())[0] for x in each]
            mark = "" if all(cut.measured for cut in cuts) else "*"
            values = [spread([efficiency_at(x[m], c.value).value for x, c in zip(each, cuts, strict=True)])
                      for m in test.signals.values()]  # fmt: skip
            row(name, [f"{cuts[0].low_khz:.2g}-{cuts[0].high_khz:.2g}{mark}", *values])


def _gains(test: Sample, arms: Mapping[str, Sequence[np.ndarray]]) -> dict[str, list[list[Any]]]:
    """Of the menu and a seed at a pure rate over the menu alone, for H -> aa -> 4b: arm -> seeds -> rates."""
    print(
        f"\n{SHOWN}: gain in efficiency over the menu alone at pure rates of {', '.join(f'{r:g}' for r in RATES)} kHz"
    )
    b, m = test.background, test.signals[SHOWN]
    found: dict[str, list[list[Any]]] = {}
    for name, each in arms.items():
        found[name] = []
        for x in each:
            background = (x[b], test.weights[b], test.taken[b])
            cuts = thresholds(x[b], test.weights[b], RATES, Beam(), fired=test.taken[b], pure=True)
            found[name].append(gains(cuts, background, (x[m], None, test.taken[m]), Beam(), replicas=100))
            texts = [f"{g.value:+.1%} ({g.low:+.1%}, {g.high:+.1%}){'' if c.measured else ' *'}" if g.value is not None
                     else "-" for g, c in zip(found[name][-1], cuts, strict=True)]  # fmt: skip
            print(f"{name:<34}" + "".join(f"{text:>28}" for text in texts), flush=True)
    print(f"menu alone: {found['ht'][0][0].menu:.3f}")
    return found


def _dependence(test: Sample, name: str, score: np.ndarray) -> None:
    print(f"\nis it only energy? rank correlation of {name} with, plain and with the others held fixed")
    b = test.background
    npu = np.asarray(test.store.observers(test.split)["npu"], np.float64)
    quantities = {**{key: test.columns[key][b].astype(np.float64) for key in ("ht", "multiplicity")}, "npu": npu[b]}
    for each in dependence(score[b], quantities, test.weights[b]):
        row(each["quantity"], [each["spearman"], each["partial_spearman"]])


def _figures(
    test: Sample, best: str, each: Sequence[np.ndarray], gained: Mapping[str, list[list[Any]]], signals: int
) -> Figures:
    b, m, w = test.background, test.signals[SHOWN], test.weights[test.background]
    mean = [[gain.value for gain in run] for run in gained[best]]
    ht = test.columns["ht"]

    def over_seeds(k: int) -> float | None:
        values = [run[k] for run in mean if run[k] is not None]
        return float(np.mean(values)) if values else None

    return {
        "gain_1khz": over_seeds(0),
        "gain_5khz": over_seeds(1),
        "gain_10khz": over_seeds(2),
        "gain_ht_1khz": gained["ht"][0][0].value,
        "gain_ht_5khz": gained["ht"][0][1].value,
        "gain_ht_10khz": gained["ht"][0][2].value,
        "auc_best": float(np.mean([auc(x[m], x[b], w) for x in each])),
        "auc_ht": auc(ht[m], ht[b], w),
        "signals": signals,
    }
