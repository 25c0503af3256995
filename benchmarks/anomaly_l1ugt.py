"""CMS's global trigger, real crossings: trained on data of 2022 and 2023, tested on 2024 and on simulated signals.

What these rows are: every one of them passed a trigger (leading jet around 60 GeV; zero bias has half), so a share of
them is no rate, and what is normal here is what a menu selects. Data have no missing energy before 2024, and outside
data and `2022:pp:ttbar_MC` the e/gammas are jets in disguise; so missing energy is left out everywhere, and e/gammas
wherever the signal is not that sample. Simulated jets end at 511.5 GeV in all but that sample, those of data at 1023.5:
1% of the data of 2024 have such a jet, so no cut that takes less than that can be tested. Events occur several times in
the file: the split is by content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from anomaly_measure import (
    BASELINES,
    EMBEDDING,
    QUICK,
    RAW,
    Figures,
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
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.ingest import ingest

FRACTIONS = {"train": 0.5, "val": 0.05, "test": 0.45}
SHARES = (0.02, 0.05, 0.1)  # of the data of 2024
EARLIER = ("2022:pp:data", "2023:pp:data")
LATER = {
    "data 2024": "2024:pp:data",
    "tt 2022": "2022:pp:ttbar_MC",
    "tt 2023": "2023:pp:ttbar_MC",
    "VBF 2021": "2021:pp:VBF_MC",
}
NORMAL = "data 2024"
# inputs -> the signals that have them as data do
SETS = {"jets and muons": ("tt 2022", "tt 2023", "VBF 2021"), "jets, muons, e/gammas": ("tt 2022",)}
KEYS = {"jets and muons": "l1ugt", "jets, muons, e/gammas": "l1ugt_eg"}


def l1ugt(folder: Path, data: Path, seeds: Sequence[int], quick: bool) -> Figures:
    """AUC and efficiency at fixed shares of the data of 2024, for every method and set of inputs."""
    figures: Figures = {}
    for title, signals in list(SETS.items())[: 1 if quick else None]:
        where = folder / KEYS[title]
        where.mkdir(exist_ok=True)
        figures |= _table(title, signals, *_stores(where, data, "e/gammas" in title), seeds, quick)
    return figures


def schema(egammas: bool) -> DetectorSchema:
    """The 19 places of AXOL1TL, those that tell a category by how it was made set to zero."""
    found = DetectorSchema.load("data/axol1tl").to_dict()
    features = found["modalities"]["objects"]["features"]
    for k, name in enumerate(("pt", "eta", "phi")):
        eg = f"{'' if egammas else '0 * '}eg[:, 0:4, {k}]"
        features[name]["expression"] = f"concatenate(0 * met[:, {k % 2}], {eg}, muon[:, 0:4, {k}], jet[:, 0:10, {k}])"
    classes = {name.replace(" ", "_"): category for name, category in LATER.items()} | {"earlier": "202[23]:pp:data"}
    found["labels"] = {"group": {"kind": "class", "expression": "category", "classes": classes}}
    found["observers"] = {"bx": "bx"}
    found["split"]["fractions"] = FRACTIONS
    return DetectorSchema.load(found)


def _stores(folder: Path, data: Path, egammas: bool) -> tuple[Path, Path]:
    """Of the earlier data, and of what is tested. Rows of equal jets are in one split of both."""
    stores = folder / "earlier", folder / "later"
    for out, categories in zip(stores, (EARLIER, tuple(LATER.values())), strict=True):
        if not out.exists():
            file = out.with_suffix(".h5")
            _copy(data / "l1ugt" / "cms_l1_ugt.h5", file, categories)
            ingest([file], schema=schema(egammas), out=out, processes=1)
    return stores


def _copy(source: Path, file: Path, categories: Sequence[str]) -> None:
    """Rows of these categories alone: pretraining takes all rows of a store."""
    with h5py.File(source) as old, h5py.File(file, "w") as new:
        wanted = np.isin(old["category"][:].astype(str), categories)
        for name, column in old.items():
            new[name] = column[:][wanted]


def _table(
    title: str, signals: Sequence[str], earlier: Path, later: Path, seeds: Sequence[int], quick: bool
) -> Figures:
    tested, names = Store.open(later), list(LATER)
    group = tested.labels("test", "group")
    normal = group == names.index(NORMAL)
    chosen = {name: group == names.index(name) for name in signals}
    trained = Store.open(earlier).length("train")
    counts = ", ".join(f"{name} {mask.sum():,}" for name, mask in {NORMAL: normal, **chosen}.items())
    print(f"\n{title}: {trained:,} crossings of 2022 and 2023 to learn from; tested: {counts}")
    row("", [text for name in chosen for text in (name, *("" for _ in SHARES))])
    row("", [text for _ in chosen for text in ("AUC", *(f"eff at {share:.0%}" for share in SHARES))])
    baselines = {name: x for name, x in observed(tested, "test").items() if name in BASELINES}
    for name, x in baselines.items():
        row(name, _measured([x], normal, chosen))
    means = {}
    for arm in QUICK if quick else (*RAW, *EMBEDDING):
        runs = [fitted(earlier, later.parent, arm, seed, RowsConfig(), quick) for seed in seeds_of(arm, seeds)]
        each = [scores_of(run, tested, ("test",))["test"] for run in runs]
        clear()
        row(arm.name, _measured(each, normal, chosen))
        means[arm.name] = float(np.mean([auc(x[mask], x[normal]) for x in each for mask in chosen.values()]))
    best = max(means, key=lambda name: means[name])
    ht, key = baselines["ht"], KEYS[title]
    print(f"highest mean AUC: {best}, {means[best]:.3f} (found on the test set: no choice)")
    return {
        f"{key}_auc_ht": float(np.mean([auc(ht[mask], ht[normal]) for mask in chosen.values()])),
        f"{key}_auc_highest": means[best],
    }


def _measured(
    each: Sequence[np.ndarray], normal: np.ndarray, chosen: Mapping[str, np.ndarray]
) -> list[float | str | None]:
    """AUC and efficiency above the cut that a share of the data passes; mean and deviation over the seeds."""
    cells: list[float | str | None] = []
    for mask in chosen.values():
        cells.append(spread([auc(x[mask], x[normal]) for x in each]))
        for share in SHARES:
            cuts = [np.quantile(x[normal], 1 - share, method="higher") for x in each]
            cells.append(spread([float((x[mask] > cut).mean()) for x, cut in zip(each, cuts, strict=True)]))
    return cells
