"""What the parts of benchmarks/anomaly.py share: the arms, fitting them, baselines, tables.

Axes: n crossings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from finetune.anomaly.config import AnomalyConfig, RowsConfig
from finetune.anomaly.fit import anomaly_fit
from finetune.anomaly.inputs import RawConfig
from finetune.anomaly.model import scored
from finetune.anomaly.saved import load_anomaly
from foundation.batch import TokenBatch
from foundation.command import load_config
from foundation.embedding import apply
from foundation.metrics import binary
from foundation.runs import Run
from foundation.store import Store
from foundation.trigger.observables import observables
from pretrain.command import pretrain
from pretrain.config import MonitorConfig, PretrainConfig

STEPS, QUICK_STEPS = 2000, 60
PRESETS = Path(__file__).parents[1] / "configs" / "anomaly"
CLOSED = ("mahalanobis", "knn", "isolation_forest")  # nothing is trained by gradient
BASELINES = ("ht", "leading_jet_pt", "multiplicity")


@dataclass(frozen=True)
class Arm:
    """A method on raw inputs or on an embedding, of log(1 + pt) as the schema has it or of pt itself."""

    method: str
    inputs: str = "raw"
    linear: bool = False

    @property
    def preset(self) -> str:
        """Of configs/anomaly; the autoencoder of an embedding is that of AXOL1TL v5."""
        if self.inputs == "raw":
            return self.method
        return "axol1tl_v5" if self.method == "autoencoder" else f"{self.method}_embedding"

    @property
    def name(self) -> str:
        told = [text for text, yes in (("embedding", self.inputs != "raw"), ("linear", self.linear)) if yes]
        return f"{self.method}{f' ({chr(44).join(told)})' if told else ''}"


RAW = tuple(Arm(m) for m in ("autoencoder", "vae", "nae", "svdd", "mahalanobis", "knn", "flow", "isolation_forest"))
EMBEDDING = tuple(Arm(m, "embedding") for m in ("autoencoder", "mahalanobis", "knn", "flow"))
LINEAR = tuple(dataclasses.replace(arm, linear=True) for arm in (*RAW, *EMBEDDING))
QUICK = (Arm("autoencoder"), Arm("mahalanobis"), Arm("mahalanobis", "embedding"))
Figures = dict[str, float | int | None]
Scores = Mapping[str, np.ndarray]  # split -> score of every row


def encoder(store: Path, folder: Path, quick: bool, seed: int = 0, preset: str = "pretrain/axol1tl_vicreg") -> Path:
    """The pretrained embedding of a store, made once."""
    out = folder / f"encoder_{seed}"
    if not (out / "metrics.json").is_file():
        cfg = load_config(PretrainConfig, preset)
        steps = QUICK_STEPS if quick else STEPS
        train = dataclasses.replace(cfg.train, steps=steps, evaluate_every=0, seed=seed)
        quiet = MonitorConfig(rows=0, report_rows=0, batches=0)
        pretrain(store, cfg=dataclasses.replace(cfg, train=train, monitor=quiet), out=out, overwrite=True)
    return out


def fitted(store: Path, folder: Path, arm: Arm, seed: int, rows: RowsConfig, quick: bool, **changes: Any) -> Run:
    """The run of one arm, made once. Settings are those of its preset, where there is one."""
    out = folder / f"{arm.method}_{arm.inputs}_{seed}"
    if (out / "metrics.json").is_file():
        return Run.open(out, "anomaly")
    preset = PRESETS / f"{arm.preset}.yaml"
    cfg = load_config(AnomalyConfig, preset) if preset.is_file() else AnomalyConfig()
    train = dataclasses.replace(cfg.train, seed=seed)
    train = dataclasses.replace(train, steps=QUICK_STEPS if quick else min(train.steps, STEPS))
    cfg = dataclasses.replace(cfg, method=arm.method, inputs=arm.inputs, train=train, rows=rows, **changes)
    start: Path = store
    if arm.inputs == "embedding":
        start = encoder(store, folder, quick, seed)
        cfg = dataclasses.replace(cfg, raw=RawConfig())
    return anomaly_fit(start, cfg=cfg, out=out, store=store, overwrite=True)


def scores_of(run: Run, store: Store, splits: Sequence[str] = ("val", "test")) -> Scores:
    """What a run gives every row of some splits."""
    model = load_anomaly(run)
    return {split: apply(model, scored, store, split).astype(np.float64) for split in splits}


def observed(store: Store, split: str) -> dict[str, np.ndarray]:
    """What a classical trigger cuts on, of every row of a split."""
    parts: list[dict[str, np.ndarray]] = []
    length, step = store.length(split), 20_000
    for first in range(0, length, step):
        batch: TokenBatch = store.read(split, np.arange(first, min(first + step, length)))
        parts.append({name: np.asarray(x) for name, x in observables(batch, store.schema).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def seeds_of(arm: Arm, seeds: Sequence[int]) -> Sequence[int]:
    """A method in closed form on raw inputs has one answer."""
    return seeds[:1] if arm.inputs == "raw" and arm.method in CLOSED and arm.method != "isolation_forest" else seeds


def auc(signal: np.ndarray, background: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Of the score, larger for the signal; weights of the background."""
    w = np.ones(len(background)) if weights is None else weights
    scores = np.concatenate([signal, background]).astype(np.float64)
    found = binary(np.arange(len(scores)) < len(signal), scores, np.concatenate([np.ones(len(signal)), w]), ())
    return float(found["auc"])


def row(name: str, values: Sequence[float | str | None], width: int = 34) -> None:
    """One line of a table."""
    cells = (f"{v:>13}" if isinstance(v, str) else "            -" if v is None else f"{v:>13.3f}" for v in values)
    print(f"{name:<{width}}{''.join(cells)}", flush=True)


def spread(values: Sequence[float]) -> str:
    """Mean and deviation over the seeds, as far as there are several."""
    text = f"{np.mean(values):.3f}"
    return text + (f"±{np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def clear() -> None:
    """Forget compiled programs: dozens of fits would keep them all."""
    jax.clear_caches()
