"""CICADA's image: 18 x 14 calorimeter regions of CMS, a convolutional autoencoder, and what total Et alone does.

The two files differ in pile-up: mean sums of Et of 478 and 77 GeV. Any score that knows the sum tells them apart, so
the AUC is given twice: as the files are, and of pairs matched in total Et to 5%. 1,263 and 3,000 crossings: no rate can
be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from anomaly_measure import Arm, Figures, auc, clear, fitted, observed, row, scores_of, seeds_of, spread

from finetune.anomaly.config import RowsConfig
from foundation.schema import DetectorSchema
from foundation.store import Store
from foundation.store.ingest import ingest

FRACTIONS = {"train": 0.5, "val": 0.1, "test": 0.4}
ROWS = RowsConfig(label="sample", classes=("zero_bias",))
ARMS = (Arm("conv_autoencoder"),)
WITHIN = 0.05  # relative difference of total Et in a pair


def l1calo(folder: Path, data: Path, seeds: Sequence[int], quick: bool) -> Figures:
    where = folder / "store"
    if not where.exists():
        spec = DetectorSchema.load("data/l1calo_image").to_dict()
        spec["split"]["fractions"] = FRACTIONS
        files = [data / "l1calo" / name for name in ("Region_ZeroBias.hdf5", "HInv.hdf5")]
        ingest(files, schema=DetectorSchema.load(spec), out=where, processes=1)
    store = Store.open(where)
    signal = store.labels("test", "sample") == store.schema.class_names("sample").index("HInv")
    columns = observed(store, "test")
    et = columns["total_et"].astype(np.float64)
    pairs = matched(et[signal], et[~signal])
    print(f"{(~signal).sum():,} zero bias, {signal.sum():,} H -> invisible; total Et {et[~signal].mean():.0f} and"
          f" {et[signal].mean():.0f} GeV; {len(pairs[0])} pairs matched in total Et")  # fmt: skip
    row("", ["AUC", "matched Et"])
    aucs = {name: _aucs([columns[name]], signal, pairs) for name in ("total_et", "leading_region_et", "multiplicity")}
    for arm in ARMS:
        each = [scores_of(fitted(where, folder, arm, seed, ROWS, quick), store, ("test",))["test"]
                for seed in seeds_of(arm, seeds)]  # fmt: skip
        clear()
        aucs[arm.name] = _aucs(each, signal, pairs)
    for name, (plain, alike) in aucs.items():
        row(name, [spread(plain), spread(alike) if alike else None])
    return {
        "l1calo_auc": float(np.mean(aucs[ARMS[0].name][0])),
        "l1calo_auc_total_et": aucs["total_et"][0][0],
        "l1calo_auc_matched": float(np.mean(aucs[ARMS[0].name][1])) if len(pairs[0]) else None,
        "l1calo_auc_matched_total_et": aucs["total_et"][1][0] if len(pairs[0]) else None,
        "l1calo_pairs": len(pairs[0]),
    }


def matched(signal: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of pairs of nearly equal total Et, each row in one pair at most: greedy, from the lowest up."""
    order_s, order_b = np.argsort(signal), np.argsort(background)
    found_s, found_b, i, j = [], [], 0, 0
    while i < len(signal) and j < len(background):
        a, b = signal[order_s[i]], background[order_b[j]]
        if abs(a - b) <= WITHIN * max(a, b, 1.0):
            found_s.append(order_s[i])
            found_b.append(order_b[j])
            i, j = i + 1, j + 1
        elif a < b:
            i += 1
        else:
            j += 1
    return np.array(found_s, int), np.array(found_b, int)


def _aucs(each: Sequence[np.ndarray], signal: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> tuple[list, list]:
    plain = [auc(x[signal], x[~signal]) for x in each]
    alike = [auc(x[signal][pairs[0]], x[~signal][pairs[1]]) for x in each] if len(pairs[0]) else []
    return plain, alike
